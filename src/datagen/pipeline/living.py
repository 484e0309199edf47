"""The live web of a run: opened from the config, recorded in the run directory, sealed into a snapshot at the end."""

from __future__ import annotations

import os
from pathlib import Path

from datagen import storage
from datagen.clients.fetch import FetchPolicy
from datagen.clients.websearch import SearchSettings
from datagen.config import LiveConfig
from datagen.errors import ConfigError
from datagen.pipeline.calling import processes_of
from datagen.pipeline.corpus import catalogue_for_live
from datagen.runs.directory import Run
from datagen.web.knowledge_pass import build_knowledge
from datagen.web.live import LiveWeb, open_live
from datagen.web.recording import Recording
from datagen.web.snapshot import Snapshot

FOLDER = "web"
"""Of the run directory: everything that was searched and fetched, with time and hash."""


def open_live_web(run: Run, *, offline: bool = False) -> LiveWeb:
    """The two tools on the live web. `offline`, nothing opens a socket and what was not seen is an error."""
    live = run.config.web.live
    assert live is not None
    return open_live(
        SearchSettings(
            service=live.service,
            base_url=live.base_url,
            api_key="" if offline else _key(live),
            requests_per_minute=live.requests_per_minute / processes_of(run.config),
            timeout_seconds=live.timeout_seconds,
            user_agent=live.user_agent,
        ),
        FetchPolicy(
            user_agent=live.user_agent,
            timeout_seconds=live.timeout_seconds,
            max_bytes=live.max_bytes,
            max_redirects=live.max_redirects,
            seconds_per_host=live.seconds_per_host,
            obey_robots=live.obey_robots,
            allow_hosts=live.allow_hosts,
            resolve=dict(live.resolve),
        ),
        open_recording(run),
        cache=Path(run.config.cast.cache),
        mode=run.config.web.extraction,
        offline=offline,
    )


def open_recording(run: Run) -> Recording:
    """What a run on the live web has seen so far."""
    if not storage.is_local(run.directory):
        raise ConfigError(
            f"{run.directory} is not on this machine, and what the live web shows is recorded there first."
        )
    return Recording(storage.local_path(run.directory) / FOLDER, mode=run.config.web.extraction)


def seal_live_web(run: Run) -> Snapshot:
    """The snapshot of all pages that the run has seen, with their facts; made once."""
    recording = open_recording(run)
    recording.seal()
    folder = recording.folder / "snapshot"
    if not (folder / "knowledge" / "manifest.json").exists():
        build_knowledge(folder, catalogue_for_live(run.config.knowledge), workers=1)
    return Snapshot.open(folder)


def _key(live: LiveConfig) -> str:
    if not live.api_key_env:
        return ""
    key = os.environ.get(live.api_key_env)
    if not key:
        raise ConfigError(
            f"web.live takes its key from ${live.api_key_env}, which is not set: export {live.api_key_env}=..."
        )
    return key
