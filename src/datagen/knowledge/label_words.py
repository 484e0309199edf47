"""Words for the labels of a corpus that nobody described.

Common labels have hand-written words in `data/labels.toml`; the rest get theirs by shape:

    Capital - name               capital                         Birth rate              birth rate
    Wingspan                     wingspan                        Turnover 2024           2024 turnover
    Literacy - female            female literacy                 Elevation - mean height mean height (elevation)

A figure that the corpus stamps with a year ("(2025 est.)") is asked for with that year where all subjects have the same
one, else as the *latest reported*: what a question can compare then is what the corpus last reported, not a year.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from datagen.errors import ConfigError
from datagen.knowledge.literals import factor
from datagen.records.shipped import shipped_file

LABELS_FILE = "labels.toml"
_QUALIFIERS = frozenset(
    {"male", "female", "total", "urban", "rural", "average", "mean", "median", "maximum", "minimum"}
)
_AMOUNT = re.compile(
    r"(?:latest reported )?(?:\d{4} )?(?:share|amount|number|volume|level|area|rate|mean age|size|yearly \w+) "
)
_STARTS_WITH_YEAR = re.compile(r"(?:19|20)\d\d ")
_YEAR_END = re.compile(r"(.+?),? ((?:19|20)\d\d)")
_FIELDS = frozenset(
    {"skip", "noun", "clue", "inverse", "ask", "kind", "list", "cut", "changes", "none_if", "stamped", "keep"}
)


@dataclass(frozen=True, slots=True)
class LabelEntry:
    """One curated label with its groups filled in; empty fields leave the choice to the values."""

    skip: bool = False
    noun: str = ""
    clue: tuple[str, ...] = ()
    inverse: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    kind: str = ""
    list: str = ""
    cut: str = ""
    changes: bool = False
    none_if: str = ""
    keep: str = ""
    stamped: bool = True


@dataclass(frozen=True, slots=True)
class LabelTable:
    """Curated labels in file order, and names for types."""

    entries: tuple[tuple[re.Pattern[str], dict[str, Any]], ...] = ()
    types: dict[str, tuple[str, str]] = field(default_factory=dict)
    aliases: tuple[re.Pattern[str], ...] = ()
    called: dict[str, str] = field(default_factory=dict)
    """Names in use for what the corpus has under another name."""

    def is_alias(self, label: str) -> bool:
        """Whether values under this label are names of the page's subject."""
        return any(pattern.fullmatch(label) for pattern in self.aliases)

    def find(self, label: str) -> LabelEntry | None:
        for pattern, raw in self.entries:
            match = pattern.fullmatch(label)
            if match:
                return LabelEntry(**{key: _expanded(match, value) for key, value in raw.items()})
        return None


def _expanded(match: re.Match[str], value: Any) -> Any:
    if isinstance(value, str):
        return value if "\\" not in value else _lowered(match, value)
    return tuple(_lowered(match, form) for form in value) if isinstance(value, list) else value


def _lowered(match: re.Match[str], template: str) -> str:
    return re.sub(r"\\(\d)", lambda group: lower_first(match.group(int(group.group(1))) or ""), template)


@lru_cache(maxsize=4)
def load_labels(path: Path | None = None) -> LabelTable:
    """Read a label file, the shipped one by default; raises `ConfigError` for a missing or malformed one."""
    path = path or shipped_file(LABELS_FILE)
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as exc:
        raise ConfigError(f"label file {path} cannot be read: {exc}. Restore data/labels.toml.") from exc
    entries = []
    for row in raw.get("label", []):
        fields = {key: value for key, value in row.items() if key != "pattern"}
        if "pattern" not in row or not fields.keys() <= _FIELDS:
            raise ConfigError(f"label file {path}: entry {row} needs a pattern and only the fields {sorted(_FIELDS)}.")
        # `cut` is itself an expression: its backslashes are no groups of the label's pattern.
        entries.append((re.compile(row["pattern"], re.IGNORECASE), fields))
    types = {row["id"]: (row["singular"], row["plural"]) for row in raw.get("type", [])}
    aliases = tuple(re.compile(row["pattern"], re.IGNORECASE) for row in raw.get("alias", []))
    called = {row["name"]: row["is"] for row in raw.get("called", [])}
    return LabelTable(tuple(entries), types, aliases, called)


def lower_first(text: str) -> str:
    """`Total area` -> `total area`, but `GDP` and `World Heritage` (a second capital) stay."""
    words = text.split(" ")
    if len(text) < 2 or not text[1].islower() or any(w[:1].isupper() for w in words[1:]):
        return text
    return text[0].lower() + text[1:]


def series_of(label: str) -> tuple[str, int] | None:
    """A label that ends with a year is one of a series: `Exports 2024` -> `Exports`, 2024."""
    match = _YEAR_END.fullmatch(label)
    return (match.group(1), int(match.group(2))) if match else None


def noun_for(label: str) -> str:
    """A noun phrase by the label's shape."""
    year = _YEAR_END.fullmatch(label)
    if year:
        return f"{year.group(2)} {noun_for(year.group(1))}"
    section, dash, rest = label.rpartition(" - ")
    if not dash:
        return lower_first(label)
    section = lower_first(section.rpartition(" - ")[2])
    rest = lower_first(rest)
    if rest.casefold() == "name":
        return section
    if rest.casefold() in _QUALIFIERS:
        return f"{rest.casefold()} {section}"
    if set(section.casefold().split()) & set(rest.casefold().split()):
        return rest
    return f"{rest} ({section})"


def plain_unit(unit: str) -> tuple[str, str]:
    """The unit that a number in a question carries, and what its noun must say instead of the rest.

    >>> plain_unit("% of GDP"), plain_unit("births/1,000 population"), plain_unit("sq km")
    (('%', 'as % of GDP'), ('', 'in births per 1,000 population'), ('sq km', ''))
    """
    if "/" in unit and factor(unit, "km/h") is None:
        return "", f"in {re.sub(r' */ *', ' per ', unit)}"
    if unit.startswith("%"):
        rest = unit[1:].strip()
        return "%", f"as % {rest if rest.startswith('of ') else f'of {rest}'}" if rest else ""
    if re.search(r"[\d,]", unit):
        return "", f"in {re.sub(r' */ *', ' per ', unit)}"
    return unit, ""


@dataclass(frozen=True, slots=True)
class Words:
    clue: tuple[str, ...]
    inverse: tuple[str, ...]
    ask: tuple[str, ...]


def words_for(
    label: str, entry: LabelEntry | None, kind: str, *, unit: str = "", single: bool, when: str = ""
) -> Words:
    """Clue, inverse and ask forms of a label whose values are written in `unit`; `when` is a year, "latest" or nothing."""
    _, measure = plain_unit(unit)
    noun = (entry.noun if entry else "") or noun_for(label)
    if measure and not (entry and entry.noun):
        noun = f"{noun} {measure}"
    if (
        kind == "number"
        and single
        and when
        and (entry is None or entry.stamped)
        and not re.search(r"(?:19|20)\d\d", noun)
    ):
        return _with_time(noun, entry, when)
    clue: tuple[str, ...]
    inverse: tuple[str, ...] = ()
    # "the number of airports of the country that ..." reads badly; "in the country that ..." does not.
    place = "in" if _AMOUNT.match(noun) else "of"
    tense = "was" if _STARTS_WITH_YEAR.match(noun) else "is"
    ask: tuple[str, ...] = (f"What {tense} the {noun} {place} {{s}}?",) if single else ()
    if not single:
        clue = (f"that has {{o}} among its {noun}", f"that lists {{o}} under {noun}")
    elif kind == "text":
        clue = (f"whose {noun} is given as {{o}}",)
    else:
        clue = (f"whose {noun} {tense} {{o}}",)
    if kind == "entity":
        inverse = (f"that is the {noun} of {{s}}",) if single else (f"that is among the {noun} of {{s}}",)
    if entry is None:
        return Words(clue, inverse, ask)
    return Words(
        entry.clue or clue,
        entry.inverse or (() if entry.clue else inverse),
        entry.ask or (() if entry.clue and not entry.noun else ask),
    )


def _with_time(noun: str, entry: LabelEntry | None, when: str) -> Words:
    """Words for a figure of one year, or for the last one that was reported."""
    place = "in" if _AMOUNT.match(noun) else "of"
    clue: tuple[str, ...]
    ask: tuple[str, ...]
    if when == "latest":
        clue = (f"whose latest reported {noun} is {{o}}", f"whose {noun}, at last report, was {{o}}")
        ask = (f"What is the latest reported {noun} {place} {{s}}?",)
    else:
        clue = (f"whose {noun} in {when} was {{o}}", f"whose {noun} was {{o}} in {when}")
        ask = (f"What was the {noun} {place} {{s}} in {when}?", f"What was the {when} {noun} {place} {{s}}?")
    return Words((entry.clue if entry else ()) or clue, (), (entry.ask if entry else ()) or ask)


def plural_of(word: str) -> str:
    """English plural of a type's word."""
    if word.endswith("person"):
        return word.removesuffix("person") + "people"
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "x", "z", "ch", "sh")) else "s")
