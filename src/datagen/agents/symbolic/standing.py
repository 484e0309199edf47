"""One statement by itself: who stands behind it, whom and which day it speaks of, and how it bears on a clue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from datagen.agents.symbolic.comparison import fold
from datagen.knowledge.catalogue import Catalogue
from datagen.knowledge.formula import Match, Within
from datagen.knowledge.literals import contains, disjoint, overlaps
from datagen.records.fact import Closure, Fact, Literal


class Status(Enum):
    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Statement:
    """A fact with the standing of the page that states it."""

    fact: Fact
    rank: int
    published_at: str

    @property
    def url(self) -> str:
        return self.fact.evidence.url


@dataclass(frozen=True, slots=True)
class Target:
    """What an object or subject is compared with: a name of the question, or a set of entities found for a child."""

    keys: frozenset[str]
    names: frozenset[str]
    named: bool
    """True for a name of the question, where an entity known by the same name is meant too."""

    def holds(self, key: str | None, surface: str) -> bool:
        if key is not None and key in self.keys:
            return True
        by_name = self.named or key is None or is_nameless(key)
        return by_name and fold(surface) in self.names


def is_nameless(key: str) -> bool:
    """Whether an entity is known by type and name only, because no page of its own was linked."""
    return key.startswith("entity:")


def covers(valid_from: str | None, as_of: str | None, day: str | None) -> bool:
    """Whether a statement about `valid_from..as_of` speaks of `day`; a timeless one speaks of every day."""
    if day is None or as_of is None:
        return True
    return (valid_from or as_of) <= day <= as_of


def same_object(a: Fact, b: Fact) -> bool:
    """Whether two statements give the same value; an unlinked mention equals a linked one of the same name."""
    if a.literal is not None and b.literal is not None:
        return overlaps(a.literal, b.literal)
    if a.object_key == b.object_key:
        return True
    unlinked = any(f.object_key is None or is_nameless(f.object_key) for f in (a, b))
    return unlinked and fold(a.object) == fold(b.object)


def is_narrower(a: Fact, b: Fact) -> bool:
    """Whether `a` states the same value more precisely."""
    if a.literal is None or b.literal is None or a.literal.kind == "text":
        return False
    return a.literal.high - a.literal.low < b.literal.high - b.literal.low


def listed_facts(
    closures: Iterable[Closure], anchors: Mapping[str, str], published_at: str | None, catalogue: Catalogue
) -> Iterator[Fact]:
    """A complete list states its members too."""
    for c in closures:
        if c.side == "members":
            continue
        day = (c.as_of or published_at) if catalogue.relations[c.relation].changes else None
        for member in c.members:
            if c.side == "subjects":
                name = anchors.get(c.anchor_key or "", c.anchor_literal.text if c.anchor_literal else "")
                yield Fact(member, c.relation, name, c.anchor_key, c.anchor_literal, c.evidence, day, day)
            elif c.anchor_key is not None:
                yield Fact(c.anchor_key, c.relation, anchors.get(member, ""), member, None, c.evidence, day, day)


def literal_status(fact: Fact, clue: Match | Within) -> Status:
    if isinstance(clue, Within):
        wanted = Literal(clue.kind, "", clue.low, clue.high, clue.unit)  # type: ignore[arg-type]
    elif isinstance(clue.value, Literal):
        wanted = clue.value
    else:
        return Status.UNKNOWN
    if fact.literal is None or fact.literal.kind != wanted.kind:
        return Status.UNKNOWN
    if contains(wanted, fact.literal):
        return Status.YES
    return Status.NO if disjoint(wanted, fact.literal) else Status.UNKNOWN
