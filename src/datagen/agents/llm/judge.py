"""The judge: a model that compares two answers or two questions.

It is asked where comparison by rule leaves something open. A judge whose reply cannot be used raises; it never says "no"
instead, for that would count a fault of the judge as a fault of the question.
"""

from __future__ import annotations

from pydantic import BaseModel, Field

from datagen.agents.llm.voice import Voice, draw

MAX_REASON_CHARS = 2_000


class Judgement(BaseModel):
    reason: str = Field(max_length=MAX_REASON_CHARS, description="What decides it, in one or two sentences.")
    same: bool = Field(description="true or false")


class LlmJudge:
    """One verdict per pair; equal pairs get equal verdicts, since they are one request."""

    def __init__(self, voice: Voice) -> None:
        self.name = voice.model.name
        self._voice = voice

    def same_answer(self, question: str, expected: str, given: str) -> bool:
        seed = draw("same_answer", question, expected, given)
        return self._voice.ask(
            "same_answer", Judgement, seed=seed, question=question, expected=expected, given=given
        ).value.same

    def same_question(self, first: str, second: str) -> bool:
        seed = draw("same_question", first, second)
        return self._voice.ask("same_question", Judgement, seed=seed, first=first, second=second).value.same
