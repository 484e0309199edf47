"""The symbolic cast behind the practice endpoint: every kind of request, answered from its messages.

A request says what it wants by the name of its reply's schema or by the set of its tools; `HANDLERS` names who answers.
Adding a kind: one module with a `Handler`, one line here. Handlers see the messages and a `Background` that knows words
and no facts, so what a mind says is earned from what it was shown.
"""

from __future__ import annotations

from collections.abc import Mapping

from datagen.knowledge.catalogue import Catalogue
from datagen.practice.minds.background import Background, Handler
from datagen.practice.minds.claiming import claim
from datagen.practice.minds.guessing import guess
from datagen.practice.minds.judging import judge_answers, judge_questions
from datagen.practice.minds.labelling import label_steps
from datagen.practice.minds.planning import choose, plan
from datagen.practice.minds.probing import fit_schema, ping, say
from datagen.practice.minds.proposing import propose
from datagen.practice.minds.reading_pages import read_pages
from datagen.practice.minds.solving import seek_rival, solve
from datagen.practice.minds.wording import reword, write
from datagen.practice.wire import WireReply, WireRequest

HANDLERS: Mapping[str | frozenset[str], Handler] = {
    frozenset({"search", "visit", "answer"}): solve,
    frozenset({"search", "visit", "report_rival"}): seek_rival,
    frozenset({"search", "visit", "propose"}): propose,
    "claims": claim,
    "action": plan,
    "choice": choose,
    "wording": reword,
    "question": write,
    "guess": guess,
    "same_answer": judge_answers,
    "same_question": judge_questions,
    "open_book": read_pages,
    "step_labels": label_steps,
    "probe": fit_schema,
    frozenset({"ping"}): ping,
    frozenset(): say,
}


class SymbolicMind:
    """A `Mind` made of programs; `competence` below 1 is the share of tasks that it does not get wrong."""

    def __init__(self, catalogue: Catalogue, *, competence: float = 1.0, closed_types: tuple[str, ...] = ()) -> None:
        self._background = Background.of(catalogue, accuracy=competence, closed_types=closed_types)

    def answer(self, request: WireRequest) -> WireReply:
        by_tools = frozenset(request.tool_names)
        kind = request.schema_name if request.schema_name and not by_tools else by_tools
        handler = HANDLERS.get(kind)
        if handler is None:
            named = sorted(kind) if isinstance(kind, frozenset) else kind
            raise LookupError(f"nobody here answers requests of the kind {named!r}")
        return handler(self._background, request)
