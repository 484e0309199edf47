"""The tokenizer of a model that begins with random weights: made from what it is going to read and write.

Pages and questions, in a fixed order, so that equal data give an equal tokenizer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from datagen.config.learner import TinyConfig
from datagen.config.training import TrainingDataConfig
from datagen.dataset.streaming import stream
from datagen.training.framing.compact import MARKS
from datagen.training.tokenizer import CompactTokenizer, Vocabulary, load_vocabulary
from datagen.training.words import WordTokenizer
from datagen.web.snapshot import Snapshot

PAGES = 2_000
ALWAYS = 1_000
"""How often a word that must have a token is counted."""
PAGE_CHARS = 4_000
"""Of each page; byte pairs of a few hundred tokens settle long before these are read."""


def vocabulary_for(
    named: str, *, snapshot: str, texts: Iterable[str] = (), tiny: TinyConfig | None = None
) -> Vocabulary:
    """The vocabulary of a file, or one made from the pages of a snapshot and from `texts`."""
    if named:
        return load_vocabulary(named, MARKS)
    tiny, opened = tiny or TinyConfig(), Snapshot.open(Path(snapshot))
    words = [*_pages(opened), *texts]
    if tiny.tokens == "bytes":
        return CompactTokenizer.train(words, size=tiny.vocabulary, marks=MARKS)
    labels = (relation.label.lower() for relation in opened.catalogue().relations.values())
    # What relations are called stands in no page, and is what thoughts are made of: it always has a token.
    return WordTokenizer.make(
        [*words, *(label for label in labels for _ in range(ALWAYS))],
        (entity.name for entity in opened.entities()),
        size=tiny.vocabulary,
        marks=MARKS,
        places=tiny.places,
    )


def questions_of(section: TrainingDataConfig) -> Iterator[str]:
    """The questions that are trained on."""
    for row in stream(section.releases, table="qa", split=section.split, columns=("question",), shuffle=False):
        yield str(row["question"])


def _pages(snapshot: Snapshot) -> Iterator[str]:
    """Some pages from the whole of a snapshot, whose sources lie in it one after the other."""
    every = max(1, len(snapshot) // PAGES)
    for page in islice(snapshot.pages(), 0, None, every):
        yield f"{page.title}\n{page.text[:PAGE_CHARS]}"
