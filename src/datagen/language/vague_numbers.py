"""Words for ranges of numbers, each with one declared meaning.

    5,230 km                       exactly that           fewer than a thousand     0..999, for counts
    between 4,000 and 6,000 km     both ends included     a five-digit number       10,000..99,999
    roughly 5,000 km               ten per cent each way  negligible (0 to 1%)      adjectives for percentages
    about 5,200 km                 what rounds to that    $4 million                signs of money stand in front
    at least 5,000 km              no upper end           at most 5,000 km          no lower end

Numbers are written with commas, so that a bare four-digit number is always a year. "About 5,200" is 5,150..5,250: half a
step of the last figure that is not a zero.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache

from datagen.language.names import quoted, unquoted

UNBOUNDED = 1e30
"""Stands for "no upper end"; its negative for "no lower end". Formulas are JSON, which has no infinity."""

_SCALES = {"million": Decimal(10**6), "billion": Decimal(10**9), "trillion": Decimal(10**12)}
_MONEY = ("$", "€", "£", "¥")
COUNTS = frozenset({"", "people", "seats", "pages", "members", "employees"})
"""Units that come in whole numbers, so that "fewer than a thousand" is 0..999."""
_NUMBER = r"-?[$€£¥]?\d{1,3}(?:,\d{3})*(?:\.\d+)?(?: (?:million|billion|trillion))?(?![\d,]\d)"
_DIGIT_WORDS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_ROUND_WORDS = {
    "a hundred": 100,
    "a thousand": 1000,
    "ten thousand": 10_000,
    "a hundred thousand": 100_000,
    "a million": 10**6,
    "a billion": 10**9,
}
_SHARES = (
    ("negligible", 0, 1),
    ("small", 1, 5),
    ("modest", 5, 20),
    ("considerable", 20, 50),
    ("high", 50, 80),
    ("very high", 80, 100),
)
"""Adjectives for percentages; the words always say the range too."""
_SHARE_RANGES = {f"{name} ({low} to {high}%)": (float(low), float(high)) for name, low, high in _SHARES}
_DIGITS = rf"an? (?:{'|'.join(_DIGIT_WORDS)})-digit number"
_FEWER = rf"fewer than (?:{'|'.join(sorted(_ROUND_WORDS, key=len, reverse=True))})(?! (?:thousand|million|billion))"
_COUNTED = rf"(?:between {_NUMBER} and {_NUMBER}|(?:roughly |about |at least |at most )?{_NUMBER})"


def number_pattern(units: str) -> str:
    """Matches the words of a number; `units` is a pattern of unit words with their leading space, possibly empty."""
    shares = "|".join(re.escape(s) for s in _SHARE_RANGES)
    return (
        rf"(?:{_COUNTED}(?:{units})|{_DIGITS}(?: of(?:{units})| of)?|{_FEWER}(?:{units})"
        rf"|any number(?: of(?:{units}))?|{shares})"
    )


_ANY = re.compile(
    rf"(?:(?P<form>between|roughly|about|at least|at most) )?(?P<a>{_NUMBER})(?: and (?P<b>{_NUMBER}))?(?P<u>.*)"
)
_ANY_FEWER = re.compile(rf"fewer than (?P<n>{'|'.join(sorted(_ROUND_WORDS, key=len, reverse=True))})(?P<u>.*)")
_ANY_DIGITS = re.compile(rf"an? (?P<n>{'|'.join(_DIGIT_WORDS)})-digit number(?: of)?(?P<u>.*)")


_PLAIN_UNIT = re.compile(
    rf"(?!(?:{'|'.join(_SCALES)}|and|of|as|on|in|that|who|whose)\b)[^\W\d][\w/²³°.-]*(?: [^\W\d][\w/²³°.-]*)*(?<!\.)"
)


def unit_words(unit: str, known: frozenset[str] | None = None) -> str:
    """What follows a number: " km", "%", and in quotes what a reader (or the lexer) might not take for a unit."""
    if not unit or unit in _MONEY:
        return ""
    if unit == "%":
        return "%"
    plain = _PLAIN_UNIT.fullmatch(unit) is not None and (known is None or unit in known)
    return f" {unit}" if plain else f" {quoted(unit)}"


def _read_unit(words: str) -> str | None:
    if words in {"", "%"}:
        return words
    bare = words.removeprefix(" ")
    if bare.startswith('"'):
        return unquoted(bare)
    return bare if _PLAIN_UNIT.fullmatch(bare) else None


def write_number(value: float, money: str = "") -> str:
    """Exact decimal words of a float: commas, and a scale word where that is shorter and exact."""
    exact = Decimal(repr(float(value)))
    return ("-" if exact < 0 else "") + money + _figures(abs(exact))


def _figures(exact: Decimal) -> str:
    for scale in ("trillion", "billion", "million"):
        scaled = exact / _SCALES[scale]
        if 1 <= abs(scaled) < 1000 and scaled == round(scaled, 2):
            return f"{scaled.normalize():f} {scale}"
    whole = exact == exact.to_integral_value()
    return f"{exact.to_integral_value() if whole else exact.normalize():,f}"


def _read_number(words: str) -> float:
    digits, _, scale = words.partition(" ")
    return float(Decimal(re.sub(r"[,$€£¥]", "", digits)) * _SCALES.get(scale, Decimal(1)))


def rough_interval(value: float) -> tuple[float, float]:
    """What "roughly" declares: ten per cent each way."""
    ends = sorted((Decimal(repr(value)) * Decimal("0.9"), Decimal(repr(value)) * Decimal("1.1")))
    return float(ends[0]), float(ends[1])


def rounding_interval(value: float) -> tuple[float, float]:
    """What "about" declares: half a step of the last figure shown that is not a zero."""
    exact = Decimal(repr(float(value))).normalize()
    half = Decimal(5).scaleb(int(exact.as_tuple().exponent) - 1)
    return float(exact - half), float(exact + half)


def _rounding_centre(low: float, high: float) -> float | None:
    if low == high or abs(low) >= UNBOUNDED or abs(high) >= UNBOUNDED:
        return None
    centre = float((Decimal(repr(low)) + Decimal(repr(high))) / 2)
    return centre if centre and rounding_interval(centre) == (low, high) else None


def _rough_centre(low: float, high: float) -> float | None:
    """The short number that "roughly" would put between these ends."""
    if low == high or abs(low) >= UNBOUNDED or abs(high) >= UNBOUNDED:
        return None
    centre = float(f"{(low + high) / 2:.4g}")
    return centre if rough_interval(centre) == (low, high) else None


@lru_cache(maxsize=65536)
def number_wordings(low: float, high: float, unit: str, known: frozenset[str] | None = None) -> tuple[str, ...]:
    """Every way to say the range, the most telling first; the last one is always plain figures."""
    if not -UNBOUNDED <= low <= high <= UNBOUNDED:
        raise ValueError(f"no words for the numbers {low}..{high}: ends must be finite and in order")
    after = unit_words(unit, known)
    money = unit if unit in _MONEY else ""
    found = [words for words, ends in _SHARE_RANGES.items() if unit == "%" and ends == (low, high)]
    found += [] if money else _count_words(low, high, unit, after)
    if low == -UNBOUNDED or high == UNBOUNDED:
        return (*found, _open_words(low, high, money, after))
    if low == high:
        return (*found, f"{write_number(low, money)}{after}")
    for word, centre in (("about", _rounding_centre(low, high)), ("roughly", _rough_centre(low, high))):
        if centre is not None:
            found.append(f"{word} {write_number(centre, money)}{after}")
    return (*found, f"between {write_number(low, money)} and {write_number(high, money)}{after}")


def _count_words(low: float, high: float, unit: str, after: str) -> list[str]:
    for digits, word in enumerate(_DIGIT_WORDS, start=2):
        if (low, high) == (10 ** (digits - 1), 10**digits - 1):
            article = "an" if word in {"eight", "eleven"} else "a"
            return [f"{article} {word}-digit number" + (f" of{after}" if after else "")]
    if low != 0 or unit not in COUNTS:
        return []
    return [f"fewer than {words}{after}" for words, end in _ROUND_WORDS.items() if high == end - 1]


def _open_words(low: float, high: float, money: str, after: str) -> str:
    if low == -UNBOUNDED and high == UNBOUNDED:
        unit = f" {quoted(money)}" if money else after
        return f"any number of{unit}" if unit else "any number"
    if low == -UNBOUNDED:
        return f"at most {write_number(high, money)}{after}"
    return f"at least {write_number(low, money)}{after}"


@lru_cache(maxsize=65536)
def read_number_words(words: str) -> tuple[float, float, str] | None:
    """(low, high, unit) that number words declare, None when they are no number."""
    if words in _SHARE_RANGES:
        return (*_SHARE_RANGES[words], "%")
    if words.startswith("fewer than "):
        fewer = _ANY_FEWER.fullmatch(words)
        unit = _read_unit(fewer["u"]) if fewer else None
        return None if fewer is None or unit is None else (0.0, float(_ROUND_WORDS[fewer["n"]] - 1), unit)
    if words.startswith("any number"):
        unit = _read_unit(words.removeprefix("any number").removeprefix(" of"))
        return None if unit is None else (-UNBOUNDED, UNBOUNDED, unit)
    digits = _ANY_DIGITS.fullmatch(words)
    if digits is not None:
        count = _DIGIT_WORDS.index(digits["n"]) + 2
        unit = _read_unit(digits["u"])
        return None if unit is None else (float(10 ** (count - 1)), float(10**count - 1), unit)
    return _read_figures(words)


def _read_figures(words: str) -> tuple[float, float, str] | None:
    match = _ANY.fullmatch(words)
    unit = _read_unit(match["u"]) if match else None
    if match is None or unit is None or (match["form"] == "between") != (match["b"] is not None):
        return None
    money = re.sub(r"[^$€£¥]", "", match["a"])
    if money and unit:
        return None
    unit, value = unit or money, _read_number(match["a"])
    if match["form"] == "between":
        return value, _read_number(match["b"]), unit
    if match["form"] == "roughly":
        return (*rough_interval(value), unit)
    if match["form"] == "about":
        return (*rounding_interval(value), unit)
    if match["form"] == "at least":
        return value, UNBOUNDED, unit
    return (-UNBOUNDED if match["form"] == "at most" else value), value, unit


def share_ranges() -> tuple[tuple[float, float], ...]:
    """The ranges of percentages that have an adjective."""
    return tuple(_SHARE_RANGES.values())
