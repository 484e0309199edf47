"""The writer as a model: a certified question in its own words, and questions for claims that no grammar can say.

Whether the words still mean the question is checked by the recipe: they parse back, or a judge takes both for the same.
"""

from __future__ import annotations

import random

import orjson
from pydantic import BaseModel, Field

from datagen.agents.llm.voice import Voice, draw
from datagen.agents.roles import Outline

MAX_QUESTION_CHARS = 1_200


class WordingReply(BaseModel):
    question: str = Field(min_length=10, max_length=MAX_QUESTION_CHARS, description="The question, and nothing else.")


class LlmRewriter:
    """Writes questions."""

    def __init__(self, voice: Voice) -> None:
        self.name = voice.model.name
        self._voice = voice

    def reword(self, question: str, rng: random.Random) -> str:
        """The question in other words."""
        seed = draw("wording", question, rng.getrandbits(31))
        asked = self._voice.ask("wording", WordingReply, seed=seed, question=question)
        return " ".join(asked.value.question.split())

    def write(self, outline: Outline, rng: random.Random) -> str:
        """A question for claims, from their outline alone: what the writer is not shown, it cannot give away."""
        shown = orjson.dumps(
            {
                "things": [{"letter": letter, "kind": kind} for letter, kind in outline.kinds],
                "claims": _claims(outline),
                "asks_for": {"thing": outline.answer, "relation": outline.asked or None, "as_of": outline.asked_day},
            }
        ).decode()
        seed = draw("question", shown, rng.getrandbits(31))
        asked = self._voice.ask("question", WordingReply, seed=seed, outline=shown)
        return " ".join(asked.value.question.split())


def _claims(outline: Outline) -> list[dict[str, str | None]]:
    days = outline.days or (None,) * len(outline.claims)
    return [
        {"subject": subject, "relation": relation, "object": value, "as_of": day}
        for (subject, relation, value), day in zip(outline.claims, days, strict=True)
    ]
