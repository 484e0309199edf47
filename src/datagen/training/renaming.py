"""New names for old ones: the same attempt in a world where everything is called otherwise.

    Which region contains Velmo?     ... 1 Velmo | encyclopedia ... Velmo lies in Upper Trisk ...      Upper Trisk
    Which region contains Selkun?    ... 1 Selkun | encyclopedia ... Selkun lies in Upper Brovo ...    Upper Brovo

A model that meets a few thousand names again and again learns them by heart, and answers from memory what it should have
read. Where every reading of a demonstration has names of its own, there is nothing to remember: what helps is to copy.
Every word that is part of some entity's name, and of not too many, becomes one word throughout the attempt: halves of two
other names, so that new words sound like those of the web. Addresses stay, for nothing that is shown is made from them.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from datagen.web.snapshot import Snapshot

WORD = re.compile(r"[^\W\d_]+")
COMMON = 40
"""A word of so many names is no name but a sort of thing (New, University, Cup), and stays."""
MIN_LETTERS = 3


class Renamer:
    """Renames rows of trajectories."""

    def __init__(self, names: Iterable[str]) -> None:
        counts = Counter(word for name in names for word in set(WORD.findall(name)))
        kept = sorted(
            word for word, n in counts.items() if n < COMMON and len(word) >= MIN_LETTERS and word[0].isupper()
        )
        self._names = frozenset(kept)
        self._starts = [word[: (len(word) + 1) // 2] for word in kept]
        self._ends = [word[(len(word) + 1) // 2 :] for word in kept]

    @classmethod
    def of(cls, snapshot: str) -> Renamer:
        """One for the entities of a snapshot with facts."""
        return cls(entity.name for entity in Snapshot.open(Path(snapshot)).entities())

    def row(self, row: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
        """The row with other names in its question and in every text of its events."""
        known: dict[str, str] = {}

        def renamed(text: str | None) -> str | None:
            return text and WORD.sub(lambda found: self._word(found.group(), known, rng), text)

        events = [
            {**event, "text": renamed(event["text"]), "arguments": self._arguments(event, known, rng)}
            for event in row["events"]
        ]
        return {**row, "question": renamed(row["question"]), "events": events}

    def _arguments(self, event: Mapping[str, Any], known: dict[str, str], rng: random.Random) -> str | None:
        """Queries are words; addresses are not."""
        text: str | None = event["arguments"]
        if not text or event["tool"] != "search":
            return text
        return WORD.sub(lambda found: self._word(found.group(), known, rng), text)

    def _word(self, word: str, known: dict[str, str], rng: random.Random) -> str:
        if word not in self._names:
            return word
        if word not in known:
            known[word] = rng.choice(self._starts) + rng.choice(self._ends)
        return known[word]
