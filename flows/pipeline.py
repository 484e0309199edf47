"""Everything, pages to release: `python -m flows.local pipeline data/presets/demo.toml`."""

from __future__ import annotations

from prefect import flow

from flows.build_dataset import build_dataset
from flows.requests import RunRequest
from flows.running import run_from_command_line
from flows.snapshot_corpus import snapshot_corpus


@flow(name="pipeline")
def pipeline(request: RunRequest) -> str:
    """Build the snapshot where it is missing, then the dataset; returns the release folder."""
    snapshot_corpus(request)
    return build_dataset(request)


if __name__ == "__main__":
    run_from_command_line(pipeline)
