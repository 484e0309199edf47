"""Intervals and tests give the figures of worked examples, and hold what they promise."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from datagen.training.intervals import (
    fisher,
    incomplete_beta,
    independent_shares,
    mcnemar,
    mean_interval,
    paired_bootstrap,
    paired_shares,
    paired_t,
    student_cdf,
    student_quantile,
    two_proportions,
    wilson,
)

shares = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_intervals_of_newcombe_1998_table_i(right, n, low, high):
    found = wilson(right, n)

    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


@given(shares, st.floats(0.5, 0.999))
def test_wilson_holds_the_share_stays_in_range_and_is_its_own_mirror(counts, level):
    right, n = counts

    found, mirror = wilson(right, n, level), wilson(n - right, n, level)

    assert 0 <= found.low <= found.value <= found.high <= 1
    assert mirror.low == pytest.approx(1 - found.high, abs=1e-12)


@given(shares)
def test_the_ends_of_wilson_are_the_shares_that_the_score_test_just_rejects(counts):
    right, n = counts
    found = wilson(right, n)

    for end in (found.low, found.high):
        if 0 < end < 1:
            assert abs(right / n - end) / math.sqrt(end * (1 - end) / n) == pytest.approx(1.959964, abs=1e-5)


def test_mcnemar_is_a_fair_coin_thrown_once_per_question_that_just_one_got():
    assert mcnemar(1, 9) == 2 * (1 + 10) / 1024
    assert mcnemar(0, 5) == 2 / 32
    assert mcnemar(7, 7) == 1.0
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(3000, 3400) == pytest.approx(
        math.erfc(399 / math.sqrt(2 * 6400)), rel=0.01
    )  # a large sample is normal


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_does_not_mind_the_order(a, b):
    assert mcnemar(a, b) == mcnemar(b, a) <= 1


counts = st.integers(0, 60)


@given(counts, counts, counts, counts)
def test_the_interval_of_paired_shares_holds_the_difference_and_turns_round_with_it(a, b, c, d):
    assume(a + b + c + d > 0)
    found, turned = paired_shares(a, b, c, d), paired_shares(a, c, b, d)

    assert -1 <= found.low <= found.value <= found.high <= 1
    assert found.value == pytest.approx((c - b) / (a + b + c + d))
    assert (turned.low, turned.high) == (pytest.approx(-found.high), pytest.approx(-found.low))


@pytest.mark.parametrize(
    "chances", [(0.4, 0.1, 0.3, 0.2), (0.1, 0.05, 0.15, 0.7), (0.25, 0.25, 0.25, 0.25), (0.8, 0.02, 0.08, 0.1)]
)
def test_the_interval_of_paired_shares_covers_the_truth_as_often_as_it_says(chances):
    n, covered = 24, 0.0
    for a, b, c in itertools.product(range(n + 1), repeat=3):
        d = n - a - b - c
        if d < 0:
            continue
        found = paired_shares(a, b, c, d)
        if found.low <= chances[2] - chances[1] <= found.high:
            ways = math.factorial(n) // math.prod(map(math.factorial, (a, b, c, d)))
            covered += ways * math.prod(p**k for p, k in zip(chances, (a, b, c, d), strict=True))

    assert 0.94 <= covered <= 0.998  # careful where few questions tell the two apart


def test_two_policies_that_no_question_tells_apart_may_still_differ():
    found = paired_shares(40, 0, 0, 10)

    assert found.low < 0 < found.high
    assert found.high < 0.1


def test_the_interval_of_independent_shares_is_newcombes():
    found = independent_shares(48, 80, 56, 70)  # Newcombe 1998, method 10, example (a)

    assert (round(found.low, 4), round(found.high, 4)) == (0.0524, 0.3339)


def test_fisher_gives_the_lady_tasting_tea():
    assert fisher(3, 4, 1, 4) == pytest.approx(34 / 70)
    assert fisher(4, 4, 0, 4) == pytest.approx(2 / 70)
    assert fisher(1, 12, 9, 12) == pytest.approx(0.002759456, abs=1e-9)  # Wikipedia's dieting example, two-sided


def test_two_large_shares_are_compared_by_the_pooled_z_test():
    pooled = 91 / 400
    z = (31 / 200 - 60 / 200) / math.sqrt(pooled * (1 - pooled) * 2 / 200)

    assert two_proportions(31, 200, 60, 200) == pytest.approx(math.erfc(-z / math.sqrt(2)))


def test_two_small_shares_are_compared_exactly():
    assert two_proportions(1, 12, 6, 12) == fisher(1, 12, 6, 12)
    assert two_proportions(0, 800, 0, 800) == 1.0


@given(st.integers(30, 90), st.integers(30, 90))
@settings(max_examples=30, deadline=None)
def test_the_two_tests_of_shares_agree_where_both_may_be_used(a, b):
    exact, normal = fisher(a, 120, b, 120), two_proportions(a, 120, b, 120)

    assert normal <= exact + 1e-9  # Fisher's test is the conservative one
    assert exact - normal < 0.15


@pytest.mark.parametrize(
    ("freedom", "p", "t"),
    [(1, 0.975, 12.7062), (4, 0.975, 2.77645), (9, 0.975, 2.26216), (30, 0.995, 2.74999), (1000, 0.975, 1.96234)],
)
def test_quantiles_of_student_are_those_of_the_tables(freedom, p, t):
    assert student_quantile(p, freedom) == pytest.approx(t, abs=6e-5)


@given(st.floats(-50, 50))
def test_student_with_one_and_two_degrees_of_freedom_has_its_closed_forms(t):
    assert student_cdf(t, 1) == pytest.approx(0.5 + math.atan(t) / math.pi, abs=1e-12)
    assert student_cdf(t, 2) == pytest.approx(0.5 + t / (2 * math.sqrt(2 + t * t)), abs=1e-12)


@given(st.floats(0, 1), st.integers(1, 12), st.integers(1, 12))
def test_the_incomplete_beta_function_is_a_binomial_tail(x, a, b):
    n = a + b - 1
    tail = sum(math.comb(n, k) * x**k * (1 - x) ** (n - k) for k in range(a, n + 1))

    assert incomplete_beta(a, b, x) == pytest.approx(tail, abs=1e-12)


def test_the_interval_of_five_seeds_is_students():
    found = mean_interval([0.61, 0.66, 0.58, 0.63, 0.60])

    half = 2.776445 * math.sqrt(0.00372 / 4 / 5)  # 0.00372: sum of squared deviations; over n - 1, over n
    assert found.value == pytest.approx(0.616)
    assert found.high - found.value == pytest.approx(half, rel=1e-6)


@pytest.mark.parametrize("values", [[], [0.5]])
def test_one_seed_has_no_interval(values):
    with pytest.raises(ValueError, match="at least two, better five, seeds"):
        mean_interval(values)


def test_a_paired_t_test_of_students_sleep_data():
    gains = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]  # Student 1908: t = 4.0621, p = 0.002833

    assert paired_t(gains) == pytest.approx(0.002833, abs=1e-6)
    assert paired_t([0.0, 0.0]) == 1.0
    assert paired_t([0.1, 0.1]) == 0.0


def test_the_bootstrap_of_a_mean_difference_is_the_normal_interval_of_large_samples():
    generator = np.random.default_rng(3)
    before = generator.random(400)
    after = before + generator.normal(0.1, 0.5, 400)
    error = float(np.std(after - before, ddof=1)) / 20

    found = paired_bootstrap(before.tolist(), after.tolist())

    assert found.value == pytest.approx(float(np.mean(after - before)))
    assert found.low == pytest.approx(found.value - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(found.value + 1.96 * error, abs=0.1 * error)
    assert found == paired_bootstrap(before.tolist(), after.tolist())


def test_a_difference_that_is_always_the_same_has_no_width():
    found = paired_bootstrap([0.1, 0.5, 0.9], [0.3, 0.7, 1.1])

    assert (found.low, found.high) == (pytest.approx(0.2), pytest.approx(0.2))


@pytest.mark.parametrize(("right", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_a_share_that_is_none_is_refused(right, n):
    with pytest.raises(ValueError, match="is no share"):
        wilson(right, n)
