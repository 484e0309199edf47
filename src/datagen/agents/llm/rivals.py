"""The rival seeker: a model that looks for a second answer.

Where no certificate can be computed, uniqueness is tested instead of proved: somebody is shown the answer and tries to
find another one that meets every condition of the question. What it reports is a claim, for others to judge.
"""

from __future__ import annotations

from pydantic import Field

from datagen.agents.budget import Budget, Limits
from datagen.agents.llm.loop import FinalTool, research
from datagen.agents.llm.solver import given
from datagen.agents.llm.voice import Voice, draw
from datagen.agents.symbolic.comparison import fold
from datagen.agents.toolbox import MAX_ANSWER_CHARS, MAX_SOURCES, Arguments
from datagen.records.question import Attempt
from datagen.web.tools import Web


class RivalArguments(Arguments):
    rival: str = Field(
        max_length=MAX_ANSWER_CHARS,
        description="Another answer that meets every condition. Empty if there is none that the pages speak for.",
    )
    sources: tuple[str, ...] = Field(
        default=(), max_length=MAX_SOURCES, description="Addresses of the visited pages that speak for it."
    )


REPORT = FinalTool("report_rival", "End the search with the other answer, or with an empty one.", RivalArguments)


class LlmRivalSeeker:
    """Seeks with the two tools, in a conversation that is fresh for every attempt."""

    def __init__(
        self,
        voice: Voice,
        budget: Budget | None = None,
        *,
        turns: int | None = None,
        context_chars: int | None = None,
    ) -> None:
        self.name = voice.model.name
        self._voice = voice
        self._budget = budget or Budget()
        self._turns = turns
        self._context_chars = context_chars

    def seek(self, question: str, known: str, web: Web, attempt: int) -> Attempt:
        """`answer` None means that none was found; "budget" says that the search was not finished."""
        budget = self._budget
        opening = self._voice.opening(
            "rival", question=question, known=known, searches=budget.searches, visits=budget.visits
        )
        done = research(
            self._voice,
            opening,
            web,
            REPORT,
            Limits(budget, turns=self._turns, context_chars=self._context_chars),
            seed=draw("rival", self.name, question, known, attempt),
        )
        rival = None if done.value is None else given(done.value.rival)
        if rival is not None and fold(rival) == fold(known):
            rival = None
        return Attempt(
            solver=self.name,
            answer=rival,
            failure="budget" if done.value is None else None,
            searches=done.searches,
            visits=done.visits,
            urls=done.urls,
            evidence_urls=done.visited(done.value.sources) if done.value else (),
        )
