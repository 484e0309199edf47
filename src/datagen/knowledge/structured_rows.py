"""Splits the structured part of a page into rows, with the span of everything.

    Founded: 1901                                     a row about the page's own subject
    Official languages (complete): Velt; Ostran       the same, stated complete
    Harlan Rovers | Founded: 1901 | Ground: Hill End  a record: three cells, the first names the subject
    Harlan Rovers                                     a list item: a record of one cell

A label is whatever stands before one of the first colons and is known to the catalogue, so values and even labels may
hold colons themselves. Rows are looked for everywhere; unlabelled list items only after the last blank line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from datagen.knowledge.catalogue import CLOSURE_OBJECTS_SUFFIX

Span = tuple[int, int]
_AS_OF_LABEL = re.compile(r"\s*\((as of [^()]+|since [^()]+)\)$", re.IGNORECASE)
_MAX_LABEL = 120
_MAX_ITEM = 160


@dataclass(frozen=True, slots=True)
class Row:
    """One `Label: value`. `subject` is the span of a record's first cell, None for the page's own subject."""

    span: Span
    subject: Span | None
    label: str
    value: Span
    complete: bool = False
    when: str | None = None
    """A date phrase that stands in the label, `Population (as of 2024)`."""


@dataclass(frozen=True, slots=True)
class Rows:
    """All rows of a page, its list items (spans of first cells), and the lines that are prose."""

    rows: tuple[Row, ...]
    members: tuple[Span, ...]
    prose: tuple[Span, ...]

    @property
    def own_rows(self) -> bool:
        """Whether any row speaks of the page's own subject."""
        return any(row.subject is None for row in self.rows)


def split_page(text: str, is_label: Callable[[str], bool]) -> Rows:
    """Tell rows from prose; `is_label` says whether the catalogue knows a label."""
    rows: list[Row] = []
    members: list[Span] = []
    prose: list[Span] = []
    block = text.rfind("\n\n") + 2 if "\n\n" in text else len(text) + 1
    start = 0
    for line in text.split("\n"):
        end = start + len(line)
        if " | " in line:
            cells = list(_cells(line, start))
            members.append(cells[0])
            found = [row for cell in cells[1:] if (row := _row((start, end), cells[0], text, cell, is_label))]
            rows.extend(found)
        elif line:
            row = _row((start, end), None, text, (start, end), is_label) if ": " in line else None
            if row:
                rows.append(row)
            elif start >= block and ": " not in line and len(line) <= _MAX_ITEM:
                members.append((start, end))
            else:
                prose.append((start, end))
        start = end + 1
    return Rows(tuple(rows), tuple(members), tuple(prose))


def _cells(line: str, start: int) -> Iterator[Span]:
    for cell in line.split(" | "):
        yield start, start + len(cell)
        start += len(cell) + 3


def _row(line: Span, subject: Span | None, text: str, cell: Span, is_label: Callable[[str], bool]) -> Row | None:
    best: Row | None = None
    colon = text.find(":", cell[0], cell[1])
    while colon != -1 and colon - cell[0] <= _MAX_LABEL:
        label, complete, when = read_label(text[cell[0] : colon])
        value = trim(text, colon + 1, cell[1])
        if value[0] < value[1] and is_label(label):
            best = Row(line, subject, label, value, complete, when)
        colon = text.find(":", colon + 1, cell[1])
    return best


def read_label(raw: str) -> tuple[str, bool, str | None]:
    """The label without its suffixes, whether it says "complete", and its date phrase."""
    label = raw.strip()
    if not label.endswith(")"):
        return label, False, None
    when = _AS_OF_LABEL.search(label)
    if when:
        label = label[: when.start()]
    complete = label.endswith(CLOSURE_OBJECTS_SUFFIX)
    if complete:
        label = label.removesuffix(CLOSURE_OBJECTS_SUFFIX)
    return label, complete, when.group(1) if when else None


def trim(text: str, start: int, end: int) -> Span:
    """The span without white space at its ends."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def split_items(text: str, value: Span, separator: str = "; ") -> Iterator[Span]:
    """The items of a list value."""
    start, end = value
    while (cut := text.find(separator, start, end)) != -1:
        yield trim(text, start, cut)
        start = cut + len(separator)
    yield trim(text, start, end)
