"""The tokenizer of a model that begins with random weights: made from what it is going to read and write.

Pages, questions and the words of demonstrations, in a fixed order, so that equal data give an equal tokenizer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from datagen.training.framing.compact import MARKS
from datagen.training.tokenizer import CompactTokenizer
from datagen.web.snapshot import Snapshot

PAGES = 2_000
PAGE_CHARS = 4_000
"""Of each page; byte pairs of a few hundred tokens settle long before these are read."""


def tokenizer_for(named: str, *, snapshot: str, texts: Iterable[str] = (), size: int = 900) -> CompactTokenizer:
    """The tokenizer of a file, or one of `size` tokens made from the pages of a snapshot and from `texts`."""
    if named:
        return CompactTokenizer.load(named, MARKS)
    return CompactTokenizer.train([*_pages(snapshot), *texts], size=size, marks=MARKS)


def words_of(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """What rows of trajectories or questions say in the model's own words."""
    for row in rows:
        yield str(row["question"])
        for event in row.get("events") or ():
            if event["kind"] in ("thought", "answer"):
                yield str(event["text"])


def _pages(snapshot: str) -> Iterator[str]:
    for page in islice(Snapshot.open(Path(snapshot)).pages(), PAGES):
        yield f"{page.title}\n{page.text[:PAGE_CHARS]}"
