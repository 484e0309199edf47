"""Writes down what a run measures, and takes it back when the run resumes from before.

    recorder = Recorder(folder, watchers=[Monitors()], listeners=[progress])
    recorder.record("rl", 12, {"reward": 0.41, "entropy": 0.83, "kl_ref": None})
    checkpoint["recorder"] = recorder.state_dict()
    ...                                                  # kill -9 at step 57; the checkpoint is of step 50
    recorder = Recorder(folder, ...)
    recorder.load_state_dict(checkpoint["recorder"])     # as if steps 51 to 57 had never been

Invariant: after a resume every update is in the files once. Phases follow one another; what is measured on the way, such
as held-out success, carries the phase and the step of the update it was measured after.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from datagen.training.recording.alarms import Alarm
from datagen.training.recording.evaluations import EvaluationRecord
from datagen.training.recording.journal import Journal, Line
from datagen.training.recording.stream import (
    ALARMS_FILE,
    EVALUATIONS_FILE,
    METRICS_FILE,
    MetricLine,
    read_evaluations,
    read_metrics,
)
from datagen.training.recording.tensorboard import EventWriter

log = logging.getLogger("datagen.training.recording")

Values = Mapping[str, float | None]
RESERVED = ("phase", "step")


class Watcher(Protocol):
    """Looks at the stream and says what is wrong; `training.monitors.Monitors` is one."""

    def observe(self, phase: str, step: int, values: Values) -> Sequence[Alarm]: ...

    def observe_evaluation(self, record: EvaluationRecord) -> Sequence[Alarm]: ...

    def replay(self, lines: Iterable[MetricLine], evaluations: Iterable[EvaluationRecord]) -> None:
        """Forget everything, and look at what is left of an earlier start; it raises no alarm again."""
        ...

    def check(self, alarms: Sequence[Alarm]) -> None:
        """Called with what was just recorded; raises where one of them is to end the run."""
        ...


class Listener(Protocol):
    """Is told what was recorded; `training.progress.TrainingProgress` is one."""

    def recorded(self, phase: str, step: int, values: Values) -> None: ...

    def evaluated(self, record: EvaluationRecord) -> None: ...

    def alarmed(self, alarm: Alarm) -> None: ...


class Recorder:
    """The files of one run."""

    def __init__(
        self,
        folder: Path | str,
        *,
        watchers: Sequence[Watcher] = (),
        listeners: Sequence[Listener] = (),
        tensorboard: bool = True,
        say: Callable[[str], None] = log.warning,
        writes: bool = True,
    ) -> None:
        """`writes` is False on all ranks but the first: they record nothing. `say` is told, once, that tensorboardX is missing, or that curves of before are gone."""
        self.folder = Path(folder)
        self._writes = writes
        if not writes:
            return
        self._metrics = Journal(self.folder / METRICS_FILE)
        self._evaluations = Journal(self.folder / EVALUATIONS_FILE)
        self._alarms = Journal(self.folder / ALARMS_FILE)
        self._watchers, self._listeners, self._say = tuple(watchers), tuple(listeners), say
        self._events = EventWriter(self.folder / "tensorboard", say) if tensorboard else None
        self._replay()

    def record(self, phase: str, step: int, values: Values) -> list[Alarm]:
        """Write the figures of one update; returns the alarms they raised.

        Names are those of `METRICS` or your own; `phase` and `step` are taken. Figures that are no numbers are kept.
        Raises `StorageError` where the disk is full, and `TrainingError` where an alarm is to end the run.
        """
        if not self._writes:
            return []
        taken = [name for name in RESERVED if name in values]
        if taken:
            raise ValueError(f"{', '.join(taken)} cannot be the name of a metric; every line has one already")
        plain = {name: None if value is None else float(value) for name, value in values.items()}
        self._metrics.append({"phase": phase, "step": step, **plain})
        self._steps[phase] = max(step, self._steps.get(phase, 0))
        if self._events is not None:
            self._events.write(phase, step, plain)
        for listener in self._listeners:
            listener.recorded(phase, step, plain)
        return self._raise(lambda watcher: watcher.observe(phase, step, plain))

    def evaluation(self, record: EvaluationRecord) -> list[Alarm]:
        """Write one measurement; returns the alarms it raised."""
        if not self._writes:
            return []
        self._evaluations.append(record.to_line())
        if self._events is not None and record.success is not None:
            name = f"success/{record.set}/{record.mode}"
            self._events.write(record.phase or "evaluation", record.step, {name: record.success})
        for listener in self._listeners:
            listener.evaluated(record)
        return self._raise(lambda watcher: watcher.observe_evaluation(record))

    def _raise(self, looks: Callable[[Watcher], Sequence[Alarm]]) -> list[Alarm]:
        alarms: list[Alarm] = []
        for watcher in self._watchers:
            found = looks(watcher)
            for alarm in found:
                self._alarms.append(asdict(alarm))
                for listener in self._listeners:
                    listener.alarmed(alarm)
            watcher.check(found)
            alarms += found
        return alarms

    def rewind(self, phase: str, step: int) -> int:
        """Drop everything after update `step` of `phase`, later phases included; returns how many lines.

        For a resume whose checkpoint holds no `state_dict`. A step of -1 drops all of the phase.
        """
        if not self._writes:
            return 0
        order = list(self._steps)
        later = set(order[order.index(phase) + 1 :]) if phase in order else set()

        def wanted(line: Line) -> bool:
            return line["phase"] not in later and (line["phase"] != phase or line["step"] <= step)

        dropped = sum(journal.keep(wanted) for journal in self._journals().values())
        if self._events is not None:
            self._events.rewind({phase: step} | dict.fromkeys(later, -1))
        self._replay()
        return dropped

    def state_dict(self) -> dict[str, Any]:
        """Where the files end now; JSON values."""
        if not self._writes:
            return {}
        if self._events is not None:
            self._events.flush()
        return {"bytes": {name: journal.size for name, journal in self._journals().items()}, "steps": dict(self._steps)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Drop what was written since. Curves that are gone are said and not missed: they train nothing."""
        if not self._writes:
            return
        phases = list(self._steps)
        for name, journal in self._journals().items():
            missing = journal.cut(state["bytes"][name])
            if missing:
                self._say(
                    f"{journal.path} lacks {missing:,} bytes that it had at the checkpoint: the curves begin later."
                )
        if self._events is not None:
            self._events.rewind({phase: state["steps"].get(phase, -1) for phase in phases})
        self._replay()

    def close(self) -> None:
        if self._writes and self._events is not None:
            self._events.close()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _journals(self) -> dict[str, Journal]:
        return {"metrics": self._metrics, "evaluations": self._evaluations, "alarms": self._alarms}

    def _replay(self) -> None:
        """Know what the files know."""
        lines = read_metrics(self.folder)
        self._steps: dict[str, int] = {}
        for line in lines:
            self._steps[line.phase] = max(line.step, self._steps.get(line.phase, 0))
        for watcher in self._watchers:
            watcher.replay(lines, read_evaluations(self.folder))
