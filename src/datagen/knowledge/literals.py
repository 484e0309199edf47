"""Typed values: what a page's wording allows, and comparison that knows when it does not know.

A literal is an interval, so two literals are *the same* when one lies inside the other, *different* when they are
disjoint, and otherwise nobody can say. Text is compared by its normal form; two texts where the words of one are all
among the words of the other ("green", "green and white") may speak of the same thing and exclude nothing.

>>> parse_literal("3 March 2025", "date").low == parse_literal("2025-03-03", "date").high
True
>>> parse_number("about 3 km").low, parse_number("2.9 km", "m").high
(2.5, 2950.0)
>>> canonical_text(parse_date("March 2025")), format_literal(parse_number("2,381,740 sq km"))
('2025-03', '2,381,740 sq km')
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from datagen.knowledge.dates import (  # fmt: skip
    MONTHS,
    day,
    day_number,
    days_in_month,
    format_days,
    iso,
    ordinal,
    parse_date,
    year_interval,
    ymd,
)
from datagen.knowledge.numbers import digits, format_number, parse_number, split_qualifier
from datagen.knowledge.units import factor, normalise_unit
from datagen.records.fact import Literal

__all__ = [
    "MONTHS", "canonical_text", "contains", "date_interval", "day", "day_number", "days_in_month", "digits",
    "disjoint", "factor", "format_days", "format_literal", "format_number", "iso", "normalise_text", "normalise_unit",
    "number_literal", "ordinal", "overlaps", "parse_date", "parse_literal", "parse_number", "split_qualifier",
    "text_literal", "texts_overlap", "words_of", "year_interval", "ymd",
]  # fmt: skip

_TRANSLATE = str.maketrans(
    {"‘": "'", "’": "'", "ʼ": "'", "“": '"', "”": '"', "–": "-", "—": "-", "−": "-", "‐": "-", "‑": "-", "\u00ad": ""}
)
_EDGES = " \t\n.,;:!?'\"()[]"
_WORD = re.compile(r"\w+")


@lru_cache(maxsize=65_536)
def normalise_text(text: str) -> str:
    """The form under which texts and names compare: NFKC, case folded, plain quotes and dashes, single spaces."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).translate(_TRANSLATE).casefold())
    return " ".join(folded.translate(_TRANSLATE).split()).strip(_EDGES)


def words_of(normal: str) -> frozenset[str]:
    """The words of a normalised text."""
    return frozenset(_WORD.findall(normal))


def texts_overlap(a: str, b: str) -> bool:
    """Whether two normalised texts may state the same thing: the words of one are all among the words of the other."""
    if a == b:
        return True
    left, right = words_of(a), words_of(b)
    return left <= right or right <= left


def text_literal(text: str) -> Literal:
    return Literal("text", " ".join(text.split()))


def number_literal(value: float, unit: str = "") -> Literal:
    """An exact number in its canonical wording."""
    return Literal("number", format_number(value, value, unit), value, value, unit)


def date_interval(low: float, high: float) -> Literal:
    return Literal("date", format_days(low, high), float(low), float(high), "")


def parse_literal(text: str, kind: str, unit: str = "") -> Literal | None:
    """The value that the whole of `text` states, as `kind`; None when it does not read as one. Text always reads."""
    if kind == "date":
        return parse_date(split_qualifier(text)[0])
    if kind == "number":
        return parse_number(text, unit)
    return text_literal(text) if text.strip() else None


def format_literal(literal: Literal) -> str:
    """Canonical words: `parse_literal` of them contains the literal."""
    if literal.kind == "date":
        return format_days(literal.low, literal.high)
    if literal.kind == "number":
        return format_number(literal.low, literal.high, literal.unit)
    return literal.text


def canonical_text(literal: Literal) -> str:
    """The gradable form: ISO day, month or year ("/" between the ends of a span), digits and unit, or normal text."""
    if literal.kind == "text":
        return normalise_text(literal.text)
    if literal.kind == "number":
        return format_number(literal.low, literal.high, literal.unit)
    first, last = ymd(int(literal.low)), ymd(int(literal.high))
    if first == last:
        return iso(literal.low)
    if first[0] == last[0] and first[1:] == (1, 1) and last[1:] == (12, 31):
        return iso(literal.low)[:-6]
    if first[:2] == last[:2] and first[2] == 1 and last[2] == days_in_month(*last[:2]):
        return iso(literal.low)[:-3]
    return f"{iso(literal.low)}/{iso(literal.high)}"


def _comparable(a: Literal, b: Literal) -> bool:
    return a.kind == b.kind and a.unit == b.unit


def contains(outer: Literal, inner: Literal) -> bool:
    """Whether a value stated as `inner` surely is one that `outer` describes."""
    if not _comparable(outer, inner):
        return False
    if outer.kind == "text":
        return normalise_text(outer.text) == normalise_text(inner.text)
    return outer.low <= inner.low and inner.high <= outer.high


def disjoint(a: Literal, b: Literal) -> bool:
    """Whether the two cannot state the same value. Values of other kinds or units cannot be told apart."""
    if not _comparable(a, b):
        return False
    if a.kind == "text":
        return not texts_overlap(normalise_text(a.text), normalise_text(b.text))
    return a.high < b.low or b.high < a.low


def overlaps(a: Literal, b: Literal) -> bool:
    """Whether the two may state the same value."""
    return not disjoint(a, b)
