"""Advantages: the worked numbers of the specs, and the algebra that holds for all rewards."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.errors import ConfigError, TrainingError
from datagen.training.objectives.advantages import (
    AdvantageSettings,
    batch_scale,
    group_advantages,
    overlong_penalty,
)

GRPO_VERL = AdvantageSettings(ddof=1, eps=1e-6)
GRPO_TRL = AdvantageSettings(ddof=1, eps=1e-4)
PAPER = AdvantageSettings(ddof=0, eps=0.0)
DR_GRPO = AdvantageSettings(scale="none")
RLOO = AdvantageSettings(baseline="leave_one_out", scale="none")
BATCH = AdvantageSettings(scale="batch", ddof=1, eps=1e-4)
EVERY = (GRPO_VERL, GRPO_TRL, PAPER, DR_GRPO, RLOO, BATCH)

A, B = [1.0, 0.0, 0.0, 1.0], [0.2, 0.9, 0.4, 0.5]

# Rewards of distances that floats can hold, so that no property fails for rounding alone.
REWARD = st.integers(-50, 50).map(lambda n: n / 10)
GROUPS = st.lists(st.lists(st.none() | REWARD, max_size=6), min_size=1, max_size=5)
SETTINGS = st.sampled_from(EVERY)


@pytest.mark.parametrize(
    ("settings", "first", "second"),
    [
        (GRPO_VERL, 0.8660239, [-1.0190459, 1.3587278, -0.3396820, 0]),
        (GRPO_TRL, 0.8658754, [-1.0187033, 1.3582710, -0.3395678, 0]),
        (DR_GRPO, 0.5, [-0.3, 0.4, -0.1, 0]),
        (BATCH, 1.1782336, [-0.7069401, 0.9425869, -0.2356467, 0]),
    ],
    ids=["verl", "trl", "dr_grpo", "batch"],
)
def test_the_worked_groups_of_the_spec_come_out_to_seven_digits(settings, first, second):
    found = group_advantages([A, B], settings)

    assert found.values[0] == pytest.approx([first, -first, -first, first], abs=6e-8)
    assert found.values[1] == pytest.approx(second, abs=6e-8)


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [
        ([1, 0.1, 0.1, 0.1, 0.1], [2, -0.5, -0.5, -0.5, -0.5]),
        ([1, 1, 0.1, 0.1, 0.1], [1.2247, 1.2247, -0.8165, -0.8165, -0.8165]),
        ([1, 1, 1, 1, 0.1], [0.5, 0.5, 0.5, 0.5, -2]),
        ([0.1, 0.1, 0.1, 0, 0], [0.8165, 0.8165, 0.8165, -1.2247, -1.2247]),
        ([1, 0.1, 0.1, 0], [1.72328, -0.49237, -0.49237, -0.73855]),
    ],
)
def test_the_population_deviation_of_the_papers_gives_their_advantages(rewards, expected):
    found = group_advantages([rewards], PAPER)

    assert found.values[0] == pytest.approx(expected, abs=5e-5)
    assert found.good == [True]


def test_the_released_m_grpo_trainer_divides_by_the_sample_deviation():
    found = group_advantages([[1, 0.1, 0.1, 0]], GRPO_VERL)

    assert found.values[0] == pytest.approx([1.49240, -0.42640, -0.42640, -0.63960], abs=6e-6)


def test_a_tied_group_gets_no_advantage():
    found = group_advantages([[1.0] * 5, [0.1] * 3], PAPER)

    assert found.values == [[0.0] * 5, [0.0] * 3]
    assert (found.good, found.tied) == ([False, False], 2)


def test_a_tie_is_told_by_the_rewards_where_the_deviation_of_floats_is_not_zero():
    assert float(np.std([0.1] * 3)) > 0

    assert group_advantages([[0.1] * 3], PAPER).good == [False]


def test_rewards_one_rounding_step_apart_are_no_tie_and_stay_finite():
    close = [1.0, 1.0, math.nextafter(1.0, 2.0)]
    tiny = [0.0, 1e-200]

    found = group_advantages([close, tiny], PAPER)

    assert found.good == [True, True]
    assert found.values[1] == pytest.approx([-1, 1])
    assert all(math.isfinite(value) for group in found.values for value in group)
    assert found.values[0][2] > max(found.values[0][:2])


def test_an_attempt_without_siblings_gets_no_advantage_rather_than_its_reward():
    found = group_advantages([[0.7], [None, 0.7, None], [1, 0]], GRPO_VERL)

    assert found.values[:2] == [[0.0], [0.0, 0.0, 0.0]]
    assert (found.singletons, found.missing, found.good) == (2, 2, [False, False, True])


def test_an_attempt_that_nobody_could_judge_stays_out_of_mean_and_deviation():
    with_gap = group_advantages([[1, None, 0.1, 0.1, None, 0.1, 0.1]], PAPER)

    assert with_gap.values[0] == pytest.approx([2, 0, -0.5, -0.5, 0, -0.5, -0.5])
    assert with_gap.missing == 2


def test_a_group_that_nobody_could_judge_is_counted_as_empty():
    found = group_advantages([[None, None], []], PAPER)

    assert (found.values, found.empty, found.singletons, found.tied) == ([[0.0, 0.0], []], 2, 0, 0)


def test_a_batch_of_tied_groups_is_not_scaled_by_the_spread_between_them():
    found = group_advantages([[0.0, 0.0], [1.0, 1.0]], BATCH)

    assert found.values == [[0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize("reward", [math.nan, math.inf])
def test_a_reward_that_is_no_number_is_an_error_that_names_the_group(reward):
    with pytest.raises(TrainingError, match="group 1 has rewards"):
        group_advantages([[1, 0], [0.5, reward]], PAPER)


@given(rewards=GROUPS, settings=SETTINGS, shift=st.sampled_from([-3.0, 0.5, 7.0]))
def test_a_constant_added_to_all_rewards_of_a_group_changes_no_advantage_of_it(rewards, settings, shift):
    if settings.scale == "batch":
        moved = [[None if r is None else r + shift for r in group] for group in rewards]
    else:
        moved = [[None if r is None else r + shift * k for r in group] for k, group in enumerate(rewards)]
    before, after = group_advantages(rewards, settings), group_advantages(moved, settings)

    for left, right in zip(before.values, after.values, strict=True):
        assert left == pytest.approx(right, rel=1e-9, abs=1e-9)


@given(rewards=GROUPS, settings=SETTINGS, seed=st.integers(0, 99))
def test_the_order_of_attempts_and_groups_does_not_matter(rewards, settings, seed):
    rng = random.Random(seed)
    places = [(g, k) for g, group in enumerate(rewards) for k in range(len(group))]
    groups = rng.sample(range(len(rewards)), len(rewards))
    inner = {g: rng.sample(range(len(rewards[g])), len(rewards[g])) for g in groups}
    shuffled = group_advantages([[rewards[g][k] for k in inner[g]] for g in groups], settings)
    straight = group_advantages(rewards, settings)

    back = {(g, k): shuffled.values[i][j] for i, g in enumerate(groups) for j, k in enumerate(inner[g])}
    for g, k in places:
        assert back[g, k] == pytest.approx(straight.values[g][k], rel=1e-9, abs=1e-9)


@given(rewards=GROUPS, settings=SETTINGS)
def test_the_advantages_of_a_group_sum_to_nothing(rewards, settings):
    for group in group_advantages(rewards, settings).values:
        assert sum(group) == pytest.approx(0, abs=1e-8)


@given(rewards=GROUPS, settings=SETTINGS)
def test_a_group_is_good_exactly_where_some_attempt_carries_a_gradient(rewards, settings):
    found = group_advantages(rewards, settings)

    assert found.good == [any(value != 0 for value in group) for group in found.values]
    assert sum(found.good) + found.singletons + found.tied + found.empty == len(rewards)


@given(rewards=st.lists(REWARD, min_size=2, max_size=6))
def test_leave_one_out_is_the_reward_minus_the_mean_of_the_others(rewards):
    expected = [r - np.mean(rewards[:k] + rewards[k + 1 :]) for k, r in enumerate(rewards)]

    assert group_advantages([rewards], RLOO).values[0] == pytest.approx(expected, abs=1e-12)


@given(rewards=st.lists(REWARD, min_size=2, max_size=6).filter(lambda group: len(set(group)) > 1))
def test_advantages_over_the_population_deviation_have_unit_variance(rewards):
    assert np.std(group_advantages([rewards], PAPER).values[0]) == pytest.approx(1)


def test_four_good_groups_of_thirty_two_scale_the_canonical_replay_case_to_sixteen():
    scale = batch_scale([True] * 4 + [False] * 28)

    assert scale == 8
    values = group_advantages([[1, 0.1, 0.1, 0.1, 0.1]], PAPER).values[0]
    assert [scale * value for value in values] == pytest.approx([16, -4, -4, -4, -4])


def test_one_good_group_of_thirty_two_is_scaled_by_thirty_two_unless_capped():
    good = [True] + [False] * 31

    assert batch_scale(good) == 32
    assert batch_scale(good, max_scale=4) == 4


def test_without_a_good_group_there_is_nothing_to_scale():
    assert batch_scale([False] * 8) is None
    assert batch_scale([]) is None


def test_the_literal_reading_puts_attempts_per_question_above_the_fraction():
    assert batch_scale([True] * 4 + [False] * 28, literal_group_size=5) == 1.25


@given(good=st.lists(st.booleans(), min_size=1, max_size=40))
def test_scaling_makes_the_batch_mean_that_of_the_good_groups(good):
    scale = batch_scale(good)

    if scale is None:
        assert not any(good)
    else:
        mean_over_batch = scale * sum(good) / len(good)
        assert mean_over_batch == pytest.approx(1)


def test_the_length_penalty_falls_straight_over_the_buffer():
    penalties = [overlong_penalty(length, cap=20, buffer=8) for length in (10, 12, 14, 16, 18, 20, 25)]

    assert penalties == pytest.approx([0, 0, -0.25, -0.5, -0.75, -1, -1])
    assert overlong_penalty(16, cap=20, buffer=8, factor=0.4) == pytest.approx(-0.2)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (lambda: AdvantageSettings(baseline="median"), "group_mean or leave_one_out"),
        (lambda: AdvantageSettings(scale="max"), "group, batch or none"),
        (lambda: AdvantageSettings(ddof=2), "ddof"),
        (lambda: batch_scale([True], max_scale=0.5), "max_scale"),
        (lambda: overlong_penalty(5, cap=4, buffer=8), "buffer"),
    ],
)
def test_a_setting_that_means_nothing_is_refused_with_the_choices(wrong, named):
    with pytest.raises(ConfigError, match=named):
        wrong()
