"""A question's formula as InfoSeek's research tree (spec infoseek_webexplorer §1.9).

    {"id": "A", "entity": "Harlan Rovers", "href": "https://...", "question": "...",
     "claims":   [{"target_id": "B", "claim": "A plays at B"}, {"target_id": "C", "claim": "A was founded in 1901 to 1910"}],
     "children": [{"id": "B", "entity": "Harlan Park", "href": "https://...", "claims": [...], "children": []},
                  {"id": "C", "entity": "1901 to 1910", "href": null, "claims": [], "children": []}]}

Vertices are lettered from the root down. A clue that leads to an entity has that entity as its child; one that states a
value or a name has a leaf with the words. A formula describes its inner entities and does not name them, so the names are
found on the snapshot: under an edge, the first entity in key order that surely matches the child, as in the certificate.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from datagen.dataset.exports.reading import Row
from datagen.knowledge.catalogue import Relation
from datagen.knowledge.dates import format_days
from datagen.knowledge.evaluator import Evaluation
from datagen.knowledge.formula import Clue, Edge, EntityRef, IsA, Match, Node, Within, query_from_dict
from datagen.knowledge.graph import FactGraph

UNBOUNDED = 1e29
"""A limit beyond this is none."""
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
Json = dict[str, Any]


def tree_of(row: Row, graph: FactGraph) -> Json | None:
    """The tree of a question; None for one without a formula."""
    if not row["tree"] or not row["certificate"]:
        return None
    query = query_from_dict(json.loads(row["tree"]))
    root = graph.id(row["certificate"]["answer_set"][0])
    grown = _Grower(graph, Evaluation(graph, query.root)).grow(query.root, root)
    return {"id": grown.pop("id"), "question": row["question"], "answer": row["answer"], **grown}


def count_nodes(tree: Json) -> int:
    return 1 + sum(count_nodes(child) for child in tree["children"])


class _Grower:
    """Letters are given in the order in which vertices are met."""

    def __init__(self, graph: FactGraph, evaluation: Evaluation) -> None:
        self._graph = graph
        self._evaluation = evaluation
        self._letters = _names()

    def grow(self, node: Node, entity: int) -> Json:
        letter = next(self._letters)
        claims: list[Json] = []
        children: list[Json] = []
        for clue in node.clues:
            child = self._child(clue, entity)
            children.append(child)
            claim = self._sentence(clue, letter, child)
            claims.append({"target_id": child["id"], "claim": claim})
        return {
            "id": letter,
            "entity": self._graph.name(entity),
            "href": self._graph.key(entity),
            "claims": claims,
            "children": children,
        }

    def _child(self, clue: Clue, entity: int) -> Json:
        if isinstance(clue, Edge):
            return self.grow(clue.child, self._witness(clue, entity))
        href = clue.value.key if isinstance(clue, Match) and isinstance(clue.value, EntityRef) else None
        return {"id": next(self._letters), "entity": _stated(clue), "href": href, "claims": [], "children": []}

    def _sentence(self, clue: Clue, letter: str, child: Json) -> str:
        if isinstance(clue, IsA):
            return f"{letter} is a {child['entity']}"
        value = child["id"] if isinstance(clue, Edge) else child["entity"]
        return _claim(clue, self._graph.catalogue.relations[clue.relation], letter, value)

    def _witness(self, clue: Edge, entity: int) -> int:
        view = self._graph.view(clue.relation, clue.as_of)
        one = np.array([entity], np.int32)
        others = np.sort((view.inverse_pairs(one) if clue.inverse else view.pairs(one))[1])
        return int(others[self._evaluation.masks(clue.child, others)[0]][0])


def _claim(clue: Match | Within | Edge, relation: Relation, letter: str, value: str) -> str:
    """The clue as a sentence in the catalogue's words; a relation that was read off pages has its label only."""
    inverse = not isinstance(clue, Within) and clue.inverse
    subject, object_ = (value, letter) if inverse else (letter, value)
    form = relation.prose[0] if relation.prose else relation.label + " of {s}: {o}"
    return form.format(s=subject, o=object_) + (f" (on {clue.as_of})" if clue.as_of else "")


def _stated(clue: Match | Within | IsA) -> str:
    """The words of a leaf."""
    if isinstance(clue, IsA):
        return clue.type.replace("_", " ")
    if isinstance(clue, Match):
        return clue.value.name if isinstance(clue.value, EntityRef) else clue.value.text
    unit = f" {clue.unit}" if clue.unit else ""
    if clue.kind == "date":
        return format_days(clue.low, clue.high)
    if clue.low < -UNBOUNDED:
        return f"at most {clue.high:,g}{unit}"
    if clue.high > UNBOUNDED:
        return f"at least {clue.low:,g}{unit}"
    return f"{clue.low:,g} to {clue.high:,g}{unit}"


def _names() -> Iterator[str]:
    """A, B, ..., Z, AA, AB, ..."""
    for length in itertools.count(1):
        for letters in itertools.product(_LETTERS, repeat=length):
            yield "".join(letters)
