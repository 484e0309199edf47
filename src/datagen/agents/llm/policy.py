"""A model that attempts questions with the two tools, every word and call of it logged."""

from __future__ import annotations

from datagen.agents.budget import Limits
from datagen.agents.llm.loop import Researched, research
from datagen.agents.llm.solver import ANSWER, AnswerArguments, given
from datagen.agents.llm.transcribing import Transcriber
from datagen.agents.llm.voice import Voice, draw
from datagen.errors import UnusableReplyError
from datagen.records.trajectory import Termination, Transcript
from datagen.web.tools import Web


class LlmPolicy:
    """A conversation that is fresh for every attempt; attempts differ by the seed of their sampling."""

    def __init__(self, voice: Voice) -> None:
        self.name = voice.model.name
        self._voice = voice

    def roll_out(self, question: str, web: Web, *, attempt: int, limits: Limits) -> Transcript:
        budget, log = limits.budget, Transcriber()
        opening = self._voice.opening("rollout", question=question, searches=budget.searches, visits=budget.visits)
        seed = draw("rollout", self.name, question, attempt)
        try:
            done = research(self._voice, opening, web, ANSWER, limits, seed=seed, log=log)
        except UnusableReplyError as exc:
            return _transcript(log, None, "malformed", str(exc))
        answer = given(done.value.answer) if done.value is not None else None
        if done.value is not None and done.final_call is not None:
            log.answered(done.final_call, answer or "", done.visited(done.value.sources))
        return _transcript(log, answer, _termination(done, answer), _detail(done))


def _transcript(log: Transcriber, answer: str | None, termination: Termination, detail: str) -> Transcript:
    return Transcript(
        events=tuple(log.events),
        answer=answer,
        termination=termination,
        generations=tuple(log.generations),
        input_tokens=log.usage.input_tokens,
        output_tokens=log.usage.output_tokens,
        detail=detail,
    )


def _termination(done: Researched[AnswerArguments], answer: str | None) -> Termination:
    """An answer counts however late it came; without one, what was used up says more than that there is none."""
    if answer is not None:
        return "answered"
    return done.over or ("budget" if done.value is None else "gave_up")


def _detail(done: Researched[AnswerArguments]) -> str:
    if done.value is None or done.value.failure == "none":
        return ""
    return f"The model gave {done.value.failure!r} as the reason for its empty answer."
