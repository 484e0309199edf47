"""A run says how it gets on, in the way that its surroundings can show."""

from __future__ import annotations

import io

from rich.console import Console

from datagen.training.progress import Phase, TrainingProgress
from datagen.training.recording import Alarm, EvaluationRecord, Recorder


class Clock:
    """A clock that is moved by hand."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def shown(phases, steps, *, terminal=False, quiet=False):
    """What is printed when every step takes two seconds."""
    stream, clock = io.StringIO(), Clock()
    console = Console(file=stream, force_terminal=terminal, width=200, color_system=None)
    with TrainingProgress(phases, console=console, quiet=quiet, clock=clock) as progress:
        for phase, step, values in steps:
            clock.now += 2
            progress.recorded(phase, step, values)
    return stream.getvalue()


def test_without_a_terminal_there_are_plain_lines_and_not_too_many():
    steps = [("sft", step, {"nll": 1 / step, "tokens_per_s": 9840.0}) for step in range(1, 401)]

    lines = shown([Phase("sft", 400), Phase("rl", 100)], steps).splitlines()

    assert lines[0] == "sft  1/400 updates  9,840 tokens/s  no pace yet, then rl  nll 1.000"
    assert lines[1] == "sft  20/400 updates  9,840 tokens/s  12:40 left, then rl  nll 0.050"
    assert lines[-1] == "sft  400/400 updates  9,840 tokens/s  0:00 left, then rl  nll 0.003"
    assert 20 <= len(lines) <= 22


def test_quiet_is_quiet():
    assert shown([Phase("sft", 4)], [("sft", 1, {"nll": 1.0})], quiet=True) == ""
    assert shown([Phase("sft", 4)], [("sft", 1, {"nll": 1.0})], quiet=True, terminal=True) == ""


def test_on_a_terminal_there_is_a_bar_per_phase():
    text = shown(
        [Phase("sft", 2), Phase("rl", 3)],
        [("sft", 2, {"nll": 0.5}), ("rl", 1, {}), ("rl", 2, {"reward": 0.25, "loss": 0.1})],
        terminal=True,
    )

    assert "━" in text
    assert "2/2 updates" in text
    assert "0:02 left  reward 0.250" in text


def test_time_left_is_that_of_the_steps_left_whatever_one_step_took():
    stream, clock = io.StringIO(), Clock()
    progress = TrainingProgress([Phase("rl", 100)], console=Console(file=stream), clock=clock)
    with progress:
        for step in range(1, 11):
            clock.now += 600 if step == 5 else 3
            progress.recorded("rl", step, {})
        clock.now += 900
        progress.evaluated(EvaluationRecord("rl", "held-out", "greedy", 10, 4, phase="rl", step=10))
        clock.now += 3
        progress.recorded("rl", 11, {})

    assert progress.time_left(11) == "4:27 left"


def test_after_a_resume_time_left_counts_from_the_step_it_resumes_at():
    clock = Clock()
    progress = TrainingProgress([Phase("rl", 100)], console=Console(file=io.StringIO()), clock=clock)
    with progress:
        clock.now += 500  # loading
        progress.recorded("rl", 51, {})
        assert progress.time_left(51) == "no pace yet"
        clock.now += 5
        progress.recorded("rl", 52, {})

    assert progress.time_left(52) == "4:00 left"


def test_a_phase_of_unknown_length_promises_nothing():
    lines = shown([Phase("data")], [("data", step, {}) for step in range(1, 20)]).splitlines()

    assert [line.strip() for line in lines] == [f"data  {step} updates" for step in (1, 2, 4, 8, 16)]


def test_measurements_and_alarms_are_said_as_sentences(tmp_path):
    stream = io.StringIO()
    progress = TrainingProgress([Phase("rl", 100)], console=Console(file=stream, width=200))
    record = EvaluationRecord("rl", "held-out", "sampled", 200, 90, phase="rl", step=50)

    Recorder(tmp_path, listeners=[progress], tensorboard=False).evaluation(record)
    progress.alarmed(Alarm("rl", 50, "no_calls", "Update 50 of rl: the model [never] calls a tool."))
    progress.evaluated(EvaluationRecord("rl", "held-out", "greedy", 0, 0))

    assert stream.getvalue().splitlines() == [
        "rl after update 50 of rl: 45.0% of 200 right on held-out, T = 1 (38.3% to 51.9%)",
        "alarm: Update 50 of rl: the model [never] calls a tool.",
        "held-out, greedy: nothing could be graded",
    ]
