"""What a solver has read so far in one attempt, and what follows from it about one entity and one clue.

The notebook is filled only by pages that were visited. It keeps every statement with its source, and answers in three
values, because a page that is silent proves nothing:

    YES      a trusted statement (for the clue's day, where the relation changes) says so
    NO       a conflicting value of a single-valued relation, a complete list, or the type says otherwise
    UNKNOWN  nothing decisive was read yet

A constant of the question is a name: every entity seen under that name is meant until the clues tell them apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from datagen.agents.symbolic.comparison import fold
from datagen.agents.symbolic.standing import (
    Statement,
    Status,
    Target,
    covers,
    is_nameless,
    is_narrower,
    listed_facts,
    literal_status,
    same_object,
)
from datagen.knowledge.catalogue import Catalogue, Relation
from datagen.knowledge.formula import Clue, Edge, EntityRef, IsA, Match, Within
from datagen.knowledge.reading import Reading
from datagen.knowledge.statements import rank_of
from datagen.records.fact import Closure, Fact
from datagen.records.page import Page


class Notebook:
    """Statements by subject and by object, complete lists, and who is called what."""

    def __init__(self, catalogue: Catalogue, type_in_url: Callable[[str], str | None]) -> None:
        self.catalogue = catalogue
        self._type_in_url = type_in_url
        self.names: dict[str, str] = {}
        self.types: dict[str, str] = {}
        self.pages_read: set[str] = set()
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._folds: dict[str, set[str]] = defaultdict(set)
        """Every (folded) name of an entity, its aliases among them."""
        self._about: dict[tuple[str, str], list[Statement]] = defaultdict(list)
        self._of_relation: dict[str, list[Statement]] = defaultdict(list)
        self._closures: list[Closure] = []
        self._same: dict[str, str] = {}
        self._met: set[str] = set()

    def add(self, page: Page, reading: Reading) -> None:
        """Take in one visited page."""
        if page.id in self.pages_read:
            return
        self.pages_read.add(page.id)
        rank = rank_of(page.source_kind)
        anchors = dict(reading.mentions)
        if (entity := reading.entity) is not None:
            if reading.is_profile and reading.url != entity.key:
                self._merge(reading.url, entity.key)
            for alias in (entity.name, *entity.aliases):
                self._introduce(entity.key, alias, entity.type)
            self.names[entity.key] = entity.name
        met: set[tuple[str, str | None]] = set()
        for fact in (*reading.facts, *listed_facts(reading.closures, anchors, page.published_at, self.catalogue)):
            statement = Statement(self._relinked(fact), rank, page.published_at or "")
            self._about[statement.fact.subject, fact.relation].append(statement)
            self._of_relation[fact.relation].append(statement)
            relation = self.catalogue.relations[fact.relation]
            kind = _only(relation.subject_types)
            if (fact.subject, kind) not in met:
                met.add((fact.subject, kind))
                self._introduce(fact.subject, anchors.get(fact.subject), kind)
            if fact.object_key is not None and (fact.object_key, fact.object) not in met:
                met.add((fact.object_key, fact.object))
                self._introduce(fact.object_key, fact.object, _only(relation.object_types))
        for closure in reading.closures if rank else ():
            anchor = closure.anchor_key
            self._closures.append(
                replace(closure, anchor_key=anchor and self.key(anchor), members=tuple(map(self.key, closure.members)))
            )
            if anchor is not None:
                self._introduce(anchor, anchors.get(anchor), None)
            for member in closure.members:
                self._introduce(member, anchors.get(member), closure.entity_type)

    def key(self, url: str) -> str:
        """The entity behind an address, as far as profile pages that were read say so."""
        return self._same.get(url, url)

    def _relinked(self, fact: Fact) -> Fact:
        if fact.subject not in self._same and (fact.object_key is None or fact.object_key not in self._same):
            return fact
        return replace(fact, subject=self.key(fact.subject), object_key=fact.object_key and self.key(fact.object_key))

    def _merge(self, url: str, key: str) -> None:
        """A profile turned out to be about `key`: what was noted under its own address moves there."""
        if url in self._same:
            return
        self._same[url] = key
        if url not in self._met:
            return
        self.names.pop(url, None)
        self.types.pop(url, None)
        for keys in self._by_name.values():
            if url in keys:
                keys[keys.index(url)] = key
        for relation, statements in self._of_relation.items():
            moved = [replace(s, fact=self._relinked(s.fact)) for s in statements]
            statements[:] = moved
            for place in [p for p in self._about if p[1] == relation]:
                del self._about[place]
            for s in moved:
                self._about[s.fact.subject, relation].append(s)
        self._closures = [
            replace(c, anchor_key=c.anchor_key and self.key(c.anchor_key), members=tuple(map(self.key, c.members)))
            for c in self._closures
        ]

    def _introduce(self, key: str, name: str | None, type_id: str | None) -> None:
        """Remember what an entity is called and what it is; a narrower type replaces a wider one."""
        key = self.key(key)
        self._met.add(key)
        if name is None:
            name = key.rsplit("/", 1)[-1] if is_nameless(key) else None
        if name is not None:
            self.names.setdefault(key, name)
            self._folds[key].add(fold(name))
            keys = self._by_name[fold(name)]
            if key not in keys:
                keys.append(key)
        known = self.types.get(key)
        for candidate in (self._type_in_key(key) if known is None else None, type_id):
            if candidate and (known is None or self.catalogue.is_a(candidate, known)):
                known = self.types[key] = candidate

    def _type_in_key(self, key: str) -> str | None:
        if is_nameless(key):
            return key.removeprefix("entity:").split("/", 1)[0]
        return self._type_in_url(key)

    def keys_named(self, name: str, types: Sequence[str] = ()) -> list[str]:
        """Entities seen under this name that could be of one of `types`, in the order they were met."""
        found = self._by_name.get(fold(name), ())
        return [k for k in found if not types or self.could_be(k, types)]

    def could_be(self, key: str, types: Iterable[str]) -> bool:
        known = self.types.get(key)
        return known is None or any(self.catalogue.is_a(known, t) or self.catalogue.is_a(t, known) for t in types)

    def known_as(self, key: str) -> str:
        """For an unlinked mention the one entity with a page that goes by this name, if there is just one."""
        if not is_nameless(key):
            return self.key(key)
        paged = [
            k for k in self.keys_named(self.names.get(key, ""), (self.types.get(key) or "",)) if not is_nameless(k)
        ]
        return paged[0] if len(paged) == 1 else key

    def target(self, constant: EntityRef, types: Sequence[str]) -> Target:
        keys = self.keys_named(constant.name, types)
        paged = [k for k in keys if not is_nameless(k)]
        aliases = self._folds[paged[0]] if len(paged) == 1 else ()
        return Target(frozenset(keys), frozenset({fold(constant.name), *aliases}), named=True)

    def target_of(self, keys: Iterable[str]) -> Target:
        chosen = frozenset(map(self.known_as, keys))
        return Target(chosen, frozenset(f for k in chosen for f in self._folds[k]), named=False)

    def statements(self, subject: str, relation: str, day: str | None) -> list[Statement]:
        """Trusted statements of the day, strongest and newest first; nameless mentions of the same name join in."""
        usable = self._trusted(self.known_as(subject), relation, day)
        return (
            sorted(usable, key=lambda s: (-s.rank, _descending(s.published_at), s.url)) if len(usable) > 1 else usable
        )

    def _trusted(self, subject: str, relation: str, day: str | None) -> list[Statement]:
        """Trusted statements of the day in reading order, those about unlinked mentions of the subject last."""
        found = list(self._about.get((subject, relation), ()))
        if not is_nameless(subject):
            for other in self._unlinked(subject):
                found += self._about.get((other, relation), ())
        return [s for s in found if s.rank and covers(s.fact.valid_from, s.fact.as_of, day)]

    def _unlinked(self, key: str) -> list[str]:
        """Mentions without a link that go by one of the entity's names and could be it."""
        names = self._folds.get(key, ())
        others = [other for f in (sorted(names) if len(names) > 1 else names) for other in self._by_name.get(f, ())]
        kinds = (self.types.get(key) or "",)
        return [other for other in dict.fromkeys(others) if is_nameless(other) and self.could_be(other, kinds)]

    def is_disputed(self, fact: Fact) -> bool:
        """Whether some page, trusted or not, gives another value for the same day."""
        subject = self.known_as(fact.subject)
        called = (subject, *self._unlinked(subject))
        stated = (s.fact for key in called for s in self._about.get((key, fact.relation), ()))
        return any(covers(f.valid_from, f.as_of, fact.as_of) and not same_object(f, fact) for f in stated)

    def settled(self, subject: str, relation: Relation, day: str | None) -> list[Statement]:
        """What stands for a single-valued relation: one statement per value that no stronger, newer page corrects."""
        found = self.statements(subject, relation.id, day)
        kept: list[Statement] = []
        for statement in found:
            corrected = any(
                other.rank >= statement.rank and other.published_at > statement.published_at > ""
                for other in found
                if not same_object(other.fact, statement.fact)
            )
            if corrected:
                continue
            place = next((i for i, k in enumerate(kept) if same_object(k.fact, statement.fact)), None)
            if place is None:
                kept.append(statement)
            elif is_narrower(statement.fact, kept[place].fact):
                kept[place] = statement
        return kept

    def holders(self, relation: str, target: Target, day: str | None) -> list[str]:
        """Subjects stated to stand in the relation to the target, in reading order."""
        keys: dict[str, None] = {}
        for s in self._of_relation.get(relation, ()):
            if (
                s.rank
                and covers(s.fact.valid_from, s.fact.as_of, day)
                and target.holds(s.fact.object_key, s.fact.object)
            ):
                keys.setdefault(self.known_as(s.fact.subject))
        for closure in self.closures("subjects", relation, day):
            if self._anchored(closure, target):
                keys.update(dict.fromkeys(closure.members))
        return list(keys)

    def objects(self, relation: str, target: Target, day: str | None) -> list[str]:
        """Objects stated for any subject the target means, in reading order."""
        keys: dict[str, None] = {}
        for subject in sorted(target.keys):
            for s in self._trusted(subject, relation, day):
                if s.fact.object_key:
                    keys.setdefault(self.known_as(s.fact.object_key))
        return list(keys)

    def closures(self, side: str, relation: str, day: str | None) -> list[Closure]:
        return [
            c
            for c in self._closures
            if c.side == side and c.relation == relation and (c.as_of is None or day is None or c.as_of == day)
        ]

    def _anchored(self, closure: Closure, target: Target) -> bool:
        key = closure.anchor_key
        return key is not None and target.holds(key, self.names.get(key, key.rsplit("/", 1)[-1]))

    def complete_list(self, relation: str, target: Target, type_id: str | None, day: str | None) -> list[str] | None:
        """All subjects of `type_id` in the relation to the target, where a page that was read lists them all."""
        for closure in self.closures("subjects", relation, day):
            wide_enough = closure.entity_type is None or (
                type_id is not None and self.catalogue.is_a(type_id, closure.entity_type)
            )
            if wide_enough and self._anchored(closure, target):
                return list(closure.members)
        return None

    def members(self, type_id: str) -> list[str]:
        """Entities of a type that complete lists of that type name."""
        found: dict[str, None] = {}
        for closure in self._closures:
            if closure.side == "members" and closure.entity_type and self.catalogue.is_a(closure.entity_type, type_id):
                found.update(dict.fromkeys(closure.members))
        return list(found)

    def objects_closed(self, subject: str, relation: str, day: str | None) -> bool:
        return any(c.anchor_key == subject for c in self.closures("objects", relation, day))

    def check(self, key: str, clue: Clue) -> tuple[Status, str]:
        """A leaf clue against one entity: the status and the page that decided (empty while unknown)."""
        if isinstance(clue, IsA):
            return self._check_type(key, clue.type), ""
        if isinstance(clue, Edge):
            raise TypeError("an edge is checked through its child; see the solvers")
        relation = self.catalogue.relations[clue.relation]
        if isinstance(clue, Match) and isinstance(clue.value, EntityRef):
            types = relation.subject_types if clue.inverse else relation.object_types
            target = self.target(clue.value, types)
            return self.relates(key, relation, target, inverse=clue.inverse, day=clue.as_of)
        return self._check_literal(key, relation, clue)

    def _check_type(self, key: str, wanted: str) -> Status:
        known = self.types.get(key)
        if known is None or (known != wanted and self.catalogue.is_a(wanted, known)):
            return Status.UNKNOWN
        return Status.YES if self.catalogue.is_a(known, wanted) else Status.NO

    def _check_literal(self, key: str, relation: Relation, clue: Match | Within) -> tuple[Status, str]:
        found = (
            self.settled(key, relation, clue.as_of)
            if relation.single
            else self.statements(key, relation.id, clue.as_of)
        )
        verdicts = [(literal_status(s.fact, clue), s.url) for s in found]
        agreeing = [url for status, url in verdicts if status is Status.YES]
        if agreeing and (len(agreeing) == len(verdicts) or not relation.single):
            return Status.YES, agreeing[0]
        closed = relation.single or self.objects_closed(key, relation.id, clue.as_of)
        if verdicts and closed and all(status is Status.NO for status, _ in verdicts):
            return Status.NO, verdicts[0][1]
        return Status.UNKNOWN, ""

    def relates(
        self, key: str, relation: Relation, target: Target, *, inverse: bool, day: str | None
    ) -> tuple[Status, str]:
        """Whether relation(key, target) is stated, contradicted or unsaid; with `inverse` relation(target, key)."""
        return self._is_object(key, relation, target, day) if inverse else self._is_subject(key, relation, target, day)

    def _is_subject(self, key: str, relation: Relation, target: Target, day: str | None) -> tuple[Status, str]:
        found = self.settled(key, relation, day) if relation.single else self.statements(key, relation.id, day)
        hits = [s for s in found if target.holds(s.fact.object_key, s.fact.object)]
        if hits and (len(hits) == len(found) or not relation.single):
            return Status.YES, hits[0].url
        for closure in self.closures("subjects", relation.id, day):
            if self._anchored(closure, target):
                if key in closure.members:
                    return Status.YES, closure.evidence.url
                known = self.types.get(key)
                if closure.entity_type is None or (known and self.catalogue.is_a(known, closure.entity_type)):
                    return Status.NO, closure.evidence.url
        closed = relation.single or self.objects_closed(key, relation.id, day)
        if found and closed and not hits:
            return Status.NO, found[0].url
        return Status.UNKNOWN, ""

    def _is_object(self, key: str, relation: Relation, target: Target, day: str | None) -> tuple[Status, str]:
        mine = self.target_of([key])
        excluded = ""
        for subject in sorted(target.keys):
            found = (
                self.settled(subject, relation, day) if relation.single else self.statements(subject, relation.id, day)
            )
            hits = [s for s in found if mine.holds(s.fact.object_key, s.fact.object)]
            if hits and (len(hits) == len(found) or not relation.single):
                return Status.YES, hits[0].url
            if found and not hits and (relation.single or self.objects_closed(subject, relation.id, day)):
                excluded = found[0].url
        return (Status.NO, excluded) if excluded and len(target.keys) == 1 else (Status.UNKNOWN, "")


def _only(types: Sequence[str]) -> str | None:
    return types[0] if len(types) == 1 else None


def _descending(day: str) -> tuple[int, ...]:
    return tuple(-ord(c) for c in day)
