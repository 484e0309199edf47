"""Pages cut down to what a reader without tools is shown: the passages around given spans, within a budget.

A quote is never cut, however long it is; what is left of the budget is shared out around the quotes, and a page without
any is shown from its beginning. Left-out text is marked by a line of "…".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from datagen.records.page import Link, Page

GAP = "\n…\n"

Span = tuple[int, int]


def excerpt(page: Page, spans: Iterable[Span], budget: int) -> Page:
    """The page with at most about `budget` characters of its text; links that lie in what is left are kept."""
    if len(page.text) <= budget:
        return page
    pieces = _pieces(page.text, sorted(set(spans)) or [(0, 0)], budget)
    text, links = "", list[Link]()
    for start, end in pieces:
        if start > 0:
            text += GAP
        shift = len(text) - start
        links += [
            replace(link, start=link.start + shift, end=link.end + shift)
            for link in page.links
            if start <= link.start and link.end <= end
        ]
        text += page.text[start:end]
    return replace(page, text=text + (GAP if pieces[-1][1] < len(page.text) else ""), links=tuple(links))


def _pieces(text: str, spans: list[Span], budget: int) -> list[Span]:
    """Disjoint stretches in order, each a span with what surrounds it."""
    spare = max(0, budget - sum(end - start for start, end in spans))
    around = spare // (2 * len(spans))
    merged: list[Span] = []
    for start, end in spans:
        left = _at_word(text, max(0, start - around), start)
        right = min(len(text), end + around)
        if merged and left <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(right, merged[-1][1]))
        else:
            merged.append((left, right))
    return merged


def _at_word(text: str, left: int, start: int) -> int:
    """The first beginning of a word at or after `left`, so that no passage opens in the middle of one."""
    if left == 0 or text[left - 1].isspace():
        return left
    space = text.find(" ", left, start)
    return start if space < 0 else space + 1
