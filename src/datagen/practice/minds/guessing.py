"""A mind without tools that has to guess: it knows words and no facts, so it guesses from the question alone.

A date or number near those that the question states, or a name put together from its names and the class that is asked
for ("Veltrin Stadium"): the guesses of somebody who has read many such questions and no page.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from datagen.agents.symbolic.solving import named_constants
from datagen.errors import ParseError
from datagen.knowledge.formula import Edge, Query, Within, walk_clues
from datagen.knowledge.literals import iso
from datagen.practice.minds.background import Background
from datagen.practice.minds.task import body, json_reply
from datagen.practice.wire import WireReply, WireRequest
from datagen.records.ids import rng_for

_CAPITALISED = re.compile(r"\b[A-Z][\w'’-]+(?: [A-Z][\w'’-]+)*")
_COMMON_YEARS = (1850, 2020)
_COMMON_NUMBERS = (1, 500_000)


def guess(background: Background, request: WireRequest) -> WireReply:
    question = body(request, "question")
    rng = rng_for("guess", request.seed, question)
    try:
        answer = _guess(background, background.parser.parse(question), rng)
        reasoning = "I only know what the question says."
    except ParseError:
        answer = _some_name(question, rng)
        reasoning = "I cannot tell what is asked for."
    return json_reply({"reasoning": reasoning, "answer": answer})


def _guess(background: Background, query: Query, rng: random.Random) -> str:
    catalogue = background.catalogue
    if query.ask is not None:
        relation = catalogue.relations[query.ask]
        if relation.object_kind in ("date", "number"):
            return _value(query, relation.object_kind, rng)
    wanted = catalogue.types.get(query.root.type or "")
    kind = wanted.singular if wanted else "place"
    names = named_constants(query.root)
    return f"{rng.choice(names)} {kind.title()}" if names else kind.title()


def _value(query: Query, kind: str, rng: random.Random) -> str:
    """A value beside one that the question states, else a common one."""
    stated = list(_stated(query, kind))
    if kind == "date":
        if stated and rng.random() < 0.5:
            return iso(rng.choice(stated))[:4]
        return str(rng.randrange(*_COMMON_YEARS))
    if stated and rng.random() < 0.5:
        return str(round(rng.choice(stated) * rng.choice((0.5, 1, 2))))
    return str(rng.randrange(*_COMMON_NUMBERS))


def _stated(query: Query, kind: str) -> Iterator[float]:
    for _, clue in walk_clues(query.root):
        if not isinstance(clue, Edge) and isinstance(clue, Within) and clue.kind == kind:
            yield (float(clue.low) + float(clue.high)) / 2


def _some_name(question: str, rng: random.Random) -> str:
    names = [name for name in _CAPITALISED.findall(question) if name.casefold() not in ("which", "what", "who", "in")]
    return rng.choice(names) if names else "nobody"
