"""The policy loss: the worked batch of the spec, its gradients, and what holds for every batch."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.token_batches import MASK, RATIOS, WORKED, drawn, finite_differences, gradient_of, padded, tokens_of

from datagen.training.objectives.aggregation import Totals
from datagen.training.objectives.correction import Correction
from datagen.training.objectives.policy import PolicyLoss


@pytest.mark.parametrize(
    ("loss", "aggregation", "value"),
    [
        (PolicyLoss(), "sequence_mean", 0.16791667),
        (PolicyLoss(dual_clip=3.0), "sequence_mean", 0.13666667),
        (PolicyLoss(clip_high=0.28), "token_mean", -0.01625),
        (PolicyLoss(clip_high=0.28, dual_clip=3.0), "token_mean", -0.03708333),
        (PolicyLoss(), "token_mean", -0.00708333),
        (PolicyLoss(), "constant_length", -0.00265625),
        (PolicyLoss(dual_clip=3.0), "token_mean", -0.02791667),
    ],
    ids=["grpo_trl", "grpo_verl", "dapo_trl", "dapo_verl", "bnpo_trl", "drgrpo", "aepo_off"],
)
def test_the_worked_batch_of_the_spec_comes_out_to_eight_digits(loss, aggregation, value):
    tokens = tokens_of(WORKED, aggregation=aggregation, max_length=8)

    assert loss(tokens).value.item() == pytest.approx(value, abs=6e-9)


def test_the_worked_gradients_of_the_spec_come_out():
    _, gradient = gradient_of(PolicyLoss(dual_clip=3.0), tokens_of(WORKED, aggregation="token_mean"))

    rows = padded(gradient, WORKED)
    assert rows[0].tolist() == pytest.approx([-0.08333, 0, -0.05833, -0.09167], abs=5e-6)
    assert rows[3].tolist() == pytest.approx([0, 0, -0.01646, 0], abs=5e-6)
    # Where dual clip acts, and where the clip does, nothing is felt.
    assert rows[1, 0] == 0
    assert rows[2, 0] == 0


@pytest.mark.parametrize(
    ("loss", "high", "low"),
    [(PolicyLoss("cispo", cap=1.28), 1.28, 0.0), (PolicyLoss("cispo", clip_high=0.28), 1.28, 0.8)],
)
def test_a_cispo_gradient_is_the_held_bounded_ratio_times_the_advantage(loss, high, low):
    # The spec prints no log-probabilities, so its values (0.11160705, 0.10365277) are held by the peers' tensors instead.
    _, gradient = gradient_of(loss, tokens_of(WORKED, aggregation="token_mean"))

    ratios, advantages = torch.tensor(RATIOS), torch.tensor(WORKED["advantages"])
    expected = -ratios.clamp(low, high) * advantages[:, None] * torch.tensor(MASK) / 12
    torch.testing.assert_close(padded(gradient, WORKED), expected.double(), atol=1e-7, rtol=0)


@pytest.mark.parametrize(
    "loss",
    [
        PolicyLoss(),
        PolicyLoss(clip_low=0.05, clip_high=0.35, dual_clip=2.0),
        PolicyLoss(delta=1.4, kl="k2"),
        PolicyLoss(ratio="sequence"),
        PolicyLoss(ratio="sequence", delta=1.6, kl="k1"),
        PolicyLoss(kl="k3", kl_clamp=True),
        PolicyLoss(entropy_floor=0.5),
    ],
    ids=str,
)
def test_a_gradient_is_what_finite_differences_say(loss):
    tokens = tokens_of(WORKED, aggregation="sequence_mean", kl_coef=0.3, ce_coef=0.2)
    # Off the corners of clips, where no derivative exists.
    start = tokens.logprobs.detach() + 0.013

    def value(logprobs: torch.Tensor) -> torch.Tensor:
        return loss(dataclasses.replace(tokens, logprobs=logprobs)).value

    _, gradient = gradient_of(loss, dataclasses.replace(tokens, logprobs=start.clone().requires_grad_()))
    torch.testing.assert_close(gradient, finite_differences(value, start), atol=1e-8, rtol=1e-6)


EVERY_KIND = (
    PolicyLoss(dual_clip=3.0),
    PolicyLoss(delta=1.5, ratio="sequence"),
    PolicyLoss(ratio="gspo_token", clip_low=0.1),
    PolicyLoss("cispo", cap=1.3),
    PolicyLoss("cispo", ratio="sequence", kl="k1+"),
    PolicyLoss(entropy_coef=0.02, entropy_floor=0.7, kl="k3+"),
    PolicyLoss(correction=Correction("sequence", "mask", cap=3.0), off_policy_limit=0.1),
    PolicyLoss(correction=Correction("token", "truncate", cap=1.5)),
)
KINDS = st.sampled_from(EVERY_KIND)
AGGREGATIONS = st.sampled_from(["sequence_mean", "token_mean", "constant_length", "sequence_sum", "token_sum"])
SEEDS = st.integers(0, 10_000)


def rows_of(arrays: dict[str, Any], rows: list[int]) -> dict[str, Any]:
    return {name: np.asarray(array)[rows] for name, array in arrays.items()}


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, loss=KINDS, aggregation=AGGREGATIONS, cut=st.integers(1, 4))
def test_losses_gradients_and_measures_of_bins_add_up_to_those_of_the_step(seed, loss, aggregation, cut):
    arrays = drawn(seed)
    lengths = arrays["mask"].sum(1)
    whole = Totals(int(lengths.sum()), int((lengths > 0).sum()))
    common = {"aggregation": aggregation, "max_length": 9, "totals": whole, "kl_coef": 0.1, "ce_coef": 0.1}

    def run(rows: list[int]) -> tuple[Any, torch.Tensor]:
        part = rows_of(arrays, rows)
        found, gradient = gradient_of(loss, tokens_of(part, sampler=True, **common))
        return found, padded(gradient, part)

    (step, at_once), (left, first), (right, second) = run([*range(5)]), run([*range(cut)]), run([*range(cut, 5)])

    assert (left.value + right.value).item() == pytest.approx(step.value.item(), abs=1e-9)
    torch.testing.assert_close(torch.cat([first, second]), at_once)
    for name, (total, count) in step.measures.items():
        assert left.measures[name][0] + right.measures[name][0] == pytest.approx(float(total), rel=1e-4, abs=1e-4)
        assert left.measures[name][1] + right.measures[name][1] == count


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, loss=KINDS, order=st.permutations(range(5)))
def test_the_order_of_rows_does_not_matter(seed, loss, order):
    arrays = drawn(seed)
    straight, gradient = gradient_of(loss, tokens_of(arrays, kl_coef=0.1, sampler=True))
    moved, other = gradient_of(loss, tokens_of(rows_of(arrays, order), kl_coef=0.1, sampler=True))

    assert moved.value.item() == pytest.approx(straight.value.item(), abs=1e-9)
    torch.testing.assert_close(padded(other, rows_of(arrays, order)), padded(gradient, arrays)[list(order)])


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, low=st.sampled_from([3e-4, 0.2]), aggregation=AGGREGATIONS, spread=st.sampled_from([3e-4, 0.5]))
def test_the_token_form_of_gspo_is_its_sequence_form_in_value_and_gradient(seed, low, aggregation, spread):
    tokens = tokens_of(drawn(seed, spread=spread), aggregation=aggregation, max_length=9)

    left, first = gradient_of(PolicyLoss(ratio="sequence", clip_low=low, clip_high=low), tokens)
    right, second = gradient_of(PolicyLoss(ratio="gspo_token", clip_low=low, clip_high=low), tokens)

    assert left.value.item() == pytest.approx(right.value.item(), abs=1e-10)
    torch.testing.assert_close(first, second)


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, spread=st.sampled_from([0.1, 2.0, 30.0]))
def test_cispo_never_loses_a_gradient_and_the_clip_does(seed, spread):
    tokens = tokens_of(drawn(seed, spread=spread))
    felt = tokens.advantages != 0

    _, cispo = gradient_of(PolicyLoss("cispo", clip_low=0.2, clip_high=0.28), tokens)
    clipped_loss, clipped = gradient_of(PolicyLoss(clip_low=0.2, clip_high=0.28), tokens)

    assert ((cispo != 0) == felt).all()
    lost = clipped_loss.measures["clip_low"][0] + clipped_loss.measures["clip_high"][0]
    # Ratios beyond exp(20) lose it as well, to the bound of the log-ratio.
    beyond = (tokens.logprobs - tokens.old_logprobs).abs() >= 20
    assert int(((clipped == 0) & felt & ~beyond).sum()) <= int(lost)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, loss=st.sampled_from([PolicyLoss(), PolicyLoss(dual_clip=3.0), PolicyLoss("cispo", cap=1.3)]))
def test_before_the_first_update_every_loss_has_the_gradient_of_reinforce(seed, loss):
    arrays = drawn(seed)
    tokens = tokens_of(arrays | {"old": arrays["logprobs"]})

    _, gradient = gradient_of(loss, tokens)

    torch.testing.assert_close(gradient, -tokens.advantages * tokens.rl_weight)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, spread=st.sampled_from([0.5, 5.0]))
def test_under_dual_clip_no_token_costs_more_than_its_bound(seed, spread):
    arrays = drawn(seed, spread=spread)
    arrays["advantages"] = -np.abs(arrays["advantages"]) - 0.1
    for row in range(5):
        part = rows_of(arrays, [row])
        loss = PolicyLoss(dual_clip=3.0)(tokens_of(part, aggregation="sequence_mean"))
        assert loss.value.item() <= 3.0 * -part["advantages"][0] + 1e-9


def test_the_three_weights_of_a_token_are_three_losses_that_add():
    def value(**kept: float) -> float:
        tokens = tokens_of(WORKED, kl_coef=0.3, ce_coef=0.2)
        kept_weights = {
            name: getattr(tokens, name) * kept.get(name, 0.0) for name in ("rl_weight", "ce_weight", "kl_weight")
        }
        return PolicyLoss()(dataclasses.replace(tokens, **kept_weights)).value.item()

    parts = [value(rl_weight=1), value(ce_weight=1), value(kl_weight=1)]

    assert value(rl_weight=1, ce_weight=1, kl_weight=1) == pytest.approx(sum(parts))
    assert parts[0] == pytest.approx(0.16791667, abs=6e-9)
    logprobs, mask = np.array(WORKED["logprobs"]), np.array(MASK)
    of_rows = (mask / mask.sum(1, keepdims=True) / 4) * -logprobs
    assert parts[1] == pytest.approx(0.2 * of_rows.sum())
    gaps = np.array(WORKED["ref"]) - logprobs
    assert parts[2] == pytest.approx(0.3 * ((mask / mask.sum(1, keepdims=True) / 4) * (np.exp(gaps) - gaps - 1)).sum())


def test_without_its_gradient_the_divergence_is_reported_in_the_value_alone():
    tokens = tokens_of(WORKED, kl_coef=0.3)
    plain, gradient = gradient_of(PolicyLoss(), tokens_of(WORKED))
    watched, same = gradient_of(PolicyLoss(kl_gradient=False), tokens)
    felt, other = gradient_of(PolicyLoss(), tokens)

    assert watched.value.item() == pytest.approx(felt.value.item())
    assert watched.value.item() > plain.value.item() + 1e-3
    torch.testing.assert_close(same, gradient)
    assert (other - gradient).abs().max() > 1e-3


def test_entropy_is_a_bonus_under_the_weights_of_the_loss_and_carries_its_gradient():
    tokens = tokens_of(WORKED, aggregation="token_mean")
    entropy = tokens.entropy.clone().requires_grad_()
    tokens = dataclasses.replace(tokens, entropy=entropy)
    loss = PolicyLoss(entropy_coef=0.01)

    value = loss(tokens).value
    (gradient,) = torch.autograd.grad(value, entropy)

    assert loss.needs_entropy
    assert not PolicyLoss(entropy_floor=1.0).needs_entropy
    assert value.item() == pytest.approx(-0.00708333 - 0.01 * tokens.entropy.mean().item(), abs=6e-9)
    torch.testing.assert_close(gradient, torch.full_like(gradient, -0.01 / 12))


def test_the_monitor_is_told_of_clips_ratios_and_likelihoods():
    measures = PolicyLoss(dual_clip=3.0)(tokens_of(WORKED, ce_coef=1.0, kl_coef=1.0)).measures
    found = {name: (total / count).item() for name, (total, count) in measures.items()}
    ratios = np.array([r for row, keep in zip(RATIOS, MASK, strict=True) for r, k in zip(row, keep, strict=True) if k])

    # High: 1.3 with A 1, and 1.25 and 1.27 with A .25. Low: .5 with A -.75. Dual: 3.5 with A -.5.
    assert (found["clip_high"], found["clip_low"], found["clip_dual"]) == pytest.approx((3 / 12, 1 / 12, 1 / 12))
    assert found["ratio"] == pytest.approx(ratios.mean(), rel=1e-5)
    assert found["ratio_squared"] == pytest.approx((ratios**2).mean(), rel=1e-5)
    assert found["kl_old_new"] == pytest.approx((ratios - 1 - np.log(ratios)).mean(), rel=1e-5)
    assert found["logprob_gap"] == pytest.approx(np.abs(np.log(ratios)).mean(), rel=1e-5)
    assert PolicyLoss()(tokens_of(WORKED)).peaks["logprob_gap_max"].item() == pytest.approx(
        np.abs(np.log(ratios)).max(), rel=1e-5
    )
    assert found["logprob_negative"] == pytest.approx((np.log(ratios[4:9]) - 0.9).mean(), rel=1e-5)
    assert found["logprob_positive"] == pytest.approx((np.log(np.delete(ratios, range(4, 9))) - 0.9).mean(), rel=1e-5)
    assert found["nll"] == pytest.approx(0.9 - np.log(ratios).mean(), rel=1e-5)
    assert found["tokens_per_row"] == 3
    assert found["entropy"] == pytest.approx(9.15 / 12, rel=1e-5)


def test_the_largest_gap_is_the_one_between_learner_and_sampler_at_reinforced_tokens():
    tokens = tokens_of(WORKED)
    sampler = tokens.old_logprobs.clone()
    sampler[2] += 0.75
    seen = dataclasses.replace(tokens, sampler_logprobs=sampler)
    unseen = dataclasses.replace(seen, rl_weight=torch.where(torch.arange(len(sampler)) == 2, 0.0, tokens.rl_weight))
    nothing = dataclasses.replace(seen, rl_weight=torch.zeros_like(tokens.rl_weight))

    assert PolicyLoss()(seen).peaks["logprob_gap_max"].item() == pytest.approx(0.75)
    assert PolicyLoss()(unseen).peaks["logprob_gap_max"].item() == 0
    assert PolicyLoss()(nothing).peaks["logprob_gap_max"].item() == -torch.inf
