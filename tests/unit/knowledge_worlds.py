"""Small worlds for the tests of the knowledge core: hand-made facts, and random worlds with every awkward feature."""

from __future__ import annotations

import random

from datagen.knowledge.catalogue import EntityType, Relation, make_catalogue
from datagen.knowledge.formula import Clue, Constant, Edge, EntityRef, IsA, Match, Node, Within
from datagen.knowledge.graph import FactGraph
from datagen.knowledge.literals import date_interval, ordinal, text_literal, year_interval
from datagen.knowledge.plain_world import PlainWorld
from datagen.records.fact import Closure, Entity, Evidence, Fact, Literal
from datagen.records.ids import sha256_hex

TYPES = (
    EntityType("place", "place", "places"),
    EntityType("city", "city", "cities", ("place",)),
    EntityType("person", "person", "people", (), True),
    EntityType("poet", "poet", "poets", ("person",), True),
    EntityType("painter", "painter", "painters", ("person",), True),
    EntityType("poet_painter", "poet and painter", "poets and painters", ("poet", "painter", "person"), True),
    EntityType("club", "club", "clubs"),
)
RELATIONS = (
    Relation("born_in", "Born in", ("person",), "entity", ("place",)),
    Relation("lived_in", "Lived in", ("person",), "entity", ("place",), single=False),
    Relation("coach", "Coach", ("club",), "entity", ("person",), changes=True),
    Relation("squad", "Squad", ("club",), "entity", ("person",), single=False, changes=True),
    Relation("seat", "Seat", ("club",), "entity", ("place",)),
    Relation("founded", "Founded", ("club", "place"), "date"),
    Relation("height", "Height", ("person",), "number", unit="cm"),
    Relation("colours", "Colours", ("club",), "text", single=False),
    Relation("motto", "Motto", ("club", "city"), "text"),
)
CATALOGUE = make_catalogue("test", TYPES, RELATIONS)
KINDS = ("encyclopedia", "official", "news", "list", "blog", "forum")
DAYS = ("2024-01-01", "2024-06-01", "2025-01-01", "2025-06-01")


def evidence(
    page: str, kind: str = "encyclopedia", day: str | None = "2025-01-01", quote: str = "it says so"
) -> Evidence:
    return Evidence(
        f"pg-{page}", f"https://{kind}.example/{page}", 0, len(quote), quote, sha256_hex(quote.encode()), kind, day
    )


def fact(
    subject: str,
    relation: str,
    value: str | Literal,
    source: Evidence | None = None,
    valid_from: str | None = None,
    as_of: str | None = None,
) -> Fact:
    source = source or evidence(subject)
    if isinstance(value, Literal):
        return Fact(subject, relation, value.text, None, value, source, valid_from, as_of)
    return Fact(subject, relation, value.rpartition("/")[2], value, None, source, valid_from, as_of)


def subjects_list(
    relation: str,
    anchor: str | Literal,
    members: tuple[str, ...],
    entity_type: str | None = None,
    as_of: str | None = None,
    source: Evidence | None = None,
) -> Closure:
    key, literal = (None, anchor) if isinstance(anchor, Literal) else (anchor, None)
    return Closure(
        "subjects", relation, key, literal, entity_type, members, source or evidence(f"list-{relation}", "list"), as_of
    )


def objects_list(subject: str, relation: str, members: tuple[str, ...], as_of: str | None = None) -> Closure:
    return Closure("objects", relation, subject, None, None, members, evidence(f"all-{relation}", "official"), as_of)


def all_of(entity_type: str, *members: str) -> Closure:
    return Closure("members", "", None, None, entity_type, members, evidence(f"all-{entity_type}", "list"))


def entities(**types: str) -> list[Entity]:
    """`entities(a="club")`: entity "a" named "A" of type club; "" for an unknown type."""
    return [Entity(key, key.upper(), kind or None) for key, kind in types.items()]


def match(relation: str, value: str | Literal, *, inverse: bool = False, as_of: str | None = None) -> Match:
    constant: Constant = value if isinstance(value, Literal) else EntityRef(value, value.upper())
    return Match(relation, constant, inverse, as_of)


class RandomWorld:
    """A world and queries about it, drawn from one seed; contradicting, stale, partial, and with look-alikes."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        types = [t.id for t in TYPES]
        keys = [f"https://e.example/{chr(97 + i)}" for i in range(rng.randint(3, 7))]
        self.entities = [Entity(k, rng.choice("ABCDE"), rng.choice([*types, None])) for k in keys]
        named = [f"entity:{rng.choice(types)}/{rng.choice('ABCF')}" for _ in range(rng.randint(0, 3))]
        self.keys = sorted({*keys, *named})
        self.days = rng.sample(DAYS, rng.randint(1, 3))
        # Few relations let statements, lists and questions meet; all of them let everything occur together.
        self.relations = rng.sample(RELATIONS, rng.randint(1, 4)) if rng.random() < 0.7 else list(RELATIONS)
        self.facts = [self._fact() for _ in range(rng.randint(2, 30))]
        self.closures = [self._closure() for _ in range(rng.randint(0, 9))]
        self.closed_types = tuple(rng.sample(types, 1)) if rng.random() < 0.25 else ()
        self.silent = tuple(rng.sample([r.id for r in RELATIONS], 2)) if rng.random() < 0.25 else ()

    def literal(self, kind: str) -> Literal:
        rng = self.rng
        if kind == "date":
            year = rng.choice((1900, 1901))
            low, high = rng.choice((year_interval(year), year_interval(1900, 1901), (ordinal(f"{year}-05-01"),) * 2))
            return date_interval(low, high)
        if kind == "number":
            low = rng.choice((1.0, 2.0, 3.0))
            high = low + rng.choice((0, 0, 1))
            return Literal("number", f"{low} to {high}", low, high, rng.choice(("cm", "cm", "cm", "m")))
        return text_literal(rng.choice(("green", "Green and white", "white", "red.")))

    def value(self, relation: Relation) -> str | Literal:
        if self.rng.random() < 0.04:
            return self.literal("text")
        return self.rng.choice(self.keys) if relation.object_kind == "entity" else self.literal(relation.object_kind)

    def _source(self) -> Evidence:
        rng = self.rng
        page, kind, day = rng.choice("pq"), rng.choice(KINDS), rng.choice((*DAYS, None))
        return evidence(f"{page}-{kind}-{day}", kind, day)

    def _fact(self) -> Fact:
        rng = self.rng
        relation = rng.choice(self.relations)
        first, last = (None, None)
        if relation.changes:
            first, last = rng.choice((None, *self.days)), rng.choice((None, *self.days))
        return fact(rng.choice(self.keys), relation.id, self.value(relation), self._source(), first, last)

    def _closure(self) -> Closure:
        """Mostly what the trusted facts say, so that most lists survive."""
        rng = self.rng
        side = rng.choice(("subjects", "subjects", "objects", "members"))
        some = set(rng.sample(self.keys, rng.choice((0, 0, 1, min(3, len(self.keys))))))
        type_id = rng.choice((None, None, None, *(t.id for t in TYPES)))
        source, day = self._source(), rng.choice((None, *self.days))
        if side == "members":
            kind = rng.choice(TYPES).id
            known = {e.key for e in self.entities if e.type is not None and CATALOGUE.is_a(e.type, kind)}
            known |= {k for k in self.keys if k.startswith("entity:") and CATALOGUE.is_a(k[7:].partition("/")[0], kind)}
            return Closure("members", "", None, None, kind, tuple(sorted(known | some)), source, day)
        relation = rng.choice(
            [r for r in self.relations if side == "subjects" or r.object_kind == "entity"] or RELATIONS[:2]
        )
        anchor = self.value(relation) if side == "subjects" else rng.choice(self.keys)
        same = [f for f in self.facts if f.relation == relation.id]
        if rng.random() < 0.2:
            same = []
        if side == "objects":
            members = {f.object_key for f in same if f.subject == anchor and f.object_key}
            return Closure("objects", relation.id, anchor, None, type_id, tuple(sorted(members | some)), source, day)
        members = {f.subject for f in same if f.object_key == anchor or f.literal == anchor}
        key, literal = (None, anchor) if isinstance(anchor, Literal) else (anchor, None)
        return Closure("subjects", relation.id, key, literal, type_id, tuple(sorted(members | some)), source, day)

    def graph(self) -> FactGraph:
        return FactGraph.build(
            CATALOGUE, self.facts, self.closures, self.entities, self.closed_types, silent_relations=self.silent
        )

    def plain(self) -> PlainWorld:
        return PlainWorld.read(
            CATALOGUE,
            self.facts,
            self.closures,
            self.entities,
            closed_types=self.closed_types,
            silent_relations=self.silent,
        )

    def clue(self, depth: int) -> Clue:
        rng = self.rng
        if rng.random() < 0.08:
            return IsA(rng.choice(TYPES).id)
        listed = [c for c in self.closures if c.side == "subjects" and self.fits(c)]
        if listed and rng.random() < 0.35:
            return self.listed_clue(rng.choice(listed), depth)
        relation = rng.choice(
            [
                *self.relations,
                *self.relations,
                rng.choice(RELATIONS),
                *(CATALOGUE.relations[f.relation] for f in self.facts),
            ]
        )
        day = rng.choice((*self.days, *self.days, None)) if relation.changes else None
        if relation.object_kind == "entity":
            inverse = rng.random() < 0.35
            if depth > 1 and rng.random() < 0.6:
                return Edge(relation.id, self.node(depth - 1), inverse, day)
            key = rng.choice((*self.keys, "https://e.example/nowhere")) if rng.random() < 0.3 else rng.choice(self.keys)
            return Match(relation.id, EntityRef(key, key), inverse, day)
        literal = self.literal(relation.object_kind)
        if literal.kind == "text" or rng.random() < 0.5:
            return Match(relation.id, literal, as_of=day)
        return Within(
            relation.id,
            literal.kind,
            literal.low - rng.choice((0, 1)),
            literal.high + rng.choice((0, 1)),
            literal.unit,
            day,
        )

    @staticmethod
    def fits(closure: Closure) -> bool:
        """Whether the list's anchor is of the kind of its relation's objects."""
        return (CATALOGUE.relations[closure.relation].object_kind == "entity") == (closure.anchor_key is not None)

    def listed_clue(self, closure: Closure, depth: int) -> Clue:
        """A clue that a complete list speaks of: its constant, or a child that may be it."""
        day = closure.as_of if closure.relation and CATALOGUE.relations[closure.relation].changes else None
        if closure.anchor_key is None:
            assert closure.anchor_literal is not None
            return Match(closure.relation, closure.anchor_literal, as_of=day)
        others = [c for c in self.closures if c.side == "subjects" and closure.anchor_key in c.members and self.fits(c)]
        if depth > 1 and others and self.rng.random() < 0.5:
            return Edge(
                closure.relation, Node(None, (self.listed_clue(self.rng.choice(others), depth - 1),)), as_of=day
            )
        return Match(closure.relation, EntityRef(closure.anchor_key, closure.anchor_key), as_of=day)

    def node(self, depth: int = 3) -> Node:
        kind = self.rng.choice((*(t.id for t in TYPES), None))
        return Node(kind, tuple(self.clue(depth) for _ in range(self.rng.choice((0, 1, 1, 2, 2, 3)))))

    def told(self, graph: FactGraph, i: int, depth: int = 3) -> Node:
        """A description of a known entity from what is sure about it, so that many are unique."""
        rng = self.rng
        clues: list[Clue] = []
        for stated in graph.outgoing(i):
            day = rng.choice((stated.valid_from, stated.as_of))
            if rng.random() < 0.5:
                continue
            if stated.object_id is not None and depth > 1 and rng.random() < 0.6:
                clues.append(Edge(stated.relation, self.told(graph, stated.object_id, depth - 1), as_of=day))
            else:
                clues.append(Match(stated.relation, stated.value, as_of=day))
        for stated_of in graph.incoming(i):
            day = rng.choice((stated_of.valid_from, stated_of.as_of))
            if rng.random() < 0.3:
                clues.append(Match(stated_of.relation, graph.ref(stated_of.subject_id), inverse=True, as_of=day))
            elif rng.random() < 0.3 and depth > 1:
                child = self.told(graph, stated_of.subject_id, depth - 1)
                clues.append(Edge(stated_of.relation, child, inverse=True, as_of=day))
        rng.shuffle(clues)
        return Node(graph.type(i), tuple(clues[:4]))
