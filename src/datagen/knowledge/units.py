"""Units: the many ways pages write one unit, and the factors between units of one dimension.

A unit the table does not know is kept as written ("metric tonnes of CO2"); it compares equal only to itself, so a
value in it neither proves nor excludes anything about a value in another unit.

    normalise_unit("kilometres") -> "km"      factor("m", "km") -> 0.001      factor("km", "years") -> None
"""

from __future__ import annotations

import re
from fractions import Fraction

_TABLE: dict[str, tuple[str, str, tuple[str, ...]]] = {
    # canonical: (dimension, factor to the dimension's base as a fraction, other surface forms)
    "mm": ("length", "1/1000", ("millimetre", "millimetres", "millimeter", "millimeters")),
    "cm": ("length", "1/100", ("centimetre", "centimetres", "centimeter", "centimeters")),
    "m": ("length", "1", ("metre", "metres", "meter", "meters")),
    "km": ("length", "1000", ("kilometre", "kilometres", "kilometer", "kilometers")),
    "nm": ("length", "1852", ("nautical mile", "nautical miles")),
    "mi": ("length", "1609344/1000", ("mile", "miles")),
    "ft": ("length", "3048/10000", ("foot", "feet")),
    "sq m": ("area", "1", ("m2", "m²", "square metre", "square metres", "square meter", "square meters")),
    "ha": ("area", "10000", ("hectare", "hectares")),
    "sq km": ("area", "1000000", ("km2", "km²", "square kilometre", "square kilometres", "square kilometer", "square kilometers")),
    "sq mi": ("area", "2589988110336/1000000", ("square mile", "square miles", "sq miles")),
    "g": ("mass", "1/1000", ("gram", "grams", "gramme", "grammes")),
    "kg": ("mass", "1", ("kilogram", "kilograms", "kilogramme", "kilogrammes")),
    "t": ("mass", "1000", ("tonne", "tonnes", "metric ton", "metric tons", "metric tonne", "metric tonnes")),
    "seconds": ("time", "1", ("s", "sec", "second")),
    "minutes": ("time", "60", ("min", "mins", "minute")),
    "hours": ("time", "3600", ("h", "hr", "hrs", "hour")),
    "days": ("time", "86400", ("day",)),
    "years": ("years", "1", ("year", "yr", "yrs", "years old")),
    "%": ("share", "1", ("percent", "per cent", "pct")),
    "kW": ("power", "1", ("kilowatt", "kilowatts")),
    "MW": ("power", "1000", ("megawatt", "megawatts")),
    "GW": ("power", "1000000", ("gigawatt", "gigawatts")),
    "knots": ("speed in knots", "1", ("kn", "knot")),
    "km/h": ("speed", "1", ("kph", "kmh", "kilometres per hour", "kilometers per hour")),
    "$": ("US dollars", "1", ("us$", "usd", "us dollars", "dollars", "dollar")),
    "€": ("euros", "1", ("eur", "euro", "euros")),
    "£": ("pounds", "1", ("gbp", "pounds sterling")),
    "¥": ("yen", "1", ("jpy", "yen")),
    "people": ("people", "1", ("inhabitants", "residents", "persons", "person")),
    "seats": ("seats", "1", ("seat",)),
    "pages": ("pages", "1", ("page",)),
    "members": ("members", "1", ("member",)),
    "employees": ("employees", "1", ("employee",)),
}  # fmt: skip

PREFIX_UNITS = ("US$", "$", "€", "£", "¥")
"""Units written before the number."""

_SURFACE = {name.casefold(): name for name in _TABLE} | {s: name for name, row in _TABLE.items() for s in row[2]}
_FACTOR = {name: (row[0], Fraction(row[1])) for name, row in _TABLE.items()}
_SPACES = re.compile(r"\s+")


def normalise_unit(surface: str) -> str:
    """The canonical unit of a surface form; an unknown one is returned with its spaces squeezed."""
    squeezed = _SPACES.sub(" ", surface).strip().rstrip(".")
    return _SURFACE.get(squeezed.casefold(), squeezed)


def factor(source: str, target: str) -> Fraction | None:
    """Multiply a number in `source` by this to have it in `target`; None when the two do not compare."""
    if source == target:
        return Fraction(1)
    if source not in _FACTOR or target not in _FACTOR or _FACTOR[source][0] != _FACTOR[target][0]:
        return None
    return _FACTOR[source][1] / _FACTOR[target][1]
