"""What may be said of an entity: its sure statements as clues, and how many entities each clue leaves.

A claim is *closed* when pages show every entity it can be true of: a complete list of subjects, or the one object of a
settled subject. A tree needs a closed claim at each vertex, for the web is open; the other claims then only have to
exclude the members of that closed set, which are few, so candidate sets are evaluated on those members alone.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from datagen.knowledge.arrays import Ids, Mask
from datagen.knowledge.catalogue import Relation
from datagen.knowledge.evaluator import Evaluation
from datagen.knowledge.formula import EntityRef, Match, Node, Within
from datagen.knowledge.graph import FactGraph, Stated
from datagen.knowledge.kept import Kept
from datagen.knowledge.literals import normalise_text
from datagen.knowledge.taxonomy import PAGELESS
from datagen.language.vague import bands
from datagen.records.fact import Literal

CLAIMS_KEPT = 20_000
BANDS_PER_VALUE = 2
MAX_CLOSED = 500
"""Closed sets beyond this size are no help in telling an entity apart."""
SETS_KEPT = 50_000
POINTERS_PER_RELATION = 6
PINS_DRAWN = 8
MAX_POINTERS = 200
"""Entities that more statements point to (countries) are not described by what points to them."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A clue that surely holds of one entity. `other` is the entity at its far end; `closed` its candidates, if known."""

    clue: Match | Within
    other: int | None
    closed: Ids | None

    @property
    def pins(self) -> bool:
        return self.closed is not None and len(self.closed) == 1


class _End(NamedTuple):
    """One statement about `subject` whose object is the entity in hand."""

    relation: str
    subject: int
    day: str | None


class ClaimBook:
    """Claims by entity, kept for the entities met last; a pure function of the graph."""

    def __init__(self, graph: FactGraph) -> None:
        self._graph = graph
        self._catalogue = graph.catalogue
        self._kept: Kept[int, tuple[Claim, ...]] = Kept(CLAIMS_KEPT)
        self._lists: Kept[int, tuple[Claim, ...]] = Kept(CLAIMS_KEPT)
        self._sets: Kept[tuple[object, ...], Ids | None] = Kept(SETS_KEPT)
        self._shared_names = _shared_names(graph)

    def claims(self, i: int) -> tuple[Claim, ...]:
        """Forward claims of an entity, in catalogue order."""
        return self._kept.get(i, lambda: tuple(c for s in self._graph.outgoing(i) for c in self._from_statement(i, s)))

    def _from_statement(self, i: int, stated: Stated) -> list[Claim]:
        relation = self._catalogue.relations[stated.relation]
        if not relation.clue:
            return []
        if stated.object_id is not None:
            return (
                [self.towards(i, relation, stated.object_id, stated.as_of)] if self.nameable(stated.object_id) else []
            )
        if isinstance(stated.value, Literal):
            return self._of_value(relation, stated.value, stated.as_of)
        return []

    def towards(self, i: int, relation: Relation, other: int, day: str | None) -> Claim:
        """relation(i, other) as a claim about i."""
        clue = Match(relation.id, self._graph.ref(other), as_of=day)
        return Claim(clue, other, self._closed(clue, self._graph.type(i)))

    def _of_value(self, relation: Relation, value: Literal, day: str | None) -> list[Claim]:
        if value.kind == "text":
            # Words that one entity alone has (a nickname, a country code) are a name of it.
            shared = len(self._graph.posting(relation.id, value, day)) > 1
            return [Claim(Match(relation.id, value, as_of=day), None, None)] if shared else []
        wide = [b for b in bands(value)[1:] if b.high - b.low <= _widest(value)]
        return [
            Claim(Within(relation.id, value.kind, b.low, b.high, value.unit, day), None, None)
            for b in wide[len(wide) // 3 :: max(len(wide) // (2 * BANDS_PER_VALUE), 1)][:BANDS_PER_VALUE]
        ]

    def pins(self, i: int, rng: random.Random) -> list[Claim]:
        """A few settled subjects whose one object is this entity: "the ground of Harlan Rovers"."""
        ends = [e for e in self._ends(i) if self._catalogue.relations[e.relation].single]
        drawn = rng.sample(ends, min(PINS_DRAWN, len(ends)))
        return [c for c in (self.pointed(i, *e) for e in drawn) if c.pins]

    def lists(self, i: int) -> tuple[Claim, ...]:
        """Claims that a complete list of useful length stands behind: of its subjects, or of a subject's objects."""
        return self._lists.get(i, lambda: self._find_lists(i))

    def _find_lists(self, i: int) -> tuple[Claim, ...]:
        ends = (e for e in self._ends(i) if not self._catalogue.relations[e.relation].single)
        pointed = (self.pointed(i, *e) for e in ends)
        return tuple(c for c in (*self.claims(i), *pointed) if is_list(c))

    def _ends(self, i: int) -> list[_End]:
        """Who points at an entity and may be named; nobody for entities that very many point at."""
        fits = [r for r in self._graph.relations if r.inverse and self._may_be_object(i, r)]
        ref = self._graph.ref(i)
        postings = {r.id: self._graph.posting(r.id, ref) for r in fits if not r.changes}
        if sum(len(p) for p in postings.values()) > MAX_POINTERS:
            return []
        ends = [_End(name, int(z), None) for name, posting in postings.items() for z in _spread(posting.tolist())]
        changing = {r.id for r in fits if r.changes}
        if changing:
            dated = [s for s in self._graph.incoming(i) if s.relation in changing]
            ends += [_End(s.relation, s.subject_id, s.as_of) for s in _spread(dated)]
        return [e for e in ends if self.nameable(e.subject)]

    def pointed(self, i: int, relation: str, subject: int, day: str | None) -> Claim:
        """relation(subject, i) as a claim about i."""
        clue = Match(relation, self._graph.ref(subject), inverse=True, as_of=day)
        return Claim(clue, subject, self._closed(clue, self._graph.type(i)))

    def _closed(self, clue: Match, type_id: str | None) -> Ids | None:
        """Everyone of the type whom the clue could be true of, None when strangers could be among them."""
        assert isinstance(clue.value, EntityRef)
        mark = (clue.relation, clue.value.key, clue.inverse, clue.as_of, type_id)
        return self._sets.get(mark, lambda: self._closed_now(clue, type_id))

    def _closed_now(self, clue: Match, type_id: str | None) -> Ids | None:
        evaluation = Evaluation(self._graph)
        is_open = evaluation.clue_universe(clue, type_id) is None
        return None if is_open else evaluation.closed(Node(type_id, (clue,)))

    def _may_be_object(self, i: int, relation: Relation) -> bool:
        kind = self._graph.type(i)
        return relation.object_kind == "entity" and any(
            kind is None or self._catalogue.is_a(kind, t) for t in relation.object_types
        )

    def nameable(self, i: int) -> bool:
        """Whether a question may name it: it has a page, and no namesake of its type."""
        return not self._graph.key(i).startswith(PAGELESS) and i not in self._shared_names

    def survivors(self, claim: Claim, type_id: str | None, ids: Ids) -> Mask:
        """Which of `ids`, taken to be of this type, the claim does not exclude."""
        return Evaluation(self._graph).clue_masks(claim.clue, type_id, ids)[1]


T = TypeVar("T")


def _spread(items: Sequence[T]) -> Sequence[T]:
    """A few of many, evenly spaced: which entity points here is drawn later, that some do is what counts."""
    return items[:: -(-len(items) // POINTERS_PER_RELATION)] if items else items


def is_list(claim: Claim) -> bool:
    """Whether a complete list of useful length stands behind the claim."""
    return claim.closed is not None and 1 < len(claim.closed) <= MAX_CLOSED


def _shared_names(graph: FactGraph) -> frozenset[int]:
    """Entities that share their name with another of the same type."""
    names = [(normalise_text(graph.name(i)), int(graph.types[i])) for i in range(len(graph))]
    counts = Counter(names)
    return frozenset(i for i, name in enumerate(names) if counts[name] > 1)


def _widest(literal: Literal) -> float:
    """The widest band that is still a clue: 25 years, or as much as the value itself."""
    return 25 * 366 if literal.kind == "date" else max(abs(literal.high), 1.0)
