"""Describes an entity by clues that single it out, as far as the visited pages show; names nothing but constants.

Two ways make a description complete although the web is open:

    listed     a page lists all clubs of the league; further clues (a founding year, a ground) exclude the other members
    pointed    a relation with one object leads here: "the ground of [a club that ...]" is one ground once the club is one

Each use of an entity-valued fact may turn its constant into a description of its own, which is what makes a chain of
hops. A clue that excludes no rival is left out, so every clue of a description is needed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping

from datagen.agents.symbolic.class_describing import ClassDescriber
from datagen.agents.symbolic.describing_parts import Claim, Description, Step
from datagen.agents.symbolic.notebook import Notebook
from datagen.agents.symbolic.page_memory import PageMemory
from datagen.agents.symbolic.standing import Statement, Status, is_nameless
from datagen.knowledge.catalogue import Relation
from datagen.knowledge.formula import Clue, Edge, EntityRef, Match, Node, Within
from datagen.language.vague import bands
from datagen.records.fact import Closure, Literal

MAX_MEMBERS = 40
"""A longer list is not worked through: too many rivals to exclude one by one."""
VISITED_RIVALS = 8
"""Members of a list whose own pages are visited to learn what excludes them."""
TRIES = 4
RUMOURS_READ = 4
"""Pages of low trust about a subject that are read before its one object is relied on: what they say stays possible."""


class Describer:
    """Builds descriptions from one notebook; may visit members of a list to learn what excludes them."""

    def __init__(
        self,
        memory: PageMemory,
        rng: random.Random,
        preferences: Mapping[str, float] | None = None,
        complete_types: frozenset[str] = frozenset(),
    ) -> None:
        self._memory = memory
        self._notebook: Notebook = memory.notebook
        self._catalogue = memory.notebook.catalogue
        self._rng = rng
        self._preferences = preferences or {}
        """Relation ids that a seed question's hints favour, with weights."""
        self._complete_types = complete_types
        self._classes = ClassDescriber(memory, rng, self._clues_for, self._preferences)

    def describe(self, key: str, hops: int, hidden: frozenset[str]) -> Description | None:
        """A description with at most `hops` edges below it; `hidden` entities are neither named nor described."""
        if self._notebook.types.get(key) in self._complete_types:
            return self._classes.describe(key, hops, hidden)
        hidden |= {key}
        pointed = list(self._pointers(key, hidden))
        listed = [c for c in self._lists(key) if c.anchor_key not in hidden]
        self._rng.shuffle(pointed)
        self._rng.shuffle(listed)
        ways: list[Statement | Closure] = [*pointed[:2], *listed[:2]] if self._rng.random() < 0.5 else []
        ways = ways or [*listed[:2], *pointed[:2]]
        for way in ways:
            made = (
                self._by_list(key, way, hops, hidden)
                if isinstance(way, Closure)
                else self._by_pointer(key, way, hops, hidden)
            )
            if made is not None:
                return made
        return None

    # Pointed ------------------------------------------------------------------------------------------------------

    def _pointers(self, key: str, hidden: frozenset[str]) -> Iterator[Statement]:
        """Statements whose single object is this entity."""
        for relation in self._catalogue.relations.values():
            if relation.object_kind != "entity" or not relation.single or not relation.inverse:
                continue
            for subject in self._notebook.holders(relation.id, self._notebook.target_of([key]), None):
                if subject in hidden or is_nameless(subject):
                    continue
                settled = self._settled(subject, relation)
                if settled is not None and settled.fact.object_key == key:
                    yield settled

    def _settled(self, subject: str, relation: Relation) -> Statement | None:
        """The one value that stands; for a changing relation the newest, unless another claims the same day."""
        found = self._notebook.settled(subject, relation, None)
        if relation.changes and found:
            newest = max(found, key=lambda s: s.fact.as_of or "")
            found = self._notebook.settled(subject, relation, newest.fact.as_of)
        return found[0] if len(found) == 1 else None

    def _by_pointer(self, key: str, statement: Statement, hops: int, hidden: frozenset[str]) -> Description | None:
        fact = statement.fact
        rumours = self._memory.rumours(self._notebook.names[fact.subject], RUMOURS_READ)
        self._memory.read_all(hit.url for hit in rumours)
        if self._notebook.is_disputed(fact):
            return None
        kind = self._notebook.types.get(key)
        clue, steps = self._to_entity(fact.subject, fact.relation, fact.as_of, hops, hidden, inverse=True)
        step = Step(key, clue, statement, fact.subject)
        return Description(key, Node(kind, (clue,)), (step, *steps))

    def _to_entity(
        self, other: str, relation: str, day: str | None, hops: int, hidden: frozenset[str], *, inverse: bool
    ) -> tuple[Clue, tuple[Step, ...]]:
        """A clue towards another entity: described while hops are left and that succeeds, else named."""
        if hops > 0:
            if not is_nameless(other):
                self._memory.read(other)  # what it can be described by is often on its own page only
            child = self.describe(other, hops - 1, hidden)
            if child is not None:
                return Edge(relation, child.node, inverse=inverse, as_of=day), child.steps
        name = self._notebook.names[other]
        return Match(relation, EntityRef(other, name), inverse=inverse, as_of=day), ()

    # Listed -------------------------------------------------------------------------------------------------------

    def _lists(self, key: str) -> list[Closure]:
        kind = self._notebook.types.get(key)
        return [
            c
            for relation in self._catalogue.relations.values()
            if relation.clue
            for c in self._notebook.closures("subjects", relation.id, None)
            if key in c.members
            and 1 < len(c.members) <= MAX_MEMBERS
            and c.anchor_key in self._notebook.names
            and (c.entity_type is None or self._catalogue.is_a(kind, c.entity_type))
        ]

    def _by_list(self, key: str, closure: Closure, hops: int, hidden: frozenset[str]) -> Description | None:
        relation = self._catalogue.relations[closure.relation]
        anchor = self._notebook.names[closure.anchor_key or ""]
        # The day on which a list was complete belongs in the question only where the relation changes with the day.
        day = closure.as_of if relation.changes else None
        clue = Match(relation.id, EntityRef(closure.anchor_key or "", anchor), as_of=day)
        stated = self._notebook.statements(key, relation.id, day)
        held = next((s for s in stated if s.fact.object_key == closure.anchor_key), None)
        if held is None:
            return None
        rivals = frozenset(closure.members) - {key}
        self._learn(key, rivals)
        claims = self._claims(key, relation.id, rivals, hidden | {closure.anchor_key or ""})
        chosen = self._cover(claims, rivals)
        if chosen is None:
            return None
        described = [self._deepen(key, claim, hops, hidden) for claim in chosen]
        kind = closure.entity_type or self._notebook.types.get(key)
        steps = (Step(key, clue, held), *(step for claim in described for step in claim.steps))
        return Description(key, Node(kind, (clue, *(c.clue for c in described))), steps)

    def _learn(self, key: str, rivals: frozenset[str]) -> None:
        wanted = (key, *sorted(rivals)[:VISITED_RIVALS])
        self._memory.read_all(rival for rival in wanted if not is_nameless(rival))

    def _claims(self, key: str, used: str, rivals: frozenset[str], hidden: frozenset[str]) -> list[Claim]:
        """What is stated of the entity and excludes at least one rival."""
        found: list[Claim] = []
        for relation in self._catalogue.relations.values():
            if relation.id == used or not relation.clue or not relation.single or relation.changes:
                continue
            statement = self._settled(key, relation)
            if statement is None or statement.fact.object_key in hidden:
                continue
            for clue in self._clues_for(statement):
                excludes = frozenset(k for k in rivals if self._notebook.check(k, clue)[0] is Status.NO)
                if excludes:
                    found.append(Claim(clue, statement, excludes))
        return found

    def _clues_for(self, statement: Statement) -> list[Clue]:
        fact = statement.fact
        if fact.object_key is not None:
            name = self._notebook.names.get(fact.object_key, fact.object)
            return [Match(fact.relation, EntityRef(fact.object_key, name))]
        literal = fact.literal
        if literal is None or literal.kind == "text":
            return [Match(fact.relation, literal)] if literal else []
        wide = [b for b in bands(literal)[1:] if b.high - b.low <= _widest(literal)]
        return [Within(fact.relation, literal.kind, b.low, b.high, literal.unit) for b in wide[-3:]]

    def _cover(self, claims: list[Claim], rivals: frozenset[str]) -> list[Claim] | None:
        """Few claims that together exclude every rival, none of them idle; None where they cannot."""
        for _ in range(TRIES):
            order = sorted(claims, key=lambda c: -self._rng.random() * self._weight(c))
            left, chosen = set(rivals), list[Claim]()
            for claim in order:
                same = any(c.clue.relation == claim.clue.relation for c in chosen)  # type: ignore[union-attr]
                if left & claim.excludes and not same:
                    chosen.append(claim)
                    left -= claim.excludes
            if left:
                continue
            for claim in list(chosen):
                others = frozenset[str]().union(*(c.excludes for c in chosen if c is not claim))
                if rivals <= others:
                    chosen.remove(claim)
            return chosen
        return None

    def _weight(self, claim: Claim) -> float:
        relation = claim.statement.fact.relation
        links = 2.0 if claim.statement.fact.object_key is not None else 1.0
        return links * self._preferences.get(relation, 1.0)

    def _deepen(self, key: str, claim: Claim, hops: int, hidden: frozenset[str]) -> Claim:
        """Replace a named entity by its description where hops are left."""
        fact = claim.statement.fact
        clue, steps = claim.clue, tuple[Step, ...]()
        if fact.object_key is not None and not is_nameless(fact.object_key):
            clue, steps = self._to_entity(fact.object_key, fact.relation, None, hops, hidden, inverse=False)
        step = Step(key, clue, claim.statement, fact.object_key)
        return Claim(clue, claim.statement, claim.excludes, (step, *steps))


def _widest(literal: Literal) -> float:
    """The widest band that is still a clue: 25 years, or as much as the value itself."""
    return 25 * 366 if literal.kind == "date" else max(abs(literal.high), 1.0)
