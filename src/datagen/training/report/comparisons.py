"""Which of two policies is better, and how sure that is.

On the same questions, once each, McNemar's exact test looks at the questions that only one of them answered rightly. Where a
question was attempted several times, Student's test looks at the differences of shares, question by question. On different
questions two shares are compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from datagen.training.intervals import (
    Interval,
    independent_shares,
    mcnemar,
    paired_bootstrap,
    paired_shares,
    paired_t,
    two_proportions,
)
from datagen.training.recording import EvaluationRecord
from datagen.training.report.contents import Arm


@dataclass(frozen=True, slots=True)
class Measured:
    """A measurement, and the arm that it belongs to."""

    arm: str
    record: EvaluationRecord
    plain: bool = True
    """The policy's name says enough: there is one arm, or all arms share this measurement."""

    @property
    def name(self) -> str:
        """The policy; with its arm where that is needed and has another name."""
        return (
            self.record.policy if self.plain or self.arm == self.record.policy else f"{self.record.policy} ({self.arm})"
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """The second against the first."""

    first: Measured
    second: Measured
    n: int
    """Questions that both were asked; of the smaller set where these are others."""
    test: str
    p: float
    difference: Interval
    """Success of the second less that of the first."""


def compare(first: EvaluationRecord, second: EvaluationRecord) -> tuple[int, str, float, Interval] | None:
    """(questions, test, p-value, difference second - first with its 95 % interval); None where nothing was graded."""
    if not first.n or not second.n:
        return None
    both = sorted(first.per_question.keys() & second.per_question.keys())
    if len(both) < 2:
        return _unpaired(first, second)
    a, b = [first.per_question[name] for name in both], [second.per_question[name] for name in both]
    if first.attempts == second.attempts == 1:
        table = Counter(zip(a, b, strict=True))
        only = table[1.0, 0.0], table[0.0, 1.0]
        difference = paired_shares(table[1.0, 1.0], *only, table[0.0, 0.0])
        return len(both), "McNemar, exact", mcnemar(*only), difference
    p = paired_t([y - x for x, y in zip(a, b, strict=True)])
    return len(both), "paired t", p, paired_bootstrap(a, b)


def _unpaired(first: EvaluationRecord, second: EvaluationRecord) -> tuple[int, str, float, Interval]:
    counts = first.right, first.n, second.right, second.n
    return min(first.n, second.n), "two proportions", two_proportions(*counts), independent_shares(*counts)


def latest(arms: Sequence[Arm]) -> list[Measured]:
    """Of every policy after every phase the newest measurement in each mode; arms in their order.

    A measurement that several arms share, as that of a common start, is there once.
    """
    shared: list[list[Measured]] = []
    for arm in arms:
        newest = {(r.policy, r.phase, r.set, r.mode): r for r in arm.evaluations}
        for r in newest.values():
            equal = next((same for same in shared if same[0].record == r and same[-1].arm != arm.name), None)
            if equal is None:
                shared.append([Measured(arm.name, r)])
            else:
                equal.append(Measured(arm.name, r))
    return [Measured(same[0].arm, same[0].record, plain=len(same) == len(arms)) for same in shared]


def comparisons(measured: Sequence[Measured]) -> list[Comparison]:
    """What the first arm came to, against all other policies on the same set in the same mode."""
    found = []
    for name, mode in dict.fromkeys((one.record.set, one.record.mode) for one in measured):
        here = [one for one in measured if (one.record.set, one.record.mode) == (name, mode)]
        second = result_of(here)
        for first in here:
            said = None if first is second else compare(first.record, second.record)
            if said is not None:
                n, test, p, difference = said
                found.append(Comparison(first, second, n, test, p, difference))
    return found


def result_of(measured: Sequence[Measured]) -> Measured:
    """The last measurement of the first arm."""
    first = measured[0].arm
    return [one for one in measured if one.arm == first][-1]


def headline(measured: Sequence[Measured]) -> str:
    """A sentence: what the result answers, beside what it is compared with, on the first set; greedy where measured."""
    if not measured:
        return "Nothing was measured on held-out questions."
    name = measured[0].record.set
    modes = [one.record.mode for one in measured if one.record.set == name]
    mode = "greedy" if "greedy" in modes else modes[0]
    here = [one for one in measured if (one.record.set, one.record.mode) == (name, mode)]
    result = result_of(here)
    interval = result.record.interval()
    if interval is None:
        return f"No attempt of {result.name} on {name} could be graded."
    others = [
        f"{found.first.name} {percent(found.first.record.success)} ({p_value(found.p)})"
        for found in comparisons(here)
        if found.second is result
    ]
    mode_name = result.record.mode_name
    sentence = (
        f"{result.name} answers {percent(interval.value)} of {len(result.record.per_question) or result.record.n:,} "
        f"questions of {name} ({mode_name}, 95 % interval {percent(interval.low)} to {percent(interval.high)})"
    )
    return f"{sentence}; {', '.join(others)}." if others else f"{sentence}."


def percent(share: float | None) -> str:
    return "not measured" if share is None else f"{100 * share:.1f} %"


def p_value(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"
