"""What a sweep came to: means over seeds with their intervals, and differences to the first arm seed by seed.

    table = tabulate(plan)
    table.markdown()          for the log
    write_table(plan)         table.md, table.json and curves.png in the sweep's folder

Intervals are Student's, of 95 %, over seeds. A difference is taken between runs of one seed, which drew the same questions
in the same order, so what a seed has of luck in its questions is in both and goes away. Runs that are not finished are in no
figure and are named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from datagen import storage
from datagen.storage import write_atomic
from datagen.training.intervals import Interval, mean_interval
from datagen.training.recording import EvaluationRecord
from datagen.training.sweep_figures import COLUMNS, COMPUTE, Column, RunFigures, measured_set, read_run, read_start
from datagen.training.sweeping import Outcome, SweepPlan, outcome_of, refuse_other_settings

MARKDOWN_FILE, JSON_FILE, CURVES_FILE = "table.md", "table.json", "curves.png"


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure of one arm."""

    values: Mapping[int, float]
    """By seed; runs that did not measure it are not in it."""

    @property
    def interval(self) -> Interval | None:
        """Of the mean over seeds; None for fewer than two, which say nothing about their spread."""
        return mean_interval(list(self.values.values())) if len(self.values) > 1 else None

    @property
    def mean(self) -> float | None:
        return fmean(self.values.values()) if self.values else None

    def less(self, first: Cell) -> Cell:
        """The differences to the first arm's, of seeds that both have."""
        return Cell({seed: value - first.values[seed] for seed, value in self.values.items() if seed in first.values})

    def as_json(self) -> dict[str, Any]:
        interval = self.interval
        ends = {"low": None, "high": None} if interval is None else {"low": interval.low, "high": interval.high}
        return {"mean": self.mean, **ends, "seeds": {str(seed): value for seed, value in self.values.items()}}


@dataclass(frozen=True, slots=True)
class SweepTable:
    """All figures of a sweep as far as it is."""

    plan: SweepPlan
    runs: tuple[RunFigures, ...]
    """Those that are finished."""
    open: tuple[Outcome, ...]
    """The others."""
    start: tuple[EvaluationRecord, ...]
    """Measurements of the policy that all began with, on the set of the table."""

    @property
    def arms(self) -> list[str]:
        return list(self.plan.sweep.arms)

    @property
    def columns(self) -> tuple[Column, ...]:
        return COLUMNS[self.plan.sweep.table]

    def seeds(self, arm: str) -> list[int]:
        """Those that are finished."""
        return [run.seed for run in self.runs if run.arm == arm]

    @property
    def shared(self) -> list[int]:
        """Seeds that are finished in every arm."""
        return [seed for seed in self.plan.sweep.seeds if all(seed in self.seeds(arm) for arm in self.arms)]

    def cell(self, arm: str, column: Column) -> Cell:
        measured = {run.seed: column.measure(run) for run in self.runs if run.arm == arm}
        return Cell({seed: value for seed, value in measured.items() if value is not None})

    def difference(self, arm: str, column: Column) -> Cell:
        """To the first arm, seed by seed."""
        return self.cell(arm, column).less(self.cell(self.arms[0], column))

    def as_json(self) -> dict[str, Any]:
        """Everything that the Markdown says, and the figures of every seed."""
        sweep = self.plan.sweep
        compared = (*self.columns, *COMPUTE)
        return {
            "name": self.plan.name,
            "note": sweep.note,
            "start": {one.mode: one.success for one in self.start},
            "policy": self.plan.runs[0].section.model.path,
            "set": measured_set(self.plan),
            "attempts": sweep.attempts,
            "seeds": list(sweep.seeds),
            "seeds_of_all_arms": self.shared,
            "settings": {"set": list(sweep.set)} | {name: list(laid) for name, laid in sweep.arms.items()},
            "open": [{"arm": o.arm, "seed": o.seed, "state": o.state, "sentence": o.sentence} for o in self.open],
            "arms": {arm: {one.name: self.cell(arm, one).as_json() for one in compared} for arm in self.arms},
            "differences": {
                arm: {one.name: self.difference(arm, one).as_json() for one in self.columns} for arm in self.arms[1:]
            },
        }

    def markdown(self) -> str:
        """Sentences on what is there, the table of means, that of differences, and that of compute."""
        head = [f"**{self.plan.name}.** {self.plan.sweep.note}".rstrip(), "", *self._sentences(), ""]
        means = ["Mean over seeds [95 %, Student]:", "", *_table(("arm", "seeds"), self.columns, self._means())]
        first = self.arms[0]
        chance = _by_chance((len(self.arms) - 1) * len(self.columns))
        against = [
            f"Difference to {first}, mean over seeds that both have [95 %, Student, paired]. {chance}",
            "",
            *_table(("arm", "pairs"), self.columns, self._differences()),
        ]
        cost = ["What a run cost, mean over seeds:", "", *_table(("arm", "seeds"), COMPUTE, self._cost())]
        legend = ["; ".join(f"{one.name}{_unit(one)}: {one.meaning}" for one in self.columns) + "."]
        arms = [f"- {arm}: {', '.join(f'`{one}`' for one in laid) or 'the base'}" for arm, laid in self._laid()]
        parts = [head, means, against, cost, legend, arms] if len(self.arms) > 1 else [head, means, cost, legend, arms]
        return "\n".join("\n".join([*part, ""]) for part in parts)

    def _laid(self) -> list[tuple[str, Sequence[str]]]:
        every = [("every arm", self.plan.sweep.set)] if self.plan.sweep.set else []
        return [*every, *self.plan.sweep.arms.items()]

    def _sentences(self) -> list[str]:
        """What is there, in plain words."""
        sweep, policy = self.plan.sweep, self.plan.runs[0].section.model.path
        questions = max((len(one.per_question) for one in self.start), default=0)
        asked = f" ({questions:,} questions)" if questions else ""
        begun = f"{len(self.arms)} arms from {policy} over {sweep.base}, {sweep.attempts:,} sampled attempts each"
        there = f"Finished: {len(self.runs)} of {len(self.plan.runs)} runs."
        lines = [f"{begun}; held out: {measured_set(self.plan)}{asked}. {there}"]
        if not self.open:
            return [*lines, f"Every arm has all its seeds: {_numbers(sweep.seeds)}."]
        shared = f"seeds {_numbers(self.shared)}" if self.shared else "no seed"
        lines.append(
            f"**This sweep is not whole**: of seeds {_numbers(sweep.seeds)}, {shared} {'are' if self.shared else 'is'} there in every arm. "
            "Means of arms with different seeds cannot be compared; differences can."
        )
        for arm in self.arms:
            missing = [f"{one.seed} ({_why(one)})" for one in self.open if one.arm == arm]
            lines += [f"Missing of {arm}: seed {', '.join(missing)}."] if missing else []
        return lines

    def _means(self) -> list[list[str]]:
        rows = [
            [arm, str(len(self.seeds(arm)))] + [_said(self.cell(arm, c), c) for c in self.columns] for arm in self.arms
        ]
        known = {mode: one for one in self.start if (mode := one.mode) in ("greedy", "sampled")}
        of_start = {"success, greedy": known.get("greedy"), "success, T = 1": known.get("sampled")}
        begun = [_share(of_start.get(column.name)) for column in self.columns]
        return [["start", "", *begun], *rows] if known else rows

    def _differences(self) -> list[list[str]]:
        rows = []
        for arm in self.arms[1:]:
            cells = [self.difference(arm, column) for column in self.columns]
            pairs = max((len(cell.values) for cell in cells), default=0)
            rows.append(
                [arm, str(pairs)] + [_said(c, one, signed=True) for c, one in zip(cells, self.columns, strict=True)]
            )
        return rows

    def _cost(self) -> list[list[str]]:
        return [
            [arm, str(len(self.seeds(arm)))] + [_number(self.cell(arm, one).mean, one) for one in COMPUTE]
            for arm in self.arms
        ]


def tabulate(plan: SweepPlan) -> SweepTable:
    """Read what is there. Raises `RunDirectoryError` where runs of the folder were made under other settings."""
    refuse_other_settings(plan)
    wanted = measured_set(plan)
    start = [one for one in read_start(plan) if one.set == wanted]
    ends = [(run, outcome_of(run)) for run in plan.runs]
    runs = tuple(read_run(plan, run, start) for run, outcome in ends if outcome.state == "finished")
    return SweepTable(plan, runs, tuple(o for _, o in ends if o.state != "finished"), tuple(start))


def write_table(plan: SweepPlan) -> SweepTable:
    """Write the table in both forms, and mean curves where a run is finished, into the sweep's folder."""
    from datagen.training.sweep_curves import draw_sweep

    table = tabulate(plan)
    plan.folder.mkdir(parents=True, exist_ok=True)
    write_atomic(plan.folder / MARKDOWN_FILE, table.markdown().encode())
    storage.write_json(plan.folder / JSON_FILE, table.as_json())
    if table.runs:
        write_atomic(Path(plan.folder, CURVES_FILE), draw_sweep(table))
    return table


# Words ---------------------------------------------------------------------------------------------------------------


def _table(heads: Sequence[str], columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[str]:
    names = [*heads, *(f"{one.name}{_unit(one)}" for one in columns)]
    return [
        f"| {' | '.join(names)} |",
        f"|---|{'---:|' * (len(names) - 1)}",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def _unit(column: Column) -> str:
    return ", %" if column.form == "percent" else ""


def _said(cell: Cell, column: Column, *, signed: bool = False) -> str:
    if cell.mean is None:
        return "not measured"
    middle, interval = _number(cell.mean, column, signed=signed), cell.interval
    if interval is None:
        return f"{middle} (one seed)"
    low, high = (_number(end, column, signed=signed) for end in (interval.low, interval.high))
    return f"{middle} [{low}, {high}]"


def _number(value: float | None, column: Column, *, signed: bool = False) -> str:
    if value is None:
        return "not measured"
    sign = "+" if signed else ""
    if column.form == "percent":
        return f"{100 * value:{sign}.1f}"
    if column.form == "fine":
        return f"{value:{sign}.3f}"
    return f"{value:{sign},.1f}" if abs(value) < 1_000 else f"{value:{sign},.0f}"


def _share(record: EvaluationRecord | None) -> str:
    """Of the start, which is one policy: its interval is over questions."""
    return "" if record is None or record.success is None else f"{100 * record.success:.1f}"


def _by_chance(count: int) -> str:
    expected = max(1, round(count / 20))
    return f"Intervals are not corrected for their number: of {count} where nothing differs, about {expected} would leave 0 out."


def _why(outcome: Outcome) -> str:
    if outcome.state == "failed":
        return f"failed: {outcome.sentence}"
    return "begun, not finished" if outcome.state == "begun" else "not begun"


def _numbers(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))
