"""Pairs and demonstrations: closed forms, gradients, and what is refused."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.token_batches import finite_differences, gradient_of

from datagen.errors import ConfigError, TrainingError
from datagen.training.objectives.preference import PreferenceLoss
from datagen.training.objectives.supervised import SupervisedLoss
from datagen.training.tokens import TokenBatch

torch.set_num_threads(1)


def pairs_of(
    gaps: list[list[float]], pair: list[int], chosen: list[bool], *, pairs: int | None = None, seed: int = 0
) -> TokenBatch:
    """Rows whose tokens are so much likelier than under the reference; the weight of a pair is 1 / pairs."""
    rows = torch.tensor([row for row, of in enumerate(gaps) for _ in of])
    ref = torch.tensor(-np.abs(np.random.default_rng(seed).normal(0, 1, len(rows))))
    zero = torch.zeros(len(rows), dtype=torch.float64)
    return TokenBatch(
        logprobs=(ref + torch.tensor([gap for of in gaps for gap in of])).requires_grad_(),
        rows=rows,
        n_rows=len(gaps),
        rl_weight=zero,
        ce_weight=torch.full_like(zero, 1 / (pairs or len(set(pair) - {-1}))),
        kl_weight=zero,
        advantages=zero,
        old_logprobs=zero,
        ref_logprobs=ref,
        pair=torch.tensor(pair),
        chosen=torch.tensor(chosen),
    )


def minus_log_sigmoid(x: float) -> float:
    return math.log1p(math.exp(-x))


# Sums: +1.2, -0.4, +0.1, +0.5.
TWO = ([[0.5, 0.7], [-0.4], [0.3, -0.2], [0.1, 0.1, 0.3]], [0, 0, 1, 1], [True, False, True, False])


def test_the_loss_of_a_pair_is_the_sigmoid_of_how_much_further_the_chosen_went():
    loss, _ = gradient_of(PreferenceLoss(beta=0.1), pairs_of(*TWO))

    assert loss.value.item() == pytest.approx((minus_log_sigmoid(0.16) + minus_log_sigmoid(-0.04)) / 2)
    assert minus_log_sigmoid(0.16) == pytest.approx(0.616, abs=5e-4)


def test_per_token_divides_the_sum_of_each_row_by_its_tokens():
    loss, _ = gradient_of(PreferenceLoss(beta=2.0, per_token=True), pairs_of(*TWO))

    expected = [minus_log_sigmoid(2 * (0.6 + 0.4)), minus_log_sigmoid(2 * (0.05 - 0.5 / 3))]
    assert loss.value.item() == pytest.approx(sum(expected) / 2)


def test_smoothed_labels_mix_the_losses_of_both_orders():
    loss, _ = gradient_of(PreferenceLoss(beta=1.0, label_smoothing=0.2), pairs_of(*TWO))

    both = [0.8 * minus_log_sigmoid(margin) + 0.2 * minus_log_sigmoid(-margin) for margin in (1.6, -0.4)]
    assert loss.value.item() == pytest.approx(sum(both) / 2)


def test_without_reference_and_with_a_margin_it_is_simpo():
    tokens = pairs_of(*TWO)
    loss, gradient = gradient_of(PreferenceLoss(beta=2.5, per_token=True, reference=False, gamma=1.4), tokens)

    means = [tokens.logprobs[tokens.rows == row].mean().item() for row in range(4)]
    expected = [
        minus_log_sigmoid(2.5 * (means[0] - means[1]) - 1.4),
        minus_log_sigmoid(2.5 * (means[2] - means[3]) - 1.4),
    ]
    assert loss.value.item() == pytest.approx(sum(expected) / 2)
    other = dataclasses.replace(tokens, ref_logprobs=torch.full_like(tokens.ref_logprobs, math.nan))
    again, same = gradient_of(PreferenceLoss(beta=2.5, per_token=True, reference=False, gamma=1.4), other)
    assert again.value.item() == loss.value.item()
    assert torch.equal(same, gradient)


@pytest.mark.parametrize(
    "loss",
    [
        PreferenceLoss(),
        PreferenceLoss(beta=2.0, per_token=True, label_smoothing=0.1),
        PreferenceLoss(beta=2.0, per_token=True, reference=False, gamma=0.7),
    ],
    ids=str,
)
def test_a_gradient_is_what_finite_differences_say(loss):
    tokens = pairs_of(*TWO)
    _, gradient = gradient_of(loss, tokens)

    def value(logprobs: torch.Tensor) -> torch.Tensor:
        return loss(dataclasses.replace(tokens, logprobs=logprobs)).value

    torch.testing.assert_close(gradient, finite_differences(value, tokens.logprobs.detach()), atol=1e-8, rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), order=st.permutations(range(6)), cut=st.integers(1, 2))
def test_pairs_add_up_over_bins_and_their_order_does_not_matter(seed, order, cut):
    rng = np.random.default_rng(seed)
    gaps = [rng.normal(0, 1, rng.integers(1, 5)).tolist() for _ in range(6)]
    pair, chosen = [0, 0, 1, 1, 2, 2], [True, False] * 3
    loss = PreferenceLoss(beta=0.5, label_smoothing=0.1)
    step = loss(pairs_of(gaps, pair, chosen))

    moved = loss(pairs_of([gaps[k] for k in order], [pair[k] for k in order], [chosen[k] for k in order]))
    halves = [
        loss(pairs_of(gaps[part], pair[part], chosen[part], pairs=3)) for part in (slice(2 * cut), slice(2 * cut, None))
    ]

    assert moved.value.item() == pytest.approx(step.value.item())
    assert sum(half.value.item() for half in halves) == pytest.approx(step.value.item())
    for name in ("preferred", "margin", "reward_chosen"):
        total = sum(half.measures[name][0].item() for half in halves)
        assert total == pytest.approx(step.measures[name][0].item(), abs=1e-9)


def test_what_a_tool_wrote_moves_nothing():
    tokens = pairs_of(*TWO)
    with_tool = pairs_of([[0.5, 9.0, 0.7], *TWO[0][1:]], *TWO[1:])
    weight = with_tool.ce_weight.clone()
    weight[1] = 0
    ref = with_tool.ref_logprobs.clone()
    ref[1] = math.nan
    keep = torch.arange(len(weight)) != 1
    ref[keep] = tokens.ref_logprobs
    logprobs = with_tool.logprobs.detach().clone()
    logprobs[keep] = tokens.logprobs.detach()
    masked = dataclasses.replace(with_tool, ce_weight=weight, ref_logprobs=ref, logprobs=logprobs.requires_grad_())
    for loss in (PreferenceLoss(), PreferenceLoss(per_token=True)):
        left, first = gradient_of(loss, tokens)
        right, second = gradient_of(loss, masked)
        assert left.value.item() == pytest.approx(right.value.item())
        assert second[1] == 0
        torch.testing.assert_close(second[keep], first)


def test_the_monitor_is_told_who_won_and_where_both_went():
    tokens = pairs_of(*TWO)
    found = {name: (s / n).item() for name, (s, n) in PreferenceLoss(beta=0.5)(tokens).measures.items()}

    assert found["preferred"] == 0.5
    assert found["margin"] == pytest.approx(0.5 * (1.6 - 0.4) / 2)
    assert found["reward_chosen"] == pytest.approx(0.5 * 1.3 / 2)
    assert found["reward_rejected"] == pytest.approx(0.5 * 0.1 / 2)
    one = pairs_of(TWO[0][:2], [0, 0], [True, False])
    found = {name: (s / n).item() for name, (s, n) in PreferenceLoss()(one).measures.items()}
    assert found["logprob_chosen"] == pytest.approx(one.logprobs[:2].mean().item())
    assert found["logprob_rejected"] == pytest.approx(one.logprobs[2].item())


@pytest.mark.parametrize(
    ("pair", "chosen", "named"),
    [
        ([0, 0, 1, 2], [True, False, True, False], r"pairs \[1, 2\] have one of their two rows"),
        ([0, 0, 1, 1], [True, False, True, True], r"pairs \[1\] have two chosen rows"),
        ([0, 0, 0, 1], [True, False, False, True], r"pairs \[0\] have two rejected rows"),
    ],
)
def test_a_pair_that_is_not_one_of_each_is_an_error_that_names_it(pair, chosen, named):
    with pytest.raises(TrainingError, match=named):
        PreferenceLoss()(pairs_of(TWO[0], pair, chosen))


def test_rows_outside_of_pairs_are_left_alone():
    loss, gradient = gradient_of(PreferenceLoss(), pairs_of(TWO[0], [0, 0, -1, -1], TWO[2]))

    assert loss.value.item() == pytest.approx(minus_log_sigmoid(0.16))
    assert (gradient[3:] == 0).all()


def test_a_pair_has_one_weight():
    tokens = pairs_of(*TWO)
    for place in (0, 2):
        uneven = tokens.ce_weight.clone()
        uneven[place] *= 2
        with pytest.raises(TrainingError, match="different weights"):
            PreferenceLoss()(dataclasses.replace(tokens, ce_weight=uneven))
    none = tokens.ce_weight.clone()
    none[2] = 0
    with pytest.raises(TrainingError, match="no token with a ce_weight"):
        PreferenceLoss()(dataclasses.replace(tokens, ce_weight=none))


def test_preferences_need_pairs_and_numbers():
    tokens = pairs_of(*TWO)
    with pytest.raises(TrainingError, match="rows in pairs"):
        PreferenceLoss()(dataclasses.replace(tokens, pair=None))
    with pytest.raises(TrainingError, match="ref_logprobs"):
        PreferenceLoss()(dataclasses.replace(tokens, ref_logprobs=torch.full_like(tokens.ref_logprobs, math.nan)))
    for wrong in ({"beta": 0.0}, {"label_smoothing": 0.5}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            PreferenceLoss(**wrong)


def test_demonstrations_are_made_likelier_by_their_weights():
    tokens = pairs_of(*TWO)
    weight = torch.tensor([0.5, 0, 0.25, 0.1, 0, 0, 0, 0.15], dtype=torch.float64)
    loss, gradient = gradient_of(SupervisedLoss(), dataclasses.replace(tokens, ce_weight=weight))

    assert loss.value.item() == pytest.approx(-(weight * tokens.logprobs).sum().item())
    torch.testing.assert_close(gradient, -weight)
    total, count = loss.measures["nll"]
    assert (total / count).item() == pytest.approx(-tokens.logprobs[weight != 0].mean().item())
    assert loss.measures["likely"][0] == (tokens.logprobs[weight != 0] > math.log(0.5)).sum()


def test_a_demonstration_of_no_number_is_an_error_that_names_its_array():
    tokens = pairs_of(*TWO)
    spoilt = tokens.logprobs.detach().clone()
    spoilt[3] = math.nan
    with pytest.raises(TrainingError, match=r"logprobs \(1 of 8\)"):
        SupervisedLoss()(dataclasses.replace(tokens, logprobs=spoilt))
