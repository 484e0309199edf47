"""What has been read from one page so far: the collector that every part of the reader writes to.

It holds the page's links by position, makes evidence with exact spans, and lets a statement through only if its types
fit and, for a relation that changes, its days are known. What it refuses is counted under a reason.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache

from datagen.knowledge.catalogue import Catalogue, Relation
from datagen.knowledge.dating import Stated, covered_days
from datagen.knowledge.literals import factor, parse_literal
from datagen.knowledge.structured_rows import Span
from datagen.knowledge.subjects import Subject, TypeNames
from datagen.records.fact import Closure, Evidence, Fact, Literal
from datagen.records.ids import sha256_hex
from datagen.records.page import Link, Page

ENTITY_PREFIX = "entity:"
_MEASURES = ("m", "sq m", "kg", "seconds", "years", "%", "kW", "knots", "km/h", "$", "€", "£", "¥")
"""One unit of each dimension, to tell a measure from a counted noun."""


@dataclass(frozen=True, slots=True)
class Term:
    """An entity as a page mentions it. `type` is None where the page alone does not tell."""

    key: str
    name: str
    type: str | None = None


def name_key(type_id: str, name: str) -> str:
    """Key of an entity that is known by name only."""
    return f"{ENTITY_PREFIX}{type_id}/{name}"


@lru_cache(maxsize=65536)
def read_literal(written: str, kind: str, unit: str) -> Literal | None:
    """The value in the relation's unit; None for another unit, with which nothing could be compared."""
    literal = parse_literal(written.strip('"“” '), kind, unit)
    if literal is None or kind != "number" or literal.unit == unit:
        return literal
    # A bare count may name what it counts ("4,000 spectators"); a known unit is never dropped.
    measured = any(factor(literal.unit, base) is not None for base in _MEASURES)
    return replace(literal, unit="") if not unit and not measured else None


class PageNotes:
    """Facts, closures and refusals of one page."""

    def __init__(self, page: Page, subject: Subject | None, catalogue: Catalogue, types: TypeNames) -> None:
        self.page = page
        self.subject = subject
        self.catalogue = catalogue
        self.types = types
        self.facts: list[Fact] = []
        self.closures: list[Closure] = []
        self.skipped: Counter[str] = Counter()
        self.aliases: list[str] = []
        """Other names of the page's subject that its rows give."""
        self.link_at: dict[int, Link] = {link.start: link for link in page.links}
        self._evidence: dict[Span, Evidence] = {}
        self._seen: set[tuple[object, ...]] = set()

    def skip(self, reason: str) -> None:
        self.skipped[reason] += 1

    def linked(self, link: Link) -> Term:
        return Term(link.url, link.anchor, self.type_of(link.url))

    def type_of(self, key: str) -> str | None:
        if self.subject is not None and key == self.subject.key:
            return self.subject.type
        return self.types.find_in_url(key)

    def subject_term(self) -> Term | None:
        subject = self.subject
        return Term(subject.key, subject.name or "", subject.type) if subject else None

    def entity_in(self, start: int, end: int) -> Term | None:
        """The entity that exactly this span names: by a link, or as the page's own subject."""
        text = self.page.text
        link = self.link_at.get(start)
        if link is not None and link.end == end:
            return self.linked(link)
        if text.startswith(("the ", "The "), start):
            link = self.link_at.get(start + 4)
            if link is not None and link.end == end:
                return self.linked(link)
        if self.subject is not None and text[start:end] in self.subject.names:
            return self.subject_term()
        return None

    def evidence(self, span: Span) -> Evidence:
        known = self._evidence.get(span)
        if known is None:
            page = self.page
            quote = page.text[span[0] : span[1]]
            digest = sha256_hex(quote.encode())
            known = Evidence(page.id, page.url, span[0], span[1], quote, digest, page.source_kind, page.published_at)
            self._evidence[span] = known
        return known

    def add(self, subject: Term, relation: Relation, value: Term | Literal, span: Span, stated: Stated | None) -> None:
        """Record one statement, unless its types do not fit or its days are unknown."""
        catalogue = self.catalogue
        if subject.type is not None and not catalogue.applies(relation, subject.type):
            return self.skip("subject_type")
        days: tuple[str | None, str | None] = (None, None)
        if relation.changes:
            covered = covered_days(stated, self.page.published_at)
            if covered is None:
                return self.skip("undated")
            days = covered
        key: str | None = None
        literal: Literal | None = None
        if isinstance(value, Term):
            if not self.fits(relation, value.type):
                return self.skip("object_type")
            if value.key == subject.key:
                return self.skip("subject_is_object")
            key, written = value.key, value.name
        else:
            literal, written = value, value.text
        mark = (subject.key, relation.id, key, literal, days)
        if mark not in self._seen:
            self._seen.add(mark)
            self.facts.append(
                Fact(subject.key, relation.id, written, key, literal, self.evidence(span), days[0], days[1])
            )
        return None

    def fits(self, relation: Relation, type_id: str | None) -> bool:
        """Whether an entity of this type can be the object; a wider type may turn out to fit."""
        if type_id is None or not relation.object_types:
            return True
        is_a = self.catalogue.is_a
        return any(is_a(type_id, wanted) or is_a(wanted, type_id) for wanted in relation.object_types)
