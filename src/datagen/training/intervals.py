"""How sure a share, a mean or a difference is.

    wilson(15, 148)                           0.1014, 95 % interval 0.0624 to 0.1605
    mcnemar(1, 9)                             0.0215: of ten questions that one of two policies got, nine went to the second
    two_proportions(31, 200, 60, 200)         of policies on different questions
    mean_interval([0.61, 0.66, 0.58, 0.63, 0.60])      of five seeds, by Student's t
    paired_shares(30, 2, 14, 4)               how much more the second policy got of the same fifty questions
    paired_bootstrap(before, after)           of the mean difference, seed by seed or question by question

Tests are two-sided. Sources: E. B. Wilson (1927) and R. G. Newcombe (1998) for shares; Q. McNemar (1947), exact; R. A.
Fisher (1922), exact, where a cell of the table is expected to hold fewer than 5; B. Efron (1979).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev

import numpy as np

FEW = 5
"""Below this expected count in a cell the normal approximation of two shares is not used (Cochran 1954)."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and the ends of its interval."""

    value: float
    low: float
    high: float


def wilson(right: int, n: int, level: float = 0.95) -> Interval:
    """Score interval of a share. Holds its level for shares near 0 and 1, and never leaves [0, 1]."""
    _counts(right, n)
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, square = right / n, z * z
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = z / (1 + square / n) * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    # At the ends the formula gives exactly 0 or 1, and its rounding does not.
    return Interval(share, 0.0 if right == 0 else centre - half, 1.0 if right == n else centre + half)


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact p-value that two policies are equally good, from the questions that just one of them answered rightly."""
    if min(only_first, only_second) < 0:
        raise ValueError(f"counts are not negative: {only_first}, {only_second}")
    n, least = only_first + only_second, min(only_first, only_second)
    tail = chosen = 1
    for k in range(least):
        chosen = chosen * (n - k) // (k + 1)
        tail += chosen
    return min(1.0, 2 * tail / (1 << n))


def paired_shares(both: int, only_first: int, only_second: int, neither: int, level: float = 0.95) -> Interval:
    """The second share less the first, of the same questions, by how many of them each answered rightly.

    Newcombe (1998), "Improved confidence intervals for the difference between binomial proportions based on paired data",
    method 10: the two Wilson intervals, joined by the correlation of the answers. It has a width where no question tells the
    two apart, as a bootstrap has not.
    """
    n = both + only_first + only_second + neither
    a, b = wilson(both + only_first, n, level), wilson(both + only_second, n, level)
    squares = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    cross = both * neither - only_first * only_second
    corrected = max(cross - n / 2, 0.0) if cross > 0 else float(cross)
    phi = corrected / math.sqrt(squares) if squares else 0.0

    def reach(x: float, y: float) -> float:
        return math.sqrt(max(0.0, x * x - 2 * phi * x * y + y * y))

    shift = b.value - a.value
    return Interval(
        shift,
        max(-1.0, shift - reach(b.value - b.low, a.high - a.value)),
        min(1.0, shift + reach(b.high - b.value, a.value - a.low)),
    )


def independent_shares(right_1: int, n_1: int, right_2: int, n_2: int, level: float = 0.95) -> Interval:
    """The second share less the first, of different questions.

    Newcombe (1998), "Interval estimation for the difference between independent proportions", method 10.
    """
    a, b = wilson(right_1, n_1, level), wilson(right_2, n_2, level)
    shift = b.value - a.value
    return Interval(
        shift,
        shift - math.hypot(b.value - b.low, a.high - a.value),
        shift + math.hypot(b.high - b.value, a.value - a.low),
    )


def two_proportions(right_1: int, n_1: int, right_2: int, n_2: int) -> float:
    """p-value that two shares of different questions are equal: Fisher's exact test for small tables, else the z-test."""
    _counts(right_1, n_1)
    _counts(right_2, n_2)
    right, n = right_1 + right_2, n_1 + n_2
    if min(right, n - right) * min(n_1, n_2) < FEW * n:
        return fisher(right_1, n_1, right_2, n_2)
    pooled = right / n
    error = math.sqrt(pooled * (1 - pooled) * (1 / n_1 + 1 / n_2))
    return math.erfc(abs(right_1 / n_1 - right_2 / n_2) / error / math.sqrt(2))


def fisher(right_1: int, n_1: int, right_2: int, n_2: int) -> float:
    """Exact p-value: the weight of all tables with these margins that are no likelier than the one found."""
    _counts(right_1, n_1)
    _counts(right_2, n_2)
    right = right_1 + right_2
    weights = {
        k: math.comb(n_1, k) * math.comb(n_2, right - k) for k in range(max(0, right - n_2), min(n_1, right) + 1)
    }
    found = weights[right_1]
    return sum(w for w in weights.values() if w <= found) / sum(weights.values())


def mean_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Student's interval of a mean, such as over seeds: five are few, and fewer than two say nothing."""
    mean, error = _mean_and_error(values)
    half = error * student_quantile((1 + level) / 2, len(values) - 1)
    return Interval(mean, mean - half, mean + half)


def paired_t(differences: Sequence[float]) -> float:
    """p-value that the mean of paired differences is 0."""
    mean, error = _mean_and_error(differences)
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return 2 * student_cdf(-abs(mean) / error, len(differences) - 1)


def paired_bootstrap(
    first: Sequence[float], second: Sequence[float], *, draws: int = 10_000, seed: int = 0, level: float = 0.95
) -> Interval:
    """Percentile interval of mean(second) - mean(first), drawing pairs with replacement."""
    if len(first) != len(second) or len(first) < 2:
        raise ValueError(f"pairs, and at least two of them, are needed: {len(first)} and {len(second)} values")
    differences = np.asarray(second, dtype=np.float64) - np.asarray(first, dtype=np.float64)
    n, generator = len(differences), np.random.default_rng(seed)
    block = max(1, 2_000_000 // n)  # bounds memory at 16 MB whatever the number of questions
    means = np.concatenate(
        [
            differences[generator.integers(n, size=(min(block, draws - at), n))].mean(axis=1)
            for at in range(0, draws, block)
        ]
    )
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(differences.mean()), float(low), float(high))


def _mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    if len(values) < 2:
        raise ValueError(f"{len(values)} value(s) say nothing about their spread; run at least two, better five, seeds")
    return fmean(values), stdev(values) / math.sqrt(len(values))


def _counts(right: int, n: int) -> None:
    if not 0 <= right <= n or n == 0:
        raise ValueError(f"{right} of {n} is no share")


# --- Student's t ------------------------------------------------------------------------------------------------------


def student_cdf(t: float, freedom: int) -> float:
    """P(T <= t) with so many degrees of freedom (Abramowitz & Stegun 26.7.1)."""
    square = t * t
    if square < freedom:  # the middle: the tail would be one half less a small number
        return 0.5 + math.copysign(incomplete_beta(0.5, freedom / 2, square / (freedom + square)) / 2, t)
    tail = incomplete_beta(freedom / 2, 0.5, freedom / (freedom + square)) / 2
    return tail if t < 0 else 1 - tail


def student_quantile(p: float, freedom: int) -> float:
    """The t with P(T <= t) = p, for p from 0.5 to below 1."""
    if not 0.5 <= p < 1:
        raise ValueError(f"p is {p}; it lies from 0.5 to below 1")
    high = 1.0
    while student_cdf(high, freedom) < p:
        high *= 2
    return _root(lambda t: student_cdf(t, freedom) - p, 0.0, high)


def _root(rises: Callable[[float], float], low: float, high: float) -> float:
    """Bisection down to neighbouring floats."""
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if rises(middle) < 0 else (low, middle)
    return high


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Regularised I_x(a, b), by its continued fraction (Abramowitz & Stegun 26.5.8)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):  # where the fraction converges slowly, its mirror image does not
        return 1 - incomplete_beta(b, a, 1 - x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    return front * _fraction(a, b, x) / a


def _fraction(a: float, b: float, x: float) -> float:
    """Lentz's evaluation of the continued fraction of the incomplete beta function."""
    tiny = 1e-300
    c, d = 1.0, 1 / ((1 - (a + b) * x / (a + 1)) or tiny)
    value = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for step in (even, odd):
            d = 1 / ((1 + step * d) or tiny)
            c = (1 + step / c) or tiny
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            return value
    raise ArithmeticError(f"the incomplete beta function does not converge at a={a}, b={b}, x={x}")
