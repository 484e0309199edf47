"""What a report is made of, beside what the run recorded: sentences, arms, settings, lineage, and attempts to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from datagen.records.trajectory import Transcript
from datagen.training.recording import (
    Alarm,
    EvaluationRecord,
    MetricLine,
    read_alarms,
    read_evaluations,
    read_metrics,
)

SAMPLES = 5


@dataclass(frozen=True, slots=True)
class Sample:
    """One attempt, to read."""

    question: str
    expected: str
    correct: bool | None
    transcript: Transcript
    policy: str = ""
    reward: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What a report says that is not in the run's files. Everything may be left out."""

    title: str = "Training run"
    headline: str = ""
    """The first sentence of the page; made from the evaluations where empty."""
    weakened_start: str = ""
    """In what way the start was weakened on purpose: stands in the first line, beside the headline."""
    arms: Mapping[str, Path | str] = field(default_factory=dict)
    """Folders of runs to show side by side, by name, the one that the report is about first; this run alone where empty."""
    start: str = ""
    """The arm that all others went on from, if there is one."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """As in the config; nested."""
    lineage: Mapping[str, Any] = field(default_factory=dict)
    """Releases, snapshots, digests, seeds, code: whatever says where the data and the weights come from."""
    samples: Sequence[Sample] = ()
    notes: Sequence[str] = ()
    """Sentences below the table of evaluations, such as limits of what was measured."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One run, read."""

    name: str
    lines: tuple[MetricLine, ...]
    evaluations: tuple[EvaluationRecord, ...]
    alarms: tuple[Alarm, ...]
    begun: tuple[EvaluationRecord, ...] = ()
    """What was last measured of the run that this one went on from."""

    @classmethod
    def read(cls, name: str, folder: Path | str) -> Self:
        return cls(name, tuple(read_metrics(folder)), tuple(read_evaluations(folder)), tuple(read_alarms(folder)))

    @property
    def offsets(self) -> dict[str, int]:
        """Updates of the run that were made before each phase, in the order of phases."""
        ends: dict[str, int] = {}
        for phase, step in [(line.phase, line.step) for line in self.lines] + [
            (record.phase, record.step) for record in self.evaluations
        ]:
            ends[phase] = max(step, ends.get(phase, 0))
        found, total = {}, 0
        for phase, end in ends.items():
            found[phase] = total
            total += end
        return found

    @property
    def updates(self) -> int:
        """Updates over all phases."""
        return sum({line.phase: line.step for line in self.lines}.values())

    def series(self, metric: str) -> dict[str, list[tuple[int, float]]]:
        """By phase: (updates of the run so far, value), where it was measured; a value that is no number stays one."""
        offsets, found = self.offsets, dict[str, list[tuple[int, float]]]()
        for line in self.lines:
            value = line.values.get(metric)
            if value is not None:
                found.setdefault(line.phase, []).append((offsets[line.phase] + line.step, value))
        return found

    def total(self, metric: str) -> float | None:
        """Sum over all updates; None where one of them did not measure it."""
        values = [line.values[metric] for line in self.lines if metric in line.values]
        known = [value for value in values if value is not None]
        return sum(known) if values and len(known) == len(values) else None

    def mean(self, metric: str) -> float | None:
        """Mean over the updates that measured it."""
        known = [value for line in self.lines if (value := line.values.get(metric)) is not None]
        return sum(known) / len(known) if known else None


def read_arms(folder: Path | str, report: Report) -> list[Arm]:
    """The runs of a report, the one it is about first; those that went on from another know what that came to."""
    folders = report.arms or {Path(folder).name: folder}
    arms = [Arm.read(name, place) for name, place in folders.items()]
    newest = {(r.set, r.mode): r for arm in arms if arm.name == report.start for r in arm.evaluations}
    return [arm if arm.name == report.start else replace(arm, begun=tuple(newest.values())) for arm in arms]


def choose_samples(samples: Sequence[Sample], count: int = SAMPLES) -> list[Sample]:
    """Right and wrong attempts in turn, as they come; those that nobody could grade last."""
    right = [sample for sample in samples if sample.correct]
    wrong = [sample for sample in samples if sample.correct is False]
    ungraded = [sample for sample in samples if sample.correct is None]
    half = max(count - count // 2, count - len(wrong))
    chosen = right[:half]
    chosen += wrong[: count - len(chosen)]
    chosen += ungraded[: count - len(chosen)]
    return sorted(chosen, key=lambda sample: (sample.correct is None, not sample.correct))
