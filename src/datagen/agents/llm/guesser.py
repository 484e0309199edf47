"""The guesser: models without tools, which a question worth searching for must defeat.

Several models answer several times each. One right answer in all of them means that the question can be answered without
looking, so it is dropped; who said what is kept, so that the rate of every model can be told.
"""

from __future__ import annotations

from pydantic import BaseModel, Field

from datagen.agents.llm.solver import given
from datagen.agents.llm.voice import Voice, draw
from datagen.agents.symbolic.comparison import fold
from datagen.agents.toolbox import MAX_ANSWER_CHARS

MAX_REASONING_CHARS = 4_000


class Guess(BaseModel):
    """One answer from memory. The reasoning comes first: a model that may think guesses better."""

    reasoning: str = Field(max_length=MAX_REASONING_CHARS, description="What you remember that bears on it, briefly.")
    answer: str = Field(max_length=MAX_ANSWER_CHARS, description="Your best guess, alone; empty only if you have none.")


class LlmGuesser:
    """Every model is asked as often as `guess` says, each time with a seed of its own."""

    def __init__(self, voices: tuple[Voice, ...]) -> None:
        self._voices = voices
        self.name = "+".join(voice.model.name for voice in voices)

    def guess(self, question: str, attempts: int) -> tuple[str, ...]:
        """Distinct answers of all models, `attempts` of each, in the order in which they were given."""
        distinct: dict[str, str] = {}
        for _, answer in self.samples(question, attempts):
            if answer is not None:
                distinct.setdefault(fold(answer), answer)
        return tuple(distinct.values())

    def samples(self, question: str, attempts: int, first: int = 0) -> tuple[tuple[str, str | None], ...]:
        """(model, answer) of every call, numbered from `first`; None where a model had no guess."""
        return tuple(
            (voice.model.name, self._sample(voice, question, attempt))
            for voice in self._voices
            for attempt in range(first, first + attempts)
        )

    def _sample(self, voice: Voice, question: str, attempt: int) -> str | None:
        seed = draw("guess", voice.model.name, question, attempt)
        return given(voice.ask("guess", Guess, seed=seed, question=question).value.answer)
