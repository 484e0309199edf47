"""From tokens to a step: the table of the spec, and that parts of a step add up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.errors import ConfigError, TrainingError
from datagen.training.objectives.advantages import batch_scale
from datagen.training.objectives.aggregation import Totals, coefficients, step_totals

LENGTHS = np.array([4, 3, 2, 3])
MODES = ("sequence_mean", "token_mean", "constant_length", "sequence_sum", "token_sum")
ROWS = st.lists(st.integers(0, 9), min_size=1, max_size=8).map(np.array)
MODE = st.sampled_from(MODES)


def of(lengths: np.ndarray, mode: str, **kept) -> np.ndarray:
    return coefficients(lengths, mode, totals=step_totals(lengths), max_length=8, **kept)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("sequence_mean", [1 / 16, 1 / 12, 1 / 8, 1 / 12]),
        ("token_mean", [1 / 12] * 4),
        ("constant_length", [1 / 32] * 4),
        ("sequence_sum", [1 / 4] * 4),
        ("token_sum", [1] * 4),
    ],
)
def test_the_table_of_the_module_holds(mode, expected):
    assert of(LENGTHS, mode) == pytest.approx(expected)


@pytest.mark.parametrize(("count_empty", "sequences"), [(False, 3), (True, 4)])
def test_a_sequence_without_a_trained_token_counts_only_where_asked(count_empty, sequences):
    # Spec §1.3: TRL counts it and verl does not, and their losses differ by 4/3 for one such row of four.
    lengths = np.array([4, 0, 2, 3])
    totals = step_totals(lengths, count_empty=count_empty)

    assert totals == Totals(9, sequences)
    found = coefficients(lengths, "sequence_mean", totals=totals)
    assert found == pytest.approx([1 / (4 * sequences), 0, 1 / (2 * sequences), 1 / (3 * sequences)])


@given(lengths=ROWS, mode=MODE, cut=st.integers(0, 8))
def test_coefficients_of_bins_and_ranks_are_those_of_the_step(lengths, mode, cut):
    left, right = lengths[:cut], lengths[cut:]
    whole = step_totals(left) + step_totals(right)
    parts = [coefficients(part, mode, totals=whole, max_length=8) for part in (left, right)]

    assert whole == step_totals(lengths)
    assert np.concatenate(parts) == pytest.approx(of(lengths, mode))


@given(lengths=ROWS)
def test_means_weigh_one_in_all(lengths):
    expected = 1.0 if lengths.any() else 0.0

    assert (of(lengths, "sequence_mean") * lengths).sum() == pytest.approx(expected)
    assert (of(lengths, "token_mean") * lengths).sum() == pytest.approx(expected)


@given(lengths=ROWS, mode=MODE, order=st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(lengths, mode, order):
    places = [*range(len(lengths))]
    order.shuffle(places)

    assert of(lengths[places], mode) == pytest.approx(of(lengths, mode)[places])


@given(lengths=ROWS, mode=MODE)
def test_an_attempt_in_several_rows_weighs_what_it_weighs_in_one(lengths, mode):
    whole = of(lengths, mode)
    halves = np.stack([lengths // 2, lengths - lengths // 2], axis=1).ravel()
    attempt = np.repeat(np.arange(len(lengths)), 2)
    totals = step_totals(halves, sequence=attempt)
    parts = coefficients(halves, mode, totals=totals, max_length=8, sequence=attempt)

    assert totals == step_totals(lengths)
    assert (parts * halves).reshape(-1, 2).sum(1) == pytest.approx(whole * lengths)
    assert parts[halves > 0] == pytest.approx(np.repeat(whole, 2)[halves > 0])


def test_attempts_whose_rows_are_all_empty_count_where_asked():
    attempt = np.array([0, 0, 2, 2])

    assert step_totals(np.array([1, 2, 0, 0]), sequence=attempt) == Totals(3, 1)
    assert step_totals(np.array([1, 2, 0, 0]), sequence=attempt, count_empty=True) == Totals(3, 2)


def test_a_step_without_a_trained_token_weighs_nothing():
    for mode in MODES:
        assert of(np.array([0, 0]), mode).tolist() == [0, 0]


@given(data=st.data(), groups=st.integers(1, 4))
def test_scaling_by_groups_over_good_groups_is_leaving_bad_groups_out_of_the_sequence_mean(data, groups):
    # Spec fathom §2.3b: true of means over sequences, and not of the mean over tokens.
    good = data.draw(st.lists(st.booleans(), min_size=groups, max_size=groups).filter(any))
    lengths = np.array(data.draw(st.lists(st.integers(1, 9), min_size=2 * groups, max_size=2 * groups)))
    kept = np.repeat(good, 2)
    scale = batch_scale(good)

    scaled = scale * of(lengths, "sequence_mean")[kept]
    assert scaled == pytest.approx(of(lengths[kept], "sequence_mean"))


def test_scaling_is_not_leaving_out_under_the_token_mean():
    lengths, kept = np.array([1, 1, 9, 9]), np.array([True, True, False, False])

    scaled = batch_scale([True, False]) * of(lengths, "token_mean")[kept]
    assert scaled.sum() == pytest.approx(0.2)
    assert of(lengths[kept], "token_mean").sum() == 1


def test_denominators_of_a_part_are_refused_for_the_whole():
    with pytest.raises(TrainingError, match="12 trained tokens, more than the 7"):
        coefficients(LENGTHS, "token_mean", totals=Totals(7, 2))


def test_a_constant_length_has_to_be_said():
    with pytest.raises(ConfigError, match="max_length"):
        coefficients(LENGTHS, "constant_length", totals=step_totals(LENGTHS))


def test_an_aggregation_that_does_not_exist_is_refused_with_the_choices():
    with pytest.raises(ConfigError, match="sequence_mean, token_mean"):
        coefficients(LENGTHS, "mean", totals=step_totals(LENGTHS))
