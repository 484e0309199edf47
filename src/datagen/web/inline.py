"""Text of an HTML node with its links, and the question whether a text is prose."""

from __future__ import annotations

import re

from selectolax.lexbor import LexborNode

from datagen.web.linked import LinkedText, LinkedTextBuilder
from datagen.web.sources.raw import clean_url

BOILERPLATE = frozenset({"nav", "footer", "button", "template", "noscript", "script", "style", "select"})
_BREAKS = frozenset({"br", "li", "p", "div", "tr"})
# Neither a closing bracket nor an initial ends a sentence here: "19.62 births (2025 est.)" and "the size of Washington,
# D.C." are values.
_SENTENCE_END = re.compile(r"[\w%)][\w%)][.!?][\"'\u201d\u2019]*$")
_SENTENCE_BREAK = re.compile(r"[a-z)]{2}[.!?] [A-Z]")


def read_inline(node: LexborNode, base: str, *, after: LexborNode | None = None) -> LinkedText:
    """Text of a node with its links; list items and broken lines are joined by "; ". With `after`, only what follows
    that child.
    """
    builder = LinkedTextBuilder()
    child = after.next if after is not None else node.first_child
    # Depth first by hand: markup may nest deeper than the interpreter allows calls to.
    stack: list[tuple[LexborNode | None, str]] = [(child, "")]
    while stack:
        current, closing = stack.pop()
        if current is None:
            _close(closing, builder)
            continue
        stack.append((current.next, closing))
        tag = current.tag or ""
        if tag == "-text":
            builder.write(current.text_content or "")
        elif tag[0] not in "-!" and tag not in BOILERPLATE and not _is_note_mark(current, tag):
            _open(current, tag, base, builder)
            stack.append((current.first_child, tag))
    return builder.build()


def _open(node: LexborNode, tag: str, base: str, builder: LinkedTextBuilder) -> None:
    if tag == "a":
        builder.open_link(clean_url(node.attributes.get("href") or "", base))
    elif tag in _BREAKS:
        builder.separate("; ")


def _close(tag: str, builder: LinkedTextBuilder) -> None:
    if tag == "a":
        builder.close_link()
    elif tag in _BREAKS:
        builder.separate("; ")


def _is_note_mark(node: LexborNode, tag: str) -> bool:
    return tag == "sup" and "reference" in (node.attributes.get("class") or "")


def join_values(values: list[LinkedText]) -> LinkedText:
    builder = LinkedTextBuilder()
    for value in values:
        builder.separate("; ")
        builder.append(value)
    return builder.build()


def plain(node: LexborNode) -> str:
    """Text of a node on one line."""
    return " ".join(node.text(deep=True).split())


def reads_as_prose(text: str) -> bool:
    """Sentences, as against an enumeration or a figure: several words closed by a full stop, or full stops within."""
    if text.count(" ") < 4:
        return False
    return bool(_SENTENCE_END.search(text)) or len(_SENTENCE_BREAK.findall(text)) >= 2
