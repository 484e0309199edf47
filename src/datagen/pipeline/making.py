"""Start a run, continue it, and carry it to its target."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from datagen import storage
from datagen.config import DatagenConfig
from datagen.errors import ReleaseError, RunDirectoryError
from datagen.knowledge.formula import query_from_dict
from datagen.pipeline.casting import with_prompts
from datagen.pipeline.corpus import derive
from datagen.pipeline.rollout_plan import with_policies
from datagen.pipeline.workshop import forget_workshops, run_shard
from datagen.runs.directory import CONFIG_NAME, Run, attempt, open_run, refuse_used, start_run
from datagen.runs.settlement import Settlement, Unwatched, Watch, carry_out
from datagen.runs.shards import Row
from datagen.runs.tables import assemble
from datagen.runs.workers import Pool, Work
from datagen.verification.duplicates import DuplicateIndex, fingerprint_text, formula_digest
from datagen.web.snapshot import Snapshot

LIVE = "live"
"""Stands for the digest of a snapshot in runs on the live web: the snapshot of what they saw is sealed at the end."""


def refuse_used_directories(config: DatagenConfig) -> None:
    """Before any work: a run directory and a release folder that hold something are not for a new run."""
    refuse_used(config.run.directory)
    release = Path(config.release.directory)
    if release.exists() and any(release.iterdir()):
        raise ReleaseError(
            f"{release} is not empty. Choose another folder with --release-dir, or remove it with `rm -r {release}`."
        )


def prepare(config: DatagenConfig) -> Run:
    """Start a run on a finished snapshot, or on the live web."""
    config = with_prompts(config)
    if config.rollouts is not None:
        with_policies(config)  # who does not exist shall be known before any question is made
    if config.web.live is not None:
        return start_run(config, LIVE)
    snapshot = Snapshot.open(Path(config.web.snapshot))
    derive(snapshot, config.knowledge)
    return start_run(config, snapshot.digest)


def reopen(directory: str, config: DatagenConfig | None = None) -> Run:
    """Open a run that was started before, with its saved config, or with one that makes the same rows.

    Prompts are read anew: a run whose prompts were edited since is refused, naming them.
    """
    run = open_run(directory, lambda saved: with_prompts(config or saved))
    if run.config.web.live is not None:
        return run
    snapshot = Snapshot.open(Path(run.config.web.snapshot))
    if snapshot.digest != run.snapshot:
        raise RunDirectoryError(
            f"{directory} was started on the snapshot {run.snapshot}, and {snapshot.folder} is now {snapshot.digest}. "
            f"Restore it and run `datagen resume {directory}`, or start another with `datagen run CONFIG --run-dir NEW`."
        )
    derive(snapshot, run.config.knowledge)
    return run


def start_or_continue(config: DatagenConfig) -> Run:
    """For schedulers: the run of this config, whether or not it was begun before."""
    begun = storage.exists(storage.join(config.run.directory, CONFIG_NAME))
    return reopen(config.run.directory, config) if begun else prepare(config)


def carry_on(run: Run, *, pool: Pool, work: Work = run_shard, watch: Watch | None = None) -> Settlement:
    """Make what is missing and put the tables together."""
    settlement = settle_anew(run)
    try:
        with attempt(run, version("datagen")):
            carry_out(run, settlement, pool=pool, work=work, watch=watch or Unwatched())
            assemble(run, settlement)
    finally:
        forget_workshops()  # whoever goes on with this run in this process may do so with another budget
    return settlement


def settle_anew(run: Run) -> Settlement:
    """A settlement that has seen nothing yet; `carry_out` fills it from disk and from work."""
    index = DuplicateIndex()

    def is_duplicate(row: Row) -> tuple[str, str] | None:
        query = query_from_dict(json.loads(row["tree"]))
        verdict = index.judge(replace(fingerprint_text(row["question"]), formula=formula_digest(query)))
        return None if verdict.passed else (verdict.reason, verdict.detail)

    return Settlement({str(recipe): wanted for recipe, wanted in run.config.run.target.items()}, is_duplicate)
