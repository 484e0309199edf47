"""Pages into a frozen, searchable corpus with its facts: `python -m flows.local snapshot_corpus CONFIG`."""

from __future__ import annotations

from prefect import flow, task
from prefect.artifacts import create_table_artifact

from datagen.pipeline import corpus
from flows.requests import RunRequest
from flows.running import run_from_command_line


@task(task_run_name="snapshot", retries=1, retry_delay_seconds=10)
def build_corpus(request: RunRequest) -> corpus.Counts:
    return corpus.build_corpus(request.load())


@flow(name="snapshot-corpus")
def snapshot_corpus(request: RunRequest) -> str:
    """Build the snapshot that the config names, unless it is there already; returns its folder."""
    folder = request.load().web.snapshot
    create_table_artifact(table=[build_corpus(request)], key="snapshot", description=folder)
    return folder


if __name__ == "__main__":
    run_from_command_line(snapshot_corpus)
