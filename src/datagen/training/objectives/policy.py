"""The loss of a policy on what it sampled: clipped surrogates, CISPO, divergence from a reference, entropy.

    loss = sum over tokens of  rl_weight * (surrogate - entropy_coef * entropy)  +  ce_weight * (-logprob)
                               +  kl_weight * kl

    clip      max(-A r, -A clip(r, 1 - low, 1 + high))     PPO, GRPO, DAPO, Dr.GRPO; GSPO with the ratio of a sequence
      delta     the first r is bounded from above            INTELLECT-2; TRL `delta`
      dual_clip where A < 0, at most -A c                    verl: always, c = 3
    cispo     -hold(bounded r) A logprob                   no token loses its gradient; TRL bounds r from above by an
                                                           absolute number (`cap`), verl by 1 - low and 1 + high

    one token, A = 1, low = high = 0.2:    r        0.7    1.0    1.3
                                           clip    -0.7   -1.0   -1.2
                                           d/dlogp -0.7   -1.0    0       cispo: -0.8, -1.0, -1.2

Weights are those of the whole step, so losses of bins and ranks add (`objectives.aggregation`). Formulas: spec
rl_algorithms §1.2 and §1.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from datagen.errors import ConfigError, TrainingError
from datagen.training.objectives.correction import Correction, near_enough
from datagen.training.objectives.finite import require_finite
from datagen.training.objectives.kl import VERL_INPUT_CLAMP, VERL_OUTPUT_CLAMP, KLKind, kl_estimate
from datagen.training.objectives.ratios import VERL_LOG_RATIO_CLAMP, RatioLevel, log_ratios
from datagen.training.tokens import Loss, TokenBatch

Measures = Mapping[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True)
class PolicyLoss:
    """Settings of the loss; calling it with tokens gives the loss and what to watch.

    Raises `TrainingError` where an input that matters is not finite, or an array that a setting needs is not there.
    """

    kind: Literal["clip", "cispo"] = "clip"
    clip_low: float = 0.2
    clip_high: float = 0.2
    dual_clip: float | None = None
    """c: with a negative advantage a token costs at most -A c. verl: 3."""
    delta: float | None = None
    """Upper bound of the ratio outside of the clip."""
    cap: float | None = None
    """CISPO: absolute upper bound of the weight (TRL's `epsilon_high`); it replaces both relative bounds."""
    ratio: RatioLevel = "token"
    kl: KLKind = "k3"
    kl_gradient: bool = True
    """Off, the divergence is in the value of the loss, and the policy does not feel it."""
    kl_clamp: bool = False
    """verl's bounds of k3: log-ratio 20, value 10."""
    entropy_coef: float = 0.0
    log_ratio_clamp: float | None = VERL_LOG_RATIO_CLAMP
    """Bound of |log ratio| before exp; None as in TRL."""
    correction: Correction | None = None
    """For engines whose probabilities are not the learner's; needs `sampler_logprobs`."""
    off_policy_limit: float | None = None
    """Nats per token: drops sequences of negative advantage that the policy has moved away from."""
    entropy_floor: float | None = None
    """Nats: only tokens of at least this entropy are reinforced. Denominators stay. `Algorithm.high_entropy_share` sets it anew
    in every update."""

    def __post_init__(self) -> None:
        for field, choices in (("kind", ("clip", "cispo")), ("ratio", get_args(RatioLevel)), ("kl", get_args(KLKind))):
            if getattr(self, field) not in choices:
                raise ConfigError(f"loss.{field} is {getattr(self, field)!r}; choose one of {', '.join(choices)}")
        if self.clip_low < 0 or self.clip_high < 0:
            raise ConfigError(f"loss.clip_low and clip_high are distances from 1: {self.clip_low}, {self.clip_high}")
        if self.dual_clip is not None and self.dual_clip <= 1:
            raise ConfigError(f"loss.dual_clip is {self.dual_clip}; it must be greater than 1")
        if self.kind == "clip" and self.cap is not None:
            raise ConfigError("loss.cap bounds the weight of kind cispo; for kind clip set clip_high or delta")
        if self.kind == "cispo" and (self.delta is not None or self.dual_clip is not None):
            raise ConfigError("loss.delta and loss.dual_clip belong to kind clip; for kind cispo set cap")
        if self.delta is not None and self.delta <= 1 + self.clip_high:
            raise ConfigError(f"loss.delta is {self.delta}; it must be greater than 1 + clip_high")

    @property
    def needs_entropy(self) -> bool:
        return self.entropy_coef != 0

    def __call__(self, tokens: TokenBatch) -> Loss:
        given = _Given.of(tokens)
        log_ratio = log_ratios(
            given.logprobs,
            given.old,
            level=self.ratio,
            mask=given.reinforced,
            rows=tokens.rows,
            n_rows=tokens.n_rows,
            clamp=self.log_ratio_clamp,
        )
        surrogate, cut = self._surrogate(log_ratio, given)
        factor = self._factor(given, tokens)
        value = (tokens.rl_weight * (surrogate if factor is None else surrogate * factor)).sum()
        value = value - (tokens.ce_weight * given.logprobs).sum()
        bound = {"input_clamp": VERL_INPUT_CLAMP, "output_clamp": VERL_OUTPUT_CLAMP} if self.kl_clamp else {}
        divergence = kl_estimate(given.logprobs, given.reference, self.kl, **bound)
        value = value + (tokens.kl_weight * (divergence if self.kl_gradient else divergence.detach())).sum()
        if self.entropy_coef:
            value = value - self.entropy_coef * (tokens.rl_weight * _entropy(tokens, "entropy_coef")).sum()
        measures = {**cut, **_watched(tokens, given, log_ratio.detach(), divergence.detach())}
        if factor is not None:
            measures["kept_weight"] = _mean(factor, given.reinforced)
        return Loss(value, measures, {"logprob_gap_max": _largest(_gap(tokens, given), given.reinforced)})

    def _surrogate(self, log_ratio: Tensor, given: _Given) -> tuple[Tensor, Measures]:
        """(P,) loss of tokens, and shares of tokens whose ratio was out of bounds."""
        ratio, advantages, on = log_ratio.exp(), given.advantages, given.reinforced
        if self.kind == "cispo":
            low, high = (0.0, self.cap) if self.cap is not None else (1 - self.clip_low, 1 + self.clip_high)
            weight = ratio.detach().clamp(low, high)
            cut = {"clip_low": _mean(ratio < low, on), "clip_high": _mean(ratio > high, on)}
            return -weight * advantages * given.logprobs, cut
        low, high = 1 - self.clip_low, 1 + self.clip_high
        bounded = ratio if self.delta is None else ratio.clamp(max=self.delta)
        loss = torch.maximum(-advantages * bounded, -advantages * ratio.clamp(low, high))
        cut = {
            "clip_low": _mean((ratio < low) & (advantages < 0), on),
            "clip_high": _mean((ratio > high) & (advantages > 0), on),
        }
        if self.dual_clip is not None:
            most = -advantages * self.dual_clip
            cut["clip_dual"] = _mean((advantages < 0) & (loss > most), on)
            loss = torch.where(advantages < 0, torch.minimum(loss, most), loss)
        return loss, cut

    def _factor(self, given: _Given, tokens: TokenBatch) -> Tensor | None:
        """(P,) what corrections and masks leave of the loss of tokens; None without any."""
        factor: Tensor | None = None
        if self.correction is not None:
            if tokens.sampler_logprobs is None:
                raise TrainingError(
                    "loss.correction compares old_logprobs with sampler_logprobs, which the rows do not have: "
                    "let the learner recompute old_logprobs, or set loss.correction to None"
                )
            factor = self.correction.weights(given.old, given.sampler, given.reinforced, tokens.rows, tokens.n_rows)
        if self.off_policy_limit is not None:
            kept = near_enough(
                given.logprobs,
                given.sampler,
                given.advantages,
                limit=self.off_policy_limit,
                mask=given.reinforced,
                rows=tokens.rows,
                n_rows=tokens.n_rows,
            )
            factor = kept.to(given.logprobs.dtype) if factor is None else factor * kept
        if self.entropy_floor is not None:
            high = _entropy(tokens, "entropy_floor").detach() >= self.entropy_floor
            factor = high.to(given.logprobs.dtype) if factor is None else factor * high
        return factor


@dataclass(frozen=True, slots=True)
class _Given:
    """The arrays of a batch, with harmless numbers where their weight is 0: what is there must not reach the loss."""

    logprobs: Tensor
    old: Tensor
    advantages: Tensor
    reference: Tensor
    sampler: Tensor
    reinforced: Tensor
    compared: Tensor

    @classmethod
    def of(cls, tokens: TokenBatch) -> _Given:
        reinforced, compared = tokens.rl_weight != 0, tokens.kl_weight != 0
        single = tokens.logprobs.dtype in (torch.float16, torch.bfloat16)
        logprobs = tokens.logprobs.float() if single else tokens.logprobs
        held = logprobs.detach()
        old = torch.where(reinforced, tokens.old_logprobs, held)
        sampler = old if tokens.sampler_logprobs is None else torch.where(reinforced, tokens.sampler_logprobs, held)
        advantages = torch.where(reinforced, tokens.advantages, 0.0)
        reference = torch.where(compared, tokens.ref_logprobs, held)
        require_finite(
            logprobs=held, old_logprobs=old, sampler_logprobs=sampler, advantages=advantages, ref_logprobs=reference,
            rl_weight=tokens.rl_weight, ce_weight=tokens.ce_weight, kl_weight=tokens.kl_weight,
        )  # fmt: skip
        return cls(logprobs, old, advantages, reference, sampler, reinforced, compared)


def _entropy(tokens: TokenBatch, setting: str) -> Tensor:
    if tokens.entropy is None:
        raise TrainingError(f"loss.{setting} needs the entropy of every token, which the learner did not compute")
    require_finite(entropy=tokens.entropy.detach())
    return tokens.entropy


def _mean(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """(sum, count) over the tokens that the mask keeps."""
    return torch.where(mask, values.detach().float(), 0.0).sum(), mask.sum()


def _largest(values: Tensor, mask: Tensor) -> Tensor:
    """Over the tokens that the mask keeps; minus infinity where it keeps none."""
    kept = torch.where(mask, values.detach().float(), -torch.inf)
    return torch.cat([kept, kept.new_full((1,), -torch.inf)]).amax()


def _gap(tokens: TokenBatch, given: _Given) -> Tensor:
    """(P,) how far learner and sampler are apart, in nats. Where what the sampler gave is what the ratio is taken to, the
    learner's are those of now.
    """
    learner = given.logprobs.detach() if tokens.sampler_logprobs is None else given.old
    return (learner - given.sampler).abs()


def _watched(tokens: TokenBatch, given: _Given, log_ratio: Tensor, divergence: Tensor) -> Measures:
    """What a monitor divides: every count but that of `tokens_per_row` is a number of tokens."""
    on, held = given.reinforced, given.logprobs.detach()
    plain = (held - given.old).clamp(-VERL_LOG_RATIO_CLAMP, VERL_LOG_RATIO_CLAMP)
    negative = on & (given.advantages < 0)
    rows = torch.zeros(tokens.n_rows, device=held.device).index_add(0, tokens.rows, on.float())
    measures = {
        "ratio": _mean(log_ratio.exp(), on),
        "ratio_squared": _mean((2 * log_ratio).exp(), on),
        "kl_old_new": _mean(torch.expm1(plain) - plain, on),
        "logprob_gap": _mean(_gap(tokens, given), on),
        "logprob_negative": _mean(held, negative),
        "logprob_positive": _mean(held, on & (given.advantages > 0)),
        "kl_ref": _mean(divergence, given.compared),
        "nll": _mean(-held, tokens.ce_weight != 0),
        "tokens_per_row": (on.sum().float(), (rows > 0).sum()),
    }
    if tokens.entropy is not None:
        measures["entropy"] = _mean(tokens.entropy, on)
    return measures
