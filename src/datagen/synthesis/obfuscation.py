"""The four obfuscations, as operators on the formula (spec fathom §1.4).

    date         founded in March 1925                 →  founded in the early 20th century       an interval of `vague.bands`
    number       has 4,812 seats                       →  has between 4,000 and 5,000 seats       the same
    entity       designed by Ilse Marn                 →  designed by an architect who …          a vertex with clues of its own,
                                                          designed by an architect born in a port town  or only a class
    connective   at a ground, which is a rowing course →  at a rowing course                      a class clue folded into its noun

An operator only ever lets more in: candidates of the new clue are a superset of the old one's, the vertex's own entity
stays among the sure ones, and the certificate is computed anew after each edit. An edit that lets a rival in, or makes a
clue idle, is undone, so the facts to be recovered never change, only the anchors that would short-circuit the search.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import Literal as OneOf

from datagen.knowledge.certificate import certify
from datagen.knowledge.evaluator import clue_sizes, contains, is_unique
from datagen.knowledge.formula import (
    Clue,
    ClueAddress,
    Edge,
    EntityRef,
    IsA,
    Match,
    Query,
    Within,
    count_vertices,
    depth,
    replace_clue,
    walk_clues,
)
from datagen.knowledge.graph import FactGraph
from datagen.knowledge.literals import format_literal
from datagen.language.vague import Band, bands
from datagen.language.vague_dates import MAX_DAY
from datagen.records.fact import Literal
from datagen.records.question import Obfuscation
from datagen.synthesis.description import describe
from datagen.synthesis.proving import Proven, idle_clues, node_at
from datagen.synthesis.settings import Workbench

MAX_EDITS = 4
"""Per question; more would make every clue vague and the text long."""

OPTIONS_SHOWN = 4
"""Sound edits of one clue among which an obfuscator chooses."""
MAX_DEPTH, MAX_VERTICES = 5, 12
"""A description does not make a tree larger than research trees are."""
FUTURE_DAYS = 4 * 366
"""How far a band may reach past the newest page: a decade that has begun may be named."""


@dataclass(frozen=True, slots=True)
class Vaguer:
    """A replacement for a clue."""

    kind: OneOf["date", "number", "entity", "connective"]
    clue: Clue
    before: str
    after: str


def obfuscate(
    bench: Workbench, proven: Proven, hidden: frozenset[str], chance: float, rng: random.Random
) -> tuple[Proven, tuple[Obfuscation, ...]]:
    """Make clues vaguer where the proof survives it. `hidden` are keys that no new clue may name."""
    edits: list[Obfuscation] = []
    edited: list[ClueAddress] = []
    addresses = [address for address, _ in walk_clues(proven.query.root)]
    rng.shuffle(addresses)
    for address in addresses:
        # What lies below an edited clue is no longer where it was.
        if any(address[: len(above)] == above for above in edited) or rng.random() >= chance:
            continue
        outcome = _edit(bench, proven, address, hidden, rng)
        if outcome is not None:
            proven, edit = outcome
            edits.append(edit)
            edited.append(address)
        if len(edits) == MAX_EDITS:
            break
    return proven, tuple(edits)


def _edit(
    bench: Workbench, proven: Proven, address: ClueAddress, hidden: frozenset[str], rng: random.Random
) -> tuple[Proven, Obfuscation] | None:
    """The first edit that the proof survives; with an obfuscator in the cast, the one that it chooses of a few."""
    sound = _sound(bench, proven, address, hidden, rng)
    if bench.obfuscator is None:
        return next(sound, None)
    options = list(islice(sound, OPTIONS_SHOWN))
    if not options:
        return None
    before = options[0][1].before
    chosen = bench.obfuscator.choose(before, tuple(edit.after for _, edit in options), rng)
    return None if chosen is None else options[chosen]


def _sound(
    bench: Workbench, proven: Proven, address: ClueAddress, hidden: frozenset[str], rng: random.Random
) -> Iterator[tuple[Proven, Obfuscation]]:
    """Edits of one clue that leave the answer proven and every clue needed."""
    node = node_at(proven.query.root, address[:-1])
    old = node.clues[address[-1]]
    for vaguer in _vaguer(bench, proven, address, hidden, rng):
        edited = _with(proven.query, address, vaguer.clue)
        if depth(edited.root) > MAX_DEPTH or count_vertices(edited.root) > MAX_VERTICES:
            continue
        if not contains(bench.graph, node.type, vaguer.clue, old) or not is_unique(bench.graph, edited):
            continue
        proof = certify(bench.graph, edited)
        candidate = Proven(edited, proof, proven.key)
        if proof.unique and proof.answer_set == (proven.key,) and not idle_clues(candidate):
            sizes = clue_sizes(bench.graph, node.type, (old, vaguer.clue))
            yield candidate, Obfuscation(vaguer.kind, vaguer.before, vaguer.after, *sizes)


def _with(query: Query, address: ClueAddress, clue: Clue) -> Query:
    return replace(query, root=replace_clue(query.root, address, clue))


def _vaguer(
    bench: Workbench, proven: Proven, address: ClueAddress, hidden: frozenset[str], rng: random.Random
) -> Iterator[Vaguer]:
    """Vaguer forms of the clue at `address`, in the order in which they are to be tried."""
    clue = node_at(proven.query.root, address[:-1]).clues[address[-1]]
    if isinstance(clue, Edge):
        yield from _folded(bench, clue)
    elif isinstance(clue, Match) and isinstance(clue.value, EntityRef):
        yield from _described(bench, clue, clue.value, hidden, rng)
    elif isinstance(clue, Match | Within):
        yield from _widened(bench, proven.query, address, clue, rng)


def _widened(
    bench: Workbench, query: Query, address: ClueAddress, clue: Match | Within, rng: random.Random
) -> Iterator[Vaguer]:
    """One of the wider bands that leave the answer alone, found by bisection: who fits a band fits every wider one."""
    value = _literal_of(clue)
    if value is None or value.kind == "text":
        return
    wider = [b for b in bands(value) if (b.low, b.high) != (value.low, value.high) and _is_sensible(bench, value, b)]
    new = [Within(clue.relation, value.kind, b.low, b.high, value.unit, clue.as_of) for b in wider]
    fitting = bisect_left(new, True, key=lambda c: not is_unique(bench.graph, _with(query, address, c)))
    if fitting:
        chosen = rng.randrange(fitting // 2, fitting)
        kind: OneOf["date", "number"] = "date" if value.kind == "date" else "number"
        yield Vaguer(kind, new[chosen], value.text, wider[chosen].words)


def _is_sensible(bench: Workbench, value: Literal, band: Band) -> bool:
    """Whether a reader would say it: no "between 2000 and 2100" of what happened; "after 2000" is fine."""
    if value.kind != "date" or band.high >= MAX_DAY:
        return True
    return band.high <= max(_newest_day(bench.graph), value.high) + FUTURE_DAYS


@lru_cache(maxsize=1)
def _newest_day(graph: FactGraph) -> int:
    """Ordinal of the day on which the newest page was published."""
    days = graph.statements.day
    return int(days.max()) if len(days) else 0


def _literal_of(clue: Match | Within) -> Literal | None:
    if isinstance(clue, Within):
        bare = Literal("date" if clue.kind == "date" else "number", "", clue.low, clue.high, clue.unit)
        return replace(bare, text=format_literal(bare))
    return clue.value if isinstance(clue.value, Literal) else None


def _described(
    bench: Workbench, clue: Match, named: EntityRef, hidden: frozenset[str], rng: random.Random
) -> Iterator[Vaguer]:
    """The class of the named entity alone, then the class with one clue of its own, then with two."""
    for node in describe(bench, named.key, hidden | {named.key}, rng):
        edge = Edge(clue.relation, node, clue.inverse, clue.as_of)
        words = ", ".join(c.type if isinstance(c, IsA) else c.relation for c in node.clues)
        singular = bench.catalogue.types[node.type].singular if node.type else "thing"
        yield Vaguer("entity", edge, named.name, f"{singular} with {words}" if words else singular)


def _folded(bench: Workbench, edge: Edge) -> Iterator[Vaguer]:
    """An edge to "a ground, which is a rowing course" becomes an edge to "a rowing course"."""
    for index, clue in enumerate(edge.child.clues):
        if isinstance(clue, IsA) and edge.child.type is not None and bench.catalogue.is_a(clue.type, edge.child.type):
            rest = edge.child.clues[:index] + edge.child.clues[index + 1 :]
            child = replace(edge.child, type=clue.type, clues=rest)
            before, after = (bench.catalogue.types[t].singular for t in (edge.child.type, clue.type))
            yield Vaguer("connective", replace(edge, child=child), f"{before} that is a {after}", after)
