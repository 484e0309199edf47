"""How a run is getting on, for whoever watches: a bar on a terminal, lines elsewhere, nothing where it is to be quiet.

    with TrainingProgress([Phase("sft", 400), Phase("rl", 100, unit="batches")]) as progress:
        recorder = Recorder(folder, watchers=[Monitors()], listeners=[progress])

    sft  ━━━━━━━━━━━╸      212/400 updates  9,840 tokens/s  1:12 left, then rl  nll 0.412  held-out 61.2 %

Time left is that of the steps left: the median of the steps of late times how many there are, so that one slow step, an
evaluation, or the hour that the process was not running say nothing about it. Phases that have not begun have no pace,
and none is invented for them; they are named.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from datagen.training.recording.alarms import Alarm
from datagen.training.recording.evaluations import EvaluationRecord

RECENT = 20
"""Steps whose median is the pace."""
LINES = 20
"""Lines per phase where there is no terminal, apart from measurements and alarms."""
SHOWN = (
    ("nll", "nll {:.3f}"),
    ("loss", "loss {:.3f}"),
    ("reward", "reward {:.3f}"),
    ("success", "right {:.1%}"),
    ("entropy", "entropy {:.2f}"),
)
"""Figures of the newest step, in this order. The loss of reinforcement says nothing, so it is shown only alone."""
SPEEDS = ("tokens_per_s", "sampled_tokens_per_s")


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the run, by the name that its metrics carry."""

    name: str
    steps: int | None = None
    """None where nobody knows."""
    unit: str = "updates"


class TrainingProgress:
    """A listener of the recorder."""

    def __init__(
        self,
        phases: Sequence[Phase],
        *,
        console: Console | None = None,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`quiet` shows nothing at all, for tests and for ranks that do not record."""
        self._phases = {phase.name: phase for phase in phases}
        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._quiet, self._clock = quiet, clock
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[steps]}"),
            TextColumn("{task.fields[state]}"),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._at = 0.0
        self._phase = ""
        self._pace: deque[float] = deque(maxlen=RECENT)
        self._measured = ""

    def __enter__(self) -> TrainingProgress:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def recorded(self, phase: str, step: int, values: Mapping[str, float | None]) -> None:
        """A step was made."""
        now = self._clock()
        if phase != self._phase:  # what came before its first step was not all the step's: opening, filling, compiling
            self._phase = phase
            self._pace.clear()
        else:
            self._pace.append(now - self._at)
        self._at = now
        state = "  ".join(part for part in (self._speed(values), self.time_left(step), _figures(values)) if part)
        planned = self._phases.get(phase, Phase(phase))
        steps = f"{step:,} {planned.unit}" if planned.steps is None else f"{step:,}/{planned.steps:,} {planned.unit}"
        if self._bar.disable:
            if _has_a_line(step, planned.steps):
                self.say(f"{phase}  {steps}  {state}")
            return
        if phase not in self._tasks:
            self._tasks[phase] = self._bar.add_task(phase, total=planned.steps, steps="", state="")
        self._bar.update(self._tasks[phase], completed=step, steps=steps, state=f"{state}{self._measured}")

    def evaluated(self, record: EvaluationRecord) -> None:
        """A policy was measured; the time this took is no step's."""
        self._at = self._clock()
        found = record.interval()
        if found is None:
            self.say(f"{record.set}, {record.mode_name}: nothing could be graded")
            return
        if record.mode != "no_search":
            self._measured = f"  {record.set} {found.value:.1%}"
        place = f"after update {record.step:,} of {record.phase}" if record.phase else "measured"
        self.say(
            f"{record.policy} {place}: {found.value:.1%} of {record.n:,} right on {record.set}, {record.mode_name} "
            f"({found.low:.1%} to {found.high:.1%})"
        )

    def alarmed(self, alarm: Alarm) -> None:
        self.say(f"alarm: {alarm.sentence}", style="yellow")

    def say(self, text: str, *, style: str | None = None) -> None:
        """A line above the bar."""
        if not self._quiet:
            self._console.print(text, style=style, markup=False)

    def time_left(self, step: int) -> str:
        """Of the phase that is under way, and what comes after it."""
        planned = self._phases.get(self._phase)
        if planned is None or planned.steps is None:
            return ""
        names = list(self._phases)
        later = names[names.index(self._phase) + 1 :]
        rest = f", then {', '.join(later)}" if later else ""
        if not self._pace:
            return f"no pace yet{rest}"
        return f"{clock_time(median(self._pace) * max(0, planned.steps - step))} left{rest}"

    def _speed(self, values: Mapping[str, float | None]) -> str:
        found = next((values[name] for name in SPEEDS if values.get(name) is not None), None)
        return "" if found is None else f"{found:,.0f} tokens/s"


def _figures(values: Mapping[str, float | None]) -> str:
    found = {name: form.format(values[name]) for name, form in SHOWN if values.get(name) is not None}
    if len(found) > 1:
        found.pop("loss", None)
    return "  ".join(found.values())


def _has_a_line(step: int, steps: int | None) -> bool:
    """The first step, the last, and `LINES` between; powers of two where nobody knows how many there are."""
    if steps is None:
        return step & (step - 1) == 0
    return step in (1, steps) or step % max(1, steps // LINES) == 0


def clock_time(seconds: float) -> str:
    """As in 1:12 or 2:03:40."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
