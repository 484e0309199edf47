"""The rows of a snapshot as plain dicts, resolved on demand: one half of the independent checker.

Nothing here is shared with the fact graph. The rules are those of `knowledge.resolution`, written a second time for one
(subject, relation, day) at a time, slowly and without arrays, so that a fault in either shows as a difference.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from datagen.knowledge.catalogue import Catalogue
from datagen.records.fact import Closure, Entity, Fact, Literal
from datagen.records.page import LOW_TRUST_KINDS

Value = str | tuple[str, float, float, str, str]
"""An entity key, or (kind, low, high, unit, normal text) of a literal."""

ListKey = tuple[str, str, Value, str | None, int | None]
ListEntry = tuple[ListKey, list[tuple[set[str], Closure]]]
TRUST = {"official": 4, "registry": 4, "encyclopedia": 3, "reference": 3, "news": 2, "list": 2, "table": 2, "profile": 2, "review": 2}  # fmt: skip
_PLAIN = {ord(c): p for c, p in zip("‘’ʼ“”–—−‐‑", "'''\"\"-----", strict=True)} | {0xAD: None}


def plain_text(text: str) -> str:
    """How texts and names compare: compatibility form, no case, plain quotes and dashes, single spaces, bare edges."""
    text = unicodedata.normalize("NFKC", text).translate(_PLAIN).casefold()
    text = unicodedata.normalize("NFKC", text).translate(_PLAIN)
    return " ".join(text.split()).strip(" \t\n.,;:!?'\"()[]")


def value_of(literal: Literal) -> Value:
    if literal.kind == "text":
        return ("text", 0.0, 0.0, "", plain_text(literal.text))
    return (literal.kind, literal.low, literal.high, literal.unit, "")


def inside(inner: Value, outer: Value) -> bool:
    """Whether `inner` surely is what `outer` says."""
    if inner == outer:
        return True
    if isinstance(inner, str) or isinstance(outer, str) or inner[0] == "text" or inner[0] != outer[0]:
        return False
    return inner[3] == outer[3] and outer[1] <= inner[1] and inner[2] <= outer[2]


def may_equal(a: Value, b: Value) -> bool:
    """Whether two literal values could be one: only overlapping values, or values nobody can compare."""
    if isinstance(a, str) or isinstance(b, str):
        return a == b
    if a[0] != b[0] or a[3] != b[3]:
        return True
    if a[0] == "text":
        left, right = set(re.findall(r"\w+", a[4])), set(re.findall(r"\w+", b[4]))
        return a == b or left <= right or right <= left
    return a[1] <= b[2] and b[1] <= a[2]


def day_of(text: str | None) -> int | None:
    if text and re.fullmatch(r"\d{4}-\d\d-\d\d", text[:10]):
        try:
            return dt.date.fromisoformat(text[:10]).toordinal()
        except ValueError:
            return None
    return None


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one (subject, relation) on one day."""

    sure: tuple[Value, ...]
    possible: frozenset[Value]
    """Every stated value, sure ones included."""
    settled: bool
    contested: bool


@dataclass
class PlainWorld:
    """Facts, complete lists and entities by simple keys."""

    catalogue: Catalogue
    closed_types: tuple[str, ...] = ()
    silent_relations: tuple[str, ...] = ()
    types: dict[str, str | None] = field(default_factory=dict)
    stated: dict[tuple[str, str], list[Fact]] = field(default_factory=lambda: defaultdict(list))
    subjects: dict[tuple[str, Value], set[str]] = field(default_factory=lambda: defaultdict(set))
    """Whoever is stated, by anyone, to have a value of a relation."""
    speakers: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    lists: dict[ListKey, list[tuple[set[str], Closure]]] = field(default_factory=lambda: defaultdict(list))  # fmt: skip
    """Kept complete lists by (side, relation, anchor, type, day)."""
    twins: dict[str, set[str]] = field(default_factory=dict)
    demoted: set[tuple[str, str, Value]] = field(default_factory=set)
    """(subject, relation, value) that a complete list contradicts."""
    _by_anchor: dict[tuple[str, str, Value], list[ListEntry]] = field(default_factory=dict)
    _listed: dict[str, set[Value]] = field(default_factory=dict)
    """Anchors of the kept lists of subjects, by relation."""
    _fit: dict[tuple[str, str], bool] = field(default_factory=dict)
    _typed: dict[str | None, set[str]] = field(default_factory=dict)
    _known: dict[tuple[str, str, int | None], Known] = field(default_factory=dict)

    @classmethod
    def read(
        cls,
        catalogue: Catalogue,
        facts: Iterable[Fact],
        closures: Iterable[Closure],
        entities: Iterable[Entity],
        *,
        closed_types: Sequence[str] = (),
        silent_relations: Sequence[str] = (),
    ) -> PlainWorld:
        world = cls(catalogue, tuple(closed_types), tuple(silent_relations))
        names: dict[str, set[str]] = {}
        for fact in facts:
            world._add(fact, names)
        for closure in closures:
            world._add_list(closure, names)
        for entity in entities:
            if entity.key not in world.types or world.types[entity.key] == "?":
                world.types[entity.key] = entity.type if entity.type in catalogue.types else None
                names[entity.key] = {entity.name, *entity.aliases}
        for key, type_id in world.types.items():
            if type_id == "?":
                guess = key[7:].partition("/")[0] if key.startswith("entity:") else None
                world.types[key] = guess if guess in catalogue.types else None
                tail = key.partition("/")[2] if key.startswith("entity:") else key.rstrip("/").rpartition("/")[2].replace("_", " ")  # fmt: skip
                names[key] = {min(names.get(key) or {tail})}
        world._find_twins(names)
        world._check_lists()
        return world

    # --- reading rows ---------------------------------------------------------------------------------------------

    def _mention(self, key: str) -> None:
        self.types.setdefault(key, "?")

    def _add(self, fact: Fact, names: dict[str, set[str]]) -> None:
        if fact.relation not in self.catalogue.relations or (fact.object_key is None and fact.literal is None):
            return
        self._mention(fact.subject)
        if fact.object_key is not None:
            self._mention(fact.object_key)
            if fact.object:
                names.setdefault(fact.object_key, set()).add(fact.object)
        self.stated[fact.subject, fact.relation].append(fact)
        self.speakers[fact.relation].add(fact.subject)
        self.subjects[fact.relation, stated_value(fact)].add(fact.subject)

    def _add_list(self, closure: Closure, names: dict[str, set[str]]) -> None:
        relation = self.catalogue.relations.get(closure.relation)
        if closure.evidence.source_kind in LOW_TRUST_KINDS or (relation is None) != (closure.side == "members"):
            return
        if closure.entity_type and closure.entity_type not in self.catalogue.types:
            return
        stated_day = closure.as_of or closure.evidence.published_at
        day = day_of(stated_day) if relation is not None and relation.changes else None
        if relation is not None and relation.changes and day is None:
            return
        anchor: Value = ""
        if closure.side != "members":
            if closure.anchor_key is None and closure.anchor_literal is None:
                return
            anchor = closure.anchor_key if closure.anchor_key is not None else value_of(closure.anchor_literal)  # type: ignore[arg-type]
        for key in (*closure.members, *([closure.anchor_key] if closure.anchor_key is not None else [])):
            self._mention(key)
        self.lists[closure.side, closure.relation, anchor, closure.entity_type, day].append((set(closure.members), closure))  # fmt: skip
        for member in closure.members if closure.side != "members" else ():
            subject, other = (
                (member, closure.anchor_key) if closure.side == "subjects" else (closure.anchor_key, member)
            )
            literal = closure.anchor_literal if other is None else None
            if subject is not None:
                evidence = closure.evidence
                self._add(Fact(subject, closure.relation, "", other, literal, evidence, stated_day, stated_day), names)

    def _find_twins(self, names: dict[str, set[str]]) -> None:
        by_name: dict[str, set[str]] = defaultdict(set)
        for key in self.types:
            for name in names.get(key, ()):
                if plain_text(name):
                    by_name[plain_text(name)].add(key)
        for group in by_name.values():
            for a in group:
                for b in group:
                    pageless = a.startswith("entity:") or b.startswith("entity:")
                    if a != b and pageless and self.types_fit(self.types[a], self.types[b]):
                        self.twins.setdefault(a, set()).add(b)

    # --- types ----------------------------------------------------------------------------------------------------

    def types_fit(self, a: str | None, b: str | None) -> bool:
        """Whether something known to be an a may be a b."""
        if a is None or b is None:
            return True
        if (a, b) not in self._fit:
            self._fit[a, b] = any(self.catalogue.is_a(t, a) and self.catalogue.is_a(t, b) for t in self.catalogue.types)
        return self._fit[a, b]

    def is_a(self, key: str | None, wanted: str | None) -> bool:
        return wanted is None or (key is not None and self.catalogue.is_a(self.types[key], wanted))

    def may_be(self, key: str | None, wanted: str | None) -> bool:
        """`key` None asks for an entity that no page mentions."""
        if wanted is None:
            return True
        known = self.types[key] if key is not None else wanted
        if not self.types_fit(known, wanted):
            return False
        for complete in self.closed_types:
            if self.catalogue.is_a(wanted, complete) and (key is None or not self.catalogue.is_a(known, complete)):
                return False
        return all(key in members for members in self.member_lists(wanted))

    def typed(self, wanted: str | None) -> set[str]:
        """Everyone who may be of this type."""
        if wanted not in self._typed:
            self._typed[wanted] = {key for key in self.types if self.may_be(key, wanted)}
        return self._typed[wanted]

    def member_lists(self, wanted: str) -> Iterator[set[str]]:
        """Members of complete lists of this type or a wider one."""
        for (_, _, _, type_id, _), kept in self._lists_of("members", "", ""):
            if type_id is not None and self.catalogue.is_a(wanted, type_id):
                yield kept[0][0]

    def can_apply(self, relation: str, type_id: str | None) -> bool:
        """Whether a known type exists that may be `type_id` and may be a subject of the relation."""
        if type_id is None:
            return True
        return any(self.types_fit(t, type_id) and self.applies(relation, t) for t in self.catalogue.types)

    def applies(self, relation: str, type_id: str | None) -> bool:
        wanted = self.catalogue.relations[relation].subject_types
        return not wanted or any(self.types_fit(type_id, t) for t in wanted)

    # --- statements -----------------------------------------------------------------------------------------------

    def known(self, subject: str, relation: str, day: int | None) -> Known:
        """What pages let one know; `day` is None for a timeless relation or a question without a day."""
        result = self._known.get((subject, relation, day))
        if result is None:
            result = self._known[subject, relation, day] = self._resolve(subject, relation, day)
        return result

    def _resolve(self, subject: str, relation: str, day: int | None) -> Known:
        rule = self.catalogue.relations[relation]
        if rule.changes and day is None:
            return Known((), frozenset(), settled=False, contested=False)
        trusted: list[tuple[Value | None, int, int | None]] = []
        possible: set[Value] = set()
        for fact in self.stated.get((subject, relation), ()):
            value = stated_value(fact) if right_kind(fact, rule.object_kind) else None
            covers = covers_day(fact, day) if rule.changes else True
            trust = trust_of(fact)
            if trust and covers:
                trusted.append((value, trust, day_of(fact.evidence.published_at)))
            elif covers is not False and value is not None:
                possible.add(value)
        sure, contested = self._settle(trusted, single=rule.single, changes=rule.changes)
        possible |= {v for v, _, _ in contested if v is not None}
        demoted = {v for v in sure if (subject, relation, v) in self.demoted}
        possible |= sure
        doubtful = bool(rule.single and (contested or demoted))
        settled = bool(sure - demoted) if rule.single else self._objects_listed(subject, relation, day)
        possible |= {t for v in possible if isinstance(v, str) for t in self.twins.get(v, ())}
        return Known(tuple(sorted(sure - demoted, key=repr)), frozenset(possible), settled, doubtful)

    def _settle(
        self, trusted: list[tuple[Value | None, int, int | None]], *, single: bool, changes: bool
    ) -> tuple[set[Value], list[tuple[Value | None, int, int | None]]]:
        """(sure values, statements that contest each other)"""
        if not single:
            return {v for v, _, _ in trusted if v is not None}, []
        left = trusted if changes else [a for a in trusted if not any(corrects(b, a) for b in trusted)]
        for value, _, _ in left:
            if value is not None and all(v is not None and inside(value, v) for v, _, _ in left):
                return {value}, []
        return set(), left

    def _objects_listed(self, subject: str, relation: str, day: int | None) -> bool:
        for (_, _, _, type_id, on), _ in self._lists_of("objects", relation, subject):
            if on == day:
                wanted = self.catalogue.relations[relation].object_types
                if type_id is None or (wanted and all(self.catalogue.is_a(t, type_id) for t in wanted)):
                    return True
        return False

    # --- complete lists -------------------------------------------------------------------------------------------

    def _lists_of(self, side: str, relation: str, anchor: Value) -> list[ListEntry]:
        return list(self._by_anchor.get((side, relation, anchor), ()))

    def _check_lists(self) -> None:
        """Set aside what contradicts: lists of one thing with different members, lists that leave out a sure value."""
        kept = dict(self.lists)
        self.lists = {}
        doubtful: set[tuple[str, str, Value]] = set()
        verdicts = [(key, entries, self._sound(key, entries, doubtful)) for key, entries in kept.items()]
        # Only now: while the lists are compared, every statement counts as it stands.
        self.demoted = doubtful
        self._known.clear()
        for key, entries, sound in verdicts:
            if sound:
                widened = [(self._with_twins(members), closure) for members, closure in entries[:1]]
                self.lists[key] = widened
                self._by_anchor.setdefault(key[:3], []).append((key, widened))
                if key[0] == "subjects":
                    self._listed.setdefault(key[1], set()).add(key[2])

    def _with_twins(self, members: set[str]) -> set[str]:
        return members | {t for m in members for t in self.twins.get(m, ())}

    def _sound(
        self,
        key: ListKey,
        entries: list[tuple[set[str], Closure]],
        doubtful: set[tuple[str, str, Value]],
    ) -> bool:
        side, relation, anchor, type_id, day = key
        same = all(self._with_twins(m) == self._with_twins(entries[0][0]) for m, _ in entries[1:])
        if side == "members":
            outside = {k for k, t in self.types.items() if self.catalogue.is_a(t, type_id or "")}
            return same and outside <= self._with_twins(entries[0][0])
        stray = False
        for members, _ in entries:
            listed = self._with_twins(members)
            if side == "objects":
                assert isinstance(anchor, str)
                bad = [(anchor, v) for v in self.known(anchor, relation, day).sure if v not in listed]
            else:
                bad = []
                for subject in self._who_may_have(relation, anchor):
                    counts = type_id is None or self.catalogue.is_a(self.types[subject], type_id)
                    if subject not in listed and counts:
                        sure = self.known(subject, relation, day).sure
                        bad += [(subject, v) for v in sure if inside(v, anchor)]
            doubtful |= {(subject, relation, v) for subject, v in bad}
            stray |= bool(bad)
        return same and not stray

    def _who_may_have(self, relation: str, anchor: Value) -> set[str]:
        return set(self.subjects.get((relation, anchor), ())) if isinstance(anchor, str) else self.speakers[relation]

    def subject_list(self, relation: str, asked: Value, type_id: str | None, day: int | None) -> set[str] | None:
        """Members of a complete list of the subjects with this value that covers the type and the day."""
        entries = self._lists_of("subjects", relation, asked)
        if not isinstance(asked, str):
            entries = [e for a in self._literal_anchors(relation) if inside(asked, a) for e in self._lists_of("subjects", relation, a)]  # fmt: skip
        found = []
        for (_, _, _, listed_type, on), kept in entries:
            covers = listed_type is None or (type_id is not None and self.catalogue.is_a(type_id, listed_type))
            if covers and on == day:
                found.append(kept[0][0])
        return set.intersection(*found) if found else None

    def has_lists(self, relation: str) -> bool:
        return relation in self._listed

    def _literal_anchors(self, relation: str) -> list[Value]:
        return [a for a in self._listed.get(relation, ()) if not isinstance(a, str)]


def stated_value(fact: Fact) -> Value:
    if fact.object_key is not None:
        return fact.object_key
    assert fact.literal is not None
    return value_of(fact.literal)


def right_kind(fact: Fact, kind: str) -> bool:
    return (fact.object_key is not None) if kind == "entity" else (fact.literal is not None and fact.object_key is None and fact.literal.kind == kind)  # fmt: skip


def trust_of(fact: Fact) -> int:
    kind = fact.evidence.source_kind
    return 0 if kind in LOW_TRUST_KINDS else TRUST.get(kind, 1)


def covers_day(fact: Fact, day: int | None) -> bool | None:
    """Whether a statement about what changes speaks of the day; None when it names no readable day."""
    first, last = day_of(fact.valid_from), day_of(fact.as_of)
    first, last = first or last, last or first
    if first is None or last is None or first > last:
        return None
    return day is not None and first <= day <= last


def corrects(later: tuple[Value | None, int, int | None], earlier: tuple[Value | None, int, int | None]) -> bool:
    """Whether a statement (value, trust, date) drops another: not less trusted, strictly later, and in disagreement."""
    if later[0] is None or later[1] < earlier[1] or later[2] is None or earlier[2] is None or later[2] <= earlier[2]:
        return False
    return earlier[0] is None or not (inside(later[0], earlier[0]) or inside(earlier[0], later[0]))
