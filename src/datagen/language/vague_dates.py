"""Words for spans of days, each with one declared meaning.

A span is a closed interval of proleptic ordinal days. `date_wordings` gives every way to say a span, the most natural
first, and `read_date_words` gives back exactly the span that words declare:

    3 March 1925             that day              the 1920s                1920..1929
    March 1925               that month            the early 1920s          1920..1923
    early 1925               January..April        the mid-1920s            1924..1926
    mid-1925                 May..August           the late 1920s           1927..1929
    late 1925                September..December   the 20th century         1901..2000
    1925                     that year             the first quarter / the first half of the 20th century
    between 1850 and 1870    from the first day of 1850 to the last day of 1870; the ends may be months or days
    after 1925 / before 1925 the days after its last / before its first; the ends may be months or days

The first decade of a century has no "the 1900s" (it also means the century), and seasons are left out (they depend on
the hemisphere). "in" or "on" belongs to the wording, because "between" and "after" take none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from datagen.knowledge.dates import MONTHS, day_number, days_in_month, ymd

LAST_YEAR = 9999
MIN_DAY = day_number(-LAST_YEAR, 1, 1)
MAX_DAY = day_number(LAST_YEAR, 12, 31)
"""The ends of the calendar stand for "any time before" and "any time after"."""

_ORDINALS = ("first", "second", "third", "last")
_YEAR = r"(?:\d{1,5} BC|\d{4}|the year \d{1,3})"
_MONTH = rf"(?:{'|'.join(MONTHS)}) {_YEAR}"
DAY_PATTERN = rf"\d{{1,2}} {_MONTH}(?!\w)"
_POINT = rf"(?:\d{{1,2}} {_MONTH}|{_MONTH}|{_YEAR})(?!\w|,\d)"
_SPAN = (
    r"the (?:early |late |mid-)?\d{3}0s"
    r"|the (?:(?:first|second|third|last) (?:quarter|half) of the )?\d{1,2}(?:st|nd|rd|th) century"
    rf"|(?:early |late |mid-){_YEAR}(?!\w)"
)
DATE_PATTERN = (
    rf"(?:some time )?(?:between {_POINT} and {_POINT}|(?:after|before) {_POINT}|at any time"
    rf"|(?:in |on )?(?:{_POINT}|{_SPAN}))"
)
"""Matches the words of a date with its preposition; the lexer of questions uses it."""


@dataclass(frozen=True, slots=True)
class DateWords:
    """`words` as a noun phrase where `preposition` is set ("in" + "the 1920s"), else an adverbial ("after 1920")."""

    preposition: str
    words: str

    @property
    def adverbial(self) -> str:
        """What follows a verb: "in the 1920s", "on 3 March 1925", "after 1920"."""
        return f"{self.preposition} {self.words}" if self.preposition else self.words

    @property
    def after_copula(self) -> str:
        """What follows "whose opening date is": a day, month or year stands bare, a vague span keeps its "in"."""
        return self.words if re.fullmatch(_POINT, self.words) else self.adverbial

    @property
    def nominal(self) -> str:
        """What follows "since" or "from": "the 1920s", "some time after 1920"."""
        return self.words if self.preposition and not self.words.startswith("mid-") else f"some time {self.adverbial}"


@dataclass(frozen=True, slots=True)
class _Point:
    """A day, month or year as an end of a span."""

    low: int
    high: int
    words: str
    preposition: str


def _year_words(year: int) -> str:
    """A year in words: "1925", "the year 850", "44 BC"; the year before 1 is 1 BC."""
    if year < 1:
        return f"{1 - year} BC"
    return str(year) if year >= 1000 else f"the year {year}"


def _month_end(year: int, month: int) -> int:
    return day_number(year, month, days_in_month(year, month))


def _year(year: int) -> _Point:
    return _Point(day_number(year, 1, 1), day_number(year, 12, 31), _year_words(year), "in")


def _points(day: int) -> tuple[_Point, _Point, _Point]:
    """The year, the month and the day that hold an ordinal day."""
    year, month, day_of_month = ymd(day)
    words = f"{MONTHS[month - 1]} {_year_words(year)}"
    return (
        _year(year),
        _Point(day_number(year, month, 1), _month_end(year, month), words, "in"),
        _Point(day, day, f"{day_of_month} {words}", "on"),
    )


def _thirds(year: int) -> Iterator[tuple[int, int, DateWords]]:
    for name, first, last in (("early ", 1, 4), ("mid-", 5, 8), ("late ", 9, 12)):
        words = DateWords("in", name + _year_words(year))
        yield day_number(year, first, 1), _month_end(year, last), words


def _decade_spans(year: int) -> Iterator[tuple[int, int, DateWords]]:
    decade = year - year % 10
    if decade < 1000 or decade % 100 == 0:
        return
    for name, first, last in (("early ", 0, 3), ("mid-", 4, 6), ("late ", 7, 9), ("", 0, 9)):
        yield _year(decade + first).low, _year(decade + last).high, DateWords("in", f"the {name}{decade}s")


def _ordinal(number: int) -> str:
    suffix = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


def _century_spans(year: int) -> Iterator[tuple[int, int, DateWords]]:
    number = (year - 1) // 100 + 1
    first = 100 * number - 99
    if first < 1 or first + 99 > LAST_YEAR:
        return
    for parts, part, names in ((4, "quarter", _ORDINALS), (2, "half", ("first", "second"))):
        length = 100 // parts
        for index, name in enumerate(names):
            low = first + index * length
            words = DateWords("in", f"the {name} {part} of the {_ordinal(number)} century")
            yield _year(low).low, _year(low + length - 1).high, words
    yield _year(first).low, _year(first + 99).high, DateWords("in", f"the {_ordinal(number)} century")


def named_spans(day: int) -> Iterator[tuple[int, int, DateWords]]:
    """Every named span that could hold this day: day, month, part of the year, year, and what decades offer."""
    for point in reversed(_points(day)):
        yield point.low, point.high, DateWords(point.preposition, point.words)
    year = ymd(day)[0]
    yield from _thirds(year)
    yield from _decade_spans(year)
    yield from _century_spans(year)


@lru_cache(maxsize=65536)
def date_wordings(low: int, high: int) -> tuple[DateWords, ...]:
    """Every way to say the span `low..high`, the most natural first; a span of days always has one."""
    if not MIN_DAY <= low <= high <= MAX_DAY:
        raise ValueError(f"no words for the days {low}..{high}: dates run from day {MIN_DAY} to day {MAX_DAY}")
    found = [words for start, end, words in named_spans(low) if (start, end) == (low, high)]
    if (low, high) == (MIN_DAY, MAX_DAY):
        return (DateWords("", "at any time"),)
    if high == MAX_DAY:
        found += [DateWords("", f"after {p.words}") for p in _points(low - 1) if p.high == low - 1]
    elif low == MIN_DAY:
        found += [DateWords("", f"before {p.words}") for p in _points(high + 1) if p.low == high + 1]
    if not found or len(found[0].words) > len("the early 1930s"):
        found += [DateWords("", _between(low, high))]
    return tuple(found)


def _between(low: int, high: int) -> str:
    """Ends of one fineness, the coarsest that is exact."""
    starts, ends = _points(low), _points(high)
    for start, end in zip(starts, ends, strict=True):
        if start.low == low and end.high == high:
            return f"between {start.words} and {end.words}"
    raise AssertionError("days are always exact")


@lru_cache(maxsize=65536)
def read_date_words(words: str) -> tuple[int, int] | None:
    """The span that date words declare, None when they are no date."""
    if re.fullmatch(DATE_PATTERN, words) is None:
        return None
    bare = words.removeprefix("some time ").removeprefix("in ").removeprefix("on ")
    try:
        return _read_bare(bare)
    except ValueError:  # 31 February
        return None


def _read_bare(words: str) -> tuple[int, int]:
    if words == "at any time":
        return MIN_DAY, MAX_DAY
    if words.startswith("between "):
        first, last = words.removeprefix("between ").split(" and ")
        return _read_point(first)[0], _read_point(last)[1]
    if words.startswith("after "):
        return _read_point(words.removeprefix("after "))[1] + 1, MAX_DAY
    if words.startswith("before "):
        return MIN_DAY, _read_point(words.removeprefix("before "))[0] - 1
    if re.fullmatch(_POINT, words):
        return _read_point(words)
    return _read_span(words)


def _read_point(words: str) -> tuple[int, int]:
    *front, year_words = words.replace("the year ", "").split(" ")
    year = 1 - int(front.pop()) if year_words == "BC" else int(year_words)
    if not front:
        return _year(year).low, _year(year).high
    month = MONTHS.index(front[-1]) + 1
    if len(front) == 1:
        return day_number(year, month, 1), _month_end(year, month)
    day = day_number(year, month, int(front[0]))
    return day, day


def _read_span(words: str) -> tuple[int, int]:
    """A named span, found again among those of one of its years."""
    number = int(re.sub(r"\D", "", words))
    year = 100 * number - 99 if words.endswith("century") else 1 - number if words.endswith("BC") else number
    candidates = [*_thirds(year), *_decade_spans(year), *_century_spans(year)]
    for low, high, known in candidates:
        if known.words == words:
            return low, high
    raise ValueError(f"no span is called {words!r}")
