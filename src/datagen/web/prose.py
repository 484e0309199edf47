"""The readable prose of a page, with links placed in it.

Two extractors behind one shape. `trafilatura` is the default: it tells an article from what surrounds it best. `fast`
is resiliparse, about ten times quicker, for corpora of millions. Both give a small tree, and one walk turns a tree into
blocks of text, one per line, so that link offsets are exact by construction instead of being searched for afterwards.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from configparser import ConfigParser
from copy import deepcopy
from functools import cache
from importlib.metadata import version
from typing import Any, Literal

from selectolax.lexbor import LexborHTMLParser, LexborNode

from datagen.web.inline import BOILERPLATE, plain
from datagen.web.linked import LinkedText, LinkedTextBuilder
from datagen.web.sources.raw import clean_url

Mode = Literal["trafilatura", "fast"]
EXTRACTION_VERSION = 2
"""Raised by every change of this project's own reading (prose, rows, metadata) that gives other pages."""
EXTRACTORS: dict[Mode, str] = {"trafilatura": "trafilatura", "fast": "resiliparse"}

# A page whose facts stand in tables keeps little prose, and its one sentence must not be taken for a failed extraction:
# below MIN_EXTRACTED_SIZE trafilatura falls back to dumping every text of the page, navigation included, without links.
_MIN_EXTRACTED_SIZE = "1"
_SHORT_PAGE_CHARS = 5_000
_COMPARED_CHARS = 60
_MAX_DEPTH = 1_500
_BLOCKS = frozenset(
    [
        "p",
        "head",
        "item",
        "quote",
        "row",
        "list",
        "table",
        "code",
        "lb",
        "body",
        "main",
        "div",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "li",
        "ul",
        "ol",
        "pre",
        "br",
        "blockquote",
        "tr",
        "cell",
        "article",
        "section",
        "dd",
        "dt",
        "dl",
        "td",
        "th",
        "fw",
    ]
)

# Its notices about single pages ("discarding data") repeat what the skip counts of a snapshot say.
logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
logging.getLogger("htmldate").setLevel(logging.CRITICAL)


@cache
def extractor_version(mode: Mode) -> str:
    """Changes whenever the same bytes may give another text."""
    library = EXTRACTORS[mode]
    return f"{EXTRACTION_VERSION}/{mode}/{library}-{version(library)}/selectolax-{version('selectolax')}"


@cache
def _config() -> ConfigParser:
    from trafilatura.settings import DEFAULT_CONFIG

    config = deepcopy(DEFAULT_CONFIG)
    config["DEFAULT"]["MIN_EXTRACTED_SIZE"] = _MIN_EXTRACTED_SIZE
    return config


def read_prose(tree: LexborHTMLParser, base: str, mode: Mode) -> LinkedText:
    """Blocks of the article, one per line, no blank lines."""
    main = tree.css_first("main, article, [role=main]")
    if mode == "fast":
        found = _read_fast(main if main is not None else tree.root, base)
    else:
        found = _read_trafilatura(tree.html or "", base)
    if main is not None and _lost_paragraph(main, found.text):
        builder = LinkedTextBuilder()
        _write_nodes(main, base, builder)
        return builder.build()
    return found


def _lost_paragraph(main: LexborNode, prose: str) -> bool:
    """Whether a short page lost a paragraph that stands in its main element.

    Extractors tell content from clutter by amount and density of text, of which a page of a few sentences has too
    little; there the page's own statement of what is its main part is the better evidence.
    """
    paragraphs = main.css("p")
    if sum(len(paragraph.text(deep=True)) for paragraph in paragraphs) > _SHORT_PAGE_CHARS:
        return False
    starts = (plain(paragraph)[:_COMPARED_CHARS] for paragraph in paragraphs if not _inside_boilerplate(paragraph))
    return any(start not in prose for start in starts)


def _inside_boilerplate(node: LexborNode) -> bool:
    above = node.parent
    while above is not None:
        if above.tag in BOILERPLATE or above.tag == "aside":
            return True
        above = above.parent
    return False


def _read_trafilatura(html: str, url: str) -> LinkedText:
    from trafilatura import bare_extraction, load_html

    tree = load_html(html)
    if tree is None:
        return LinkedText("")
    _mark_paragraphs(tree)
    document: Any = bare_extraction(tree, url=url, include_links=True, include_comments=True, config=_config())
    if document is None:
        return LinkedText("")
    builder = LinkedTextBuilder()
    for body in (document.body, document.commentsbody):
        if body is not None:
            _write_tree(body, url, builder)
            builder.separate("\n")
    return builder.build()


def _mark_paragraphs(tree: Any) -> None:
    """Call a `div` that holds words around a link, and no block, the paragraph that it is.

    trafilatura keeps the link of such a box and what follows it, but not the words before it, and so would turn "For
    the other, see Harlan." into "Harlan."
    """
    for box in tree.iter("div"):
        if (
            (box.text or "").strip()
            and box.find("a") is not None
            and not any(c.tag in _BLOCKS for c in box.iterchildren())
        ):
            box.tag = "p"


def _write_tree(root: Any, base: str, builder: LinkedTextBuilder) -> None:
    """An lxml tree of trafilatura's tags; depth first by hand, as pages nest without bound."""
    stack: list[tuple[Any, bool]] = [(root, False)]
    while stack:
        element, closing = stack.pop()
        tag = element.tag
        if not isinstance(tag, str):
            builder.write(element.tail or "")
        elif closing:
            _close(tag, builder)
            builder.write(element.tail or "")
        else:
            _open(tag, element.get("target") or element.get("href"), base, builder)
            builder.write(element.text or "")
            stack.append((element, True))
            stack += [(child, False) for child in reversed(element)]


def _open(tag: str, target: str | None, base: str, builder: LinkedTextBuilder) -> None:
    if tag in {"ref", "a"}:
        builder.open_link(clean_url(target, base) if target else None)
    elif tag in _BLOCKS:
        builder.separate("\n")


def _close(tag: str, builder: LinkedTextBuilder) -> None:
    if tag in {"ref", "a"}:
        builder.close_link()
    elif tag in _BLOCKS:
        builder.separate("\n")


def _read_fast(root_node: LexborNode | None, url: str) -> LinkedText:
    from resiliparse.extract.html2text import extract_plain_text

    html = root_node.html if root_node is not None else None
    if root_node is None or not html:
        return LinkedText("")
    reduced = extract_plain_text(
        html,
        preserve_formatting="minimal_html",
        # Its search for the main content takes time with the square of the depth: 20 s at 20,000 levels.
        main_content=html.count("<") <= _MAX_DEPTH or not _nests_deeper(root_node, _MAX_DEPTH),
        links=True,
        list_bullets=False,
        alt_texts=False,
        comments=True,
    )
    root = LexborHTMLParser(reduced).body
    builder = LinkedTextBuilder()
    if root is not None:
        _write_nodes(root, url, builder)
    return builder.build()


def _nests_deeper(root: LexborNode, limit: int) -> bool:
    level = [root]
    for _ in range(limit):
        level = [child for node in level for child in node.iter()]
        if not level:
            return False
    return True


def _write_nodes(root: LexborNode, base: str, builder: LinkedTextBuilder) -> None:
    stack: list[tuple[LexborNode | None, str]] = [(root.first_child, "body")]
    while stack:
        node, closing = stack.pop()
        if node is None:
            _close(closing, builder)
            continue
        stack.append((node.next, closing))
        tag = node.tag or ""
        if tag == "-text":
            builder.write(node.text_content or "")
        elif tag[0] not in "-!" and tag not in BOILERPLATE:
            _open(tag, node.attributes.get("href"), base, builder)
            stack.append((node.first_child, tag))


def read_plain_text(lines: Iterable[str]) -> LinkedText:
    """Plain text as it stands, without blank lines: the one blank line of a page separates prose from rows."""
    builder = LinkedTextBuilder()
    for line in lines:
        builder.separate("\n")
        builder.write(line)
    return builder.build()
