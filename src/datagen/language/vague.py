"""Vague words with a declared meaning: how an exact date or number becomes an interval that a question can say.

`bands` offers, narrow to wide, the intervals around a value that have natural words; obfuscation takes one of them.
`parse_band` gives back the interval. What the words mean is written down in `vague_dates` and `vague_numbers`: "roughly
5,000" is 4,500 to 5,500 and nothing else.

>>> from datagen.knowledge.literals import parse_literal
>>> [band.words for band in bands(parse_literal("3 March 1925", "date"))][:5]
['3 March 1925', 'March 1925', 'early 1925', '1925', 'the mid-1920s']
>>> parse_band("the mid-1920s") == parse_band("between 1924 and 1926")
True
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from datagen.errors import ParseError
from datagen.knowledge.dates import day_number, ymd
from datagen.language.vague_dates import LAST_YEAR, MAX_DAY, MIN_DAY, date_wordings, named_spans, read_date_words
from datagen.language.vague_numbers import (
    COUNTS,
    UNBOUNDED,
    number_wordings,
    read_number_words,
    rough_interval,
    share_ranges,
)
from datagen.records.fact import Literal

_YEAR_GRIDS = (5, 10, 20, 25, 50, 100)
_ROUND_PARTS = (Decimal("0.05"), Decimal("0.1"), Decimal("0.2"), Decimal("0.5"), Decimal(1))
"""Widths of "between" bands as parts of the value's power of ten."""
_NARROWEST = Decimal("0.02")
"""No "between" band is narrower than this part of the value."""


@dataclass(frozen=True, slots=True)
class Band:
    """A closed interval and words that mean exactly it."""

    low: float
    high: float
    words: str


def bands(literal: Literal) -> tuple[Band, ...]:
    """Intervals that hold the value and have words, narrow to wide, its own interval first. Text has none."""
    if literal.kind == "date":
        return _date_bands(int(literal.low), int(literal.high))
    if literal.kind == "number":
        return _number_bands(float(literal.low), float(literal.high), literal.unit)
    return ()


def parse_band(words: str) -> tuple[float, float]:
    """The interval that the words of a band (or of an exact date or number) declare."""
    _, low, high, _ = parse_words(words)
    return low, high


def parse_words(words: str) -> tuple[str, float, float, str]:
    """(kind, low, high, unit) of date or number words; `ParseError` for anything else."""
    span = read_date_words(words)
    if span is not None:
        return "date", float(span[0]), float(span[1]), ""
    number = read_number_words(words)
    if number is not None:
        return "number", *number
    raise ParseError(f"{words!r} is neither a date nor a number in the words that questions use.")


@lru_cache(maxsize=16384)
def _date_bands(low: int, high: int) -> tuple[Band, ...]:
    spans = {(low, high), *((a, b) for a, b, _ in named_spans(low)), *_year_spans(low, high)}
    holding = sorted(((b - a, a, b) for a, b in spans if a <= low and high <= b))
    return tuple(Band(float(a), float(b), date_wordings(a, b)[0].words) for _, a, b in holding)


def _year_spans(low: int, high: int) -> Iterator[tuple[int, int]]:
    """Spans between round years around the value, and the open spans after and before one."""
    first, last = ymd(low)[0], ymd(high)[0]
    if first < 1000 or last + 100 > LAST_YEAR:
        return
    for grid in _YEAR_GRIDS:
        start = first - first % grid
        yield day_number(start, 1, 1), day_number(start + grid, 12, 31)
    for grid in (10, 50):
        yield day_number((first - 1) // grid * grid + 1, 1, 1), MAX_DAY
        yield MIN_DAY, day_number(last // grid * grid + grid - 1, 12, 31)


@lru_cache(maxsize=16384)
def _number_bands(low: float, high: float, unit: str) -> tuple[Band, ...]:
    ranges = {(low, high), *_round_ranges(low, high), *_telling_ranges(low, high, unit)}
    # A share ends at 100 per cent; what is above it (a debt in per cent of GDP) is no share.
    top = 100.0 if unit == "%" and high <= 100 else UNBOUNDED
    holding = sorted(((b - a, a, b) for a, b in ranges if a <= low and high <= b and (b <= top or b == UNBOUNDED)))
    return tuple(Band(a, b, number_wordings(a, b, unit)[0]) for _, a, b in holding)


def _round_ranges(low: float, high: float) -> Iterator[tuple[float, float]]:
    """Between round numbers, roughly, at least and at most; steps follow the size of the value."""
    centre = (Decimal(repr(low)) + Decimal(repr(high))) / 2
    if centre == 0 or max(abs(low), abs(high)) >= UNBOUNDED / 10:
        return
    power = Decimal(10) ** centre.adjusted()
    whole = low == int(low) and high == int(high)
    for part in _ROUND_PARTS:
        step = power * part
        # A band of a hundredth says the value itself, and whole things come in whole numbers.
        if step < abs(centre) * _NARROWEST or (whole and step < 1):
            continue
        start = Decimal(math.floor(Decimal(repr(low)) / step)) * step
        yield float(start), float(start + step)
    for digits in (1, 2) if power >= 100 else (1,):
        yield rough_interval(float(f"{centre:.{digits}g}"))
    least = float(Decimal(math.floor(Decimal(repr(low)) / power)) * power)
    most = float(Decimal(math.ceil(Decimal(repr(high)) / power)) * power)
    if least < low:
        yield least, UNBOUNDED
    if most > high:
        yield -UNBOUNDED, most


def _telling_ranges(low: float, high: float, unit: str) -> Iterator[tuple[float, float]]:
    """Numbers of so many digits and round upper ends for whole numbers, adjectives for percentages."""
    if unit == "%":
        yield from share_ranges()
        return
    if unit not in COUNTS or low != int(low) or high != int(high) or low < 0:
        return
    digits = len(str(int(low)))
    if 2 <= digits <= 12:
        yield float(10 ** (digits - 1)), float(10**digits - 1)
    if digits <= 6:
        yield 0.0, float(10 ** max(digits, 2) - 1)
