"""What the learner is given: one row is one sequence of tokens with numbers beside every token.

    input_ids       7   81  12  40   9   9  31   2
    rl_weight       0    0   0   w   w   0   w   w      what the policy wrote; results of tools and prompts weigh nothing
    advantage       0    0   0   a   a   0   a   a
    old_logprobs    0    0   0  -.1 -.7  0  -.2 -.1     of the token itself, given all before it, when it was sampled

A number at place t belongs to the token at t, which the model predicts from the tokens before it; the first token is
predicted from nothing, so its weights are 0. The loss of a row is the sum over its tokens of

    rl_weight * policy_loss(logprob, old_logprob, advantage) + ce_weight * (-logprob) + kl_weight * kl(logprob, ref_logprob)

Weights carry the mask and the denominator of the whole step (`objectives.aggregation`), so that gradients of bins, of
accumulated batches and of ranks add up. Algorithms differ in how they fill rows; the learner does not know them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class TrainRow:
    """One sequence. Arrays have one entry per token; those that an objective does not use are None."""

    input_ids: Ints
    rl_weight: Floats | None = None
    ce_weight: Floats | None = None
    kl_weight: Floats | None = None
    advantage: Floats | None = None
    old_logprobs: Floats | None = None
    """Log-probabilities under the policy that the ratio is taken to."""
    ref_logprobs: Floats | None = None
    """Log-probabilities under the reference model."""
    sampler_logprobs: Floats | None = None
    """As the engine gave them, where `old_logprobs` were recomputed; for corrections of that mismatch."""
    policy_id: str = "policy"
    group_id: str = ""
    """Rows that are compared with each other: attempts at one question."""
    rollout_id: str = ""
    """The attempt that the row is a part of; an attempt whose context was rewritten has several rows."""
    bundle: str = ""
    """Rows with one bundle are put into one forward pass: the two of a preference pair."""
    chosen: bool = True
    """In a preference pair: the one to prefer."""
    model_version: int = 0
    """Updates that the model had seen when it wrote the row; for the span that is oldest, if several wrote it."""

    def __post_init__(self) -> None:
        if self.input_ids.ndim != 1 or len(self.input_ids) < 2:
            raise ValueError(f"a row is one sequence of at least two tokens, not of shape {self.input_ids.shape}")
        for name in STREAMS:
            stream = getattr(self, name)
            if stream is not None and stream.shape != self.input_ids.shape:
                raise ValueError(f"{name} has shape {stream.shape} beside {self.input_ids.shape} tokens")
        for name in WEIGHTS:
            stream = getattr(self, name)
            if stream is not None and stream[0] != 0:
                raise ValueError(f"{name} of the first token is {stream[0]}, but nothing predicts that token")

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def trained(self) -> NDArray[np.bool_]:
        """Where any weight is not 0: only these tokens go through the head."""
        mask = np.zeros(len(self), dtype=bool)
        for name in WEIGHTS:
            stream = getattr(self, name)
            if stream is not None:
                mask |= stream != 0
        return mask


WEIGHTS = ("rl_weight", "ce_weight", "kl_weight")
STREAMS = (*WEIGHTS, "advantage", "old_logprobs", "ref_logprobs", "sampler_logprobs")


def with_streams(row: TrainRow, **streams: Any) -> TrainRow:
    """The row with some of its fields replaced."""
    fields = {name: getattr(row, name) for name in TrainRow.__dataclass_fields__}
    return TrainRow(**(fields | streams))
