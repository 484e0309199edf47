"""Who is who: one key per entity over all pages.

Identity is the address. A profile page that says it is about another address (a club's own site, a mirror) is folded
into that one. For an entity that a page only names, the corpus decides:

- Where pages link to each other's entities, a name without a link is that of an entity without a page. It keeps its
  `entity:TYPE/Name` key; whether it could still be a namesake with a page is for the fact graph to weigh ("twins").
- Where they do not (plain text), names are all there is. One entity of that name and type is meant; with several of
  them nobody is: the statement is dropped and counted, because a value that could be either of two entities must
  neither prove nor exclude. A closed list with such a member is dropped whole.

Two passes, so that facts can stream: `add` every reading, then relink each fact and closure.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from datagen.knowledge.catalogue import Catalogue
from datagen.knowledge.notes import ENTITY_PREFIX, name_key
from datagen.knowledge.reading import Reading
from datagen.knowledge.subjects import TypeNames, is_name
from datagen.records.fact import Closure, Entity, Fact
from datagen.records.page import LOW_TRUST_KINDS

_SAMPLE = 10_000
_SHORT_FORMS = {"&": "and", "st.": "saint", "s.": "south", "n.": "north", "rep.": "republic"}
_PARENTHESIS = re.compile(r"\s*\([^()]*\)$")


class _Unresolved(Exception):
    """One end of a statement cannot be told, or has the wrong type; the message is the reason that is counted."""


@dataclass(slots=True)
class _Record:
    """What pages say about one key. Lower rank wins: 0 own page, 1 another profile of it, 2 anchors."""

    names: Counter[tuple[int, str]] = field(default_factory=Counter)
    types: Counter[tuple[int, str]] = field(default_factory=Counter)
    stated: bool = False
    """Whether it has a profile page or a fact, and so belongs to the entities table."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """Result of `resolve`; `dropped` counts what could not be linked soundly, by reason."""

    entities: tuple[Entity, ...]
    facts: tuple[Fact, ...]
    closures: tuple[Closure, ...]
    dropped: dict[str, int]


class EntityResolver:
    """Collects names and types in `add`, then links in `fact` and `closure`."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._types = TypeNames(catalogue)
        self._records: dict[str, _Record] = {}
        self._same: dict[str, str] = {}
        self._named: dict[str, set[str]] = {}
        self._by_name: dict[str, list[str]] | None = None
        self._by_loose_name: dict[str, set[str]] | None = None
        self._type_of: dict[str, str | None] = {}
        self._links: dict[tuple[str, tuple[str, ...]], str | None] = {}
        self._nameless: set[str] = set()
        """Keys without a page that a kept fact or closure uses."""
        self._links_by_page: list[frozenset[str]] = []
        self._linked: bool | None = None
        self.dropped: Counter[str] = Counter()

    # --- first pass

    def add(self, reading: Reading) -> None:
        """Take in one page: whom it is about, whom it links to, and what its facts imply about types."""
        trusted = reading.source_kind not in LOW_TRUST_KINDS
        self._count_links(reading)
        entity = reading.entity
        if entity is not None:
            rank = 0 if reading.url == entity.key else 1
            if reading.is_profile and reading.url != entity.key:
                self._same[reading.url] = entity.key
            record = self._record(entity.key)
            record.stated = True
            for position, name in enumerate((entity.name, *entity.aliases)):
                record.names[(rank if position == 0 else rank + 1), name] += 1
            if entity.type is not None:
                record.types[rank if trusted else 2, entity.type] += 1
        if trusted:
            for url, anchor in reading.mentions:
                if is_name(anchor):
                    self._record(url).names[2, anchor] += 1
        for fact in reading.facts:
            relation = self._catalogue.relations[fact.relation]
            self._note(fact.subject, relation.subject_types)
            if fact.object_key is not None:
                self._note(fact.object_key, relation.object_types)
        for closure in reading.closures:
            for member in closure.members:
                self._note(member, (closure.entity_type,) if closure.entity_type else ())
            if closure.anchor_key is not None:
                self._note(closure.anchor_key, ())

    def _count_links(self, reading: Reading) -> None:
        """Remember where the first pages link to, up to a sample that is enough to tell one sort of corpus."""
        if len(self._links_by_page) < _SAMPLE:
            own = reading.entity.key if reading.entity else reading.url
            self._links_by_page.append(frozenset(url for url, _ in reading.mentions if url != own))

    def _is_linked(self) -> bool:
        """Whether at least one page in five links to an entity that has a page of its own."""
        if self._linked is None:
            profiles = {key for key, record in self._records.items() if any(rank < 2 for rank, _ in record.names)}
            linking = sum(not profiles.isdisjoint(urls) for urls in self._links_by_page)
            self._linked = linking * 5 >= len(self._links_by_page) > 0
        return self._linked

    def _record(self, key: str) -> _Record:
        record = self._records.get(key)
        if record is None:
            record = self._records[key] = _Record()
        return record

    def _note(self, key: str, types: tuple[str, ...]) -> None:
        if key.startswith(ENTITY_PREFIX):
            type_id, name = split_name_key(key)
            self._named.setdefault(fold_name(name), set()).add(type_id)
            return
        record = self._record(key)
        record.stated = True
        if len(types) == 1:
            record.types[3, types[0]] += 1

    # --- second pass

    def _freeze(self) -> dict[str, list[str]]:
        if self._by_name is not None:
            return self._by_name
        by_name: dict[str, dict[str, None]] = {}
        for key in sorted(self._records):
            home = self.canonical(key)
            if not self._records[key].stated and home not in self._records:
                continue
            for _, name in self._records[key].names:
                for form in {fold_name(name), fold_name(_PARENTHESIS.sub("", name))}:
                    by_name.setdefault(form, {})[home] = None
        self._by_name = {name: list(keys) for name, keys in by_name.items()}
        return self._by_name

    def canonical(self, key: str) -> str:
        """The address that stands for this one, over any chain of pages about pages."""
        seen = {key}
        while (target := self._same.get(key)) is not None and target not in seen:
            seen.add(target)
            key = target
        return key

    def type_of(self, key: str) -> str | None:
        """The best-supported type of a canonical key; None where pages of equal standing disagree."""
        if key.startswith(ENTITY_PREFIX):
            return split_name_key(key)[0]
        if key not in self._type_of:
            self._type_of[key] = self._best_type(key)
        return self._type_of[key]

    def _best_type(self, key: str) -> str | None:
        record = self._records.get(key)
        by_folder = self._types.find_in_url(key)
        for rank in range(3):
            found = {kind for r, kind in record.types if r == rank} if record else set()
            narrow = self._narrowest(found)
            if found:
                return narrow
        if by_folder is not None:
            return by_folder
        return self._narrowest({kind for _, kind in record.types}) if record else None

    def _narrowest(self, types: set[str]) -> str | None:
        """The type that is a case of all the others."""
        ordered = sorted(types)
        return next((t for t in ordered if all(self._catalogue.is_a(t, other) for other in ordered)), None)

    def link(self, key: str, wanted: tuple[str, ...]) -> str | None:
        """The final key; None where a name fits several entities."""
        if not key.startswith(ENTITY_PREFIX):
            return self.canonical(key)
        place = (key, wanted)
        if place not in self._links:
            self._links[place] = self._by_words(key, wanted)
        return self._links[place]

    def _by_words(self, key: str, wanted: tuple[str, ...]) -> str | None:
        type_id, name = split_name_key(key)
        types = wanted or (type_id,)
        if not self._is_linked():
            found = [k for k in self._freeze().get(fold_name(name), ()) if self._may_be(k, types)]
            if len(found) > 1 or (found and self.type_of(found[0]) is None):
                return None
            if found:
                return found[0]
        # No page is known to be about it: one entity per name, under the narrowest of the types that pages give it.
        given = {t for t in self._named.get(fold_name(name), {type_id}) if self._comparable(t, types)} or {type_id}
        narrow = self._narrowest(given)
        return name_key(narrow, name) if narrow else None

    def _loosely(self, key: str, types: tuple[str, ...]) -> str | None:
        """The one entity that bears the name but for accents and usual short forms."""
        if self._by_loose_name is None:
            self._by_loose_name = {}
            for name, keys in self._freeze().items():
                self._by_loose_name.setdefault(loosen_name(name), set()).update(keys)
        name = split_name_key(key)[1]
        wanted = loosen_name(self._catalogue.properties.get(f"called:{name}", name))
        found = [k for k in self._by_loose_name.get(wanted, ()) if self._may_be(k, types)]
        return found[0] if len(found) == 1 else None

    def _may_be(self, key: str, types: tuple[str, ...]) -> bool:
        kind = self.type_of(key)
        return kind is None or self._comparable(kind, types)

    def _comparable(self, kind: str, types: tuple[str, ...]) -> bool:
        is_a = self._catalogue.is_a
        return any(is_a(kind, t) or is_a(t, kind) for t in types)

    def fact(self, fact: Fact) -> Fact | None:
        """The fact between canonical keys; None (and counted) where an end cannot be told or has the wrong type."""
        relation = self._catalogue.relations[fact.relation]
        try:
            subject = self._end(fact.subject, relation.subject_types, "subject")
            value = fact.object_key
            if value is not None:
                value = self._end(value, relation.object_types, "object", known=relation.origin == "induced")
        except _Unresolved as reason:
            self.dropped[str(reason)] += 1
            return None
        if subject == fact.subject and value == fact.object_key:
            return fact
        return replace(fact, subject=subject, object_key=value)

    def closure(self, closure: Closure) -> Closure | None:
        """The closure between canonical keys; None where an item or the anchor cannot be told."""
        relation = self._catalogue.relations.get(closure.relation)
        anchor_types, member_types = (relation.object_types, relation.subject_types) if relation else ((), ())
        if closure.side == "objects":
            anchor_types, member_types = member_types, anchor_types
        elif closure.entity_type is not None:
            member_types = (closure.entity_type,)
        anchor = closure.anchor_key
        try:
            if anchor is not None:
                anchor = self._end(anchor, anchor_types, "closure_anchor")
            known = relation is not None and relation.origin == "induced"
            ends = (self._end(key, member_types, "closure_member", known=known) for key in closure.members)
            members = tuple(dict.fromkeys(ends))
        except _Unresolved as reason:
            self.dropped[str(reason)] += 1
            return None
        return replace(closure, anchor_key=anchor, members=members)

    def _end(self, key: str, types: tuple[str, ...], role: str, *, known: bool = False) -> str:
        """With `known` a bare name must be that of an entity with a page.

        Where nobody described the corpus, names are shortened freely ("S. Korea"): one that no page bears is not a new
        entity but an unread one.
        """
        final = self.link(key, types)
        if final is not None and known and final.startswith(ENTITY_PREFIX):
            final = self._loosely(final, types)
            if final is None:
                raise _Unresolved(f"{role}_unknown")
        if final is None:
            raise _Unresolved(f"{role}_ambiguous")
        if types and not self._may_be(final, types):
            raise _Unresolved(f"{role}_type")
        if final.startswith(ENTITY_PREFIX):
            self._nameless.add(final)
        return final

    def entities(self) -> Iterator[Entity]:
        """The entities table, in key order; names of one key over all its pages are gathered."""
        gathered: dict[str, Counter[tuple[int, str]]] = {}
        stated: set[str] = set()
        for key, record in self._records.items():
            home = self.canonical(key)
            gathered.setdefault(home, Counter()).update(record.names)
            if record.stated:
                stated.add(home)
        for key in sorted(stated):
            ranked = sorted(gathered[key].items(), key=lambda item: (item[0][0], -item[1], item[0][1]))
            names = list(dict.fromkeys(name for (_, name), _ in ranked)) or [key]
            yield Entity(key, names[0], self.type_of(key), tuple(sorted(names[1:])))
        for key in sorted(self._nameless):
            type_id, name = split_name_key(key)
            yield Entity(key, name, type_id)


def split_name_key(key: str) -> tuple[str, str]:
    """Type and name of an `entity:TYPE/Name` key."""
    type_id, _, name = key.removeprefix(ENTITY_PREFIX).partition("/")
    return type_id, name


def fold_name(name: str) -> str:
    return " ".join(name.casefold().split())


def loosen_name(name: str) -> str:
    """`S. Korea`, `Cote d'Ivoire`, `St. Lucia` as `south korea`, `cote d'ivoire` (without its accent), `saint lucia`."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", name.casefold()) if not unicodedata.combining(c))
    words = [_SHORT_FORMS.get(word, word) for word in plain.replace("’", "'").split()]
    return " ".join(word for word in words if word != "the")


def resolve(readings: Iterable[Reading], catalogue: Catalogue) -> Resolved:
    """Link everything at once; for corpora that do not fit in memory use `EntityResolver` in two passes."""
    kept = list(readings)
    resolver = EntityResolver(catalogue)
    for reading in kept:
        resolver.add(reading)
    facts = tuple(f for r in kept for fact in r.facts if (f := resolver.fact(fact)) is not None)
    closures = tuple(c for r in kept for closure in r.closures if (c := resolver.closure(closure)) is not None)
    entities = tuple(resolver.entities())
    return Resolved(entities, facts, closures, dict(sorted(resolver.dropped.items())))
