"""Structured facts of a page as lines of text, one fact or one record each.

    Row("Founded", 1901)                                   Founded: 1901
    Row("Area - total", "2,381,740 sq km")                 Area - total: 2,381,740 sq km
    Record("Harlan Rovers", [("Founded", 1901), ...])      Harlan Rovers | Founded: 1901 | Ground: Hill End

The line is the interface: who reads a page sees the same text as people do. So labels hold no ": ", and subjects and
values no " | " or line break.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from datagen.web.linked import LinkedText, LinkedTextBuilder

MAX_LABEL_CHARS = 90
_COLON = re.compile(r"\s*[:\uff1a]\s+(?=\S)")
_EDGES = " \t\r\n:\uff1a-\u2013\u2014\u2022\u00b7*"


@dataclass(frozen=True, slots=True)
class Row:
    """A labelled value of the page's own subject."""

    label: str
    value: LinkedText

    def line(self) -> LinkedText:
        shift = len(self.label) + 2
        links = tuple((start + shift, end + shift, url) for start, end, url in self.value.links)
        return LinkedText(f"{self.label}: {self.value.text}", links)


@dataclass(frozen=True, slots=True)
class Record:
    """Labelled values of another entity, named first."""

    subject: LinkedText
    cells: tuple[tuple[str, LinkedText], ...] = ()

    def line(self) -> LinkedText:
        builder = LinkedTextBuilder()
        builder.append(_without_bars(self.subject))
        for label, value in self.cells:
            builder.write_exactly(f" | {label}: ")
            builder.append(_without_bars(value))
        return builder.build()


Line = Row | Record


def clean_label(label: str) -> str:
    """A label without edge punctuation; inner colons become dashes, since ": " ends a label.

    >>> clean_label("agricultural land: arable land:")
    'agricultural land - arable land'
    """
    return _COLON.sub(" - ", " ".join(label.split()).strip(_EDGES)).replace(" | ", " / ")


def section_label(section: str, label: str) -> str:
    """`Area` and `total` give `Area - total`; a label that repeats its section stands alone.

    >>> section_label("Exports", "Exports 2023")
    'Exports 2023'
    """
    if not section or (label[:1].isupper() and label.casefold().startswith(section.casefold())):
        return label
    return f"{section} - {label}" if label else section


def make_row(label: str, value: LinkedText) -> Row | None:
    """None where label or value is missing or the label is too long to be one."""
    label = clean_label(label)
    value = value.cut(0, len(value.text.rstrip(" -\u2013\u2014:;")))
    if not label or not value or len(label) > MAX_LABEL_CHARS:
        return None
    return Row(label, value)


def drop_repeats(lines: list[Line]) -> list[tuple[Line, LinkedText]]:
    """The first of equal lines, each with its text. Lines are equal by words (without case) and by where their links
    lead, so entities of the same name stay apart; a line without links repeats one with the same words that has them.
    """
    rendered = [line.line() for line in lines]
    words = [text.text.casefold() for text in rendered]
    linked = {word for word, text in zip(words, rendered, strict=True) if text.links}
    described = {_subject_key(line) for line in lines if isinstance(line, Record) and line.cells}
    seen: set[tuple[str, tuple[str, ...]]] = set()
    kept: list[tuple[Line, LinkedText]] = []
    for line, text, word in zip(lines, rendered, words, strict=True):
        if isinstance(line, Record) and not line.cells and _subject_key(line) in described:
            continue
        key = (word, tuple(url for _, _, url in text.links))
        if key not in seen and (text.links or word not in linked):
            kept.append((line, text))
        seen.add(key)
    return kept


def _subject_key(record: Record) -> tuple[str, tuple[str, ...]]:
    return record.subject.text.casefold(), tuple(url for _, _, url in record.subject.links)


def _without_bars(text: LinkedText) -> LinkedText:
    return LinkedText(text.text.replace(" | ", " / "), text.links) if " | " in text.text else text
