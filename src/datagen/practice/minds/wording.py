"""Minds that write: a question in other words, and a question for an outline.

The rewriter reads the question and writes its meaning anew. The writer turns an outline into a formula as far as it knows
the relations' words, and writes that; claims in words that it does not know are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from datagen.errors import ParseError, WordingError
from datagen.knowledge.catalogue import Catalogue
from datagen.knowledge.formula import Clue, Edge, EntityRef, Match, Node, Query
from datagen.knowledge.literals import parse_literal
from datagen.language.verbalise import Verbaliser
from datagen.practice.minds.background import Background
from datagen.practice.minds.task import body, json_reply
from datagen.practice.wire import WireReply, WireRequest
from datagen.records.ids import rng_for


def reword(background: Background, request: WireRequest) -> WireReply:
    """The same meaning in other words; a question that cannot be read stays as it is."""
    question = body(request, "question")
    try:
        query = background.parser.parse(question)
        words = Verbaliser(background.catalogue).write(query, rng_for("reword", request.seed, question))
    except (ParseError, WordingError):
        words = question
    return json_reply({"question": words})


def write(background: Background, request: WireRequest) -> WireReply:
    """A question over the claims of an outline."""
    outline = orjson.loads(body(request, "outline"))
    query = _Outline(background.catalogue, outline).query()
    try:
        words = Verbaliser(background.catalogue).write(query, rng_for("write", request.seed))
    except WordingError:
        told = (f"{c['relation']} {c['object']}" for c in outline["claims"] if len(c["object"]) > 1)
        words = f"What is the thing of which all this is said: {'; '.join(told)}?"
    return json_reply({"question": words})


class _Outline:
    """An outline as a formula, as far as the catalogue has the words."""

    def __init__(self, catalogue: Catalogue, outline: Mapping[str, Any]) -> None:
        self._catalogue = catalogue
        self._waiting = list(outline["claims"])
        self._kinds = {thing["letter"]: thing["kind"] for thing in outline["things"]}
        self._asks = outline["asks_for"]
        self._labels = {relation.label.casefold(): relation for relation in catalogue.relations.values()}
        self._types = {kind.singular.casefold(): kind.id for kind in catalogue.types.values()}

    def query(self) -> Query:
        asked = self._labels.get((self._asks["relation"] or "").casefold())
        day = self._asks.get("as_of") if asked is not None and asked.changes else None
        return Query(self._node(self._asks["thing"]), asked.id if asked else None, day)

    def _node(self, letter: str) -> Node:
        clues: list[Clue] = []
        for claim in list(self._waiting):
            if claim in self._waiting and letter in (claim["subject"], claim["object"]):
                self._waiting.remove(claim)
                clue = self._clue(letter, claim)
                clues += [clue] if clue is not None else []
        return Node(self._types.get(self._kinds.get(letter, "").casefold()), tuple(clues))

    def _clue(self, letter: str, claim: Mapping[str, str]) -> Clue | None:
        relation = self._labels.get(claim["relation"].casefold())
        if relation is None:
            return None
        inverse = claim["subject"] != letter
        other = claim["subject"] if inverse else claim["object"]
        day = claim.get("as_of") if relation.changes else None
        if other in self._kinds:
            return Edge(relation.id, self._node(other), inverse, day)
        if relation.object_kind == "entity":
            return Match(relation.id, EntityRef("", other), inverse, day)
        value = parse_literal(other, relation.object_kind, relation.unit)
        return Match(relation.id, value, as_of=day) if value is not None else None
