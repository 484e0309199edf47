"""Learning from pairs: one attempt preferred to another at the same question.

    pair 0   chosen     sum of log pi - log ref over its tokens    +1.2
             rejected                                              -0.4
    margin                                                          1.6
    loss     -log sigmoid(beta * 1.6)                               0.616 at beta 0.1

DPO (Rafailov et al. 2023), over the tokens that the policy wrote: results of tools are not in the batch, so they neither
raise nor lower the margin. `per_token` divides the sum of each row by its tokens (TRL `sigmoid_norm`). Without `reference`
and with `per_token` and `gamma` it is SimPO. `label_smoothing` is that of conservative DPO: the share of labels that are
wrong.

Both rows of a pair have to be in one batch (`TrainRow.bundle`). Tokens with a ce_weight other than 0 take part, and that
weight, one number for all tokens of a pair, is the weight of the pair: 1 / pairs of the whole step for their mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from datagen.errors import ConfigError, TrainingError
from datagen.training.objectives.finite import require_finite
from datagen.training.objectives.ratios import row_sums
from datagen.training.tokens import Loss, TokenBatch


@dataclass(frozen=True, slots=True)
class PreferenceLoss:
    """Settings; calling it with tokens gives the loss, and per pair: who won, by how much, and where both went."""

    beta: float = 0.1
    label_smoothing: float = 0.0
    per_token: bool = False
    """Means over tokens rather than sums: longer attempts do not weigh more. Betas are then larger, 2 to 10."""
    reference: bool = True
    """Off, log-probabilities are taken as they are."""
    gamma: float = 0.0
    """Margin that is asked for, in units of beta times the margin (SimPO: 0.5 to 1.5)."""

    def __post_init__(self) -> None:
        if self.beta <= 0:
            raise ConfigError(f"beta of the preference loss is {self.beta}; it must be greater than 0")
        if not 0 <= self.label_smoothing < 0.5:
            raise ConfigError(f"label_smoothing is {self.label_smoothing}; it lies in 0 to below 0.5")

    @property
    def needs_entropy(self) -> bool:
        return False

    def __call__(self, tokens: TokenBatch) -> Loss:
        chosen, rejected = _places(tokens)
        logprobs = tokens.logprobs.float() if tokens.logprobs.dtype.itemsize < 4 else tokens.logprobs
        on = tokens.ce_weight != 0
        reference = torch.where(on, tokens.ref_logprobs, 0.0) if self.reference else torch.zeros_like(logprobs)
        require_finite(logprobs=logprobs.detach(), ref_logprobs=reference, ce_weight=tokens.ce_weight)
        lengths = row_sums(on.to(logprobs.dtype), tokens.rows, tokens.n_rows)
        weights = _pair_weights(tokens, lengths, chosen, rejected)
        scores = row_sums((logprobs - reference) * on, tokens.rows, tokens.n_rows)
        if self.per_token:
            scores = scores / lengths.clamp(min=1)
        margin = scores[chosen] - scores[rejected]
        logits = self.beta * margin - self.gamma
        losses = -(1 - self.label_smoothing) * logsigmoid(logits) - self.label_smoothing * logsigmoid(-logits)
        pairs = torch.tensor(len(chosen), device=logprobs.device)
        plain = row_sums(logprobs.detach() * on, tokens.rows, tokens.n_rows)
        measures = {
            "preferred": ((margin.detach() > 0).sum().float(), pairs),
            "margin": (self.beta * margin.detach().sum(), pairs),
            "reward_chosen": (self.beta * scores.detach()[chosen].sum(), pairs),
            "reward_rejected": (self.beta * scores.detach()[rejected].sum(), pairs),
            # Both likelihoods can fall while the margin grows: watch the chosen one.
            "logprob_chosen": (plain[chosen].sum(), lengths[chosen].sum()),
            "logprob_rejected": (plain[rejected].sum(), lengths[rejected].sum()),
            "preference_loss": (losses.detach().sum(), pairs),
        }
        return Loss((weights * losses).sum(), measures)


def _places(tokens: TokenBatch) -> tuple[Tensor, Tensor]:
    """(M,) rows of the chosen and of the rejected of each pair, in the order of the pairs' numbers."""
    if tokens.pair is None or tokens.chosen is None:
        raise TrainingError("a preference loss needs rows in pairs: give the two rows of a pair one bundle")
    paired = tokens.pair >= 0
    places = torch.arange(tokens.n_rows, device=tokens.rows.device)
    found = []
    for side, mask in (("chosen", tokens.chosen), ("rejected", ~tokens.chosen)):
        rows = places[paired & mask]
        order = tokens.pair[rows].argsort(stable=True)
        numbers = tokens.pair[rows][order]
        if (numbers[1:] == numbers[:-1]).any():
            twice = sorted(set(numbers[1:][numbers[1:] == numbers[:-1]].tolist()))
            raise TrainingError(f"pairs {twice} have two {side} rows in one pass; a pair has one of each")
        found.append((rows[order], numbers))
    (chosen, left), (rejected, right) = found
    if not torch.equal(left, right):
        alone = sorted(set(left.tolist()) ^ set(right.tolist()))
        raise TrainingError(f"pairs {alone} have one of their two rows in this pass; give both rows one bundle")
    return chosen, rejected


def _pair_weights(tokens: TokenBatch, lengths: Tensor, chosen: Tensor, rejected: Tensor) -> Tensor:
    """(M,) the one weight of all tokens of a pair."""
    if (lengths[chosen] == 0).any() or (lengths[rejected] == 0).any():
        raise TrainingError("a row of a pair has no token with a ce_weight: leave pairs without written tokens out")
    mean = row_sums(tokens.ce_weight, tokens.rows, tokens.n_rows) / lengths.clamp(min=1).to(tokens.ce_weight.dtype)
    uneven = (tokens.ce_weight - mean[tokens.rows]).abs() > 1e-4 * mean[tokens.rows].abs()
    if (uneven & (tokens.ce_weight != 0)).any() or not torch.allclose(mean[chosen], mean[rejected], rtol=1e-4):
        raise TrainingError("tokens of one pair have different weights: give all of them 1 / pairs of the step")
    return mean[chosen]
