"""No two questions may be the same: by words, nearly by words, or by meaning.

Run over the accepted drafts of a run in candidate order, when a wave is assembled, so that which of two twins stays
does not depend on shards or workers. Workers compute the `Fingerprint`, which is small; the index sees only those.

    exact      equal words after normalisation
    formula    equal formula once names of entities are blanked out (literals and types stay), `max_same_formula` allowed
    near       MinHash estimate of word 3-gram overlap at or above `NEAR_JACCARD`

>>> index = DuplicateIndex()
>>> [index.judge(f).reason for f in (fingerprint_text("Which club?"), fingerprint_text("Which club?"))]
['ok', 'same_words']
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

import rensa

from datagen.knowledge.answer_forms import words_of
from datagen.knowledge.formula import Clue, Edge, EntityRef, Match, Node, Query, canonical, node_to_dict
from datagen.records.ids import canonical_json, sha256_hex
from datagen.records.question import Verdict
from datagen.synthesis.draft import Draft

PERMUTATIONS = 64
BANDS = 16
"""16 bands of 4 rows: pairs of 0.8 overlap meet in some band with probability 0.9998, pairs of 0.5 with 0.64."""
NEAR_JACCARD = 0.8
SHINGLE_WORDS = 3
MINHASH_SEED = 7


class DuplicateReason(StrEnum):
    SAME_WORDS = "same_words"
    SAME_FORMULA = "same_formula"
    NEAR = "near_same_words"


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What the index needs of a question."""

    words: str
    """Digest of the normalised words."""
    formula: str
    """Digest of the formula without entity names; empty where there is none."""
    minhash: tuple[int, ...]


def fingerprint(draft: Draft) -> Fingerprint:
    return replace(fingerprint_text(draft.question), formula=formula_digest(draft.query))


def fingerprint_text(question: str) -> Fingerprint:
    words = words_of(question)
    width = min(SHINGLE_WORDS, len(words))
    shingles = [" ".join(words[i : i + width]) for i in range(len(words) - width + 1)]
    sketch = rensa.RMinHash(num_perm=PERMUTATIONS, seed=MINHASH_SEED)
    sketch.update(shingles)
    return Fingerprint(sha256_hex(" ".join(words).encode()), "", tuple(sketch.digest()))


def formula_digest(query: Query) -> str:
    """Digest of the meaning with every entity constant blanked out, whatever the order of its clues."""
    blank = canonical(_blanked(query.root))
    return sha256_hex(canonical_json({"root": node_to_dict(blank), "ask": query.ask}))


def _blanked(node: Node) -> Node:
    clues: list[Clue] = []
    for clue in node.clues:
        if isinstance(clue, Edge):
            clues.append(replace(clue, child=_blanked(clue.child)))
        elif isinstance(clue, Match) and isinstance(clue.value, EntityRef):
            clues.append(replace(clue, value=EntityRef("", "")))
        else:
            clues.append(clue)
    return replace(node, clues=tuple(clues))


class DuplicateIndex:
    """Judges fingerprints one after the other; those that pass are remembered."""

    name = "duplicates"

    def __init__(self, max_same_formula: int = 1) -> None:
        self._max_same_formula = max_same_formula
        self._words: dict[str, int] = {}
        self._formulas: Counter[str] = Counter()
        self._bands: dict[tuple[int, tuple[int, ...]], list[int]] = {}
        self._sketches: list[tuple[int, ...]] = []

    def judge(self, mark: Fingerprint) -> Verdict:
        """The verdict on one question; `detail` names the earlier one by its position among those that passed."""
        if mark.words in self._words:
            return self._twin(DuplicateReason.SAME_WORDS, self._words[mark.words])
        if mark.formula and self._formulas[mark.formula] >= self._max_same_formula:
            detail = f"{self._formulas[mark.formula]} accepted questions have this formula up to entity names"
            return Verdict(self.name, False, DuplicateReason.SAME_FORMULA.value, detail)
        near = self._near(mark.minhash)
        if near is not None:
            return self._twin(DuplicateReason.NEAR, near)
        self._remember(mark)
        return Verdict(self.name, passed=True)

    def _twin(self, reason: DuplicateReason, position: int) -> Verdict:
        return Verdict(self.name, False, reason.value, f"twin of accepted question {position}")

    def _near(self, sketch: tuple[int, ...]) -> int | None:
        seen: set[int] = set()
        for band in _bands(sketch):
            for position in self._bands.get(band, ()):
                if position in seen:
                    continue
                seen.add(position)
                other = self._sketches[position]
                equal = sum(a == b for a, b in zip(sketch, other, strict=True))
                if equal / PERMUTATIONS >= NEAR_JACCARD:
                    return position
        return None

    def _remember(self, mark: Fingerprint) -> None:
        position = len(self._sketches)
        self._words[mark.words] = position
        self._formulas[mark.formula] += 1
        self._sketches.append(mark.minhash)
        for band in _bands(mark.minhash):
            self._bands.setdefault(band, []).append(position)


def _bands(sketch: tuple[int, ...]) -> Iterable[tuple[int, tuple[int, ...]]]:
    rows = PERMUTATIONS // BANDS
    return [(band, sketch[band * rows : (band + 1) * rows]) for band in range(BANDS)]


def judge_duplicates(marks: Iterable[Fingerprint], max_same_formula: int = 1) -> list[Verdict]:
    """One verdict per fingerprint, in order: a pure function of the list."""
    index = DuplicateIndex(max_same_formula)
    return [index.judge(mark) for mark in marks]
