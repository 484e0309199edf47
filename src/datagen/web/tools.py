"""The two tools through which everything reads the web: `search(query, top_k)` and `visit(url, offset)`.

State lives in the arguments; an implementation keeps none per client. A `Window` is one piece of a page: its `text` and
`links` are what the page says from `offset` on, so an absolute span is `offset + position in text`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from datagen.records.page import Link, Page

WINDOW_CHARS = 16_000
"""Characters of one window: about 4,000 tokens, so that a visit fits beside a question in an 8k context."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One search result. `snippet` is plain text around the best match."""

    url: str
    title: str
    host: str
    source_kind: str
    published_at: str | None
    snippet: str
    score: float


@dataclass(frozen=True, slots=True)
class Window:
    """Part of a page from `offset` (characters). `next_offset` is None at the end; link offsets are within `text`."""

    page_id: str
    url: str
    host: str
    title: str
    source_kind: str
    published_at: str | None
    about_url: str | None
    entity_type: str | None
    text: str
    links: tuple[Link, ...]
    offset: int
    next_offset: int | None
    total_chars: int


class Web(Protocol):
    """Both verbs are pure: equal arguments give equal results for one snapshot."""

    def search(self, query: str, top_k: int = 5) -> list[Hit]:
        """Best pages first; ties are broken by url. Free text: no query syntax, nothing in `query` can raise."""
        ...

    def visit(self, url: str, offset: int = 0) -> Window:
        """Raises `PageNotFoundError` for an address the web does not have or an offset past its end."""
        ...


def read_whole(web: Web, url: str) -> tuple[Page, int]:
    """Visit every window of a page; returns the page as the tools show it, and the number of visits that took."""
    first = window = web.visit(url)
    texts, links, visits = [first.text], list(first.links), 1
    while window.next_offset is not None:
        window = web.visit(url, window.next_offset)
        visits += 1
        texts.append(window.text)
        shift = window.offset
        links += [replace(link, start=link.start + shift, end=link.end + shift) for link in window.links]
    page = Page(
        id=first.page_id,
        url=first.url,
        host=first.host,
        source_kind=first.source_kind,
        title=first.title,
        text="".join(texts),
        links=tuple(links),
        published_at=first.published_at,
        about_url=first.about_url,
        entity_type=first.entity_type,
    )
    return page, visits
