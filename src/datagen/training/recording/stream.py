"""Reading what a run wrote: figures per update, measurements and alarms, each once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from datagen.training.recording.alarms import Alarm
from datagen.training.recording.evaluations import EvaluationRecord
from datagen.training.recording.journal import as_number, read_lines

METRICS_FILE = "metrics.jsonl"
EVALUATIONS_FILE = "evaluations.jsonl"
ALARMS_FILE = "alarms.jsonl"


@dataclass(frozen=True, slots=True)
class MetricLine:
    """Figures of one update."""

    phase: str
    step: int
    values: Mapping[str, float | None]
    """None for what was not measured in this step."""


def read_metrics(folder: Path | str) -> list[MetricLine]:
    """All updates in the order in which they were first written; lines of one update are laid over each other."""
    found: dict[tuple[str, int], dict[str, float | None]] = {}
    for line in read_lines(Path(folder, METRICS_FILE)):
        phase, step = line.pop("phase"), line.pop("step")
        found.setdefault((phase, step), {}).update({name: as_number(value) for name, value in line.items()})
    return [MetricLine(phase, step, values) for (phase, step), values in found.items()]


def read_evaluations(folder: Path | str) -> list[EvaluationRecord]:
    """All measurements, oldest first; of one that was made twice, the newer."""
    found: dict[tuple[str, int, str, str, str], EvaluationRecord] = {}
    for line in read_lines(Path(folder, EVALUATIONS_FILE)):
        record = EvaluationRecord.from_line(line)
        found[record.phase, record.step, record.policy, record.set, record.mode] = record
    return list(found.values())


def read_alarms(folder: Path | str) -> list[Alarm]:
    """All alarms, oldest first."""
    return [Alarm(**line) for line in read_lines(Path(folder, ALARMS_FILE))]
