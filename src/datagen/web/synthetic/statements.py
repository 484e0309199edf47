"""What there is to say about an entity on a given day, and which page says it.

Pages never invent: they choose among true statements. What a page leaves out is drawn per (entity, relation): some
statements stand on no page at all, some only in prose, some only in a box, some on the entity's own site but not in the
encyclopedia. A relation that changes is stated as it was on the page's date.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal as OneOf

from datagen.knowledge.catalogue import Relation
from datagen.records.fact import Literal
from datagen.web.synthetic.addresses import Addresses
from datagen.web.synthetic.layout import Ref

Place = OneOf["both", "box", "prose", "nowhere"]
_SILENT = 0.06
"""Share of statements that no page of the entity makes."""


@dataclass(frozen=True, slots=True)
class Statement:
    """relation(subject, objects or literal). `since` is the first day of an open tenure (ordinal)."""

    subject: Ref
    relation: Relation
    objects: tuple[Ref, ...] = ()
    literal: Literal | None = None
    since: int | None = None
    complete: bool = False
    """True when the objects are all there are."""


class Statements:
    """Chooses what pages say."""

    def __init__(self, addresses: Addresses) -> None:
        self.addresses = addresses
        self.world = addresses.world
        catalogue = self.world.ontology.catalogue
        kinds = self.world.ontology.kinds
        self.relations: dict[str, tuple[Relation, ...]] = {
            t: tuple(r for r in catalogue.relations.values() if catalogue.applies(r, t)) for t in kinds
        }
        self.incoming: dict[str, tuple[tuple[Relation, str], ...]] = {
            t: tuple(
                (r, s)
                for r in catalogue.relations.values()
                if r.object_kind == "entity" and any(catalogue.is_a(t, o) for o in r.object_types)
                for s in self.world.ontology.subject_kinds(r)
            )
            for t in kinds
        }
        self._dated = {t: [r.id for r in rs if r.object_kind == "date"] for t, rs in self.relations.items()}
        self.last_event = lru_cache(maxsize=100_000)(self._last_event)

    def _last_event(self, ref: Ref) -> int:
        """The latest day on which something dated happened to the entity; 0 if nothing did."""
        found = (self.world.value(ref, relation) for relation in self._dated[ref.type])
        return max((int(literal.low) for literal in found if literal is not None), default=0)

    def can_mention(self, ref: Ref, relation: Relation) -> bool:
        """An entity without a page is named only where the relation says what it is."""
        return relation.object_types == (ref.type,) or self.addresses.home(ref) is not None

    def silent(self, ref: Ref, relation: str) -> bool:
        """Whether no page about the entity says this."""
        return self.world.draws.happens(_SILENT, f"silent/{relation}/{ref.type}", ref.index)

    def state(self, ref: Ref, relation: Relation, day: int) -> Statement | None:
        """The statement that is true on `day`; None where there is none or it cannot be told apart."""
        world = self.world
        if relation.object_kind != "entity":
            literal = world.value(ref, relation.id)
            if literal is None or (literal.kind == "date" and literal.low > day):
                return None
            return Statement(ref, relation, literal=literal)
        if relation.changes:
            term = world.term_on(ref, relation.id, day)
            if term is None or not self.can_mention(term.target, relation):
                return None
            return Statement(ref, relation, (term.target,), since=term.start)
        objects = world.objects(ref, relation.id)
        shown = tuple(o for o in objects if self.can_mention(o, relation) and self.last_event(o) <= day)
        if not shown:
            return None
        return Statement(ref, relation, shown, complete=shown == objects)

    def place(self, ref: Ref, relation: Relation, page: str) -> Place:
        """Where on its page a statement stands."""
        draw = self.world.draws.below(100, f"place/{page}/{relation.id}/{ref.type}", ref.index)
        if draw < 40:
            return "both"
        if draw < 64:
            return "box"
        return "prose" if draw < 88 else "nowhere"

    def about(self, ref: Ref, page: str, day: int) -> list[tuple[Statement, Place]]:
        """All statements of a page about an entity, with their places."""
        found: list[tuple[Statement, Place]] = []
        for relation in self.relations[ref.type]:
            place = self.place(ref, relation, page)
            if place == "nowhere" or self.silent(ref, relation.id):
                continue
            statement = self.state(ref, relation, day)
            if statement is not None:
                found.append((statement, place))
        return found

    def is_mutual(self, relation: Relation) -> bool:
        """Whether the relation holds both ways, so that each page says its own half."""
        return self.world.ontology.make[relation.id]["rule"] in {"pair", "marry"}

    def pointing_at(self, ref: Ref, day: int, most: int) -> list[tuple[Relation, str, tuple[Ref, ...]]]:
        """What points at an entity: (relation, subject type, some of the subjects), for relations that do not change."""
        found = []
        for relation, type_id in self.incoming[ref.type]:
            if relation.changes or self.is_mutual(relation):
                continue
            subjects = self.world.subjects(ref, relation.id, type_id)
            shown = tuple(s for s in subjects if self.addresses.home(s) and self.last_event(s) <= day)
            if shown:
                found.append((relation, type_id, shown[:most]))
        return found
