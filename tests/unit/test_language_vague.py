"""Vague words mean one interval each."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.errors import ParseError
from datagen.knowledge.dates import day_number
from datagen.knowledge.literals import date_interval, number_literal, parse_literal
from datagen.language.vague import Band, bands, parse_band, parse_words
from datagen.language.vague_dates import MAX_DAY, MIN_DAY, date_wordings, read_date_words
from datagen.language.vague_numbers import UNBOUNDED, number_wordings, read_number_words
from datagen.records.fact import Literal

UNITS = ("", "km", "sq km", "%", "$", "people", "million bbl", "kg (dry)", 'in "quotes"', " odd ")
ENDS = st.one_of(
    st.integers(-(10**13), 10**13).map(float),
    st.floats(-1e12, 1e12, allow_nan=False),
    st.sampled_from([0.0, 0.5, 1e25]),
)


def years(first: int, last: int | None = None) -> tuple[int, int]:
    return day_number(first, 1, 1), day_number(first if last is None else last, 12, 31)


@pytest.mark.parametrize(
    ("words", "span"),
    [
        ("3 March 1925", (day_number(1925, 3, 3), day_number(1925, 3, 3))),
        ("on 3 March 1925", (day_number(1925, 3, 3), day_number(1925, 3, 3))),
        ("February 1924", (day_number(1924, 2, 1), day_number(1924, 2, 29))),
        ("early 2025", (day_number(2025, 1, 1), day_number(2025, 4, 30))),
        ("late 2025", (day_number(2025, 9, 1), day_number(2025, 12, 31))),
        ("in 1901", years(1901)),
        ("the early 1930s", years(1930, 1933)),
        ("the mid-1990s", years(1994, 1996)),
        ("the 1920s", years(1920, 1929)),
        ("the last quarter of the 19th century", years(1876, 1900)),
        ("the first half of the 20th century", years(1901, 1950)),
        ("the 20th century", years(1901, 2000)),
        ("between 1850 and 1870", years(1850, 1870)),
        ("some time between March 1901 and May 1903", (day_number(1901, 3, 1), day_number(1903, 5, 31))),
        ("after 2010", (day_number(2011, 1, 1), MAX_DAY)),
        ("before 1800", (MIN_DAY, day_number(1799, 12, 31))),
        ("44 BC", years(-43)),
        ("the year 850", years(850)),
    ],
)
def test_words_of_dates_declare_their_span(words: str, span: tuple[int, int]):
    assert read_date_words(words) == span


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("between 4,000 and 6,000", (4000.0, 6000.0, "")),
        ("roughly 5,000", (4500.0, 5500.0, "")),
        ("about 300 km", (250.0, 350.0, "km")),
        ("a five-digit number", (10000.0, 99999.0, "")),
        ("a three-digit number of people", (100.0, 999.0, "people")),
        ("fewer than a thousand", (0.0, 999.0, "")),
        ("negligible (0 to 1%)", (0.0, 1.0, "%")),
        ("at least $4 million", (4e6, UNBOUNDED, "$")),
        ("at most -3 m", (-UNBOUNDED, -3.0, "m")),
        ("2.5 billion", (2.5e9, 2.5e9, "")),
    ],
)
def test_words_of_numbers_declare_their_range(words: str, expected: tuple[float, float, str]):
    assert read_number_words(words) == expected


@given(st.integers(MIN_DAY, MAX_DAY), st.integers(0, 60_000))
def test_every_span_of_days_has_words_that_read_back(low: int, length: int):
    high = min(low + length, MAX_DAY)
    for wording in date_wordings(low, high):
        for words in (wording.adverbial, wording.after_copula, wording.nominal):
            assert read_date_words(words) == (low, high)


@given(ENDS, ENDS, st.sampled_from(UNITS))
def test_every_range_of_numbers_has_words_that_read_back(one: float, other: float, unit: str):
    low, high = min(one, other), max(one, other)
    for words in number_wordings(low, high, unit):
        assert read_number_words(words) == (low, high, unit)


@given(st.integers(day_number(600, 1, 1), day_number(2100, 1, 1)), st.sampled_from([1, 28, 365, 3650]))
def test_bands_of_a_date_hold_it_and_read_back(low: int, length: int):
    literal = date_interval(low, low + length - 1)
    check_bands(literal, bands(literal))


@given(ENDS, st.sampled_from(UNITS))
def test_bands_of_a_number_hold_it_and_read_back(value: float, unit: str):
    literal = number_literal(value, unit)
    check_bands(literal, bands(literal))


def check_bands(literal: Literal, found: tuple[Band, ...]) -> None:
    assert found[0].low == literal.low
    assert found[0].high == literal.high
    widths = [band.high - band.low for band in found]
    assert widths == sorted(widths)
    assert len({(b.low, b.high) for b in found}) == len(found)
    for band in found:
        assert band.low <= literal.low <= literal.high <= band.high
        assert parse_words(band.words) == (literal.kind, band.low, band.high, literal.unit)
        assert parse_band(band.words) == (band.low, band.high)


def test_bands_of_a_day_go_from_the_day_to_the_century():
    words = [band.words for band in bands(parse_literal("3 March 1925", "date"))]
    wanted = ["3 March 1925", "March 1925", "early 1925", "1925", "the mid-1920s", "the 1920s", "the 20th century"]
    assert [w for w in words if w in wanted] == wanted


def test_a_decade_at_the_turn_of_a_century_is_not_said_with_two_meanings():
    words = [band.words for band in bands(parse_literal("1905", "date"))]
    assert not any("1900s" in w for w in words)


def test_text_has_no_bands():
    assert bands(parse_literal("green and white", "text")) == ()


@pytest.mark.parametrize("words", ["", "soon", "31 February 1925", "between 1850", "5 to 6", "12345", "the 1955s"])
def test_other_words_are_no_band(words: str):
    with pytest.raises(ParseError, match="neither a date nor a number"):
        parse_band(words)


def test_random_bands_are_reproducible():
    literal = number_literal(52_138.0, "km")
    assert random.Random(1).choice(bands(literal)) == random.Random(1).choice(bands(literal))


def test_a_share_ends_at_a_hundred_per_cent():
    assert all(band.high <= 100 or band.high == UNBOUNDED for band in bands(number_literal(98.5, "%")))
    assert any(100 < band.high < UNBOUNDED for band in bands(number_literal(120, "%")))
