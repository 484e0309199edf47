"""The engine that samples and the learner do not compute the same probabilities; a weight makes up for it.

    log-probability of a token     learner, before the update   -1.10      old_logprobs
                                   engine, when it was drawn    -1.30      sampler_logprobs
    weight                         exp(-1.10 + 1.30) = 1.22

Weights multiply the loss of a token and carry no gradient; denominators stay. A weight per sequence is the product of
those of its tokens. `truncate` bounds weights, `mask` drops what lies outside the bounds: TRL's four
`vllm_importance_sampling_mode`s (cap 3 there), and verl's `rollout_is` and IcePop (2 there); spec rl_algorithms §1.5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from datagen.errors import ConfigError
from datagen.training.objectives.ratios import row_means, row_sums

# Products over long sequences leave the range of floats; verl bounds their logarithm by the same number.
LOG_WEIGHT_BOUND = 20.0


@dataclass(frozen=True, slots=True)
class Correction:
    """How weights between learner and sampler are bounded."""

    level: Literal["token", "sequence"] = "token"
    mode: Literal["truncate", "mask"] = "truncate"
    cap: float = 2.0
    floor: float | None = None

    def __post_init__(self) -> None:
        if self.level not in ("token", "sequence") or self.mode not in ("truncate", "mask"):
            raise ConfigError(
                f"loss.correction is {self.level!r}, {self.mode!r}; choose token or sequence, and truncate or mask"
            )
        if self.cap < 1 or (self.floor is not None and not 0 <= self.floor <= 1):
            raise ConfigError(
                f"loss.correction keeps weights from {self.floor} to {self.cap}, which must have 1 between them"
            )

    def weights(self, old: Tensor, sampler: Tensor, mask: Tensor, rows: Tensor, n_rows: int) -> Tensor:
        """(P,) factors on the loss of tokens; `mask` (P,) bool says which tokens a sequence's product is over."""
        gap = ((old - sampler) * mask).detach()
        if self.level == "sequence":
            gap = row_sums(gap, rows, n_rows)[rows]
        weight = gap.clamp(-LOG_WEIGHT_BOUND, LOG_WEIGHT_BOUND).exp()
        floor = 0.0 if self.floor is None else self.floor
        if self.mode == "truncate":
            return weight.clamp(floor, self.cap)
        return torch.where((weight >= floor) & (weight <= self.cap), weight, 0.0)


def near_enough(
    logprobs: Tensor,
    sampler: Tensor,
    advantages: Tensor,
    *,
    limit: float,
    mask: Tensor,
    rows: Tensor,
    n_rows: int,
) -> Tensor:
    """(P,) bool: tokens that DeepSeek-V3.2's off-policy sequence mask keeps.

    Kept are those of an advantage that is not negative, and those of sequences where the policy has moved away from what
    it sampled by at most `limit` nats per token.
    """
    moved = row_means((sampler - logprobs).detach(), mask, rows, n_rows)
    return (advantages >= 0) | (moved <= limit)[rows]


def high_entropy_floor(entropy: Tensor, share: float) -> float:
    """Nats that the given share of tokens reaches, for `PolicyLoss.entropy_floor` (80/20 rule: share 0.2).

    Take it over all trained tokens of a step: a floor per bin would make the loss depend on how rows were packed.
    """
    if not 0 < share <= 1:
        raise ConfigError(f"the share of tokens of high entropy is {share}; it lies above 0 and at most at 1")
    # torch.quantile refuses more than 16 million values.
    ordered = entropy.detach().double().sort().values
    if not len(ordered):
        raise ConfigError("no token to take the entropy of; leave loss.entropy_floor None for this step")
    place = (1 - share) * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return float(ordered[below] + (ordered[above] - ordered[below]) * (place - below))
