"""Describe an entity by what is stated of it, for questions that must not name it.

    Ilse Marn   →   an architect | an architect born in Veltrin | an architect born in Veltrin who founded …

Descriptions come from the widest (its class alone, sometimes) to narrower ones with one and two clues. Whether one is
narrow enough is for the proof of the whole question to say.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import lru_cache

from datagen.agents.symbolic.claims import ClaimBook
from datagen.knowledge.formula import Clue, Node
from datagen.knowledge.graph import FactGraph
from datagen.synthesis.settings import Workbench

CLASS_ONLY = 0.25
"""Chance that the class alone is tried first."""
MAX_CLUES = 2


def describe(bench: Workbench, key: str, hidden: frozenset[str], rng: random.Random) -> Iterator[Node]:
    """Vertices that the entity fulfils, widest first; none names an entity in `hidden`."""
    i = bench.graph.find(key)
    type_id = None if i is None else bench.graph.type(i)
    if i is None or type_id is None:
        return
    if rng.random() < CLASS_ONLY:
        yield Node(type_id, ())
    clues = _clues(bench.graph, i, hidden, rng)
    for count in range(1, len(clues) + 1):
        yield Node(type_id, tuple(clues[:count]))


@lru_cache(maxsize=1)
def _book(graph: FactGraph) -> ClaimBook:
    return ClaimBook(graph)


def _clues(graph: FactGraph, i: int, hidden: frozenset[str], rng: random.Random) -> list[Clue]:
    """Up to two clues over different relations, in random order."""
    claims = list(_book(graph).claims(i))
    rng.shuffle(claims)
    found: dict[str, Clue] = {}
    for claim in claims:
        named = claim.other is not None and graph.key(claim.other) in hidden
        if not named and not claim.pins:
            found.setdefault(claim.clue.relation, claim.clue)
        if len(found) == MAX_CLUES:
            break
    return list(found.values())
