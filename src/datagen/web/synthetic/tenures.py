"""Relations that change: who held an office, or was under contract, from when to when.

    office     a pool of people fills the posts of their country, each person at most one post and one term
    contract   each term is an assignment of its own; the terms of one subject follow each other

The latest term is open. A tenure's days are inclusive at both ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from datagen.errors import ConfigError
from datagen.web.synthetic.draws import Ring
from datagen.web.synthetic.layout import COUNTRY, Assignment, Ref
from datagen.web.synthetic.rules import DAYS_PER_YEAR
from datagen.web.synthetic.values import LAST_EVENT

if TYPE_CHECKING:
    from datagen.web.synthetic.world import World

_RECENT = date(2024, 1, 8).toordinal()
_EARLIEST = date(2017, 2, 1).toordinal()


class Tenure(NamedTuple):
    """`subject` had `target` from `start` to `end` (ordinal days, inclusive); end None: still so."""

    subject: Ref
    target: Ref
    start: int
    end: int | None

    def covers(self, day: int) -> bool:
        return self.start <= day and (self.end is None or day <= self.end)


class TenureRule(Protocol):
    """The terms of a subject, latest first, and all tenures in which an entity is the object."""

    def terms(self, subject: Ref) -> tuple[Tenure, ...]: ...

    def held_by(self, target: Ref) -> tuple[Tenure, ...]: ...


class Calendar:
    """Start and end of term t of a subject; more than half of the latest terms began after 2024."""

    def __init__(self, world: World, relation: str, years: tuple[int, int]) -> None:
        self._draws, self._name, self._years = world.draws, f"term/{relation}", years

    def spans(self, subject: Ref, terms: int) -> list[tuple[int, int | None]]:
        name = f"{self._name}/{subject.type}"
        bits = self._draws.bits(name, subject.index)
        early = bits % 100 < 42
        low, high = (_EARLIEST, _RECENT) if early else (_RECENT, LAST_EVENT)
        start = low + (bits >> 8) % (high - low)
        found: list[tuple[int, int | None]] = [(start, None)]
        for term in range(1, terms):
            bits = self._draws.bits(name, subject.index, term)
            end = start - 1 - bits % 41
            least, most = (years * DAYS_PER_YEAR for years in self._years)
            start = end - least - (bits >> 8) % (most - least)
            found.append((start, end))
        return found


class Office:
    """Posts filled from a pool of people of the same country."""

    def __init__(self, world: World, relation: str, make: Mapping[str, Any]) -> None:
        self._world, self._relation = world, relation
        catalogue = world.ontology.catalogue
        self.holder = catalogue.relations[relation].object_types[0]
        self.subject_type = world.ontology.subject_kinds(catalogue.relations[relation])[0]
        self.count: int = make["terms"]
        self._calendar = Calendar(world, relation, (2, 6))
        self._rings: dict[int, Ring] = {}

    def _ring(self, country: int) -> Ring:
        if country not in self._rings:
            low, high = self._world.layout.span(self.holder, country)
            self._rings[country] = Ring(high - low, self._world.draws.bits(f"pool/{self.holder}", country))
        return self._rings[country]

    def _offsets(self, country: int) -> list[int]:
        """First slot of each term in the pool: all latest terms of all offices come before any earlier term."""
        return [self._world.office_slots(self.holder, country)[self._relation, term] for term in range(self.count)]

    def terms(self, subject: Ref) -> tuple[Tenure, ...]:
        layout = self._world.layout
        country = layout.country(subject)
        low, high = layout.span(self.holder, country)
        place = subject.index - layout.span(self.subject_type, country)[0]
        spans = self._calendar.spans(subject, self.count)
        found = []
        for offset, (start, end) in zip(self._offsets(country), spans, strict=True):
            slot = offset + place
            if slot < high - low:
                holder = Ref(self.holder, low + self._ring(country).forward(slot))
                found.append(Tenure(subject, holder, start, end))
        return tuple(found)

    def held_by(self, target: Ref) -> tuple[Tenure, ...]:
        layout = self._world.layout
        country = layout.country(target)
        low, _ = layout.span(self.holder, country)
        first, last = layout.span(self.subject_type, country)
        slot = self._ring(country).inverse(target.index - low)
        for offset in self._offsets(country):
            if offset <= slot < offset + last - first:
                subject = Ref(self.subject_type, first + slot - offset)
                return tuple(t for t in self.terms(subject) if t.target == target)
        return ()


class Contract:
    """Terms that are assigned independently; a subject that would keep its object has one longer term missing."""

    def __init__(self, world: World, relation: str, make: Mapping[str, Any]) -> None:
        self._world, self._relation, self._make = world, relation, make
        catalogue = world.ontology.catalogue
        self._target = catalogue.relations[relation].object_types[0]
        self._subject_type = world.ontology.subject_kinds(catalogue.relations[relation])[0]
        self._calendar = Calendar(world, relation, (1, 4))
        self._maps = [
            Assignment(
                world.draws,
                world.layout,
                f"{relation}/{term}",
                (self._subject_type, self._target),
                scope=make.get("scope", COUNTRY),
                skew=make.get("skew", 0),
            )
            for term in range(make["terms"])
        ]

    def terms(self, subject: Ref) -> tuple[Tenure, ...]:
        count = 1 + self._world.draws.below(len(self._maps), f"terms/{self._relation}", subject.index)
        found: list[Tenure] = []
        for term, (start, end) in enumerate(self._calendar.spans(subject, count)):
            index = self._maps[term].forward(subject.index)
            if index is None or not self._old_enough(subject, start):
                continue
            target = Ref(self._target, index)
            if not found or found[-1].target != target:
                found.append(Tenure(subject, target, start, end))
        return tuple(found)

    def _old_enough(self, subject: Ref, start: int) -> bool:
        if "since" not in self._make:
            return True
        relation, years = self._make["since"]
        born = self._world.value(subject, relation)
        return born is None or born.low + years * DAYS_PER_YEAR <= start

    def held_by(self, target: Ref) -> tuple[Tenure, ...]:
        numbers: set[int] = set()
        for assignment in self._maps:
            numbers.update(assignment.inverse(target.index))
        subjects = (Ref(self._subject_type, i) for i in sorted(numbers))
        return tuple(t for s in subjects for t in self.terms(s) if t.target == target)


def make_tenure_rule(world: World, relation: str, make: Mapping[str, Any]) -> TenureRule:
    if make["rule"] == "office":
        return Office(world, relation, make)
    if make["rule"] == "contract":
        return Contract(world, relation, make)
    raise ConfigError(f"The ontology's relation {relation!r} changes over time and asks for the rule {make['rule']!r}.")
