"""The answer of a question: from an entity or a value of the graph to what can be graded, as precise as was asked."""

from __future__ import annotations

import random
import re
from dataclasses import replace

from datagen.knowledge.formula import IsA, Query
from datagen.knowledge.graph import FactGraph
from datagen.knowledge.literals import MONTHS, canonical_text, format_literal, parse_literal
from datagen.records.fact import Entity, Literal
from datagen.records.question import Answer

_ASKS_YEAR = re.compile(r"\b(?:which|what) year\b", re.IGNORECASE)


def as_asked(answer: Answer, question: str) -> Answer:
    """The answer as precisely as the question asks for it: "In which year ...?" wants 2004, not 27 November 2004."""
    if answer.type != "date" or _ASKS_YEAR.search(question) is None or len(answer.canonical) <= len("2004"):
        return answer
    return Answer(answer.canonical[:4], "date", answer.canonical[:4])


def entity_answer(entity: Entity) -> Answer:
    """The answer whose text is an entity's preferred name."""
    return Answer(
        text=entity.name,
        type="entity",
        canonical=entity.name,
        aliases=entity.aliases,
        key=entity.key,
        entity_type=entity.type,
    )


def literal_answer(literal: Literal) -> Answer | None:
    """The answer for a value, with the forms that grade as correct; None for one too vague to be graded.

    >>> from datagen.knowledge.literals import day
    >>> literal_answer(day("1901-03-03")).canonical
    '1901-03-03'
    """
    if literal.kind == "number":
        return _number_answer(literal)
    canonical = canonical_text(literal)
    if literal.kind == "text":
        return Answer(literal.text, "text", canonical)
    if "/" in canonical:
        return None
    text = format_literal(literal)
    aliases = (*_american_form(canonical), canonical)
    return Answer(text, "date", canonical, tuple(form for form in aliases if form != text))


def _american_form(iso: str) -> tuple[str, ...]:
    if len(iso) != len("1901-03-03"):
        return ()
    year, month, day_of_month = iso.split("-")
    return (f"{MONTHS[int(month) - 1]} {int(day_of_month)}, {year}",)


def _number_answer(literal: Literal) -> Answer | None:
    """Exact numbers, and rounded ones whose interval is at most 1 % wide: "about 40 to 60" can't be graded."""
    if literal.high - literal.low > abs(literal.low + literal.high) / 200:
        return None
    middle = (literal.low + literal.high) / 2
    digits = f"{middle:.6f}".rstrip("0").rstrip(".")
    commas = f"{float(digits):,.6f}".rstrip("0").rstrip(".")
    # "81.7 years" and "81.65 to 81.75 years" are one value; the key is what a person would write.
    plain = f"{commas}%" if literal.unit == "%" else f"{commas} {literal.unit}".strip()
    canonical = next((words for words in (plain, literal.text) if _is_exactly(literal, words)), format_literal(literal))
    forms = (digits, commas, f"{digits} {literal.unit}".strip(), f"{commas} {literal.unit}".strip())
    aliases = tuple(dict.fromkeys(form for form in forms if form not in (literal.text, canonical)))
    return Answer(literal.text, "number", canonical, aliases, unit=literal.unit)


def _is_exactly(literal: Literal, words: str) -> bool:
    said = parse_literal(words, literal.kind, literal.unit)
    return said is not None and (said.low, said.high, said.unit) == (literal.low, literal.high, literal.unit)


def answer_of(graph: FactGraph, query: Query, key: str) -> Answer | None:
    """The answer of a query whose root is known; None where the asked value is not stated once, or can't be graded."""
    i = graph.id(key)
    if query.ask is None:
        return entity_answer(Entity(key, graph.name(i), graph.type(i), graph.aliases(i)))
    values = graph.objects(i, query.ask, query.ask_as_of)
    if len(values) != 1 or not isinstance(values[0], Literal):
        return None
    return literal_answer(values[0])


def choose_ask(graph: FactGraph, query: Query, key: str, rng: random.Random) -> Query:
    """Ask for a literal of the root instead of its name, where one is stated that no clue of the root uses."""
    used = {clue.relation for clue in query.root.clues if not isinstance(clue, IsA)}
    options = []
    for stated in graph.outgoing(graph.id(key)):
        relation = graph.catalogue.relations[stated.relation]
        if relation.single and not relation.changes and relation.ask and relation.id not in used:
            asking = replace(query, ask=relation.id)
            if relation.object_kind in ("date", "number") and answer_of(graph, asking, key) is not None:
                options.append(asking)
    return rng.choice(options) if options else query
