"""Everything, pages to release: `python -m flows.local pipeline data/presets/demo.toml`."""

from __future__ import annotations

from pathlib import Path

from prefect import flow, task

from datagen.cli.console import say
from datagen.dataset.verify import verify_release
from flows.build_dataset import build_dataset
from flows.requests import RunRequest
from flows.running import run_from_command_line
from flows.snapshot_corpus import snapshot_corpus


@task(task_run_name="verify")
def verify(release: str, snapshot: str) -> int:
    """Recompute every proof with separate code; fails naming the first bad row."""
    found = verify_release(Path(release), Path(snapshot))
    found.raise_if_faulty()
    return found.questions


@flow(name="pipeline")
def pipeline(request: RunRequest) -> str:
    """Build the snapshot where it is missing, then the dataset, and verify it; returns the release folder."""
    snapshot = snapshot_corpus(request)
    release = build_dataset(request)
    say(f"{verify(release, snapshot):,} questions verified")
    return release


if __name__ == "__main__":
    run_from_command_line(pipeline)
