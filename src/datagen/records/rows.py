"""Records to table rows and back: one flat dict per row, in the columns of `records.schema`.

row_to_page(page_to_row(page)) == page, and so for facts, closures and entities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from datagen.records.fact import Closure, Entity, Evidence, Fact, Literal
from datagen.records.page import Link, Page

Row = dict[str, Any]


def page_to_row(page: Page) -> Row:
    return {
        "id": page.id,
        "url": page.url,
        "host": page.host,
        "source_kind": page.source_kind,
        "title": page.title,
        "text": page.text,
        "links": [{"start": k.start, "end": k.end, "url": k.url, "anchor": k.anchor} for k in page.links],
        "published_at": page.published_at,
        "about_url": page.about_url,
        "entity_type": page.entity_type,
        "sha256": page.sha256,
        "licence": page.licence,
        "language": page.language,
    }


def row_to_page(row: Mapping[str, Any]) -> Page:
    return Page(**{**row, "links": tuple(Link(**link) for link in row["links"])})


def fact_to_row(fact: Fact) -> Row:
    return {
        "subject": fact.subject,
        "relation": fact.relation,
        "object": fact.object,
        "object_key": fact.object_key,
        **_literal_columns(fact.literal),
        "valid_from": fact.valid_from,
        "as_of": fact.as_of,
        **asdict(fact.evidence),
    }


def row_to_fact(row: Mapping[str, Any]) -> Fact:
    return Fact(
        subject=row["subject"],
        relation=row["relation"],
        object=row["object"],
        object_key=row["object_key"],
        literal=_literal_of(row),
        evidence=_evidence_of(row),
        valid_from=row["valid_from"],
        as_of=row["as_of"],
    )


def closure_to_row(closure: Closure) -> Row:
    return {
        "side": closure.side,
        "relation": closure.relation,
        "anchor_key": closure.anchor_key,
        **_literal_columns(closure.anchor_literal),
        "entity_type": closure.entity_type,
        "members": list(closure.members),
        "as_of": closure.as_of,
        **asdict(closure.evidence),
    }


def row_to_closure(row: Mapping[str, Any]) -> Closure:
    return Closure(
        side=row["side"],
        relation=row["relation"],
        anchor_key=row["anchor_key"],
        anchor_literal=_literal_of(row),
        entity_type=row["entity_type"],
        members=tuple(row["members"]),
        evidence=_evidence_of(row),
        as_of=row["as_of"],
    )


def entity_to_row(entity: Entity) -> Row:
    return {"key": entity.key, "name": entity.name, "type": entity.type, "aliases": list(entity.aliases)}


def row_to_entity(row: Mapping[str, Any]) -> Entity:
    return Entity(key=row["key"], name=row["name"], type=row["type"], aliases=tuple(row["aliases"]))


def _literal_columns(literal: Literal | None) -> Row:
    if literal is None:
        return {"literal_kind": None, "literal_text": None, "low": None, "high": None, "unit": None}
    return {
        "literal_kind": literal.kind,
        "literal_text": literal.text,
        "low": literal.low,
        "high": literal.high,
        "unit": literal.unit,
    }


def _literal_of(row: Mapping[str, Any]) -> Literal | None:
    if row["literal_kind"] is None:
        return None
    return Literal(row["literal_kind"], row["literal_text"], row["low"], row["high"], row["unit"])


def _evidence_of(row: Mapping[str, Any]) -> Evidence:
    return Evidence(
        page_id=row["page_id"],
        url=row["url"],
        start=row["start"],
        end=row["end"],
        quote=row["quote"],
        sha256=row["sha256"],
        source_kind=row["source_kind"],
        published_at=row["published_at"],
    )
