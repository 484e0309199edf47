"""The passages of a page that speak of a goal: what a reader with little room looks at instead of whole windows.

A deep-research agent that reads sixteen thousand characters per visit has spent its context after a few pages. With a
goal ("land boundaries; export partners") it gets the page's first passage, and those that have most of the goal's words,
verbatim and in page order, so that quotes taken from them are quotes of the page.

A passage is a line: a paragraph of prose is cut into sentences, a structured row stays whole, and a record of a list
stays with its subject. Links come along where their anchors lie inside a passage.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

from datagen.records.page import Link, Page
from datagen.web.tools import Window

EXTRACT_CHARS = 1_500
"""About 400 tokens: forty visits then fit into 16k tokens."""
_STEM_CHARS = 5
_WORD = re.compile(r"\w+")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"“(])")
_LONG_LINE = 400

Span = tuple[int, int]


def extract(page: Page, goal: str, limit: int = EXTRACT_CHARS) -> Window:
    """The page's passages about `goal`, at most about `limit` characters, as one window that has no continuation."""
    spans = chosen_passages(page.text, goal, limit)
    texts, links, position = [], [], 0
    for start, end in spans:
        texts.append(page.text[start:end])
        links += [_moved(link, position - start) for link in page.links if start <= link.start and link.end <= end]
        position += end - start + 1
    return Window(
        page_id=page.id,
        url=page.url,
        host=page.host,
        title=page.title,
        source_kind=page.source_kind,
        published_at=page.published_at,
        about_url=page.about_url,
        entity_type=page.entity_type,
        text="\n".join(texts),
        links=tuple(links),
        offset=0,
        next_offset=None,
        total_chars=len(page.text),
    )


def chosen_passages(text: str, goal: str, limit: int) -> list[Span]:
    """Spans of the first passage and of the best ones about the goal, in page order."""
    wanted = _stems(goal)
    passages = list(_passages(text))
    scored = [(len(wanted & _stems(text[start:end])), index) for index, (start, end) in enumerate(passages)]
    taken = {0} if passages else set()
    room = limit - sum(end - start for start, end in passages[:1])
    for score, index in sorted(scored, key=lambda pair: (-pair[0], pair[1])):
        start, end = passages[index]
        if score and index not in taken and end - start <= room:
            taken.add(index)
            room -= end - start
    return [passages[index] for index in sorted(taken)]


def _passages(text: str) -> list[Span]:
    spans: list[Span] = []
    position = 0
    for line in text.split("\n"):
        end = position + len(line)
        if line.strip():
            spans += [(position, end)] if len(line) <= _LONG_LINE else _sentences(text, position, end)
        position = end + 1
    return spans


def _sentences(text: str, start: int, end: int) -> list[Span]:
    cuts = [start, *(match.end() for match in _SENTENCE_END.finditer(text, start, end)), end]
    return [(a, b) for a, b in itertools.pairwise(cuts) if text[a:b].strip()]


def _stems(text: str) -> frozenset[str]:
    return frozenset(word[:_STEM_CHARS].casefold() for word in _WORD.findall(text) if len(word) > 2)


def _moved(link: Link, shift: int) -> Link:
    return replace(link, start=link.start + shift, end=link.end + shift)
