"""A world: every entity, link and value of the synthetic web, each a function of (seed, entity).

Nothing is stored. `World(7, entities=500_000)` is made in milliseconds, and any attribute of any entity can be asked
for alone, in any order, on any machine.

    world = World(seed=7, entities=450)
    club = Ref("football_club", 3)
    world.name(club)                          'Dynamo Qualinta'
    world.objects(club, "plays_at")           (Ref("stadium", 5),)
    world.subjects(Ref("stadium", 5), "plays_at", "football_club")
    world.value(club, "founded")              Literal("date", "1931", ...)
    world.terms(club, "coach")                who coached it, latest first

`addresses` says under which address an entity is known; `truth` lists everything that is so.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from datagen.records.fact import Literal
from datagen.web.synthetic.draws import Draws, Ring
from datagen.web.synthetic.layout import Layout, Ref
from datagen.web.synthetic.names import Namer
from datagen.web.synthetic.ontology import read_ontology
from datagen.web.synthetic.rules import LinkRule, make_link_rule
from datagen.web.synthetic.tenures import Tenure, TenureRule, make_tenure_rule
from datagen.web.synthetic.values import ValueRules

_CACHE = 100_000
"""Entries of each cache: enough that what one page asks twice is drawn once, small enough for flat memory."""


class World:
    """All entities of one seed. Pure: equal arguments give equal worlds."""

    def __init__(self, seed: int, entities: int) -> None:
        self.seed = seed
        self.ontology = read_ontology()
        self.draws = Draws(seed)
        self.layout = Layout(self.ontology, entities)
        self._page_rings: dict[str, Ring] = {}
        self._links: dict[str, LinkRule] = {}
        self._tenures: dict[str, TenureRule] = {}
        self._values = ValueRules(self)
        self._slots: dict[tuple[str, int], dict[tuple[str, int], int]] = {}
        self._namer = Namer(self)
        self.name = self._namer.name
        self.pair_of, self.pair, self.pairs = self._namer.pair_of, self._namer.pair, self._namer.pairs
        relations = self.ontology.catalogue.relations
        self._subject_types = {r.id: frozenset(self.ontology.subject_kinds(r)) for r in relations.values()}
        self.value = lru_cache(maxsize=_CACHE)(self._value)
        self.objects = lru_cache(maxsize=_CACHE)(self._objects)
        self.subjects = lru_cache(maxsize=_CACHE // 10)(self._subjects)
        self.terms = lru_cache(maxsize=_CACHE // 10)(self._terms)

    def entities(self) -> Iterator[Ref]:
        """Every entity, type by type."""
        for type_id, size in self.layout.sizes.items():
            for index in range(size):
                yield Ref(type_id, index)

    def page_ring(self, type_id: str) -> Ring:
        """The order in which entities of a type get pages: the first ones have them, the last ones have none."""
        if type_id not in self._page_rings:
            self._page_rings[type_id] = Ring(self.layout.sizes[type_id], self.draws.bits(f"pages/{type_id}"))
        return self._page_rings[type_id]

    # -- links ------------------------------------------------------------------------------------------------------

    def link_rule(self, relation: str) -> LinkRule:
        if relation not in self._links:
            self._links[relation] = make_link_rule(self, relation, self.ontology.make[relation])
        return self._links[relation]

    def _objects(self, subject: Ref, relation: str) -> tuple[Ref, ...]:
        if subject.type not in self._subject_types[relation]:
            return ()
        return self.link_rule(relation).objects(subject)

    def _subjects(self, target: Ref, relation: str, type_id: str) -> tuple[Ref, ...]:
        if type_id not in self._subject_types[relation]:
            return ()
        return self.link_rule(relation).subjects(target, type_id)

    # -- values -----------------------------------------------------------------------------------------------------

    def _value(self, subject: Ref, relation: str) -> Literal | None:
        if subject.type not in self._subject_types[relation]:
            return None
        return self._values.draw(subject, relation, self.ontology.make[relation])

    # -- what changes -----------------------------------------------------------------------------------------------

    def tenure_rule(self, relation: str) -> TenureRule:
        if relation not in self._tenures:
            self._tenures[relation] = make_tenure_rule(self, relation, self.ontology.make[relation])
        return self._tenures[relation]

    def _terms(self, subject: Ref, relation: str) -> tuple[Tenure, ...]:
        if subject.type not in self._subject_types[relation]:
            return ()
        return self.tenure_rule(relation).terms(subject)

    def held_by(self, target: Ref, relation: str, type_id: str) -> tuple[Tenure, ...]:
        """Tenures in which `target` is the object, subjects being of a type."""
        if type_id not in self._subject_types[relation]:
            return ()
        return self.tenure_rule(relation).held_by(target)

    def term_on(self, subject: Ref, relation: str, day: int) -> Tenure | None:
        """The tenure that covers a day."""
        return next((t for t in self.terms(subject, relation) if t.covers(day)), None)

    def office_slots(self, holder: str, country: int) -> dict[tuple[str, int], int]:
        """First slot of each (office, term) in the pool of a country; no two overlap, latest terms come first."""
        key = holder, country
        if key not in self._slots:
            make, catalogue = self.ontology.make, self.ontology.catalogue
            offices = [
                (r.id, make[r.id]["terms"], self.ontology.subject_kinds(r)[0])
                for r in catalogue.relations.values()
                if make[r.id]["rule"] == "office" and holder in r.object_types
            ]
            slots: dict[tuple[str, int], int] = {}
            taken = 0
            for term in range(max(count for _, count, _ in offices)):
                for relation, count, subject_type in offices:
                    if term < count:
                        slots[relation, term] = taken
                        low, high = self.layout.span(subject_type, country)
                        taken += high - low
            self._slots[key] = slots
        return self._slots[key]
