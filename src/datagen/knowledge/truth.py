"""Two-valued evaluation over complete ground truth: the audit of certificates where truth is known.

The synthetic web knows every fact of its world, also those that no page states. Over that table a formula has a plain
answer set, with no "possible": this is the judge that a certificate must never contradict. It shares no code with the
evaluator and reads formulas directly.

A literal clue holds when the true value lies inside the clue's interval; a dated clue holds when the true tenure covers
the clue's day.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from datagen.knowledge.catalogue import Catalogue
from datagen.knowledge.formula import Clue, Edge, EntityRef, IsA, Match, Node, Query, Within
from datagen.records.fact import Literal


@dataclass(frozen=True, slots=True)
class TrueFact:
    """One fact of a world; `valid_from..as_of` (ISO, inclusive, None = no bound) for relations that change."""

    subject: str
    relation: str
    object_key: str | None = None
    literal: Literal | None = None
    valid_from: str | None = None
    as_of: str | None = None

    def holds_on(self, day: str | None) -> bool:
        if day is None:
            return True
        return (self.valid_from is None or self.valid_from <= day) and (self.as_of is None or day <= self.as_of)


@dataclass(slots=True)
class Truth:
    """All facts of a world, indexed; `types` maps every entity, with or without a page, to its catalogue type."""

    catalogue: Catalogue
    types: Mapping[str, str]
    _by_object: dict[tuple[str, str], list[TrueFact]] = field(default_factory=lambda: defaultdict(list))
    _by_subject: dict[tuple[str, str], list[TrueFact]] = field(default_factory=lambda: defaultdict(list))
    _literals: dict[str, list[TrueFact]] = field(default_factory=lambda: defaultdict(list))
    _members: dict[str, set[str]] = field(default_factory=dict)

    def add(self, facts: Iterable[TrueFact]) -> None:
        for fact in facts:
            self._by_subject[fact.subject, fact.relation].append(fact)
            if fact.object_key is not None:
                self._by_object[fact.relation, fact.object_key].append(fact)
            else:
                self._literals[fact.relation].append(fact)

    def stated(self, subject: str, relation: str) -> list[TrueFact]:
        """All true facts of one subject and relation, at any time."""
        return self._by_subject.get((subject, relation), [])

    def members(self, type_id: str) -> set[str]:
        """Every entity of the type or a narrower one."""
        if type_id not in self._members:
            self._members[type_id] = {key for key, t in self.types.items() if self.catalogue.is_a(t, type_id)}
        return self._members[type_id]

    def evaluate(self, node: Node) -> set[str]:
        """H(node): the exact answer set in this world."""
        found: set[str] | None = None
        for clue in sorted(node.clues, key=lambda c: isinstance(c, IsA)):
            matching = self._satisfying(clue, found)
            found = matching if found is None else found & matching
            if not found:
                return set()
        if node.type is None:
            return set(self.types) if found is None else found
        members = self.members(node.type)
        return set(members) if found is None else found & members

    def answers(self, query: Query) -> set[str]:
        """Entity keys, or canonical texts of literals where the query asks for a value."""
        roots = self.evaluate(query.root)
        if query.ask is None:
            return roots
        facts = [f for root in roots for f in self._by_subject[root, query.ask] if f.holds_on(query.ask_as_of)]
        return {f.object_key or (f.literal.text if f.literal else "") for f in facts}

    def _satisfying(self, clue: Clue, among: set[str] | None) -> set[str]:
        if isinstance(clue, IsA):
            return self.members(clue.type)
        if isinstance(clue, Edge):
            return self._projected(clue)
        if isinstance(clue, Match) and isinstance(clue.value, EntityRef):
            return self._linked(clue.relation, {clue.value.key}, inverse=clue.inverse, day=clue.as_of)
        return self._literal_matches(clue, among)

    def _projected(self, edge: Edge) -> set[str]:
        children = self.evaluate(edge.child)
        return self._linked(edge.relation, children, inverse=edge.inverse, day=edge.as_of)

    def _linked(self, relation: str, others: set[str], *, inverse: bool, day: str | None) -> set[str]:
        if inverse:
            facts = (f for other in others for f in self._by_subject.get((other, relation), ()))
            return {f.object_key for f in facts if f.object_key is not None and f.holds_on(day)}
        facts = (f for other in others for f in self._by_object.get((relation, other), ()))
        return {f.subject for f in facts if f.holds_on(day)}

    def _literal_matches(self, clue: Match | Within, among: set[str] | None) -> set[str]:
        if among is None:
            facts: Iterable[TrueFact] = self._literals.get(clue.relation, ())
        else:
            facts = (f for key in among for f in self._by_subject.get((key, clue.relation), ()))
        return {f.subject for f in facts if f.literal and f.holds_on(clue.as_of) and _inside(f.literal, clue)}


def _inside(value: Literal, clue: Match | Within) -> bool:
    if isinstance(clue, Within):
        return value.kind == clue.kind and value.unit == clue.unit and clue.low <= value.low and value.high <= clue.high
    wanted = clue.value
    if not isinstance(wanted, Literal) or wanted.kind != value.kind:
        return False
    if value.kind == "text":
        return " ".join(value.text.casefold().split()) == " ".join(wanted.text.casefold().split())
    return wanted.unit == value.unit and wanted.low <= value.low and value.high <= wanted.high
