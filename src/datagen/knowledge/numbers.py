"""Numbers with units, as the interval that their wording allows.

    "52,138 km"         52138 exactly: a plain integer is a count or a survey result
    "23.1%"             23.05 to 23.15: what rounds to 23.1
    "1.2 million"       1,150,000 to 1,250,000; a magnitude word says where the digits stop
    "about 300 km"      250 to 350: the last digit that is not a zero was rounded
    "10 to 15 km"       10 to 15          "-5.3", "minus 5.3", "(2023 est.)" behind the value is dropped here

`more than 5` and `less than 1%` have an end that nobody stated; they parse to None and stay text.
"""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

from datagen.knowledge.units import PREFIX_UNITS, factor, normalise_unit
from datagen.records.fact import Literal

MAGNITUDES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}

_SIGN = r"(?:[-−–]|minus\s+)?"
_DIGITS = r"(?:\d{1,3}(?:,\d{3})+|\d{1,3}(?:[\u00a0\u202f ]\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+"
_MAGNITUDE = "|".join(MAGNITUDES)
_PREFIX = "|".join(re.escape(u) for u in PREFIX_UNITS)
_NUMBER = rf"(?P<sign@>{_SIGN})(?P<prefix@>{_PREFIX})?\s?(?P<digits@>{_DIGITS})(?:\s?(?P<mag@>{_MAGNITUDE})\b)?"
_WORD = r"(?!(?:to|and|or|but|since|until|st|nd|rd|th)\b)[^\W\d_][\w'’²³]*"
_UNIT = rf"(?P<unit@>\s*(?:%|°|{_PREFIX}|{_WORD})(?:(?:\s*/\s*(?:[\d,]+\s)?|\s+|-){_WORD})*)?"
_ABOUT = r"(?P<about>(?:about|around|approximately|approx\.|approx|roughly|nearly|almost|some|circa|c\.|ca\.|~)\s*)?"
_SINGLE = re.compile(_ABOUT + (_NUMBER + _UNIT).replace("@", ""), re.IGNORECASE)
_SPAN = re.compile(
    r"(?:(?:between|from)\s+)?"
    + (_NUMBER + r"(?P<unit@>%)?").replace("@", "1")
    + r"(?:\s*[–—]\s*|\s+(?:to|and|-)\s+|-)"
    + (_NUMBER + _UNIT).replace("@", "2"),
    re.IGNORECASE,
)
_QUALIFIER = re.compile(r"\s*\((?:as of\s+)?(?P<when>[^()]*?\d{4}(?:-\d{2,4})?)(?P<est>\s*(?:est\.?|estimate))?\)$", re.IGNORECASE)  # fmt: skip


def split_qualifier(text: str) -> tuple[str, str | None]:
    """The value's wording and the time it is qualified with, if any: "94.7% (2022 est.)" -> ("94.7%", "2022")."""
    match = _QUALIFIER.search(text)
    if match is None:
        return text.strip(), None
    return text[: match.start()].strip(), match["when"].strip()


def parse_number(text: str, unit: str = "") -> Literal | None:
    """The number that the whole of `text` states, else None; in `unit` where the stated unit converts to it.

    A number with no unit of its own is taken to be in `unit`. The literal keeps the wording with spaces squeezed.
    """
    wording = " ".join(text.split())
    bare, _ = split_qualifier(wording)
    parsed = _span(bare) or _single(bare)
    if parsed is None:
        return None
    low, high, stated = parsed
    ratio = factor(stated, unit) if stated and unit else Fraction(1)
    if ratio is None:
        return Literal("number", wording, float(low), float(high), stated)
    return Literal("number", wording, _scaled(low, ratio), _scaled(high, ratio), unit or stated)


def _scaled(value: Decimal, ratio: Fraction) -> float:
    return float(value) if ratio == 1 else float(Fraction(value) * ratio)


def _single(text: str) -> tuple[Decimal, Decimal, str] | None:
    match = _SINGLE.fullmatch(text)
    if match is None:
        return None
    parts = match.groupdict()
    value, step = _value(parts, "")
    if parts["about"]:
        step = max(step, _last_digit(value))
    unit = _unit(parts["prefix"], parts["unit"])
    return None if unit is None else (value - step / 2, value + step / 2, unit)


def _span(text: str) -> tuple[Decimal, Decimal, str] | None:
    match = _SPAN.fullmatch(text)
    if match is None:
        return None
    parts = match.groupdict()
    if parts["mag2"] and not parts["mag1"]:
        parts["mag1"] = parts["mag2"]  # "1.2 to 1.5 million"
    (low, low_step), (high, high_step) = _value(parts, "1"), _value(parts, "2")
    unit = _unit(parts["prefix2"] or parts["prefix1"], parts["unit2"])
    if unit is None or low > high:
        return None
    # The ends of a span bound it; rounding of an end widens it only where the digits say it was rounded.
    return low - low_step / 2, high + high_step / 2, unit


def _value(parts: dict[str, str | None], n: str) -> tuple[Decimal, Decimal]:
    """The stated value and the step of its last digit; step 0 where the digits are all there."""
    digits = re.sub(r"[,\s\u00a0\u202f]", "", parts["digits" + n] or "")
    power = MAGNITUDES[(parts["mag" + n] or "").lower()] if parts["mag" + n] else 0
    value = Decimal(digits).scaleb(power)
    exact = "." not in digits and not power
    step = Decimal(0) if exact else Decimal(1).scaleb(power - len(digits.partition(".")[2]))
    return (-value if (parts["sign" + n] or "").strip() else value), step


def _last_digit(value: Decimal) -> Decimal:
    """Place value of the last digit that is not zero: 300 -> 100, 1250 -> 10."""
    if not value:
        return Decimal(1)
    exponent = value.normalize().as_tuple().exponent
    assert isinstance(exponent, int)
    return Decimal(1).scaleb(exponent)


def _unit(prefix: str | None, suffix: str | None) -> str | None:
    """None when a currency sign and another unit contradict each other as a single unit ("$5 km")."""
    if prefix is None:
        return normalise_unit(suffix or "")
    trailing = normalise_unit(suffix or "")
    return normalise_unit(prefix) if not trailing or trailing == normalise_unit(prefix) else None


def format_number(low: float, high: float, unit: str) -> str:
    """Words for an interval in `unit`; `parse_number` of them contains the interval."""
    words = digits(low) if low == high else f"{digits(low)} to {digits(high)}"
    if unit in PREFIX_UNITS:
        return _with_prefix(low, high, unit)
    if not unit:
        return words
    return f"{words}{unit}" if unit.startswith("%") else f"{words} {unit}"


def _with_prefix(low: float, high: float, unit: str) -> str:
    ends = [f"-{unit}{digits(-v)}" if v < 0 else f"{unit}{digits(v)}" for v in (low, high)]
    return ends[0] if low == high else " to ".join(ends)


def digits(value: float) -> str:
    """Plain digits with thousands separators and no exponent: 2381740.0 -> "2,381,740"."""
    return f"{Decimal(repr(value + 0.0)):,f}".removesuffix(".0")
