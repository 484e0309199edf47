"""A snapshot as a `Web`: the two tools over frozen pages, equal arguments giving equal results."""

from __future__ import annotations

from functools import lru_cache

from datagen.errors import PageNotFoundError
from datagen.web.index import query_words
from datagen.web.snapshot import Snapshot
from datagen.web.sources.raw import clean_url
from datagen.web.tools import Hit, Window
from datagen.web.windows import window_of

SNIPPET_CHARS = 240
_SNIPPET_WORDS = 12
_KEPT_TEXTS = 256
"""Texts kept in small letters: searches of one question mostly find the same pages."""
_SNIPPET_PLACES = 4
_STEM_CHARS = 5
"""Text is indexed by stems; for a snippet the first letters of a word find its other forms well enough."""


class SnapshotWeb:
    """Implements `datagen.web.tools.Web`."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._store = snapshot.store
        self._index = snapshot.index
        self._lowered = lru_cache(maxsize=_KEPT_TEXTS)(self._lower)

    def search(self, query: str, top_k: int = 5) -> list[Hit]:
        words = query_words(query)
        hits: list[Hit] = []
        for group in self._index.search(query, top_k):
            found = [(self._store.meta(match.row), match) for match in group]
            for meta, match in sorted(found, key=lambda pair: pair[0].url):
                if len(hits) == top_k:
                    return hits
                hits.append(
                    Hit(
                        url=meta.url,
                        title=meta.title,
                        host=meta.host,
                        source_kind=meta.source_kind,
                        published_at=meta.published_at,
                        snippet=make_snippet(*self._lowered(match.row), words),
                        score=match.score,
                    )
                )
        return hits

    def _lower(self, row: int) -> tuple[str, str]:
        text = self._store.text(row)
        return text, lower_in_place(text)

    def visit(self, url: str, offset: int = 0) -> Window:
        row = self._store.find(url)
        if row is None:
            row = self._store.find(clean_url(url) or url)
        if row is None:
            raise PageNotFoundError(
                f"the snapshot has no page at {url}; search for it, or visit an address from a result."
            )
        meta, text, links = self._store.read(row)
        return window_of(meta, text, links, asked=url, offset=offset)


def lower_in_place(text: str) -> str:
    """Small letters at the same offsets; a text with one of the few capitals that grow stays as it is."""
    lowered = text.lower()
    return lowered if len(lowered) == len(text) else text


def make_snippet(text: str, lowered: str, words: list[str]) -> str:
    """The piece of `text` that holds most of the words, on one line."""
    places: list[tuple[int, int]] = []
    for number, word in enumerate(words[:_SNIPPET_WORDS]):
        stem = word[: max(_STEM_CHARS, len(word) - 3)]
        place = -1
        for _ in range(_SNIPPET_PLACES):
            place = lowered.find(stem, place + 1)
            if place < 0:
                break
            places.append((place, number))
    start = _densest(sorted(places))
    if start > 0:
        start = max(0, start - SNIPPET_CHARS // 6)
        start = text.rfind(" ", 0, start + 1) + 1
    end = min(len(text), start + SNIPPET_CHARS)
    if end < len(text):
        end = max(text.rfind(" ", start, end), start + SNIPPET_CHARS // 2)
    return " ".join(text[start:end].split())


def _densest(places: list[tuple[int, int]]) -> int:
    """Where the stretch begins that holds the most different words; `places` are sorted (place, number of the word)."""
    best, start = 0, 0
    words = len({number for _, number in places})
    for i, (place, _) in enumerate(places):
        seen, end = 0, place + SNIPPET_CHARS * 2 // 3
        for other, number in places[i:]:
            if other > end:
                break
            seen |= 1 << number
        if (found := seen.bit_count()) > best:
            best, start = found, place
            if best == words:
                break
    return start
