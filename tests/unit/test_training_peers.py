"""Ours against verl 0.9.1 and TRL 1.16: the same tensors, the same numbers, the same gradients.

The numbers are in tests/fixtures/training_{verl,trl}.json; tests/oracles/training_oracles.py writes them with the peers.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.unit.token_batches import gradient_of, padded, tokens_of

from datagen.training.objectives.advantages import AdvantageSettings, group_advantages
from datagen.training.objectives.aggregation import Aggregation, Totals
from datagen.training.objectives.correction import Correction, high_entropy_floor
from datagen.training.objectives.kl import VERL_INPUT_CLAMP, VERL_OUTPUT_CLAMP, kl_estimate
from datagen.training.objectives.policy import PolicyLoss
from datagen.training.objectives.preference import PreferenceLoss
from datagen.training.tokens import TokenBatch

FIXTURES = Path(__file__).parents[1] / "fixtures"
TOLERANCE = 1e-6


@cache
def peer(name: str) -> dict[str, Any]:
    return json.loads((FIXTURES / f"training_{name}.json").read_text(encoding="utf-8"))


def cases(name: str, kind: str) -> list[Any]:
    def named(place: int, case: dict[str, Any]) -> str:
        settings = case.get("settings", case)
        label = settings.get("mode") or settings.get("loss_type") or settings.get("rule") or settings.get("scale")
        return f"{place}-{label or settings['kind']}"

    return [pytest.param(case, id=named(place, case)) for place, case in enumerate(peer(name)[kind])]


def agrees(found: tuple[Any, torch.Tensor], case: dict[str, Any], arrays: dict[str, Any]) -> None:
    loss, gradient = found
    assert loss.value.item() == pytest.approx(case["value"], abs=TOLERANCE)
    expected = torch.tensor(case["gradient"])
    torch.testing.assert_close(padded(gradient, arrays).float(), expected, atol=TOLERANCE, rtol=0)


VERL_AGGREGATIONS: dict[str, Aggregation] = {
    "token-mean": "token_mean",
    "token-sum": "token_sum",
    "seq-mean-token-sum": "sequence_sum",
    "seq-mean-token-sum-norm": "constant_length",
    "seq-mean-token-mean": "sequence_mean",
}


def as_verl(settings: dict[str, Any]) -> PolicyLoss:
    correction = None
    if "rollout_is" in settings:
        bounds = [float(bound) for bound in str(settings["threshold"]).split("_")]
        mode = "truncate" if len(bounds) == 1 else "mask"
        floor = bounds[0] if len(bounds) == 2 else None
        correction = Correction(settings["rollout_is"], mode, cap=bounds[-1], floor=floor)
    return PolicyLoss(
        kind="cispo" if settings["mode"] == "cispo" else "clip",
        ratio="gspo_token" if settings["mode"] == "gspo" else "token",
        clip_low=settings["low"],
        clip_high=settings["high"],
        dual_clip=settings["c"] if "c" in settings else 3.0 if settings["mode"] == "vanilla" else None,
        correction=correction,
    )


@pytest.mark.parametrize("case", cases("verl", "losses"))
def test_every_policy_loss_of_verl_has_the_same_value_and_gradient_here(case):
    arrays, settings = peer("verl")["batches"][case["batch"]], case["settings"]
    info = settings["info"]
    whole = Totals(info["batch_num_tokens"], info["global_batch_size"]) if "global_batch_size" in info else None
    tokens = tokens_of(
        arrays,
        aggregation=VERL_AGGREGATIONS[settings["aggregation"]],
        max_length=info.get("loss_scale_factor"),
        totals=whole,
        sampler="rollout_is" in settings,
    )

    agrees(gradient_of(as_verl(settings), tokens), case, arrays)


TRL_AGGREGATIONS: dict[str, Aggregation] = {
    "grpo": "sequence_mean",
    "bnpo": "token_mean",
    "dapo": "token_mean",
    "cispo": "token_mean",
    "dr_grpo": "constant_length",
    "luspo": "sequence_sum",
}


def as_trl(settings: dict[str, Any], tokens: TokenBatch) -> PolicyLoss:
    correction = None
    if "correction" in settings:
        named, low, high = settings["correction"]
        level, mode = named.split("_")
        correction = Correction(level, mode, cap=high, floor=low)
    cispo = settings["loss_type"] == "cispo"
    share = settings.get("top_entropy")
    return PolicyLoss(
        kind="cispo" if cispo else "clip",
        clip_low=settings.get("low", 0.2),
        clip_high=0.2 if cispo else settings["high"],
        cap=settings["high"] if cispo else None,
        delta=settings.get("delta"),
        ratio=settings.get("level", "token"),
        entropy_coef=settings.get("entropy_coef", 0.0),
        off_policy_limit=settings.get("off_policy"),
        entropy_floor=None if share is None else high_entropy_floor(tokens.entropy, share),
        correction=correction,
        log_ratio_clamp=None,
    )


@pytest.mark.parametrize("case", cases("trl", "losses"))
def test_every_policy_loss_of_trl_has_the_same_value_and_gradient_here(case):
    arrays, settings = peer("trl")["batches"][case["batch"]], case["settings"]
    tokens = tokens_of(
        arrays,
        aggregation=TRL_AGGREGATIONS[settings["loss_type"]],
        max_length=16,
        count_empty=True,
        kl_coef=settings.get("beta", 0.0),
        sampler="correction" in settings or "off_policy" in settings,
    )

    agrees(gradient_of(as_trl(settings, tokens), tokens), case, arrays)


@pytest.mark.parametrize("case", cases("verl", "divergences"))
def test_every_divergence_of_verl_has_the_same_value_and_gradient_here(case):
    logprobs = torch.tensor(case["logprobs"], dtype=torch.float64, requires_grad=True)
    ref = torch.tensor(case["ref"], dtype=torch.float64)
    found = kl_estimate(logprobs, ref, case["kind"], input_clamp=VERL_INPUT_CLAMP, output_clamp=VERL_OUTPUT_CLAMP)
    (gradient,) = torch.autograd.grad(found.sum(), logprobs)

    torch.testing.assert_close(found.detach(), torch.tensor(case["value"], dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(gradient, torch.tensor(case["gradient"], dtype=torch.float64), atol=1e-6, rtol=0)


def test_the_bounds_of_verl_act_somewhere_in_its_divergences():
    case = next(case for case in peer("verl")["divergences"] if case["kind"] == "k3")
    plain = kl_estimate(torch.tensor(case["logprobs"]), torch.tensor(case["ref"]), "k3")

    assert plain.max() > VERL_OUTPUT_CLAMP
    assert max(case["value"]) == VERL_OUTPUT_CLAMP


VERL_RULES = {
    "grpo": AdvantageSettings(ddof=1, eps=1e-6),
    "dr_grpo": AdvantageSettings(scale="none"),
    "rloo": AdvantageSettings(baseline="leave_one_out", scale="none"),
    "rloo_vectorized": AdvantageSettings(baseline="leave_one_out", scale="none"),
}


@pytest.mark.parametrize("case", cases("verl", "advantages"))
def test_advantages_are_those_of_verl_but_for_attempts_without_siblings(case):
    found = group_advantages(case["rewards"], VERL_RULES[case["rule"]])

    for ours, theirs, rewards in zip(found.values, case["values"], case["rewards"], strict=True):
        if len(rewards) == 1:
            # verl keeps the bare reward here, or none under its vectorised rule; ours is none in every rule.
            assert ours == [0.0]
            assert theirs == pytest.approx([0.0] if case["rule"] == "rloo_vectorized" else rewards, abs=TOLERANCE)
        else:
            assert ours == pytest.approx(theirs, abs=TOLERANCE)


@pytest.mark.parametrize("case", cases("trl", "advantages"))
def test_advantages_are_those_of_trl_and_nothing_where_nobody_could_tell(case):
    settings = AdvantageSettings(scale=case["scale"], ddof=1, eps=1e-4)
    found = group_advantages(case["rewards"], settings)

    for ours, theirs in zip(found.values, case["values"], strict=True):
        assert ours == pytest.approx([0.0 if value is None else value for value in theirs], abs=TOLERANCE)


@pytest.mark.parametrize("case", cases("trl", "preferences"))
def test_every_preference_loss_of_trl_has_the_same_value_and_gradient_here(case):
    settings = case["settings"]
    n_rows = len(case["mask"])
    pairs = n_rows // 2
    tokens = tokens_of(case | {"old": case["logprobs"], "advantages": [0.0] * n_rows}, aggregation="token_sum")
    zero = torch.zeros_like(tokens.rl_weight)
    tokens = TokenBatch(
        **{name: getattr(tokens, name) for name in ("logprobs", "rows", "n_rows", "advantages", "old_logprobs")},
        rl_weight=zero,
        ce_weight=torch.full_like(zero, 1 / pairs),
        kl_weight=zero,
        ref_logprobs=tokens.ref_logprobs,
        pair=torch.arange(n_rows) % pairs,
        chosen=torch.arange(n_rows) < pairs,
    )
    loss = PreferenceLoss(
        beta=settings["beta"],
        per_token=settings["loss_type"] == "sigmoid_norm",
        label_smoothing=settings.get("label_smoothing", 0.0),
    )

    agrees(gradient_of(loss, tokens), case, case)


def test_the_drawn_tensors_reach_every_clip_and_cap():
    arrays = peer("verl")["batches"]["wild"]
    tokens = tokens_of(arrays)

    def values(**settings: Any) -> float:
        return PolicyLoss(**settings)(tokens).value.item()

    plain = values()
    others = [values(dual_clip=3.0), values(delta=2.0), values(clip_low=0.3), values(clip_high=0.28)]
    assert all(abs(other - plain) > 1e-4 for other in others)
    assert len({round(other, 6) for other in others}) == len(others)
