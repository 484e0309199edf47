"""Everything, pages to release: `python -m flows.local pipeline data/presets/demo.toml`."""

from __future__ import annotations

from pathlib import Path

from prefect import flow, task

from datagen.cli.console import say
from datagen.dataset.verify import verify_release
from datagen.dataset.verify_attempts import verify_attempts
from flows.build_dataset import build_dataset
from flows.requests import RunRequest
from flows.running import run_from_command_line
from flows.snapshot_corpus import snapshot_corpus

ATTEMPTS_CHECKED = 500
"""Attempts whose tool calls are made again, spread over all; `datagen verify` checks every one."""


@task(task_run_name="verify")
def verify(release: str, snapshot: str) -> tuple[int, int]:
    """Recompute every proof with separate code; fails naming the first bad row."""
    found = verify_release(Path(release), Path(snapshot))
    if (Path(release) / "data" / "trajectories").is_dir():
        found = found.with_attempts(verify_attempts(Path(release), Path(snapshot), at_most=ATTEMPTS_CHECKED))
    found.raise_if_faulty()
    return found.questions, found.trajectories


@flow(name="pipeline")
def pipeline(request: RunRequest) -> str:
    """Build the snapshot where it is missing, then the dataset, and verify it; returns the release folder."""
    snapshot = snapshot_corpus(request)
    release = build_dataset(request)
    questions, attempts = verify(release, snapshot)
    say(f"{questions:,} questions verified" + (f", and {attempts:,} attempts" if attempts else ""))
    return release


if __name__ == "__main__":
    run_from_command_line(pipeline)
