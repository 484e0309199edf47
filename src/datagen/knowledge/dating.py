"""When a statement speaks: the days that its date phrase surely covers.

A relation that changes over time is stated for the days `valid_from..as_of`. Dates have precision, so only the inner
days count: "from 2019 until 2023" surely covers 31 December 2019 to 31 December 2022 and nothing more.

    "since 3 March 2025" on a page of 1 May 2025      2025-03-03..2025-05-01
    "as of 3 March 2025", "on 3 March 2025"           that day
    no phrase                                         the day of the page
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from datagen.knowledge.literals import iso as iso_day
from datagen.knowledge.literals import parse_literal

_MONTH = (
    r"(?:January|February|March|April|May|June|July|August|September|October|November|December"
    r"|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\.?"
)
DATE = rf"(?:\d{{1,2}} {_MONTH} \d{{4}}|{_MONTH} \d{{1,2}}, \d{{4}}|{_MONTH} \d{{4}}|\d{{4}}-\d{{2}}-\d{{2}}|\d{{4}})"
"""A date in words or digits, as a pattern without groups."""

_PHRASE = re.compile(
    rf"(?:(?P<asof>as of|on|in|effective)\s+(?P<at>{DATE})"
    rf"|since\s+(?P<since>{DATE})"
    rf"|(?:from|between)\s+(?P<a>{DATE})\s+(?:until|till|to|and)\s+(?P<b>{DATE})"
    rf"|(?P<c>{DATE})\s*[-–—]\s*(?P<d>{DATE})"
    rf"|(?P<e>{DATE})\s*[-–—]\s*(?:present|today|now))",
    re.IGNORECASE,
)
_LEAD = re.compile(rf"(?:{_PHRASE.pattern}),?\s+", re.IGNORECASE)
_TAIL = re.compile(rf",?\s*\(?(?:{_PHRASE.pattern})\)?$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Stated:
    """What a phrase says: the ordinal days between which a state began and ended, or one day at which it held."""

    began: tuple[int, int] | None = None
    ended: tuple[int, int] | None = None
    held: tuple[int, int] | None = None


@lru_cache(maxsize=65536)
def day_range(text: str) -> tuple[int, int] | None:
    """First and last ordinal day of a written date."""
    literal = parse_literal(text, "date")
    return None if literal is None else (int(literal.low), int(literal.high))


def _stated(match: re.Match[str]) -> Stated | None:
    groups = match.groupdict()
    if groups["at"]:
        days = day_range(groups["at"])
        return Stated(held=days) if days else None
    began = day_range(groups["since"] or groups["a"] or groups["c"] or groups["e"])
    if began is None:
        return None
    if not (groups["b"] or groups["d"]):
        return Stated(began=began)
    ended = day_range(groups["b"] or groups["d"])
    return Stated(began=began, ended=ended) if ended else None


def read_phrase(text: str) -> Stated | None:
    """The meaning of a whole phrase such as `since 2019`; None where it is no date phrase."""
    match = _PHRASE.fullmatch(text.strip())
    return _stated(match) if match else None


def read_lead(text: str, start: int, end: int) -> tuple[Stated | None, int]:
    """A phrase that opens a sentence ("As of 3 March 2025, ..."), and where the sentence goes on."""
    match = _LEAD.match(text, start, end)
    stated = _stated(match) if match else None
    return (stated, match.end()) if match and stated else (None, start)


def read_tail(text: str) -> tuple[Stated | None, int]:
    """A phrase that closes `text` ("... since 2019"), and the length of what comes before it."""
    match = _TAIL.search(text)
    stated = _stated(match) if match else None
    return (stated, match.start()) if match and stated else (None, len(text))


def covered_days(stated: Stated | None, published: str | None) -> tuple[str, str] | None:
    """The days (ISO, inclusive) that the statement surely covers; None where no day is sure."""
    if stated is None:
        return (published, published) if published else None
    if stated.held:
        low, high = stated.held
        return (_iso(low), _iso(low)) if low == high else None
    if stated.began is None:
        return None
    first = stated.began[1]
    if stated.ended is None:
        last = date.fromisoformat(published).toordinal() if published else first
        return (_iso(min(first, last)), _iso(last)) if stated.began[0] <= last else None
    # The day on which a state ended may belong to the next one.
    last = stated.ended[0] - 1
    return (_iso(first), _iso(last)) if first <= last else None


@lru_cache(maxsize=65536)
def _iso(ordinal: int) -> str:
    return iso_day(ordinal)
