"""Structured facts in HTML: found, turned into lines, and taken out of the tree so that prose is read without them.

    <tr><th>Founded</th><td>1901</td></tr>                         Founded: 1901
    <dt>Ground</dt><dd><a>Hill End</a></dd>                        Ground: Hill End
    <h3>Area</h3><p><b>total:</b> 5 sq km</p>                      Area - total: 5 sq km
    <h3>Coastline</h3><p>998 km</p>                                Coastline: 998 km
    <h3>Languages</h3><ul><li>Arabic</li><li>French</li></ul>      Languages: Arabic; French
    a table with a header row, one line per row                    Harlan Rovers | Founded: 1901 | Ground: Hill End
    a list of links on a page that is a list                       Harlan Rovers

Each reader takes a node and returns lines, or nothing, in which case the node stays and becomes prose. A paragraph that
reads as sentences is prose whatever stands above it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from selectolax.lexbor import LexborHTMLParser, LexborNode

from datagen.web.inline import BOILERPLATE, join_values, plain, read_inline, reads_as_prose
from datagen.web.linked import LinkedText
from datagen.web.rows import Line, Record, Row, clean_label, make_row, section_label
from datagen.web.tables import read_table

MAX_VALUE_CHARS = 2_000
"""A headed paragraph that does not read as prose is a value up to this length: on the country profiles the longest
enumeration (administrative divisions) has 1,800 characters."""
_MAX_REMARK_CHARS = 600
_HEADINGS = {"h2": 2, "h3": 3, "h4": 4, "h5": 5, "h6": 6}
_SIDE_HEADINGS = frozenset(
    [
        "see also",
        "references",
        "external links",
        "related",
        "related pages",
        "related articles",
        "sources",
        "notes",
        "contents",
        "further reading",
        "bibliography",
        "tags",
        "categories",
        "more",
        "share",
        "links",
        "read more",
        "footnotes",
        "comments",
        "navigation",
    ]
)
_MAX_ITEM_CHARS = 160
_CONTAINERS = frozenset({"article", "main", "section", "body"})


RecordLists = Literal["none", "bare", "all"]
"""Which lists name other entities, one per item: none, those without a heading of their own, or all."""


@dataclass(slots=True)
class Structure:
    """What was found: `lines` in document order, and the captions of key-value tables, which may say the kind."""

    lines: list[Line] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)
    records: int = 0
    """Lines about entities other than the page's subject."""
    items: int = 0
    """How many of these came from lists rather than tables."""


def take_structure(tree: LexborHTMLParser, base: str, *, records: RecordLists) -> Structure:
    """Read every structured node of the body and remove it from `tree`."""
    found = Structure()
    body = tree.body
    if body is None:
        return found
    taken: list[LexborNode] = []
    taken_ids: set[int] = set()
    for node in body.css("table, dl, ul, ol, p, h2, h3, h4, h5, h6"):
        if _inside(node, taken_ids):
            continue
        lines, used = _read_node(node, base, found, records=records)
        found.lines += lines
        taken += used
        taken_ids.update(part.mem_id for part in used)
    # Removal waits until the walk is over: a node taken out of the tree must not be asked for its neighbours.
    headings = [heading for heading in body.css("h2, h3, h4, h5, h6") if not _inside(heading, taken_ids)]
    for node in taken:
        node.decompose()
    _drop_empty_headings(headings)
    found.records = sum(isinstance(line, Record) for line in found.lines)
    return found


def _read_node(
    node: LexborNode, base: str, found: Structure, *, records: RecordLists
) -> tuple[list[Line], list[LexborNode]]:
    tag = node.tag
    lines: list[Line] = []
    if tag in _HEADINGS:
        return _read_section(node, base)
    if tag == "p":
        row = _labelled_row("", node, base, sentences_are_prose=True)
        return ([row], [node]) if row else ([], [])
    if tag == "table":
        table = read_table(node, base)
        if table is None:
            return [], []
        found.captions += table.captions
        if table.prose_caption:
            _keep_as_paragraph(node, table.prose_caption)
        lines = table.lines
    elif tag == "dl":
        lines = list(_read_definitions(node, base))
    else:
        lines = _read_list(node, base, records=records)
        found.items += sum(isinstance(line, Record) for line in lines)
        heading = heading_before(node)
        if heading is not None and any(isinstance(line, Row) for line in lines):
            return lines, [_block_of(heading), node]  # the heading is the row's label
    return (lines, [node]) if lines else ([], [])


def _inside(node: LexborNode, taken: set[int]) -> bool:
    """Inside boilerplate, or inside something that was read already."""
    above: LexborNode | None = node
    if node.mem_id in taken:
        return True
    while (above := above.parent if above is not None else None) is not None:
        if above.tag in BOILERPLATE or above.mem_id in taken:
            return True
    return False


# -- headed paragraphs ------------------------------------------------------------------------------------------------


def _read_section(heading: LexborNode, base: str) -> tuple[list[Line], list[LexborNode]]:
    """Paragraphs under a heading: labelled ones are rows, a lone short value is the heading's own value, a remark that
    begins with `note` goes with them.
    """
    section = clean_label(plain(heading))
    paragraphs = list(_paragraphs_after(heading))
    if not paragraphs or not section or section.casefold() in _SIDE_HEADINGS:
        return [], []
    labelled = [_label_of(p) is not None for p in paragraphs]
    remarks = [_is_remark(p) for p in paragraphs]
    majority = 2 * sum(labelled) >= len(paragraphs)
    lone = len(paragraphs) - sum(labelled) - sum(remarks) == 1 and (majority or not any(labelled))
    lines: list[Line] = []
    used: list[LexborNode] = []
    for paragraph, has_label, is_remark in zip(paragraphs, labelled, remarks, strict=True):
        row: Row | None = None
        if has_label:
            row = _labelled_row(section, paragraph, base, sentences_are_prose=not majority)
        elif is_remark:
            row = _remark_row(section, paragraph, base) if lines or len(paragraphs) == 1 else None
        elif lone:
            row = _value_row(section, paragraph, base)
        if row:
            lines.append(row)
            used.append(paragraph)
    return lines, [_block_of(heading), *used] if len(used) == len(paragraphs) else used


def _block_of(heading: LexborNode) -> LexborNode:
    """The heading, or the box that holds nothing else: `<div class="mw-heading"><h2>History</h2>[edit]</div>`."""
    parent = heading.parent
    if parent is None or parent.tag != "div":
        return heading
    named = "heading" in (parent.attributes.get("class") or "")
    return parent if named or plain(parent) == plain(heading) else heading


def _heading_of(node: LexborNode | None) -> LexborNode | None:
    """The heading that a node is or boxes."""
    if node is None or node.tag in _HEADINGS:
        return node
    inner = node.css_first("h2, h3, h4, h5, h6") if node.tag == "div" else None
    return inner if inner is not None and _block_of(inner).mem_id == node.mem_id else None


def _paragraphs_after(heading: LexborNode) -> Iterator[LexborNode]:
    sibling = _block_of(heading).next
    while sibling is not None:
        if sibling.is_element_node:
            if sibling.tag != "p":
                return
            yield sibling
        sibling = sibling.next


def _label_of(paragraph: LexborNode) -> LexborNode | None:
    """The bold start of `<p><b>Founded:</b> 1901</p>`, if the colon stands in or after it."""
    first = paragraph.first_child
    while first is not None and first.is_text_node and not (first.text_content or "").strip():
        first = first.next
    if first is None or first.tag not in {"b", "strong"}:
        return None
    if first.text(deep=True).rstrip().endswith(":"):
        return first
    following = first.next
    text = following.text_content or "" if following is not None and following.is_text_node else ""
    return first if text.lstrip().startswith(":") else None


def _labelled_row(section: str, paragraph: LexborNode, base: str, *, sentences_are_prose: bool) -> Row | None:
    mark = _label_of(paragraph)
    if mark is None:
        return None
    label = clean_label(plain(mark))
    value = read_inline(paragraph, base, after=mark)
    if value.text.startswith(":"):
        value = value.cut(1)
    last = label.rsplit(" - ", 1)[-1]
    if value.text.casefold().startswith(f"{last.casefold()}: "):
        value = value.cut(len(last) + 2)
    if sentences_are_prose and reads_as_prose(value.text):
        return None
    return make_row(section_label(section, label), value)


def _is_remark(paragraph: LexborNode) -> bool:
    return paragraph.text(deep=True).lstrip()[:5].casefold() == "note:"


def _remark_row(section: str, paragraph: LexborNode, base: str) -> Row | None:
    value = read_inline(paragraph, base)
    return make_row(f"{section} - note", value.cut(5)) if len(value.text) <= _MAX_REMARK_CHARS else None


def _value_row(section: str, paragraph: LexborNode, base: str) -> Row | None:
    value = read_inline(paragraph, base)
    if len(value.text) > MAX_VALUE_CHARS or reads_as_prose(value.text):
        return None
    return make_row(section, value)


def _drop_empty_headings(headings: list[LexborNode]) -> None:
    """A heading with nothing left below it, before the next heading of its rank, would be a line that says nothing."""
    for heading in reversed(headings):
        block = _block_of(heading)
        following = block.next
        while following is not None and _is_blank(following):
            blank, following = following, following.next
            blank.decompose()  # what was taken out leaves line breaks behind, which would be walked for every heading
        rank = _HEADINGS[heading.tag or ""]
        next_heading = _heading_of(following)
        if next_heading is not None:
            empty = _HEADINGS[next_heading.tag or ""] <= rank
        else:
            empty = following is None and block.parent is not None and block.parent.tag in _CONTAINERS
        if empty:
            block.decompose()


def _is_blank(node: LexborNode) -> bool:
    return node.is_comment_node or (node.is_text_node and not (node.text_content or "").strip())


# -- definition lists and lists ---------------------------------------------------------------------------------------


def _read_definitions(node: LexborNode, base: str) -> Iterator[Line]:
    label, values = "", list[LinkedText]()
    for part in node.css("dt, dd"):
        if part.tag == "dt":
            yield from _definition(label, values)
            label, values = plain(part), []
        else:
            values.append(read_inline(part, base))
    yield from _definition(label, values)


def _definition(label: str, values: list[LinkedText]) -> Iterator[Line]:
    row = make_row(label, join_values(values))
    if row:
        yield row


def _read_list(node: LexborNode, base: str, *, records: RecordLists) -> list[Line]:
    items = [item for item in node.iter() if item.tag == "li"]
    texts = [text for text in (read_inline(item, base) for item in items) if text]
    if not texts or any(len(text.text) > _MAX_ITEM_CHARS or reads_as_prose(text.text) for text in texts):
        return []
    heading = heading_before(node)
    if records == "all" or (records == "bare" and heading is None):
        return [_read_item(text) for text in texts]
    section = clean_label(plain(heading)) if heading is not None else ""
    if not section or section.casefold() in _SIDE_HEADINGS:
        return []
    row = make_row(section, join_values(texts))
    return [row] if row else []


def _read_item(text: LinkedText) -> Record:
    """`Harlan Rovers (Ostmere)` with a link on the name: the rest of the item is a remark about it."""
    if not text.links or text.links[0][0] != 0:
        return Record(text)
    end = text.links[0][1]
    rest = text.cut(end)
    start = len(rest.text) - len(rest.text.lstrip(" ,;:-\u2013\u2014"))
    remark = rest.cut(start)
    return Record(text.cut(0, end), (("Note", remark),) if remark else ())


def heading_before(node: LexborNode) -> LexborNode | None:
    """The heading directly above a node."""
    sibling = node.prev
    while sibling is not None and not sibling.is_element_node:
        sibling = sibling.prev
    return _heading_of(sibling)


def _keep_as_paragraph(node: LexborNode, text: str) -> None:
    """A caption that says something ("This is a complete list of ...") must outlive its table."""
    paragraph = node.parser.create_node("p")
    paragraph.insert_child(text)
    node.insert_before(paragraph)
