"""Rewards of attempts: pure functions of what is known about a log, importable by a trainer in one line.

    from datagen.rollouts.rewards import fathom_steps
    fathom_steps(correct=False, format_ok=True, labels=labels)

`correct` None means that nobody could grade the attempt; every form then gives None, so that an outage never trains a
policy. Nothing heavy is imported: no index, no graph, no Arrow.
"""

from datagen.rollouts.rewards.answers import Checked, check_answer
from datagen.rollouts.rewards.forms import arpo, clues, fathom, infoseek, webexplorer
from datagen.rollouts.rewards.scoring import RewardInputs, score_all, score_batch
from datagen.rollouts.rewards.steps import Counts, StepReward, count_labels, fathom_steps

__all__ = [
    "Checked",
    "Counts",
    "RewardInputs",
    "StepReward",
    "arpo",
    "check_answer",
    "clues",
    "count_labels",
    "fathom",
    "fathom_steps",
    "infoseek",
    "score_all",
    "score_batch",
    "webexplorer",
]
