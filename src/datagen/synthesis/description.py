"""Describe an entity by what is stated of it, for questions that must not name it.

    Ilse Marn   →   an architect | an architect born in Veltrin | an architect born in Veltrin who founded …

Descriptions come from the widest (its class alone, sometimes) to narrower ones with one and two clues. Whether one is
narrow enough is for the proof of the whole question to say.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import lru_cache

from datagen.agents.symbolic.claims import Claim, ClaimBook, is_list
from datagen.knowledge.formula import Node
from datagen.knowledge.graph import FactGraph
from datagen.synthesis.settings import Workbench

CLASS_ONLY = 0.25
"""Chance that the class alone is tried first."""
ALONE = 3
PAIRED = 3
"""Claims tried by themselves, and of each sort in pairs: twelve descriptions at most."""


def describe(bench: Workbench, key: str, hidden: frozenset[str], rng: random.Random) -> Iterator[Node]:
    """Vertices that the entity fulfils, wider ones first; none names an entity in `hidden`."""
    i = bench.graph.find(key)
    type_id = None if i is None else bench.graph.type(i)
    if i is None or type_id is None:
        return
    if rng.random() < CLASS_ONLY:
        yield Node(type_id, ())
    listed, others = _claims(bench.graph, i, hidden, rng)
    for claim in (listed + others)[:ALONE]:
        yield Node(type_id, (claim.clue,))
    # On an open web only a complete list says that nobody else fits; a second clue then picks the one.
    for first in listed[:PAIRED]:
        for second in others[:PAIRED]:
            if second.clue.relation != first.clue.relation:
                yield Node(type_id, (first.clue, second.clue))


@lru_cache(maxsize=1)
def _book(graph: FactGraph) -> ClaimBook:
    return ClaimBook(graph)


def _claims(graph: FactGraph, i: int, hidden: frozenset[str], rng: random.Random) -> tuple[list[Claim], list[Claim]]:
    """Claims with a complete list behind them, and the others, each in random order."""
    book = _book(graph)
    distinct = {claim.clue: claim for claim in (*book.lists(i), *book.claims(i))}
    usable = [
        claim
        for claim in distinct.values()
        if not claim.pins and (claim.other is None or graph.key(claim.other) not in hidden)
    ]
    rng.shuffle(usable)
    return [c for c in usable if is_list(c)], [c for c in usable if not is_list(c)]
