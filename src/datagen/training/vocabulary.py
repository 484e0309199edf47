"""The tokenizer of a model that begins with random weights: made from what it is going to read and write.

Pages and questions, in a fixed order, so that equal data give an equal tokenizer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from datagen.config.training import TrainingDataConfig
from datagen.dataset.streaming import stream
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


def questions_of(section: TrainingDataConfig) -> Iterator[str]:
    """The questions that are trained on."""
    for row in stream(section.releases, table="qa", split=section.split, columns=("question",), shuffle=False):
        yield str(row["question"])


def _pages(snapshot: str) -> Iterator[str]:
    for page in islice(Snapshot.open(Path(snapshot)).pages(), PAGES):
        yield f"{page.title}\n{page.text[:PAGE_CHARS]}"
