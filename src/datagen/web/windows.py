"""Where a page is cut for the tool `visit`: the same for frozen and for live pages, so that they read alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from datagen.errors import PageNotFoundError
from datagen.records.page import Link, Page
from datagen.web.store import Meta
from datagen.web.tools import WINDOW_CHARS, Window

PlacedLink = tuple[int, int, str]
"""Start, end and address of a link."""


def window_of(meta: Meta | Page, text: str, links: Sequence[PlacedLink], *, asked: str, offset: int) -> Window:
    """The window at `offset`; raises `PageNotFoundError` past the end. `asked` is the address that was visited."""
    total = len(text)
    if offset < 0 or offset >= max(total, 1):
        raise PageNotFoundError(f"{asked} has {total} characters, so nothing begins at {offset}; visit it from 0.")
    end = total if total - offset <= WINDOW_CHARS else _cut(text, offset, links, WINDOW_CHARS)
    return Window(
        page_id=meta.id,
        url=meta.url,
        host=meta.host,
        title=meta.title,
        source_kind=meta.source_kind,
        published_at=meta.published_at,
        about_url=meta.about_url,
        entity_type=meta.entity_type,
        text=text[offset:end],
        links=tuple(
            Link(start - offset, stop - offset, target, text[start:stop])
            for start, stop, target in links
            if start >= offset and stop <= end
        ),
        offset=offset,
        next_offset=end if end < total else None,
        total_chars=total,
    )


def narrowed(window: Window, limit: int) -> Window:
    """The beginning of a window, cut as windows are: who reads on from `next_offset` misses nothing and reads nothing twice."""
    if len(window.text) <= limit:
        return window
    end = _cut(window.text, 0, [(link.start, link.end, link.url) for link in window.links], limit)
    return replace(
        window,
        text=window.text[:end],
        links=tuple(link for link in window.links if link.end <= end),
        next_offset=window.offset + end,
    )


def _cut(text: str, offset: int, links: Sequence[PlacedLink], limit: int) -> int:
    """End of a window: after a line, else after a space, and never inside a link."""
    end = offset + limit
    line = text.rfind("\n", offset + limit // 2, end)
    space = text.rfind(" ", offset + limit // 2, end)
    end = line + 1 if line >= 0 else space + 1 if space >= 0 else end
    inside = next((start for start, stop, _ in links if start < end < stop), end)
    return inside if inside > offset else end
