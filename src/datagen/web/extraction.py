"""HTML to `Page`: structured facts are read and taken out, and what remains is read as prose.

    RawPage(b"<h1>Harlan Rovers</h1><table>...<p>Harlan Rovers is a club from <a>Ostmere</a>...")

    Harlan Rovers                                                    prose, one block per line, links in place
    Harlan Rovers is a club from Ostmere.
                                                                     one blank line, the only one of the page
    Founded: 1901                                                    rows
    Ground: Hill End

`extract` never raises on a page: bytes that give no page give a `SkippedRecord` with the reason, and a page that only
forwards to another gives a `Redirect`. The same bytes give the same page on any machine with the same extractor version.
"""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import urlsplit

from selectolax.lexbor import LexborHTMLParser, LexborNode

from datagen.records.ids import content_id, sha256_hex
from datagen.records.page import Page
from datagen.web.decoding import decode, is_binary
from datagen.web.jsonld import json_ld_lines, read_json_ld
from datagen.web.linked import LinkedText, LinkedTextBuilder, place_links
from datagen.web.markup import RecordLists, Structure, heading_before, take_structure
from datagen.web.metadata import Metadata, iso_date, read_metadata, type_from_address
from datagen.web.prose import Mode, extractor_version, read_plain_text, read_prose
from datagen.web.rows import Line, Row, drop_repeats
from datagen.web.sources.raw import MAX_PAGE_BYTES, RawPage, Redirect, SkippedRecord, clean_url, host_of

_REFRESH = re.compile(r"^\s*0\s*[;,]\s*url\s*=\s*['\"]?([^'\"]+)", re.IGNORECASE)
_LIST_SHARE = 0.5
"""A page is a list when more than half of its characters are entries of lists."""
_LIST_PHRASE = re.compile(r"\b(?:complete list of|list below|listed (?:here|below)|following list)\b", re.IGNORECASE)
_INTRODUCTION = 3
"""Paragraphs at the top among which a list is introduced."""
_KIND_LABELS = frozenset({"type", "kind", "instance of"})
_ONE_SUBJECT = frozenset({"encyclopedia", "official", "registry", "profile", "review", "reference", "mirror", "other"})
"""Kinds whose pages describe one thing, if they are not lists: its address may then stand in the canonical link."""
_MAX_TITLE_CHARS = 300
_MAX_KIND_CHARS = 40
Lines = list[tuple[Line, LinkedText]]


def extract(raw: RawPage, mode: Mode = "trafilatura") -> Page | Redirect | SkippedRecord:
    """Read one page. `mode` chooses the prose extractor; rows and metadata are the same in both."""
    if len(raw.payload) > MAX_PAGE_BYTES:
        return SkippedRecord("too_large", f"{len(raw.payload)} bytes {raw.url}")
    if not raw.payload.strip(b"\x00 \t\r\n"):
        return SkippedRecord("empty", raw.url)
    if is_binary(raw.payload, raw.charset):
        return SkippedRecord("binary", raw.url)
    text = decode(raw.payload, raw.charset)
    try:
        page = _read_text(raw, text, mode) if raw.is_text else _read_html(raw, text, mode)
    except (ValueError, TypeError, AttributeError, KeyError, IndexError, RecursionError, OverflowError) as exc:
        # Parsers meet markup that nobody foresaw; one page of a million must not end the build, and is counted.
        return SkippedRecord("extraction_failed", f"{type(exc).__name__}: {exc} {raw.url}")
    return page


def _read_text(raw: RawPage, text: str, mode: Mode) -> Page | SkippedRecord:
    prose = read_plain_text(text.splitlines())
    if not prose:
        return SkippedRecord("no_text", raw.url)
    metadata = Metadata(
        title=raw.title or prose.text.partition("\n")[0][:_MAX_TITLE_CHARS],
        published_at=iso_date(raw.published_at) if raw.published_at else None,
        kind="other",
        site_kind=None,
        licence=None,
        language=None,
        canonical=None,
        about_url=None,
        entity_type=type_from_address(raw.url),
        is_list=False,
    )
    return _compose(raw, mode, metadata, prose, [])


def _read_html(raw: RawPage, html: str, mode: Mode) -> Page | Redirect | SkippedRecord:
    tree = LexborHTMLParser(html)
    base_node = tree.css_first("base[href]")
    base = (clean_url(base_node.attributes.get("href") or "", raw.url) if base_node is not None else None) or raw.url
    target = _refresh_target(tree, base)
    if target and target != raw.url:
        return Redirect(raw.url, target)
    found = read_json_ld(tree)
    metadata = read_metadata(tree, found, raw.url)
    by_shape = _says_list(tree) or _list_share(tree) > _LIST_SHARE
    records: RecordLists = "all" if metadata.is_list else "bare" if by_shape else "none"
    structure = take_structure(tree, base, records=records)
    lines = drop_repeats(structure.lines + json_ld_lines(found, raw.url))
    prose = read_prose(tree, base, mode)
    if not prose and not lines:
        return SkippedRecord("no_text", raw.url)
    if metadata.kind is None:
        shape = "list" if records != "none" else _table_by_shape(structure, lines, prose)
        metadata = replace(metadata, kind=shape or metadata.site_kind or "other")
    metadata = _complete(metadata, raw)
    if records == "none" and metadata.kind in _ONE_SUBJECT:
        metadata = _complete_subject(metadata, structure, lines, raw)
    return _compose(raw, mode, metadata, prose, lines)


def _refresh_target(tree: LexborHTMLParser, base: str) -> str | None:
    for node in tree.css("meta[http-equiv]"):
        if (node.attributes.get("http-equiv") or "").lower() == "refresh":
            match = _REFRESH.match(node.attributes.get("content") or "")
            if match:
                return clean_url(match.group(1).strip(), base)
    return None


def _list_share(tree: LexborHTMLParser) -> float:
    """The share of the page's text that stands in list entries, navigation and footer apart."""
    body = tree.css_first("main") or tree.css_first("article") or tree.body
    if body is None:
        return 0.0
    total = len(body.text(deep=True).strip())
    if body.tag == "body":
        total -= sum(len(part.text(deep=True).strip()) for part in body.css("nav, footer"))
    entries = sum(len(item.text(deep=True).strip()) for item in body.css("ul > li, ol > li") if _is_entry(item))
    return entries / total if total > 0 else 0.0


def _says_list(tree: LexborHTMLParser) -> bool:
    """Whether a paragraph introduces what follows as a list."""
    return any(_LIST_PHRASE.search(paragraph.text(deep=True)) for paragraph in tree.css("p")[:_INTRODUCTION])


def _is_entry(item: LexborNode) -> bool:
    """A linked item of a list that has no heading of its own, outside navigation and values."""
    above = item.parent
    if above is not None and heading_before(above) is not None:
        return False
    while above is not None:
        if above.tag in {"nav", "footer", "aside", "td", "dd"}:
            return False
        above = above.parent
    return item.css_first("a[href]") is not None


def _table_by_shape(structure: Structure, lines: Lines, prose: LinkedText) -> str | None:
    """A page is a table where records from tables outweigh its prose."""
    records = sum(len(text.text) for line, text in lines if not isinstance(line, Row))
    return "table" if structure.records > structure.items and records > len(prose.text) else None


def _complete(metadata: Metadata, raw: RawPage) -> Metadata:
    """Fill what the page left open from its address and its transport."""
    published = metadata.published_at or (iso_date(raw.published_at) if raw.published_at else None)
    published = published or (iso_date(raw.last_modified) if raw.last_modified else None)
    title = metadata.title or raw.title or _name_from_address(raw.url)
    return replace(metadata, title=title[:_MAX_TITLE_CHARS], published_at=published)


def _complete_subject(metadata: Metadata, structure: Structure, lines: Lines, raw: RawPage) -> Metadata:
    """A page that describes one thing is about its canonical address; the kind of thing stands in a box or a folder."""
    about = metadata.about_url or metadata.canonical
    word = metadata.entity_type
    if word is None:
        # Of a box's headings, the one that is not the page's name says what the thing is.
        captions = [c for c in structure.captions if c.casefold() != metadata.title.casefold()]
        stated = [
            line.value.text for line, _ in lines if isinstance(line, Row) and line.label.casefold() in _KIND_LABELS
        ]
        word = next((text for text in captions + stated if len(text) <= _MAX_KIND_CHARS), None)
    return replace(metadata, about_url=about, entity_type=word or type_from_address(about or raw.url))


def _name_from_address(url: str) -> str:
    parts = urlsplit(url)
    return parts.path.strip("/").rpartition("/")[2].replace("-", " ").replace("_", " ") or parts.netloc


def _compose(raw: RawPage, mode: Mode, metadata: Metadata, prose: LinkedText, lines: Lines) -> Page:
    builder = LinkedTextBuilder()
    # Prose is never empty, so the first blank line of a page is always the one before its rows.
    builder.append(prose or LinkedText(metadata.title or raw.url))
    for number, (_, line) in enumerate(lines):
        builder.separate("\n" if number else "\n\n")
        builder.append(line)
    text = builder.build()
    sha256 = sha256_hex(raw.payload)
    return Page(
        id=content_id("pg1", {"url": raw.url, "sha256": sha256, "extractor": extractor_version(mode)}),
        url=raw.url,
        host=host_of(raw.url),
        source_kind=metadata.kind or "other",
        title=metadata.title,
        text=text.text,
        links=place_links(text),
        published_at=metadata.published_at,
        about_url=metadata.about_url,
        entity_type=metadata.entity_type,
        sha256=sha256,
        licence=metadata.licence,
        language=metadata.language,
    )
