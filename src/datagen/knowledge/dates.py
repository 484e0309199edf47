"""Dates with precision, as intervals of proleptic Gregorian day numbers.

    "3 March 2025"   one day              "March 2025"   31 days          "1901"        365 days
    "1901 to 1905"   five years           "the 1980s"    ten years        "c. 1900"     1890 to 1910

The day number is `datetime.date.toordinal`, continued below year 1 (astronomical years: 0 is 1 BC).
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache

from datagen.records.fact import Literal

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_MONTH_OF = {form.casefold(): i for i, m in enumerate(MONTHS, 1) for form in (m, m[:3])} | {"sept": 9}
_DAYS_BEFORE = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365)
_LAST_DAY = date.max.toordinal()

_MONTH = r"(?P<month>[A-Za-z]{3,9})\.?"
_YEAR = r"(?P<year>\d{1,4})(?P<bc>\s*B\.?C\.?(?:E\.?)?)?(?:\s*(?:AD|CE))?"
_PATTERNS = tuple(
    re.compile(p, re.IGNORECASE)
    for p in (
        r"(?P<year>[+-]?\d{4})-(?P<mon>\d{2})(?:-(?P<day>\d{2}))?(?:T[\d:.]+(?:Z|[+-]\d{2}:?\d{2})?)?",
        rf"(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?:\s+of)?\s+{_MONTH},?\s+{_YEAR}",
        rf"{_MONTH}\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)?,?\s+{_YEAR}",
        rf"{_MONTH},?\s+(?:of\s+)?{_YEAR}",
        _YEAR,
    )
)
_ABOUT = re.compile(r"(?:c\.|ca\.|circa|about|around|approximately|approx\.)\s*", re.IGNORECASE)
_DECADE = re.compile(r"(?:the\s+)?(\d{3}0)s", re.IGNORECASE)
_CENTURY = re.compile(r"(?:the\s+)?(\d{1,2})(?:st|nd|rd|th)[\s-]century(\s*B\.?C\.?(?:E\.?)?)?", re.IGNORECASE)
_RANGE = re.compile(r"(?:(?:from|between)\s+)?(.{3,40}?)(?:\s*[–—]\s*|\s+(?:to|and|until|-)\s+|(?<=\d{4})-(?=\d{4}$))(.{3,40})")  # fmt: skip


def is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def day_number(year: int, month: int, day: int) -> int:
    """`datetime.date(year, month, day).toordinal()`, also for years below 1. Raises ValueError for a day that is not."""
    if not (1 <= month <= 12 and 1 <= day <= days_in_month(year, month)):
        raise ValueError(f"there is no day {year}-{month}-{day}")
    past = year - 1
    leap = 1 if month > 2 and is_leap(year) else 0
    return past * 365 + past // 4 - past // 100 + past // 400 + _DAYS_BEFORE[month - 1] + leap + day


def days_in_month(year: int, month: int) -> int:
    return _DAYS_BEFORE[month] - _DAYS_BEFORE[month - 1] + (1 if month == 2 and is_leap(year) else 0)


def ymd(ordinal: int) -> tuple[int, int, int]:
    """Inverse of `day_number`."""
    if 1 <= ordinal <= _LAST_DAY:
        day = date.fromordinal(ordinal)
        return day.year, day.month, day.day
    year = (ordinal * 400) // 146_097 + 1
    while day_number(year, 1, 1) > ordinal:
        year -= 1
    while day_number(year + 1, 1, 1) <= ordinal:
        year += 1
    month = 12
    while day_number(year, month, 1) > ordinal:
        month -= 1
    return year, month, ordinal - day_number(year, month, 1) + 1


def iso(ordinal: float) -> str:
    """ISO form of a day number."""
    year, month, day = ymd(int(ordinal))
    sign = "-" if year < 0 else ""
    return f"{sign}{abs(year):04d}-{month:02d}-{day:02d}"


@lru_cache(maxsize=65_536)
def ordinal(text: str) -> int:
    """Day number of an ISO day ("2025-03-03"). Raises ValueError for anything else."""
    match = re.fullmatch(r"(-?\d{4})-(\d{2})-(\d{2})", text)
    if match is None:
        raise ValueError(f"{text!r} is not an ISO day (YYYY-MM-DD)")
    return day_number(*(int(g) for g in match.groups()))


def day(text: str) -> Literal:
    """The literal of one ISO day, worded as a page would: `day("2025-03-03").text == "3 March 2025"`."""
    number = ordinal(text)
    return _literal(format_days(number, number), number, number)


def _literal(text: str, low: int, high: int) -> Literal:
    return Literal("date", text, float(low), float(high), "")


def year_interval(first: int, last: int | None = None) -> tuple[int, int]:
    """First and last day of a year, or of a span of years."""
    return day_number(first, 1, 1), day_number(first if last is None else last, 12, 31)


def parse_date(text: str) -> Literal | None:
    """The date that the whole of `text` states, else None. The literal keeps the wording with spaces squeezed."""
    text = " ".join(text.split())
    span = _interval(text) or _range(text)
    return None if span is None or span[0] > span[1] else _literal(text, *span)


def _range(text: str) -> tuple[int, int] | None:
    match = _RANGE.fullmatch(text)
    if match is None:
        return None
    first, last = _interval(match[1]), _interval(match[2])
    return None if first is None or last is None else (first[0], last[1])


def _interval(text: str) -> tuple[int, int] | None:
    about = _ABOUT.match(text)
    if about is not None:
        return _about(text[about.end() :])
    decade, century = _DECADE.fullmatch(text), _CENTURY.fullmatch(text)
    if decade is not None:
        first = int(decade[1])
        # "the 1900s" may mean the decade or the century: the wider reading can exclude nothing wrongly.
        return year_interval(first, first + (99 if first % 100 == 0 else 9))
    if century is not None:
        number = int(century[1])
        return year_interval(1 - 100 * number, 100 - 100 * number) if century[2] else year_interval(100 * number - 99, 100 * number)  # fmt: skip
    for pattern in _PATTERNS:
        match = pattern.fullmatch(text)
        if match is not None:
            return _resolve(match.groupdict())
    return None


def _about(text: str) -> tuple[int, int] | None:
    """How far "about" reaches: ten years either way of 1900, five of 1903, one of a stated month or day."""
    span = _interval(text)
    if span is None:
        return None
    first, last = ymd(span[0]), ymd(span[1])
    whole_year = first[1:] == (1, 1) and last[1:] == (12, 31)
    slack = (10 if first[0] % 10 == 0 else 5) if whole_year else 1
    return year_interval(first[0] - slack, last[0] + slack)


def _resolve(parts: dict[str, str | None]) -> tuple[int, int] | None:
    year = int(parts["year"] or 0)
    if parts.get("bc"):
        year = 1 - year
    month_name = parts.get("month")
    month = _MONTH_OF.get(month_name.casefold()) if month_name else int(parts.get("mon") or 0)
    if month is None:
        return None
    try:
        if not month:
            # One or two digits alone are a count, not a year.
            return year_interval(year) if len(parts["year"] or "") >= 3 or parts.get("bc") else None
        stated_day = parts.get("day")
        if stated_day:
            number = day_number(year, month, int(stated_day))
            return number, number
        return day_number(year, month, 1), day_number(year, month, days_in_month(year, month))
    except ValueError:
        return None


def format_days(low: float, high: float) -> str:
    """Words for an interval of days that `parse_date` reads back to the same interval."""
    first, last = ymd(int(low)), ymd(int(high))
    if first == last:
        return f"{first[2]} {MONTHS[first[1] - 1]} {format_year(first[0])}"
    if first[1:] == (1, 1) and last[1:] == (12, 31):
        if first[0] == last[0]:
            return format_year(first[0])
        return f"{format_year(first[0])} to {format_year(last[0])}"
    if first[:2] == last[:2] and first[2] == 1 and last[2] == days_in_month(*last[:2]):
        return f"{MONTHS[first[1] - 1]} {format_year(first[0])}"
    return f"{format_days(low, low)} to {format_days(high, high)}"


def format_year(year: int) -> str:
    return f"{year:03d}" if year > 0 else f"{1 - year} BC"
