"""Where a quote stands in its page, whichever part of the page was shown: a window of its text, or passages of it.

A quote must stand in what was shown, and its place is told in the page, for that is where its meaning is grounded.
"""

from __future__ import annotations

from datagen.agents.llm.claims import find_quote
from datagen.web.passages import Extract
from datagen.web.tools import Window


def place_of(window: Window, quote: str) -> tuple[int, int] | None:
    """Start and end of the quote in the page's text; None where nothing that was shown says so."""
    for start, text in _shown(window):
        span = find_quote(text, quote)
        if span is not None:
            return span[0] + start, span[1] + start
    return None


def words_at(window: Window, start: int, end: int) -> str:
    """The page's words between two places that were shown."""
    if isinstance(window, Extract):
        return window.page_text[start:end]
    return window.text[start - window.offset : end - window.offset]


def _shown(window: Window) -> list[tuple[int, str]]:
    """Coherent pieces of the page, each with its place."""
    if isinstance(window, Extract):
        return [(start, window.page_text[start:end]) for start, end in window.spans]
    return [(window.offset, window.text)]
