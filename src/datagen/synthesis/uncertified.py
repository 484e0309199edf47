"""A question for claims that could not be joined with a fact graph: written by a model, proven by nobody.

Its row has no certificate and says so. What stands in the certificate's place is weaker and is said as well: every claim
is quoted from a page that was read, and searches for another answer came back empty (the gate `rivals`).
"""

from __future__ import annotations

import random

from datagen.agents.roles import Proposal
from datagen.knowledge.formula import Query
from datagen.knowledge.literals import parse_literal
from datagen.records.question import Answer
from datagen.synthesis.answers import literal_answer
from datagen.synthesis.draft import Draft
from datagen.synthesis.proving import Stop
from datagen.synthesis.settings import Workbench

MODEL = "model"
LAST_YEAR = 2100
"""Four digits beyond it are a number: "4812" seats."""


def draft_uncertified(bench: Workbench, proposal: Proposal, rng: random.Random) -> Draft | Stop:
    """The draft, or why there is none: without a writer nobody can say it."""
    if bench.rewriter is None or proposal.outline is None:
        return Stop(
            "prove",
            "not_joined",
            "claims are not stated in the fact graph, and no writer is in the cast",
            proposal.query,
        )
    question = bench.rewriter.write(proposal.outline, rng)
    return Draft(
        candidate=0,
        recipe="duetqa",
        query=proposal.query,
        question=question,
        question_raw=question,
        answer=answer_said(proposal.answer, proposal.query),
        certificate=None,
        hidden_names=tuple(dict.fromkeys((*proposal.names, *(() if proposal.query.ask else (proposal.answer,))))),
        hops=proposal.hops,
        wording=MODEL,
    )


def answer_said(words: str, query: Query) -> Answer:
    """A gradable answer from words: a date or number where one is asked for and can be read, else a name."""
    if query.ask is not None:
        for kind in ("number",) if words.isdecimal() and int(words) > LAST_YEAR else ("date", "number"):
            value = parse_literal(words, kind)
            answer = literal_answer(value) if value is not None else None
            if answer is not None:
                return answer
        return Answer(words, "text", words)
    return Answer(words, "entity", words)
