"""Learning from demonstrations: make what was written likelier.

    loss = sum over tokens of  ce_weight * (-logprob)

Tokens of prompts and of tools have no weight and are not in the batch. Weights carry the mean over tokens or over
sequences (`objectives.aggregation`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from datagen.training.objectives.finite import require_finite
from datagen.training.tokens import Loss, TokenBatch


@dataclass(frozen=True, slots=True)
class SupervisedLoss:
    """Weighted negative log-likelihood; watches nats per token and the share of tokens above one half."""

    @property
    def needs_entropy(self) -> bool:
        return False

    def __call__(self, tokens: TokenBatch) -> Loss:
        logprobs = tokens.logprobs.float() if tokens.logprobs.dtype.itemsize < 4 else tokens.logprobs
        held, on = logprobs.detach(), tokens.ce_weight != 0
        require_finite(logprobs=held, ce_weight=tokens.ce_weight)
        count = on.sum()
        measures = {
            "nll": (torch.where(on, -held, 0.0).sum(), count),
            # More likely than all other tokens together, hence certainly what greedy decoding would write.
            "likely": ((on & (held > -0.6931472)).sum().float(), count),
        }
        if tokens.entropy is not None:
            measures["entropy"] = (torch.where(on, tokens.entropy.detach(), 0.0).sum(), count)
        return Loss(-(tokens.ce_weight * logprobs).sum(), measures)
