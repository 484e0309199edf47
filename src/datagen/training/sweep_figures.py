"""What the runs of a sweep came to: one number for each run and column.

    read_run(run, start)                     what a run recorded
    COLUMNS["algorithms"][2].measure(...)    0.412: the area under its curve of held-out success

Curves are laid over attempts, not updates: an algorithm that samples twice as much for an update has made half as many of
them when the same is spent. Means over a run weigh an update by what it sampled, so that small last batches count little.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from datagen import storage
from datagen.config.sweeps import TableName
from datagen.training.recording import EvaluationRecord, MetricLine, read_evaluations, read_metrics
from datagen.training.sweeping import START_FILE, SweepPlan, SweepRun

LATE = 0.25
"""Share of the attempts, the last ones, that figures "at the end" are means over."""
Points = list[tuple[float, float]]
"""(attempts so far, value)."""


@dataclass(frozen=True, slots=True)
class RunFigures:
    """What one run recorded, and the measurements of what it began with."""

    arm: str
    seed: int
    lines: tuple[MetricLine, ...]
    held_out: tuple[EvaluationRecord, ...]
    """On the set that the table is about; the start's come first, at update 0."""
    group: int
    """Attempts at a question."""
    budget: int
    """Attempts that the run was given."""

    @property
    def spent(self) -> list[float]:
        """Attempts so far, after each update."""
        made = np.cumsum([self.group * (line.values.get("groups") or 0.0) for line in self.lines])
        return [float(total) for total in made]

    def total(self, metric: str) -> float | None:
        """Sum over the updates; None where none measured it."""
        known = self._known(metric)
        return sum(value for value, _, _ in known) if known else None

    def last(self, metric: str) -> float | None:
        known = self._known(metric)
        return known[-1][0] if known else None

    def mean(self, metric: str, weight: str | None = "groups", *, late: bool = False) -> float | None:
        """Mean over the updates that measured it, each by its `weight`, or alike; `late`: those of the last attempts."""
        known = [
            (value, w) for value, w, at in self._known(metric, weight) if not late or at > (1 - LATE) * self.budget
        ]
        weights = sum(w for _, w in known)
        return sum(value * w for value, w in known) / weights if weights else None

    def curve(self, metric: str) -> Points:
        return [(at, value) for value, _, at in self._known(metric)]

    def success(self, mode: str) -> Points:
        """Held-out success after so many attempts; the start's at none."""
        spent = [0.0, *self.spent]
        steps = {0: 0.0} | {line.step: at for line, at in zip(self.lines, spent[1:], strict=True)}
        found = {steps[one.step]: one.success for one in self.held_out if one.mode == mode and one.success is not None}
        return sorted(found.items())

    def final(self, mode: str) -> float | None:
        """Held-out success of what the run came to; None where it was measured at the start alone."""
        found = self.success(mode)
        return found[-1][1] if found and found[-1][0] > 0 else None

    def area(self, mode: str) -> float | None:
        """Mean height of the curve of held-out success, from no attempts to all of the budget, by trapezoids.

        None where the start or what came of it was not measured: without both ends there is no such mean.
        """
        found = self.success(mode)
        if len(found) < 2 or found[0][0] > 0:
            return None
        at, values = zip(*found, strict=True)
        grid = sorted({0.0, float(self.budget), *(x for x in at if x < self.budget)})
        return float(np.trapezoid(np.interp(grid, at, values), grid)) / self.budget

    def _known(self, metric: str, weight: str | None = "groups") -> list[tuple[float, float, float]]:
        """(value, weight, attempts so far) of the updates that measured it."""
        return [
            (value, 1.0 if weight is None else line.values.get(weight) or 0.0, at)
            for line, at in zip(self.lines, self.spent, strict=True)
            if (value := line.values.get(metric)) is not None
        ]


def read_run(plan: SweepPlan, run: SweepRun, start: Sequence[EvaluationRecord]) -> RunFigures:
    """Of a run that is finished."""
    assert run.section.rl is not None, "a plan has none without"
    wanted = measured_set(plan)
    held_out = [one for one in (*start, *read_evaluations(run.folder)) if one.set == wanted]
    return RunFigures(
        run.arm,
        run.seed,
        tuple(read_metrics(run.folder)),
        tuple(held_out),
        run.section.rl.attempts,
        plan.sweep.attempts,
    )


def measured_set(plan: SweepPlan) -> str:
    """The evaluation set that the table is about."""
    return plan.sweep.on or plan.runs[0].section.evaluation.sets[0].name


def read_start(plan: SweepPlan) -> list[EvaluationRecord]:
    """Measurements of the policy that all runs begin with; none where no run was begun."""
    file = plan.folder / START_FILE
    return [EvaluationRecord.from_line(line) for line in storage.read_json(file)["records"]] if file.exists() else []


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of the table."""

    name: str
    meaning: str
    measure: Callable[[RunFigures], float | None]
    form: Literal["percent", "number", "fine"] = "number"


def _redundant(run: RunFigures) -> float | None:
    """Searches and pages; None where calls were not labelled."""
    parts = [run.mean(name, late=True) for name in ("redundant_searches", "redundant_queries")]
    known = [part for part in parts if part is not None]
    return sum(known) if known else None


GREEDY = Column("success, greedy", "held-out, after the last attempt", lambda run: run.final("greedy"), "percent")
SAMPLED = Column("success, T = 1", "the same at a temperature of 1", lambda run: run.final("sampled"), "percent")
COLUMNS: Mapping[TableName, tuple[Column, ...]] = {
    "algorithms": (
        GREEDY,
        SAMPLED,
        Column("area", "mean of greedy held-out success over all attempts, the start included", lambda run: run.area("greedy"), "percent"),
        Column("tied groups", "share of sampled groups whose rewards are all equal, before replay", lambda run: run.mean("zero_variance"), "percent"),
        Column("carrying", "attempts per batch that carry a gradient, replayed ones included", lambda run: run.mean("carrying", None)),
        Column("tokens", "written per attempt", lambda run: run.mean("tokens_per_rollout")),
        Column("entropy", "nats per trained token, over the last quarter of attempts", lambda run: run.mean("entropy", "trained_tokens", late=True), "fine"),
        Column("replayed", "attempts of the run that gave way to an earlier success", lambda run: run.total("replayed")),
        Column("pruned", "questions left out at the end", lambda run: run.last("pool/pruned")),
    ),
    "steering": (
        Column("unique searches", "per attempt, over the last quarter of attempts, as the next four", lambda run: run.mean("unique_searches", late=True), "fine"),
        Column("explored pages", "new pages that state a clue which no other has stated, or none", lambda run: run.mean("explorations", late=True), "fine"),
        Column("verifying pages", "new pages that only state clues which others have stated", lambda run: run.mean("verifications", late=True), "fine"),
        Column("redundant", "searches nearly like an earlier one, and pages opened again or to verify once too often", _redundant, "fine"),
        Column("calls", "searches and visits", lambda run: run.mean("tool_calls", late=True), "fine"),
        Column("tokens", "written per attempt, over the same", lambda run: run.mean("tokens_per_rollout", late=True)),
        Column("success in training", "over the same", lambda run: run.mean("success", late=True), "percent"),
        GREEDY,
        SAMPLED,
    ),
}  # fmt: skip
COMPUTE = (
    Column("attempts", "sampled", lambda run: run.spent[-1] if run.lines else None),
    Column("updates", "of weights", lambda run: run.total("updates")),
    Column("tokens sampled", "written by the policy", lambda run: run.total("sampled_tokens")),
    Column("tokens trained", "with a weight in the loss", lambda run: run.total("trained_tokens")),
    Column("tokens forwarded", "through the learner, prompts and results included", lambda run: run.total("forwarded_tokens")),
    Column("seconds", "of sampling and learning; measuring and checkpoints aside", lambda run: run.total("step_s")),
)  # fmt: skip
"""What a run cost."""
CURVES: Mapping[TableName, tuple[str, ...]] = {
    "algorithms": ("zero_variance", "entropy", "tokens_per_rollout"),
    "steering": ("unique_searches", "explorations", "tool_calls"),
}
"""Metrics that are drawn beside held-out success."""
