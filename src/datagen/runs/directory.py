"""Start, open, resume and hold a run directory; a refusal names the commands that would work."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from datagen import storage
from datagen.config import DIGEST_VERSION, DatagenConfig, changed_keys
from datagen.errors import RunDirectoryError, boundary

CONFIG_NAME = "config.json"


@dataclass(frozen=True, slots=True)
class Run:
    """An open run directory."""

    directory: str
    config: DatagenConfig
    snapshot: str
    """Digest of the snapshot that the candidates are made from."""


def start_run(config: DatagenConfig, snapshot: str) -> Run:
    """Write the resolved config into a new run directory; a used one is refused."""
    refuse_used(config.run.directory)
    run = Run(config.run.directory, config, snapshot)
    _save(run)
    return run


def refuse_used(directory: str) -> None:
    """Raise where a run was started before."""
    if storage.exists(storage.join(directory, CONFIG_NAME)):
        raise RunDirectoryError(f"{directory} already holds a run. {_ways_out(directory)}")


def open_run(directory: str, overlay: Callable[[DatagenConfig], DatagenConfig] | None = None) -> Run:
    """Open a run with its saved config.

    `overlay` may change what is not identity, such as the number of workers or where the snapshot lies now; the changed
    config is saved, because workers read it from the directory.
    """
    url = storage.join(directory, CONFIG_NAME)
    if not storage.exists(url):
        raise RunDirectoryError(f"{directory} holds no run. Start one with `datagen run CONFIG --run-dir {directory}`.")
    record = storage.read_json(url)
    if record.get("digest_version") != DIGEST_VERSION:
        raise RunDirectoryError(
            f"{directory} was started by another version of this program (config digest "
            f"{record.get('digest_version')}, not {DIGEST_VERSION}). {_ways_out(directory)}"
        )
    with boundary(RunDirectoryError, f"{url} is not a config of this program; start another run"):
        saved = DatagenConfig.model_validate(record["config"])
    config = saved if overlay is None else overlay(saved)
    _refuse_changes(directory, changed_keys(saved, config))
    run = Run(directory, config, record["snapshot"])
    if config != saved:
        _save(run)
    return run


def _save(run: Run) -> None:
    record = {
        "config": run.config.model_dump(mode="json"),
        "digest": run.config.digest,
        "digest_version": DIGEST_VERSION,
        "snapshot": run.snapshot,
    }
    storage.write_json(storage.join(run.directory, CONFIG_NAME), record)


def _refuse_changes(directory: str, changed: Sequence[str]) -> None:
    if changed:
        raise RunDirectoryError(
            f"{directory} was started with a different config (changed: {', '.join(changed)}). {_ways_out(directory)}"
        )


def _ways_out(directory: str) -> str:
    return (
        f"`datagen resume {directory}` continues it with its saved config; "
        "`datagen run CONFIG --run-dir NEW` starts another."
    )


@contextlib.contextmanager
def attempt(run: Run, version: str) -> Iterator[None]:
    """Hold the run directory for this process and add a line to its log; a second process is refused.

    Only local directories can be locked; the system releases the lock when the process ends, however it ends.
    """
    if not storage.is_local(run.directory):
        yield
        return
    folder = storage.local_path(run.directory)
    with (folder / "attempts.jsonl").open("ab") as log:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise RunDirectoryError(
                f"another process is working in {run.directory}. Wait for it, or stop it and run "
                f"`datagen resume {run.directory}`."
            ) from exc
        line = {"started_at": datetime.now(UTC).isoformat(timespec="seconds"), "pid": os.getpid(), "version": version}
        log.write(orjson.dumps(line) + b"\n")
        log.flush()
        yield
