"""The passages of a page that speak of a goal: what a reader with little room looks at instead of whole windows.

A deep-research agent that reads sixteen thousand characters per visit has spent its context after a few pages. With a
goal ("land boundaries; export partners") it gets the page's first passage, and those that have most of the goal's words,
verbatim and in page order, so that quotes taken from them are quotes of the page. What a goal names apart, with
semicolons in between, is served in turn: the best passage of each part first, then the second ones.

A passage is a line: a paragraph of prose is cut into sentences, a structured row stays whole, and a record of a list
stays with its subject. Links come along where their anchors lie inside a passage.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import log

from datagen.records.page import Link, Page
from datagen.web.tools import Window

EXTRACT_CHARS = 2_000
"""About 500 tokens: thirty visits then fit into 16k tokens."""
_STEM_CHARS = 5
_WORD = re.compile(r"\w+")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"“(])")
_LONG_LINE = 400
_WORTH = 0.5
"""Passages with less than this share of what the best one has of a part of the goal do not speak of it."""

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Extract(Window):
    """Passages of a page as one window: `text` is theirs, one to a line; `offset` is 0 and says nothing of their places."""

    page_text: str
    spans: tuple[Span, ...]
    """Where the passages stand in the page; neighbours are one span."""


def extract(page: Page, goal: str, limit: int = EXTRACT_CHARS) -> Extract:
    """The page's passages about `goal`, at most about `limit` characters, as one window that has no continuation."""
    spans = chosen_passages(page.text, goal, limit)
    texts, links, position = [], [], 0
    for start, end in spans:
        texts.append(page.text[start:end])
        links += [_moved(link, position - start) for link in page.links if start <= link.start and link.end <= end]
        position += end - start + 1
    return Extract(
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
        page_text=page.text,
        spans=tuple(_joined(page.text, spans)),
    )


def chosen_passages(text: str, goal: str, limit: int) -> list[Span]:
    """Spans of the first passage and of the best ones about the goal, in page order."""
    passages = _passages(text)
    taken = {0} if passages else set()
    room = limit - sum(end - start for start, end in passages[:1])
    for index in _ranked([_stems(text[start:end]) for start, end in passages], goal):
        start, end = passages[index]
        if index not in taken and end - start <= room:
            taken.add(index)
            room -= end - start
    return [passages[index] for index in sorted(taken)]


def _ranked(passages: list[frozenset[str]], goal: str) -> Iterator[int]:
    """Numbers of passages, the best of every part of the goal before the second best of any."""
    spread = Counter(stem for stems in passages for stem in stems)
    weights = {stem: log(1 + len(passages) / count) for stem, count in spread.items()}
    rankings = [_by_weight(passages, _stems(part), weights) for part in goal.split(";")]
    for rank in range(max(map(len, rankings))):
        yield from (ranking[rank] for ranking in rankings if rank < len(ranking))


def _by_weight(passages: list[frozenset[str]], wanted: frozenset[str], weights: Mapping[str, float]) -> list[int]:
    """Numbers of the passages with wanted words, those with more and rarer ones first."""
    scored = [(sum(weights[stem] for stem in sorted(wanted & stems)), i) for i, stems in enumerate(passages)]
    enough = max((score for score, _ in scored), default=0.0) * _WORTH
    return [i for score, i in sorted(scored, key=lambda pair: (-pair[0], pair[1])) if score and score >= enough]


def _joined(text: str, spans: list[Span]) -> Iterator[Span]:
    """The spans, those with only white space in between as one."""
    waiting: Span | None = None
    for start, end in spans:
        if waiting is not None and not text[waiting[1] : start].strip():
            waiting = (waiting[0], end)
            continue
        if waiting is not None:
            yield waiting
        waiting = (start, end)
    if waiting is not None:
        yield waiting


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
