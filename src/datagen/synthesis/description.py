"""Describe an entity by what is stated of it, for questions that must not name it.

    Ilse Marn   →   an architect | an architect born in Veltrin | an architect born in Veltrin who founded …

Descriptions come from the widest (its class alone, sometimes) to narrower ones with one and two clues. Whether one is
narrow enough is for the proof of the whole question to say.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from datagen.knowledge.formula import Clue, EntityRef, Match, Node, Within
from datagen.knowledge.graph import FactGraph, Stated
from datagen.language.vague import bands
from datagen.records.fact import Literal
from datagen.synthesis.settings import Workbench

CLASS_ONLY = 0.25
"""Chance that the class alone is tried first."""
MAX_STATEMENTS = 24


def describe(bench: Workbench, key: str, hidden: frozenset[str], rng: random.Random) -> Iterator[Node]:
    """Vertices that the entity fulfils, widest first; none names an entity in `hidden`."""
    i = bench.graph.find(key)
    if i is None:
        return
    type_id = bench.graph.type(i)
    if type_id is None:
        return
    if rng.random() < CLASS_ONLY:
        yield Node(type_id, ())
    clues = _clues(bench.graph, i, hidden, rng)
    if clues:
        yield Node(type_id, (clues[0],))
    if len(clues) > 1:
        yield Node(type_id, (clues[0], clues[1]))


def _clues(graph: FactGraph, i: int, hidden: frozenset[str], rng: random.Random) -> list[Clue]:
    """Up to two clues over different relations, in random order."""
    stated = list(graph.outgoing(i)[:MAX_STATEMENTS])
    rng.shuffle(stated)
    found: list[Clue] = []
    used: set[str] = set()
    for statement in stated:
        relation = graph.catalogue.relations[statement.relation]
        if relation.id in used or not relation.clue or (relation.changes and statement.as_of is None):
            continue
        clue = clue_of(statement, rng)
        if clue is not None and not _names_hidden(clue, hidden):
            used.add(relation.id)
            found.append(clue)
        if len(found) == 2:
            break
    return found


def clue_of(statement: Stated, rng: random.Random) -> Clue | None:
    """The clue that a statement makes: a name, a text, or a band around a date or number."""
    value = statement.value
    if isinstance(value, EntityRef) or value.kind == "text":
        return Match(statement.relation, value, as_of=statement.as_of)
    band = _band(value, rng)
    return band and Within(statement.relation, value.kind, *band, value.unit, statement.as_of)


def _band(value: Literal, rng: random.Random) -> tuple[float, float] | None:
    wider = [b for b in bands(value) if (b.low, b.high) != (value.low, value.high)]
    if not wider:
        return None
    band = rng.choice(wider[: (len(wider) + 1) // 2])
    return band.low, band.high


def _names_hidden(clue: Clue, hidden: frozenset[str]) -> bool:
    return isinstance(clue, Match) and isinstance(clue.value, EntityRef) and clue.value.key in hidden
