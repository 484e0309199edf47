"""Data, training, play, data: `python -m flows.local close_loop CONFIG`.

release ──► policy ──► plays guesser and solver in a second, smaller run ──► its release
   built where missing     questions that it guesses are dropped; tries at the others say how hard they are for it
"""

from __future__ import annotations

from pathlib import Path

from prefect import flow
from prefect.artifacts import create_table_artifact

from datagen.cli.console import say
from datagen.pipeline.playing_back import difficulty_rows, played_overlays
from flows.build_dataset import build_dataset
from flows.requests import RunRequest
from flows.running import run_from_command_line
from flows.snapshot_corpus import snapshot_corpus
from flows.train_search_agent import train_search_agent


@flow(name="close-loop")
def close_loop(request: RunRequest) -> str:
    """Build the release where it is missing, train on it, and let the policy play; returns the folder of the new release."""
    config = request.load()
    snapshot_corpus(request)
    if not Path(config.release.directory, "data").is_dir():
        build_dataset(request)
    model = train_search_agent(request)
    played = RunRequest(config=request.config, overlays=(*request.overlays, *played_overlays(config, model)))
    release = build_dataset(played)
    rows = difficulty_rows(release)
    create_table_artifact(
        table=rows, key="difficulty", description="Share of the policy's tries that succeed, by question"
    )
    say(f"{len(rows):,} questions with a difficulty for the policy in {release}")
    return release


if __name__ == "__main__":
    run_from_command_line(close_loop)
