"""What an attempt was worth: the graded trajectory, and the one reward of it that is trained on.

    grader = Grader(assessor, reward_form("step"))
    grade = grader.grade(task, transcript, number=3)        grade.reward 0.42, grade.correct False

A reward function that raises says nothing about the policy: its attempt has no reward and stays out of training. Such
faults are counted by the sentence they came with. Where a whole batch of attempts is lost to them, nothing is left to
learn from, and the run ends with that sentence (`refuse_constant_fault`).
"""

from __future__ import annotations

import importlib
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from datagen.errors import ConfigError, DatagenError, TrainingError
from datagen.records.trajectory import Trajectory, Transcript
from datagen.records.trajectory_rows import REWARDS

if TYPE_CHECKING:
    from datagen.rollouts.collect import Assessor, Task

log = logging.getLogger(__name__)

RewardFunction = Callable[[Trajectory], float | None]
"""From a graded trajectory to its worth; None where nobody can tell."""
NAMES = {"vanilla": "fathom", "step": "fathom_steps"}
"""Fathom's two stages by what the paper calls them (spec fathom §2.1, §3.2)."""


@dataclass(frozen=True, slots=True)
class Grade:
    """Reward and answer check of one attempt, and all that was found out on the way."""

    reward: float | None
    correct: bool | None
    trajectory: Trajectory


def reward_form(name: str) -> RewardFunction:
    """The reward function of a name: vanilla, step, a column of `reward`, or `package.module:function`."""
    column = NAMES.get(name, name)
    if column in REWARDS:
        return lambda trajectory: trajectory.rewards.get(column)
    module, colon, function = name.partition(":")
    if not colon:
        known = ", ".join((*NAMES, *(form for form in REWARDS if form not in NAMES.values())))
        raise ConfigError(f"training.rl.reward is {name!r}; take one of {known}, or package.module:function.")
    try:
        found: RewardFunction = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as exc:
        raise ConfigError(f"training.rl.reward = {name!r} is not there: {exc}.") from exc
    return found


@dataclass(slots=True)
class Grader:
    """Grades attempts and keeps count of what broke on the way."""

    assessor: Assessor
    reward: RewardFunction
    policy: str = "policy"
    """What trajectories call who made them."""
    graded: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    """Sentences of a reward function or of grading that raised, with how often."""

    def grade(self, task: Task, transcript: Transcript, number: int = 0) -> Grade:
        """Grade attempt `number` at a question. What ends a run (no credentials, no money) is raised."""
        self.graded += 1
        trajectory = self.assessor.assess(task, self.policy, number, transcript)
        if trajectory.correct is None:
            return Grade(None, None, trajectory)
        try:
            reward = self.reward(trajectory)
        except DatagenError:
            raise
        except Exception as exc:
            sentence = f"{type(exc).__name__}: {exc}"
            if sentence not in self.faults:
                log.exception("the reward function raised on an attempt at %s", task.id)
            self.faults[sentence] += 1
            return Grade(None, trajectory.correct, trajectory)
        return Grade(None if reward is None else float(reward), trajectory.correct, trajectory)

    def take_counts(self) -> tuple[int, Counter[str]]:
        """Attempts graded and faults since this was asked last."""
        told = self.graded, self.faults
        self.graded, self.faults = 0, Counter()
        return told


def refuse_constant_fault(graded: int, faults: Counter[str], reward: str) -> None:
    """Raise `TrainingError` where every attempt of a batch was lost to a reward function that raised."""
    lost = faults.total()
    if not graded or lost < graded:
        return
    sentence, count = faults.most_common(1)[0]
    raise TrainingError(
        f"the reward function {reward!r} raised on all {graded:,} attempts of a batch ({count:,} times {sentence}). No weight "
        "was changed by them; mend the function and go on with `datagen train CONFIG --resume`."
    )
