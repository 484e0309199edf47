"""What an attempt was worth: the graded trajectory, and the one reward of it that is trained on.

    grader = Grader(assessor, reward_form("step"))
    graded = grader.grade(task, 3, transcript)              the trajectory: right? which calls were worth what?
    grader.worth(graded)                                    0.42; None where nobody can tell

A reward function that raises says nothing about the policy: its attempt has no reward and stays out of training. Such
faults are counted by the sentence they came with. Where a whole batch of attempts is lost to them, nothing is left to
learn from, and the run ends with that sentence (`refuse_constant_fault`).
"""

from __future__ import annotations

import importlib
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from datagen.config.rollouts import StepRewardConfig
from datagen.errors import ConfigError, DatagenError, TrainingError
from datagen.records.trajectory import Trajectory, Transcript
from datagen.records.trajectory_rows import REWARDS
from datagen.rollouts.collect import Assessor, Task
from datagen.rollouts.labels import LabelSettings
from datagen.rollouts.rewards import StepReward, count_labels

log = logging.getLogger(__name__)

RewardFunction = Callable[[Trajectory], float | None]
"""From a graded trajectory to its worth; None where nobody can tell."""
NAMES = {"vanilla": "fathom", "step": "fathom_steps"}
"""Fathom's two stages by what the paper calls them (spec fathom §2.1, §3.2)."""


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


def assessor_of(section: StepRewardConfig | None = None) -> Assessor:
    """Answers are graded by words and values, calls are labelled by rules, with these constants; the paper's if None."""
    section = section or StepRewardConfig()
    return Assessor(
        labels=LabelSettings(verifications=section.verifications),
        step_reward=StepReward(
            format_weight=section.format_weight,
            c1=section.c1,
            c2=section.c2,
            search_cap=section.search_cap,
            query_cap=section.query_cap,
        ),
    )


@dataclass(slots=True)
class Grader:
    """Grades attempts and keeps count of what broke on the way."""

    assessor: Assessor
    reward: RewardFunction
    policy: str = "policy"
    """What trajectories call who made them."""
    asked: int = 0
    """How often the reward function was asked."""
    faults: Counter[str] = field(default_factory=Counter)
    """Sentences with which it raised, and how often."""
    labelled: int = 0
    """Attempts whose calls were labelled."""
    labels: Counter[str] = field(default_factory=Counter)
    """Their calls by what they were worth: unique_searches, explorations, ..."""

    def grade(self, task: Task, number: int, transcript: Transcript) -> Trajectory:
        """Grade attempt `number` at a question."""
        trajectory = self.assessor.assess(task, self.policy, number, transcript)
        if trajectory.correct is not None:
            self.labelled += 1
            self.labels.update(asdict(count_labels(trajectory.labels)))
        return trajectory

    def worth(self, trajectory: Trajectory) -> float | None:
        """The reward; None where the attempt has no grade, or the function raised. What ends a run is raised."""
        if trajectory.correct is None:
            return None
        self.asked += 1
        try:
            reward = self.reward(trajectory)
            return None if reward is None else float(reward)
        except DatagenError:
            raise
        except Exception as exc:
            sentence = f"{type(exc).__name__}: {exc}"
            if sentence not in self.faults:
                log.exception("the reward function raised on an attempt at %s", trajectory.question_id)
            self.faults[sentence] += 1
            return None

    def take_counts(self) -> tuple[int, Counter[str]]:
        """How often the function was asked, and its faults, since this was called last."""
        told = self.asked, self.faults
        self.asked, self.faults = 0, Counter()
        return told

    def take_labels(self) -> dict[str, float]:
        """Calls per attempt, by what they were worth, since this was called last."""
        told = {name: count / self.labelled for name, count in self.labels.items()} if self.labelled else {}
        self.labelled, self.labels = 0, Counter()
        return told


def refuse_constant_fault(asked: int, faults: Counter[str], reward: str) -> None:
    """Raise `TrainingError` where a reward function raised whenever it was asked."""
    if not asked or faults.total() < asked:
        return
    sentence, count = faults.most_common(1)[0]
    raise TrainingError(
        f"the reward function {reward!r} raised on all {asked:,} attempts of a batch ({count:,} times {sentence}). No weight "
        "was changed by them; mend the function and go on with `datagen train CONFIG --resume`."
    )
