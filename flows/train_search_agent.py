"""A policy that learns to search: `python -m flows.local train_search_agent CONFIG`.

Imitation, then preference, then reinforcement, as far as the config has them. A training that was begun is continued, so a
flow that failed may simply be run again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import (
    create_link_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner

from datagen.cli.console import say
from datagen.cli.training import print_evaluations
from datagen.runs.workers import end_with_parent
from datagen.training.comparing import compare_arms
from datagen.training.evaluating import COLUMNS, comparison_rows
from datagen.training.recording.alarms import Alarm
from datagen.training.recording.evaluations import EvaluationRecord
from datagen.training.recording.stream import read_metrics
from datagen.training.running import Trained, planned_updates, train, training_of
from flows.requests import RunRequest
from flows.running import run_from_command_line

CURVE_POINTS = 40
"""Rows of the table of curves, for each stage."""
ARMS_AT_ONCE = 2
"""Arms that are trained at the same time, each with the threads that its config names."""
_SIDE_BY_SIDE: TaskRunner[Any] = ProcessPoolTaskRunner(max_workers=ARMS_AT_ONCE, initializer=end_with_parent)
CURVES = ("loss", "nll", "reward", "success", "entropy", "zero_variance", "tokens_per_rollout", "tool_calls")


class TrainingArtifact:
    """Progress of one run, and its measurements as they come; a listener of the recorder."""

    def __init__(self, planned: int | None) -> None:
        """`planned` updates of all stages; None where nobody knows."""
        self._planned = planned
        self._made = 0
        self._measured: list[EvaluationRecord] = []
        self._artifact = create_progress_artifact(progress=0.0, key="updates", description="Updates made")

    def recorded(self, phase: str, step: int, values: Mapping[str, float | None]) -> None:  # noqa: ARG002
        self._made += 1
        if self._planned:
            update_progress_artifact(self._artifact, progress=min(100.0, 100 * self._made / self._planned))  # type: ignore[arg-type]

    def evaluated(self, record: EvaluationRecord) -> None:
        self._measured.append(record)
        publish_evaluations(self._measured)

    def alarmed(self, alarm: Alarm) -> None:
        create_table_artifact(table=[{"alarm": alarm.sentence}], key="alarms", description=alarm.rule)


def publish_evaluations(records: list[EvaluationRecord] | tuple[EvaluationRecord, ...]) -> None:
    """A row for each set and mode, with intervals."""
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in comparison_rows(records)]
    places = [f"{record.phase} {record.step}".strip() for record in records]
    table = [{"after": place} | row for place, row in zip(places, rows, strict=True)]
    create_table_artifact(table=table, key="evaluations", description="Success on questions that are not trained on")


def publish_curves(directory: Path) -> None:
    """Every so manieth update of each stage, and where the report with all curves lies."""
    lines = read_metrics(directory)
    rows = []
    for phase in dict.fromkeys(line.phase for line in lines):
        part = [line for line in lines if line.phase == phase]
        every = max(1, len(part) // CURVE_POINTS)
        for line in part[::every]:
            figures = {name: line.values[name] for name in CURVES if line.values.get(name) is not None}
            rows.append({"stage": phase, "update": line.step} | figures)
    create_table_artifact(table=rows, key="curves", description=str(directory))
    create_link_artifact(link=(directory / "report.html").resolve().as_uri(), key="report", description="All curves")


# What is done lies in the run's folder, and a second record in Prefect's cache could only disagree with it.
@task(task_run_name="train", cache_policy=NO_CACHE)
def train_policy(request: RunRequest) -> Trained:
    config = request.load()
    return train(config, resume=True, listeners=[TrainingArtifact(planned_updates(training_of(config)))])


@flow(name="train-search-agent")
def train_search_agent(request: RunRequest) -> str:
    """Train what the config describes, and then its arms side by side; returns the folder of the policy."""
    section = training_of(request.load())
    done = train_policy(request)
    show(done)
    if not section.arms:
        return str(done.model)
    trained = train_arms(section.arms)
    for one in trained.values():
        show(one)
    report = compare_arms(done.directory, {name: one.directory for name, one in trained.items()})
    create_link_artifact(link=report.resolve().as_uri(), key="comparison", description="The arms beside each other")
    say(f"What the arms came to is in {report}.")
    return str(next(iter(trained.values())).model)


@flow(name="train-arms", task_runner=_SIDE_BY_SIDE)
def train_arms(arms: dict[str, str]) -> dict[str, Trained]:
    """Each in a process of its own."""
    running = {name: train_policy.submit(RunRequest(config=config)) for name, config in arms.items()}
    return {name: future.result() for name, future in running.items()}


def show(done: Trained) -> None:
    """A training's curves and measurements, as artifacts and in the terminal."""
    publish_curves(done.directory)
    publish_evaluations(done.evaluations)
    print_evaluations(done.evaluations)


if __name__ == "__main__":
    run_from_command_line(train_search_agent)
