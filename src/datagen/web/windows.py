"""Where a page is cut for the tool `visit`: the same for frozen and for live pages, so that they read alike."""

from __future__ import annotations

from collections.abc import Sequence

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
    end = total if total - offset <= WINDOW_CHARS else _cut(text, offset, links)
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


def _cut(text: str, offset: int, links: Sequence[PlacedLink]) -> int:
    """End of a window: after a line, else after a space, and never inside a link."""
    end = offset + WINDOW_CHARS
    line = text.rfind("\n", offset + WINDOW_CHARS // 2, end)
    space = text.rfind(" ", offset + WINDOW_CHARS // 2, end)
    end = line + 1 if line >= 0 else space + 1 if space >= 0 else end
    inside = next((start for start, stop, _ in links if start < end < stop), end)
    return inside if inside > offset else end
