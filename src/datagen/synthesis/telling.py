"""From a proven tree to a question: obfuscate, write, read back, and list the names that must not be said.

Words come last. The text is read back by the parser, and one that does not mean its formula ends the candidate. Hidden
are the names and aliases of every entity that stands behind a vertex: a question describes those, it never names them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from datagen.errors import ParseError, WordingError
from datagen.knowledge.evaluator import evaluate
from datagen.knowledge.formula import Edge, Node, Query
from datagen.knowledge.graph import FactGraph
from datagen.language.parse import same_meaning
from datagen.records.question import Answer, Certificate, Obfuscation
from datagen.synthesis.answers import answer_of, as_asked
from datagen.synthesis.obfuscation import obfuscate
from datagen.synthesis.proving import Proven, Stop
from datagen.synthesis.rewording import GRAMMAR, reworded
from datagen.synthesis.settings import Workbench

MAX_WITNESSES = 4
"""Entities followed per vertex where several stand behind it (a multi-valued relation)."""


@dataclass(frozen=True, slots=True)
class Told:
    """Everything about a question that its recipe does not know already."""

    query: Query
    proof: Certificate
    question: str
    question_raw: str
    answer: Answer
    hidden_names: tuple[str, ...]
    edits: tuple[Obfuscation, ...]
    wording: str = GRAMMAR


def tell(bench: Workbench, proven: Proven, chance: float, rng: random.Random) -> Told | Stop:
    """Obfuscate the tree where its proof survives it, and put it into words."""
    answer = answer_of(bench.graph, proven.query, proven.key)
    if answer is None:
        return Stop(
            "answer", "not_gradable", f"{proven.query.ask} of {proven.key} is not stated once and exactly", proven.query
        )
    raw = put_into_words(bench, proven.query, rng)
    if isinstance(raw, Stop):
        return raw
    hidden = frozenset(bench.graph.key(i) for i in vertices_behind(bench.graph, proven.query.root, proven.key))
    vague, edits = obfuscate(bench, proven, hidden, chance, rng)
    question = put_into_words(bench, vague.query, rng) if edits else raw
    if isinstance(question, Stop):
        return question
    names = _names(bench.graph, vertices_behind(bench.graph, vague.query.root, proven.key))
    words, wording = reworded(bench, question, vague.query, names, rng)
    return Told(
        query=vague.query,
        proof=vague.proof,
        question=words,
        question_raw=raw,
        answer=as_asked(answer, words),
        hidden_names=names,
        edits=edits,
        wording=wording,
    )


def put_into_words(bench: Workbench, query: Query, rng: random.Random) -> str | Stop:
    """The question's text; it means the query, because it was read back."""
    try:
        text = bench.verbaliser.write(query, rng)
    except WordingError as exc:
        return Stop("verbalise", "no_words", str(exc), query)
    try:
        meaning = bench.parser.parse(text)
    except ParseError as exc:
        return Stop("verbalise", "does_not_parse", f"{text!r}: {exc}", query)
    if not same_meaning(meaning, query):
        return Stop("verbalise", "means_something_else", f"{text!r} reads back as another formula", query)
    return text


def vertices_behind(graph: FactGraph, root: Node, key: str) -> tuple[int, ...]:
    """Ids of the entities that stand behind the tree's vertices, root first."""
    return tuple(dict.fromkeys((graph.id(key), *_below(graph, root, graph.id(key)))))


def _below(graph: FactGraph, node: Node, i: int) -> Iterator[int]:
    for clue in node.clues:
        if isinstance(clue, Edge):
            allowed = set(evaluate(graph, clue.child).sure)
            witnesses = [w for w in _others(graph, clue, i) if w in allowed]
            for witness in witnesses[:MAX_WITNESSES]:
                yield witness
                yield from _below(graph, clue.child, witness)


def _others(graph: FactGraph, edge: Edge, i: int) -> list[int]:
    view = graph.view(edge.relation, edge.as_of)
    ids = np.array([i], np.int32)
    found = view.inverse_pairs(ids)[1] if edge.inverse else view.pairs(ids)[1]
    return [int(code) for code in found if code < len(graph)]


def _names(graph: FactGraph, ids: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for i in ids for name in (graph.name(i), *graph.aliases(i)) if name))
