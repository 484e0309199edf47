"""An attempt as training sees it: tokens, who wrote them, and what it was worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from datagen.records.trajectory import Termination, Transcript
from datagen.training.rows import Floats, Ints


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """Tokens that were one context of the model. Arrays have one entry per token."""

    input_ids: Ints
    written: NDArray[np.bool_]
    """Tokens that the model sampled; never the first."""
    logprobs: Floats
    """As the engine gave them; 0 where not written."""


@dataclass(frozen=True, slots=True, eq=False)
class Rollout:
    """One attempt at one question.

    `reward` and `correct` are None where the infrastructure broke or nobody could tell: such an attempt stays out of
    baselines and out of training.
    """

    question_id: str
    rollout_id: str
    sequences: tuple[Sampled, ...]
    """One, unless the context was rewritten on the way."""
    reward: float | None
    correct: bool | None
    termination: Termination
    version: int = 0
    """Updates that the weights had seen when the first token was sampled."""
    turns: int = 0
    searches: int = 0
    visits: int = 0
    parse_failures: int = 0
    """Turns that were no call and no answer."""
    transcript: Transcript | None = None
    rewards: Mapping[str, float | None] = field(default_factory=dict)
    """All reward forms that were computed, by name."""
    replayed: bool = False
    """Taken from the store of successes rather than sampled for this batch."""

    @property
    def tokens(self) -> int:
        """Tokens that the model wrote."""
        return int(sum(part.written.sum() for part in self.sequences))


@dataclass(frozen=True, slots=True)
class Group:
    """Attempts at one question that are compared with each other."""

    question_id: str
    rollouts: tuple[Rollout, ...]
