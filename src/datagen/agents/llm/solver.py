"""The solver: a model that answers a question with the two tools, told nothing but the question.

Solvers of different models are independent verifiers; two of one model differ by their name, which seeds their sampling.
"""

from __future__ import annotations

from typing import Literal as OneOf

from pydantic import Field

from datagen.agents.budget import Budget, Limits
from datagen.agents.llm.loop import FinalTool, research
from datagen.agents.llm.voice import Voice, draw
from datagen.agents.symbolic.comparison import fold
from datagen.agents.toolbox import MAX_ANSWER_CHARS, MAX_SOURCES, MAX_URL_CHARS, Arguments
from datagen.records.question import Attempt
from datagen.web.tools import Web

GIVEN_UP = frozenset(
    ["unknown", "not found", "none", "n a", "i don t know", "i cannot find it", "cannot be determined", "no answer"]
)
"""What models write where they were asked to leave the answer empty."""


class AnswerArguments(Arguments):
    answer: str = Field(
        max_length=MAX_ANSWER_CHARS,
        description="The answer alone: a name, a date or a number. Empty if you found none.",
    )
    sources: tuple[str, ...] = Field(
        default=(), max_length=MAX_SOURCES, description="Addresses of the visited pages that prove the answer."
    )
    failure: OneOf["none", "retrieval", "reading", "ambiguous", "parse", "budget"] = Field(
        default="none",
        description="Why the answer is empty: retrieval = no page was found; reading = the pages do not say it; "
        "ambiguous = several entities fit; parse = the question is unclear; budget = nothing left to spend.",
    )


ANSWER = FinalTool("answer", "End the research with your answer.", AnswerArguments)


class LlmSolver:
    """Answers through the tools, in a conversation that is fresh for every question."""

    def __init__(
        self,
        voice: Voice,
        name: str,
        budget: Budget | None = None,
        *,
        turns: int | None = None,
        context_chars: int | None = None,
    ) -> None:
        self.name = name
        self._voice = voice
        self._budget = budget or Budget()
        self._turns = turns
        self._context_chars = context_chars

    def solve(self, question: str, web: Web) -> Attempt:
        """Raises `UnusableReplyError` where the model cannot be brought to use the tools as they are."""
        budget = self._budget
        opening = self._voice.opening("solver", question=question, searches=budget.searches, visits=budget.visits)
        done = research(
            self._voice,
            opening,
            web,
            ANSWER,
            Limits(budget, turns=self._turns, context_chars=self._context_chars),
            seed=draw("solver", self.name, question),
        )
        said = done.value
        answer = None if said is None else given(said.answer)
        return Attempt(
            solver=self.name,
            answer=answer,
            failure=None if answer is not None else _failure(said),
            searches=done.searches,
            visits=done.visits,
            urls=done.urls,
            evidence_urls=done.visited([url[:MAX_URL_CHARS] for url in said.sources]) if said else (),
        )


def given(text: str) -> str | None:
    """The answer in one line; None where the words only say that there is none."""
    answer = " ".join(text.split())
    return answer if answer and fold(answer) not in GIVEN_UP else None


def _failure(said: AnswerArguments | None) -> OneOf["parse", "retrieval", "reading", "ambiguous", "budget"]:
    if said is None:
        return "budget"
    return "retrieval" if said.failure == "none" else said.failure
