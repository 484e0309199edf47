"""Values as corpora write them: a figure and its remarks.

    1,340,478 (2025 est.)                        the figure is 1,340,478, stamped 2025
    22.6% (2024 est.) (male 96,110/female ...)   remarks in parentheses are not part of the figure
    Finland 14%, Latvia 11% (2023)               a list of linked names, each with its share
    cars, fish, plastics (2023)                  a list of texts

Catalogues that were made from labels are read by these rules (`Relation.origin == "induced"`). How a relation's values
are cut up stands in the catalogue's properties, so that a saved catalogue reads like the one that was induced:

    list:ID      separator of the items           cut:ID    expression removed from the end of the value
    none_if:ID   label of a number: where it is zero, the subject has no objects
    alias:LABEL  its values are other names of the page's subject
    called:NAME  the name under which the corpus has a page about what some rows call NAME
    unit:ID      unit as the pages write it, where the words of the relation say part of it ("% of GDP")
    keep:ID      expression that a value must contain, remarks included, to make a fact
    year:ID      the year that the words of the relation name: values stamped with another make no fact
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from datagen.knowledge.structured_rows import Span, trim

_REMARK = re.compile(r"\s*\(([^()]*)\)$")
_STAMP = re.compile(r"(?:19|20)\d\d")
_STAMP_REMARK = re.compile(
    r"(?:[^\d]*\s)?((?:19|20)\d\d)(?:\s?[-/–]\s?\d{2,4})?\s?(?:est\.?|estimate|projected)?", re.IGNORECASE
)
_JUNK = re.compile(
    r"[@<>{}\[\]|=;:]|https?|www\.|(?<![A-Z])\.\s|\b(?:note|NA|none|unknown|see|varies|various|unspecified|other)\b"
)
_NAME_JUNK = re.compile(r"[\d@<>{}\[\]|=;:%\"()]|\b(?:or|none|NA|note|other|others|various|unknown|some|entirely)\b")
_ITEM_JUNK = re.compile(r"[\d@<>{}\[\]|=;:%\"]|\b(?:and|or|none|NA|note|other|others|various|unknown|some)\b")
_AFTER_MEASURE = re.compile(r"(?<=\d (?:km|mi)), (?=[A-Z])")
MAX_TEXT = 60
MAX_ITEM = 40


@dataclass(frozen=True, slots=True)
class ValueRule:
    """How the values of one relation are cut up."""

    separator: str | None = None
    cut: str | None = None
    none_if: str | None = None
    unit: str | None = None
    year: str | None = None
    keep: str | None = None


def rules_of(properties: Mapping[str, str], relation_id: str) -> ValueRule:
    return ValueRule(
        properties.get(f"list:{relation_id}"),
        properties.get(f"cut:{relation_id}"),
        properties.get(f"none_if:{relation_id}"),
        properties.get(f"unit:{relation_id}"),
        properties.get(f"year:{relation_id}"),
        properties.get(f"keep:{relation_id}"),
    )


@lru_cache(maxsize=256)
def _ending(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?:{pattern})$")


def is_kept(text: str, span: Span, rule: ValueRule) -> bool:
    """Whether a value, with its remarks, is of the sort that makes a fact."""
    return rule.keep is None or re.search(rule.keep, text[span[0] : span[1]]) is not None


def strip_remarks(text: str, span: Span) -> tuple[Span, str | None, tuple[str, ...]]:
    """The value without the parentheses behind it, the year they stamp it with, and the other remarks."""
    start, end = span
    year: str | None = None
    remarks: list[str] = []
    while end > start and text[end - 1] == ")":
        match = _REMARK.search(text, start, end)
        if match is None or match.start() == start:
            break
        stamp = _STAMP_REMARK.fullmatch(match.group(1).strip())
        if stamp and year is None:
            year = stamp.group(1)
        elif not stamp:
            remarks.append(match.group(1))
        start, end = trim(text, start, match.start())
    return (start, end), year, tuple(reversed(remarks))


def cut_value(text: str, span: Span, rule: ValueRule) -> Span:
    """The span that holds the value itself."""
    span, _, _ = strip_remarks(text, span)
    if rule.cut:
        match = _ending(rule.cut).search(text, *span)
        if match:
            return trim(text, span[0], match.start())
    return span


def names_in(text: str) -> Iterator[str]:
    """The names that the value of an alias label holds: `US or USA` is two, `Harlan, Harlan Valley` three."""
    bare, _, _ = strip_remarks(text, (0, len(text)))
    for name in re.split(r"; | or |, or ", text[bare[0] : bare[1]]):
        parts = name.split(", ")
        # "Harlan, Harlan Valley" names one thing twice; "Kingdom of Harlan, Voss and Merrow" is one name.
        twice = len(parts) == 2 and (parts[0] in parts[1] or parts[1] in parts[0])
        for part in (name, *parts) if twice else (name,):
            if is_clean_text(part) and part[:1].isupper():
                yield part


def linked_items(text: str, span: Span, separator: str) -> Iterator[Span]:
    """Items of a list of things with measures, where some commas do a semicolon's work: `Niger 838 km, Mali 489 km`."""
    for item, end in list_items(text, span, separator):
        start = item
        for comma in _AFTER_MEASURE.finditer(text, item, end):
            yield start, comma.start()
            start = comma.end()
        yield start, end


def list_items(text: str, span: Span, separator: str) -> Iterator[Span]:
    """Items between separators that stand outside parentheses."""
    depth, start = 0, span[0]
    position = start
    while position < span[1]:
        letter = text[position]
        depth += (letter == "(") - (letter == ")")
        if depth <= 0 and text.startswith(separator, position):
            yield trim(text, start, position)
            position += len(separator)
            start = position
        else:
            position += 1
    yield trim(text, start, span[1])


def is_clean_text(text: str) -> bool:
    """Whether a text can be quoted in a question as the value of something: short, one statement, no remarks."""
    if not 1 < len(text) <= MAX_TEXT or text.count(" ") > 7 or text.endswith((".", ",", ":")):
        return False
    return text.count(",") <= 1 and not _JUNK.search(text) and text.count("(") == text.count(")") == 0


def is_clean_name(text: str) -> bool:
    """Whether a text without a link can be the name of something."""
    return text[:1].isupper() and 1 < len(text) <= MAX_TEXT and text.count(" ") <= 7 and not _NAME_JUNK.search(text)


def is_clean_item(text: str) -> bool:
    """Whether an item of an enumeration stands for itself."""
    return 1 < len(text) <= MAX_ITEM and text.count(" ") <= 3 and not _ITEM_JUNK.search(text) and "(" not in text
