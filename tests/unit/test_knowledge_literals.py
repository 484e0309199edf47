"""Typed values: what wording allows, and that nothing is lost on the way to words and back."""

from __future__ import annotations

import datetime as dt
import doctest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.knowledge import literals
from datagen.knowledge.dates import day_number, is_leap, ymd
from datagen.knowledge.literals import (
    canonical_text,
    contains,
    date_interval,
    day,
    disjoint,
    format_literal,
    iso,
    normalise_text,
    number_literal,
    ordinal,
    overlaps,
    parse_date,
    parse_literal,
    parse_number,
    split_qualifier,
    text_literal,
    texts_overlap,
)
from datagen.knowledge.units import factor, normalise_unit
from datagen.records.fact import Literal

DAYS = st.integers(day_number(-300, 1, 1), day_number(2400, 12, 31))


def span(text: str) -> tuple[str, str] | None:
    parsed = parse_date(text)
    return None if parsed is None else (iso(parsed.low), iso(parsed.high))


def bounds(text: str, unit: str = "") -> tuple[float, float, str] | None:
    parsed = parse_number(text, unit)
    return None if parsed is None else (parsed.low, parsed.high, parsed.unit)


def test_the_worked_examples_of_the_module_hold():
    assert doctest.testmod(literals).failed == 0


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("3 March 2025", "2025-03-03", "2025-03-03"),
        ("3rd of March 2025", "2025-03-03", "2025-03-03"),
        ("March 3, 2025", "2025-03-03", "2025-03-03"),
        ("3 Sept 2025", "2025-09-03", "2025-09-03"),
        ("2025-03-03", "2025-03-03", "2025-03-03"),
        ("2025-03-03T10:00:00Z", "2025-03-03", "2025-03-03"),
        ("March 2025", "2025-03-01", "2025-03-31"),
        ("February 2024", "2024-02-01", "2024-02-29"),
        ("1901", "1901-01-01", "1901-12-31"),
        ("1901–1905", "1901-01-01", "1905-12-31"),
        ("between 1901 and 1905", "1901-01-01", "1905-12-31"),
        ("from 3 March 2025 to 4 May 2026", "2025-03-03", "2026-05-04"),
        ("the 1980s", "1980-01-01", "1989-12-31"),
        ("the 1900s", "1900-01-01", "1999-12-31"),
        ("19th century", "1801-01-01", "1900-12-31"),
        ("c. 1900", "1890-01-01", "1910-12-31"),
        ("about 1903", "1898-01-01", "1908-12-31"),
        ("44 BC", "-0043-01-01", "-0043-12-31"),
    ],
)
def test_a_date_is_every_day_that_its_wording_allows(text, first, last):
    assert span(text) == (first, last)


@pytest.mark.parametrize(
    "text", ["", "12", "30 February 2025", "31 April", "soon", "1905 to 1901", "Marchy 2025", "5 km"]
)
def test_what_is_no_date_is_not_read_as_one(text):
    assert parse_date(text) is None


@pytest.mark.parametrize(
    ("text", "low", "high", "unit"),
    [
        ("52,138 km", 52_138, 52_138, "km"),
        ("12 345 km", 12_345, 12_345, "km"),
        ("2,381,740 sq km", 2_381_740, 2_381_740, "sq km"),
        ("23.1%", 23.05, 23.15, "%"),
        ("5.5% of GDP (2021)", 5.45, 5.55, "% of GDP"),
        ("1.2 million", 1_150_000, 1_250_000, ""),
        ("3 million people", 2_500_000, 3_500_000, "people"),
        ("$1.3 billion", 1.25e9, 1.35e9, "$"),
        ("4.607 million metric tonnes of CO2 (2023 est.)", 4_606_500, 4_607_500, "metric tonnes of CO2"),
        ("1.66 physicians/1,000 population", 1.655, 1.665, "physicians/1,000 population"),
        ("about 300 km", 250, 350, "km"),
        ("about 1,250", 1_245, 1_255, ""),
        ("-5.3", -5.35, -5.25, ""),
        ("−12 m", -12, -12, "m"),
        ("minus 4", -4, -4, ""),
        ("10 to 15 km", 10, 15, "km"),
        ("10–15 kilometres", 10, 15, "km"),
        ("1.2 to 1.5 million", 1_150_000, 1_550_000, ""),
        ("0.6%", 0.55, 0.65, "%"),
    ],
)
def test_a_number_is_the_interval_that_rounds_to_what_is_written(text, low, high, unit):
    assert bounds(text) == (low, high, unit)


@pytest.mark.parametrize("text", ["", "less than 1%", "over 5 million", "3 March 2025", "A-13", "5'10", "$5 km", "ten"])
def test_what_is_no_closed_number_is_not_read_as_one(text):
    assert parse_number(text) is None


def test_a_stated_unit_is_converted_to_the_unit_of_the_relation():
    assert bounds("1.5 km", "m") == (1_450.0, 1_550.0, "m")
    assert bounds("250 hectares", "sq km") == (2.5, 2.5, "sq km")
    assert bounds("42", "years") == (42, 42, "years")


def test_a_unit_of_another_dimension_is_kept_and_compares_with_nothing():
    stated = parse_number("5 km", "years")

    assert stated is not None
    assert stated.unit == "km"
    assert not contains(number_literal(5, "years"), stated)
    assert overlaps(number_literal(9, "years"), stated)


def test_a_qualifying_year_is_split_from_the_value():
    assert split_qualifier("94.7% of population (2022 est.)") == ("94.7% of population", "2022")
    assert split_qualifier("1.99% (2020-25 est.)") == ("1.99%", "2020-25")
    assert split_qualifier("Lake Foo (north)") == ("Lake Foo (north)", None)


def test_overlapping_values_neither_match_nor_exclude_each_other():
    year, may = parse_date("1901"), parse_date("May 1901")
    about = parse_date("December 1901 to March 1902")
    assert year is not None
    assert may is not None
    assert about is not None

    assert contains(year, may)
    assert not contains(may, year)
    assert not disjoint(may, year)
    assert not contains(year, about)
    assert not disjoint(year, about)
    assert disjoint(may, about)


def test_texts_with_nested_words_may_mean_the_same():
    assert texts_overlap("green", "green and white")
    assert not texts_overlap("green and white", "green and red")
    assert disjoint(text_literal("Red"), text_literal("blue"))
    assert contains(text_literal("The “Green-White”."), text_literal('the "green-white"'))


def test_canonical_forms_are_gradable():
    assert canonical_text(day("2025-03-03")) == "2025-03-03"
    assert [canonical_text(d) for d in map(parse_date, ("March 2025", "1901", "1901 to 1902")) if d] == [
        "2025-03",
        "1901",
        "1901-01-01/1902-12-31",
    ]
    assert canonical_text(number_literal(1234.0, "km")) == "1,234 km"


def test_units_have_one_canonical_form():
    assert [normalise_unit(u) for u in ("Kilometres", "km2", "per cent", "US$", "metric  tonnes of CO2")] == [
        "km",
        "sq km",
        "%",
        "$",
        "metric tonnes of CO2",
    ]
    assert factor("m", "km") is not None
    assert factor("m", "kg") is None


@given(st.dates())
def test_day_numbers_agree_with_the_calendar(date: dt.date):
    assert day_number(date.year, date.month, date.day) == date.toordinal()
    assert ymd(date.toordinal()) == (date.year, date.month, date.day)
    assert ordinal(date.isoformat()) == date.toordinal()


@given(DAYS)
def test_day_numbers_below_year_one_invert_as_well(number: int):
    year, month, date = ymd(number)
    assert day_number(year, month, date) == number
    assert ordinal(iso(number)) == number


@given(DAYS, DAYS)
def test_a_formatted_date_reads_back_to_the_same_interval(a: int, b: int):
    literal = date_interval(min(a, b), max(a, b))
    parsed = parse_date(format_literal(literal))
    assert parsed is not None
    assert (parsed.low, parsed.high) == (literal.low, literal.high)


@given(
    st.floats(-1e12, 1e12, allow_nan=False).map(lambda x: round(x, 4)),
    st.floats(0, 1e6).map(lambda x: round(x, 4)),
    st.sampled_from(("", "km", "%", "$", "metric tonnes of CO2", "% of GDP", "people")),
)
def test_a_formatted_number_reads_back_to_an_interval_that_contains_it(low: float, width: float, unit: str):
    literal = Literal("number", "", low, low + width, unit)
    parsed = parse_number(format_literal(literal))
    assert parsed is not None
    assert parsed.unit == unit
    assert parsed.low <= literal.low
    assert literal.high <= parsed.high


@given(st.text(max_size=40))
def test_normalising_a_text_twice_changes_nothing(text: str):
    assert normalise_text(normalise_text(text)) == normalise_text(text)


@given(st.text(max_size=30), st.sampled_from(("date", "number", "text")))
@settings(max_examples=200)
def test_no_wording_breaks_the_parsers(text: str, kind: str):
    parsed = parse_literal(text, kind, "km")
    assert parsed is None or parsed.low <= parsed.high


@given(st.integers(1, 2400), st.booleans())
def test_leap_years_have_a_29th_of_february(year: int, leap: bool):
    assert (parse_date(f"29 February {year:03d}") is not None) == is_leap(year)
