"""A question for claims that could not be joined with a fact graph: written by a model, proven by nobody.

Its row has no certificate and says so. What stands in the certificate's place is weaker and is said as well: every claim
is quoted from a page that was read, its dates and numbers stand in the quote, and searches for another answer came back
empty (the gate `rivals`).
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable

from datagen.agents.roles import Proposal
from datagen.knowledge.formula import Query
from datagen.knowledge.literals import parse_literal
from datagen.records.fact import Fact
from datagen.records.question import Answer, Hop
from datagen.synthesis.answers import literal_answer
from datagen.synthesis.draft import Draft
from datagen.synthesis.proving import Stop
from datagen.synthesis.settings import Workbench

MODEL = "model"
LAST_YEAR = 2100
"""Four digits beyond it are a number: "4812" seats."""
_FIGURE = re.compile(r"\d+")
_BETWEEN_DIGITS = re.compile(r"(?<=\d)[,. '\u00a0\u202f](?=\d{3}(?!\d))")


def draft_uncertified(bench: Workbench, proposal: Proposal, rng: random.Random) -> Draft | Stop:
    """The draft, or why there is none: without a writer nobody can say it."""
    if bench.rewriter is None or proposal.outline is None:
        return Stop(
            "prove",
            "not_joined",
            "claims are not stated in the fact graph, and no writer is in the cast",
            proposal.query,
        )
    unquoted = [hop for hop in proposal.hops if not is_quoted(hop) and not _is_stated(hop, proposal.facts)]
    if unquoted:
        return Stop(
            "prove", "value_not_quoted", f"{unquoted[0].quote!r} does not say {unquoted[0].fact}", proposal.query
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


def _is_stated(hop: Hop, facts: Iterable[Fact]) -> bool:
    """Whether the hop is a fact of the graph, which may write a value in another way than the page."""
    return any(fact.relation == hop.relation and fact.evidence.url == hop.url for fact in facts)


def is_quoted(hop: Hop) -> bool:
    """Whether the figures of what the hop leads to stand in its quote; names may stand there as "he" or "the club"."""
    return figures(hop.entity_out) <= figures(hop.quote)


def figures(text: str) -> set[str]:
    """Runs of digits, thousands put together and no zeros in front."""
    return {run.lstrip("0") or "0" for run in _FIGURE.findall(_BETWEEN_DIGITS.sub("", text))}


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
