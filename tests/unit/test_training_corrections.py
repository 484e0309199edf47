"""Corrections, masks and guards of the policy loss: what they keep, what never reaches a loss, and what is refused."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from tests.unit.token_batches import WORKED, drawn, gradient_of, tokens_of

from datagen.errors import ConfigError, TrainingError
from datagen.training.objectives.aggregation import Totals
from datagen.training.objectives.correction import Correction, high_entropy_floor
from datagen.training.objectives.kl import kl_estimate
from datagen.training.objectives.policy import PolicyLoss
from datagen.training.objectives.ratios import log_ratios
from datagen.training.tokens import TokenBatch


def test_what_stands_where_a_weight_is_nothing_never_reaches_the_loss():
    arrays = drawn(3)
    tokens = tokens_of(arrays, kl_coef=0.1, sampler=True)
    loss = PolicyLoss(correction=Correction("sequence"), off_policy_limit=0.0, ratio="sequence")
    plain = tokens_of(
        arrays | {"mask": arrays["mask"] & (np.arange(6) != 2)}, kl_coef=0.1, sampler=True, totals=Totals(99, 5)
    )
    place = torch.tensor(np.tile(np.arange(6), (5, 1)))[torch.tensor(arrays["mask"])]
    out = place == 2
    assert out.any()

    def spoilt(name: str, value: float) -> torch.Tensor:
        return torch.where(out, value, getattr(tokens, name))

    weights = {}
    for name in ("rl_weight", "kl_weight"):
        weights[name] = torch.zeros_like(tokens.rl_weight)
        weights[name][~out] = getattr(plain, name)
    spoilt_tokens = dataclasses.replace(
        tokens,
        **weights,
        advantages=spoilt("advantages", math.nan),
        old_logprobs=spoilt("old_logprobs", math.inf),
        ref_logprobs=spoilt("ref_logprobs", 1e6),
        sampler_logprobs=spoilt("sampler_logprobs", math.nan),
    )
    left, first = gradient_of(loss, spoilt_tokens)
    right, second = gradient_of(loss, plain)

    assert left.value.item() == pytest.approx(right.value.item())
    torch.testing.assert_close(first[~out], second)
    assert (first[out] == 0).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("logprobs", math.nan),
        ("old_logprobs", -math.inf),
        ("advantages", math.nan),
        ("ref_logprobs", math.nan),
        ("rl_weight", math.inf),
        ("sampler_logprobs", math.nan),
    ],
)
def test_a_number_that_is_none_is_an_error_that_names_its_array(name, value):
    tokens = tokens_of(drawn(1), kl_coef=0.1, sampler=True)
    spoilt = getattr(tokens, name).detach().clone()
    spoilt[0] = value

    with pytest.raises(TrainingError, match=rf"not finite in {name} \(1 of \d+\): no update"):
        PolicyLoss()(dataclasses.replace(tokens, **{name: spoilt}))


def test_what_a_setting_needs_and_rows_lack_is_an_error_that_says_so():
    arrays = drawn(1)
    with pytest.raises(TrainingError, match="sampler_logprobs"):
        PolicyLoss(correction=Correction())(tokens_of(arrays))
    bare = {name: array for name, array in arrays.items() if name != "entropy"}
    for loss in (PolicyLoss(entropy_coef=0.1), PolicyLoss(entropy_floor=0.1)):
        with pytest.raises(TrainingError, match="needs the entropy"):
            loss(tokens_of(bare))


def test_the_gap_between_sampler_and_learner_is_told_from_the_drift_of_the_policy():
    arrays = drawn(2)
    recomputed = tokens_of(arrays, sampler=True)
    total, count = PolicyLoss()(recomputed).measures["logprob_gap"]

    gap = (recomputed.old_logprobs - recomputed.sampler_logprobs).abs().mean()
    assert (total / count).item() == pytest.approx(gap.item(), rel=1e-5)


def test_a_floor_of_entropy_taken_over_the_step_does_not_depend_on_bins():
    arrays = drawn(5)
    whole = tokens_of(arrays)
    floor = high_entropy_floor(whole.entropy, 0.2)

    kept = (whole.entropy >= floor).sum()
    assert kept == math.ceil(0.2 * len(whole.entropy)) or kept == math.floor(0.2 * len(whole.entropy)) + 1
    assert floor == pytest.approx(torch.quantile(whole.entropy, 0.8).item())


def test_a_log_ratio_out_of_the_range_of_floats_stays_finite():
    arrays = {"logprobs": [[-0.1, -0.2]], "old": [[-500.0, -0.2]], "mask": [[1, 1]], "advantages": [-1.0]}
    for loss in (PolicyLoss(), PolicyLoss("cispo"), PolicyLoss(ratio="sequence")):
        found, gradient = gradient_of(loss, tokens_of(arrays))
        assert math.isfinite(found.value.item())
        assert torch.isfinite(gradient).all()
        assert all(math.isfinite(total) for total, _ in found.measures.values())


def test_arrays_of_half_precision_are_computed_in_single():
    tokens = tokens_of(drawn(4), kl_coef=0.1)
    half = {field.name: getattr(tokens, field.name) for field in dataclasses.fields(TokenBatch)}
    half = {k: v.bfloat16() if isinstance(v, torch.Tensor) and v.is_floating_point() else v for k, v in half.items()}
    single = {k: v.float() if isinstance(v, torch.Tensor) and v.is_floating_point() else v for k, v in half.items()}

    for loss in (PolicyLoss(), PolicyLoss(ratio="gspo_token", entropy_floor=0.1)):
        assert loss(TokenBatch(**half)).value.dtype == torch.float32
        assert loss(TokenBatch(**half)).value.item() == pytest.approx(loss(TokenBatch(**single)).value.item(), rel=1e-2)


def test_log_ratios_are_bounded_on_both_sides():
    logprobs, old = torch.tensor([-1.0, -90.0, -1.0]), torch.tensor([-1.5, -1.0, -90.0])
    rows = torch.tensor([0, 1, 2])
    for level in ("token", "sequence", "gspo_token"):
        found = log_ratios(logprobs, old, level=level, mask=rows >= 0, rows=rows, n_rows=3, clamp=20.0)
        assert found.tolist() == [0.5, -20.0, 20.0]


def test_the_input_of_k3_is_bounded_on_both_sides():
    found = kl_estimate(torch.tensor([-1.0, -90.0]), torch.tensor([-90.0, -1.0]), "k3", input_clamp=2.0)

    assert found.tolist() == pytest.approx([math.exp(-2) + 1, math.exp(2) - 3])


def test_corrections_and_masks_multiply():
    tokens = tokens_of(drawn(11, rows=9), sampler=True)
    parts = {"correction": Correction("token", cap=1.2), "off_policy_limit": 0.0, "entropy_floor": 0.8}
    gradients = {name: gradient_of(PolicyLoss("cispo", **{name: part}), tokens)[1] for name, part in parts.items()}
    plain, together = gradient_of(PolicyLoss("cispo"), tokens)[1], gradient_of(PolicyLoss("cispo", **parts), tokens)[1]

    felt = plain != 0
    shares = [gradient[felt] / plain[felt] for gradient in gradients.values()]
    assert all((share != 1).any() and (share != 0).any() for share in shares)
    torch.testing.assert_close(together[felt], plain[felt] * shares[0] * shares[1] * shares[2])


def test_a_token_right_at_the_floor_of_entropy_is_reinforced():
    tokens = tokens_of(WORKED)
    _, gradient = gradient_of(PolicyLoss(entropy_floor=2.0), tokens)

    # Row 1, token 0: entropy 2.0; its ratio of 0.5 is clipped, so look at what a floor just above it changes.
    kept, _ = PolicyLoss(entropy_floor=2.0)(tokens).measures["kept_weight"]
    dropped, _ = PolicyLoss(entropy_floor=2.000001)(tokens).measures["kept_weight"]
    assert (kept, dropped) == (1, 0)
    assert (gradient == 0).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "ppo"},
        {"ratio": "word"},
        {"kl": "k4"},
        {"clip_low": -0.1},
        {"dual_clip": 1.0},
        {"cap": 5.0},
        {"kind": "cispo", "delta": 3.0},
        {"kind": "cispo", "dual_clip": 3.0},
        {"delta": 1.1},
    ],
    ids=str,
)
def test_settings_that_mean_nothing_together_are_refused(wrong):
    with pytest.raises(ConfigError, match=r"loss\."):
        PolicyLoss(**wrong)


@pytest.mark.parametrize("wrong", [{"level": "batch"}, {"mode": "drop"}, {"cap": 0.5}, {"floor": 1.5}], ids=str)
def test_a_correction_that_means_nothing_is_refused(wrong):
    with pytest.raises(ConfigError, match=r"loss\.correction"):
        Correction(**wrong)


@pytest.mark.parametrize(("level", "mode"), [*itertools.product(("token", "sequence"), ("truncate", "mask"))])
def test_weights_between_learner_and_sampler_stay_in_their_bounds(level, mode):
    old, sampler = torch.tensor([-1.1, -0.5, -2.0, -9.0]), torch.tensor([-1.3, -0.5, -1.0, -1.0])
    rows, on = torch.tensor([0, 0, 1, 1]), torch.tensor([True, True, True, False])
    weights = Correction(level, mode, cap=1.1, floor=0.2).weights(old, sampler, on, rows, 2)

    first = {"truncate": 1.1, "mask": 0.0}[mode]
    second = first if level == "sequence" else 1.0
    assert weights[:3].tolist() == pytest.approx([first, second, math.exp(-1)])
