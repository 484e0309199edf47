"""Full-text search over pages with tantivy: BM25 over title and text, English stems, accents folded.

A query is words. They are analysed like the text, joined by OR, and carry no syntax, so nothing a caller types can
raise. Results do not depend on how the index was built: one writer adds pages in row order, scores use the statistics of
the whole index, and pages whose scores differ by rounding only are ordered by address.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import tantivy

from datagen.records.rows import Row

_ANALYZER = "words"
_HEAP_BYTES = 256_000_000
_FIELDS = ["title", "text"]
_BOOSTS = {"title": 2.0}
"""A page whose title has the words is more often the page that is meant."""
_ADDRESS = re.compile(r"://|\bwww\.|\w\.[a-z]{2,}/|\w\.(?:com|org|net|example)\b", re.IGNORECASE)
"""Addresses mostly repeat titles, so they are searched (a third of the work) only for queries that hold one."""
MAX_QUERY_WORDS = 64
_WORD = re.compile(r"\w+")
_STOP_WORDS = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "but",
        "by",
        "for",
        "from",
        "had",
        "has",
        "have",
        "he",
        "her",
        "his",
        "how",
        "i",
        "if",
        "in",
        "into",
        "is",
        "it",
        "its",
        "of",
        "on",
        "or",
        "she",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "these",
        "they",
        "this",
        "to",
        "was",
        "were",
        "what",
        "when",
        "where",
        "which",
        "who",
        "whom",
        "whose",
        "will",
        "with",
        "you",
        "your",
    ]
)
_SAME_SCORE = 1e-4
"""Sums of the same 32-bit terms in another order differ by about 1e-6."""
_MAX_TIED = 2_000
"""A tie of more pages than this is cut in row order: a query that so many pages answer equally has no best page."""


@dataclass(frozen=True, slots=True)
class Match:
    row: int
    score: float


@cache
def _schema() -> Any:
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("title", tokenizer_name=_ANALYZER)
    builder.add_text_field("text", tokenizer_name=_ANALYZER)
    builder.add_text_field("address", tokenizer_name=_ANALYZER, index_option="freq")
    builder.add_text_field("host", tokenizer_name="raw", index_option="basic")
    builder.add_text_field("kind", tokenizer_name="raw", index_option="basic")
    builder.add_text_field("date", tokenizer_name="raw", index_option="basic")
    builder.add_unsigned_field("row", fast=True)
    return builder.build()


def _register(index: Any) -> Any:
    analyzer = (
        tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
        .filter(tantivy.Filter.remove_long(60))
        .filter(tantivy.Filter.lowercase())
        .filter(tantivy.Filter.ascii_fold())
        .filter(tantivy.Filter.stemmer("english"))
        .build()
    )
    index.register_tokenizer(_ANALYZER, analyzer)
    return index


def write_index(folder: Path, rows: Iterable[tuple[int, Row]], *, append: bool) -> None:
    """Add pages, numbered by their row in the snapshot."""
    if not append:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    index = _register(tantivy.Index(_schema(), path=str(folder), reuse=append))
    writer = index.writer(heap_size=_HEAP_BYTES, num_threads=1)
    for number, row in rows:
        document = {
            "row": number,
            "title": row["title"],
            "text": row["text"],
            "address": row["url"],
            "host": row["host"],
            "kind": row["source_kind"],
        }
        if row["published_at"]:
            document["date"] = row["published_at"]
        # Not Document(**fields): a whole number passed that way becomes signed and stops the writer.
        writer.add_document(tantivy.Document.from_dict(document, _schema()))
    writer.commit()
    writer.wait_merging_threads()


def searched_fields(query: str) -> list[str]:
    return [*_FIELDS, "address"] if _ADDRESS.search(query) else _FIELDS


def query_words(query: str) -> list[str]:
    """Distinct words in order, without those that stand on every page unless there are no others."""
    words = list(dict.fromkeys(_WORD.findall(query.lower().replace("_", " "))))
    return ([word for word in words if word not in _STOP_WORDS] or words)[:MAX_QUERY_WORDS]


class TextIndex:
    """Read access; safe to open in any number of processes."""

    def __init__(self, folder: Path) -> None:
        self._index = _register(tantivy.Index.open(str(folder)))
        self._searcher = self._index.searcher()

    def search(self, query: str, limit: int) -> list[list[Match]]:
        """The best rows, as groups of equal score, best group first; the groups hold at least `limit` rows between them."""
        words = query_words(query)
        if not words or limit < 1:
            return []
        parsed = self._index.parse_query(" ".join(words), searched_fields(query), field_boosts=_BOOSTS)
        asked = limit + 8
        while True:
            hits = self._searcher.search(parsed, asked, count=False).hits
            cut = len(hits) == asked and hits[limit - 1][0] - hits[-1][0] <= _SAME_SCORE
            if not cut or asked >= _MAX_TIED:
                break
            asked *= 4
        rows = self._searcher.fast_field_values("row", [address for _, address in hits])
        groups: list[list[Match]] = []
        last = float("inf")
        for (score, _), row in zip(hits, rows, strict=True):
            if last - score > _SAME_SCORE:
                groups.append([])
            groups[-1].append(Match(row, score))
            last = score
        return groups
