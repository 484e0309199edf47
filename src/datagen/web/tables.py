"""Tables of two sorts: key and value about one subject, or a header row above records. Others are left as prose.

    <tr><th>Founded</th><td>1901</td></tr>             Row("Founded", 1901)
    <tr><th>Club</th><th>Founded</th></tr>
    <tr><td>Harlan Rovers</td><td>1901</td></tr>       Record("Harlan Rovers", Founded: 1901)

The subject of a record is its first column that is not a rank, a number or a date.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from selectolax.lexbor import LexborNode

from datagen.web.inline import plain, read_inline, reads_as_prose
from datagen.web.linked import LinkedText
from datagen.web.rows import Line, Record, clean_label, make_row, section_label

_MAX_SPAN = 50
_RANKS = frozenset({"#", "no", "no.", "nr", "nr.", "rank", "pos", "pos.", "position", "place", "\u2116"})
_KEY_HEADERS = frozenset({"property", "attribute", "field", "key", "item", "fact", "detail", "entry", "label"})
_FIGURE = re.compile(r"[\W\d]*(?:[a-z]{0,3}\.?|[A-Za-z]{3,9}\.?\W+\d.*|\d.*)", re.ASCII)
_SKIPPED_CLASSES = re.compile(r"\b(?:navbox|toc|metadata|navigation|calendar|layout)\b", re.IGNORECASE)
_BULLETS = "\u2022\u00b7\u2013-"


@dataclass(slots=True)
class Table:
    lines: list[Line]
    captions: list[str] = field(default_factory=list)
    """Short headings inside a key-value table: the subject's name, its kind."""
    prose_caption: str = ""
    """A caption that is worth a line of prose."""


@dataclass(frozen=True, slots=True)
class _Cell:
    node: LexborNode
    head: bool


def read_table(node: LexborNode, base: str) -> Table | None:
    """None for layout, calendars, navigation and anything else without labels."""
    if node.css_first("table table") is not None or _SKIPPED_CLASSES.search(node.attributes.get("class") or ""):
        return None
    grid = [cells for cells in (_cells(row) for row in node.css("tr")) if cells]
    caption_node = node.css_first("caption")
    caption = plain(caption_node) if caption_node is not None else ""
    if _is_key_value(grid):
        captions = [text for text in (caption, *_leading_texts(grid)) if text and not reads_as_prose(text)]
        table = Table(list(_key_value_lines(grid, base)), captions, caption if reads_as_prose(caption) else "")
    elif _has_header(grid):
        table = Table(list(_record_lines(grid, base)), [], caption)
    else:
        return None
    return table if table.lines else None


def _cells(row: LexborNode) -> list[_Cell]:
    return [_Cell(cell, cell.tag == "th") for cell in row.iter() if cell.tag in {"th", "td"}]


def _leading_texts(grid: list[list[_Cell]]) -> Iterator[str]:
    """What stands above the first pair: the subject's name, its kind. Pictures say neither."""
    for cells in grid:
        if len(cells) != 1:
            return
        if cells[0].node.css_first("img") is None:
            yield plain(cells[0].node)


def _is_key_value(grid: list[list[_Cell]]) -> bool:
    pairs = [cells for cells in grid if len(cells) > 1]
    if not pairs or any(len(cells) != 2 for cells in pairs):
        return False
    keyed = [cells for cells in pairs if cells[0].head and not cells[1].head]
    if keyed and len(keyed) >= len(pairs) - 1:
        return True
    first = pairs[0]
    if all(cell.head for cell in first):
        return plain(first[0].node).casefold() in _KEY_HEADERS
    return all(_looks_like_key(cells[0].node) for cells in pairs)


def _looks_like_key(cell: LexborNode) -> bool:
    text = plain(cell)
    if text.endswith(":"):
        return True
    bold = cell.css_first("b, strong")
    return bold is not None and plain(bold) == text and bool(text)


def _key_value_lines(grid: list[list[_Cell]], base: str) -> Iterator[Line]:
    section = ""
    for cells in grid:
        if len(cells) == 1:
            section = clean_label(plain(cells[0].node))
            continue
        if all(cell.head for cell in cells):
            continue
        label = plain(cells[0].node)
        # Only labels that are marked as belonging to a section take its name; a box's first heading is its subject.
        nested = label[:1] in _BULLETS and bool(section)
        label = clean_label(label)
        row = make_row(section_label(section, label) if nested else label, read_inline(cells[1].node, base))
        if row:
            yield row


def _has_header(grid: list[list[_Cell]]) -> bool:
    if len(grid) < 2 or len(grid[0]) < 2 or not all(cell.head for cell in grid[0]):
        return False
    return any(not cell.head for cells in grid[1:] for cell in cells)


def _record_lines(grid: list[list[_Cell]], base: str) -> Iterator[Line]:
    labels: list[str] = []
    for cell in grid[0]:
        labels += [clean_label(plain(cell.node))] * _span(cell.node, "colspan")
    rows = list(_expand([cells for cells in grid[1:] if not all(cell.head for cell in cells)], base))
    subject = _subject_column(labels, rows)
    for values in rows:
        if subject >= len(values) or not values[subject]:
            continue
        cells = tuple(
            (label, value)
            for column, (label, value) in enumerate(zip(labels, values, strict=False))
            if column != subject and value and label and label.casefold() not in _RANKS
        )
        yield Record(values[subject], cells)


def _expand(grid: list[list[_Cell]], base: str) -> Iterator[list[LinkedText]]:
    """Rows with spans written out: a cell that spans rows stands in each of them."""
    hanging: dict[int, tuple[int, LinkedText]] = {}
    for cells in grid:
        values: list[LinkedText] = []
        pending = list(cells)
        while pending or len(values) in hanging:
            column = len(values)
            if column in hanging:
                left, value = hanging.pop(column)
                values.append(value)
                if left > 1:
                    hanging[column] = (left - 1, value)
                continue
            cell = pending.pop(0)
            value = read_inline(cell.node, base)
            down = _span(cell.node, "rowspan")
            for _ in range(_span(cell.node, "colspan")):
                if down > 1:
                    hanging[len(values)] = (down - 1, value)
                values.append(value)
        yield values


def _span(cell: LexborNode, name: str) -> int:
    value = cell.attributes.get(name) or "1"
    return min(max(int(value), 1), _MAX_SPAN) if value.isdigit() else 1


def _subject_column(labels: list[str], rows: list[list[LinkedText]]) -> int:
    for column, label in enumerate(labels):
        texts = [row[column] for row in rows if column < len(row) and row[column]]
        if not texts or label.casefold() in _RANKS:
            continue
        if any(text.links for text in texts) or not all(_FIGURE.fullmatch(text.text) for text in texts):
            return column
    return 0
