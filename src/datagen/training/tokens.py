"""The trained tokens of one forward pass, one after another: what objectives are functions of.

Rows of different lengths, packed or padded, come to this one shape, so a loss is written once and holds for all layouts:
flat arrays over the P trained tokens, and for each of them the row that it stands in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class TokenBatch:
    """P trained tokens of R rows. Tensors of shape (P,) unless said otherwise."""

    logprobs: Tensor
    """Under the model that is trained; carries the gradient."""
    rows: Tensor
    """int64: which of the R rows a token stands in; rows come one after another, and tokens in their order."""
    n_rows: int
    rl_weight: Tensor
    ce_weight: Tensor
    kl_weight: Tensor
    advantages: Tensor
    old_logprobs: Tensor
    ref_logprobs: Tensor
    entropy: Tensor | None = None
    """In nats; without a gradient unless the objective asks for one."""
    pair: Tensor | None = None
    """(R,) int64: number of the pair that a row belongs to, -1 for none."""
    chosen: Tensor | None = None
    """(R,) bool: whether it is the preferred one of its pair."""
    sampler_logprobs: Tensor | None = None
    """As the engine gave them, where `old_logprobs` were recomputed by the learner; None where the two are one."""


@dataclass(frozen=True, slots=True, eq=False)
class Loss:
    """A scalar to minimise, which sums over bins and ranks to the loss of the step, and sums to report.

    A measure is (sum, count): the monitor divides the sums of all bins and ranks.
    """

    value: Tensor
    measures: Mapping[str, tuple[Tensor, Tensor]]
    peaks: Mapping[str, Tensor] = field(default_factory=dict)
    """Figures of which the largest of all bins and ranks is reported; minus infinity where there is none."""


class Objective(Protocol):
    """From log-probabilities to a loss. Pure: the same tokens give the same loss."""

    @property
    def needs_entropy(self) -> bool:
        """Whether entropy has to carry a gradient."""
        ...

    def __call__(self, tokens: TokenBatch) -> Loss: ...
