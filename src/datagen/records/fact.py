"""Facts: (subject, relation, object) with the place where it is written.

An entity is known by its *key*: the address of its page (same-name entities have different addresses), or
`entity:TYPE/Name` for one that has no page. A literal is an interval: "1901" is every day of that year, "about 3 km" is
what rounding allows, so precision is part of the value and comparison is three-valued by construction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal as OneOf

LiteralKind = OneOf["date", "number", "text"]
ClosureSide = OneOf["subjects", "objects", "members"]


@dataclass(frozen=True, slots=True)
class Literal:
    """A typed value. `low <= true value <= high`; dates in proleptic ordinal days, numbers in `unit`.

    For text, `low == high == 0.0` and equality is equality of `text` after `knowledge.literals.normalise_text`.
    """

    kind: LiteralKind
    text: str
    low: float = 0.0
    high: float = 0.0
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """`pages[page_id].text[start:end] == quote`; `sha256` is over the quote's UTF-8 bytes."""

    page_id: str
    url: str
    start: int
    end: int
    quote: str
    sha256: str
    source_kind: str
    published_at: str | None = None


@dataclass(frozen=True, slots=True)
class Fact:
    """One statement. Exactly one of `object_key` and `literal` is set.

    For relations that change over time the statement speaks of the days `valid_from..as_of` (both inclusive, ISO);
    timeless relations leave both None.
    """

    subject: str
    relation: str
    object: str
    object_key: str | None
    literal: Literal | None
    evidence: Evidence
    valid_from: str | None = None
    as_of: str | None = None


@dataclass(frozen=True, slots=True)
class Closure:
    """A list that a page states to be complete, so that silence excludes.

    side = "subjects": the members are all x with relation(x, anchor)   "all clubs that play in the Northern League"
    side = "objects":  the members are all y with relation(anchor, y)   "all official languages of Ruritania"
    side = "members":  the members are all entities of `entity_type`    "all countries"; relation and anchor are empty

    With side "subjects" and an `entity_type`, the list is complete for that type only.
    """

    side: ClosureSide
    relation: str
    anchor_key: str | None
    anchor_literal: Literal | None
    entity_type: str | None
    members: tuple[str, ...]
    evidence: Evidence
    as_of: str | None = None


@dataclass(frozen=True, slots=True)
class Entity:
    """An entity that pages speak of. `name` is the preferred one (its page's title); `aliases` exclude it."""

    key: str
    name: str
    type: str | None
    aliases: tuple[str, ...] = ()
