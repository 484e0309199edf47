"""The obfuscator as a model: it chooses which clue becomes vaguer, and how vague, among wordings that were computed.

The operators on the formula say what can be said without letting a rival in (`synthesis.obfuscation`); a model that wrote
its own vague words would have to be believed.
"""

from __future__ import annotations

import random

from datagen.agents.llm.browser import choose
from datagen.agents.llm.voice import Voice

TASK = "A clue of a research question says: {clue}. Which wording hides it best without making the question clumsy?"
KEEP = "Leave the clue as it is."


class LlmObfuscator:
    """Chooses by a numbered list, whose last option is to leave the clue alone."""

    def __init__(self, voice: Voice) -> None:
        self.name = voice.model.name
        self._voice = voice

    def choose(self, clue: str, options: tuple[str, ...], rng: random.Random) -> int | None:
        """Index of the option; None to leave the clue as it is."""
        chosen = choose(self._voice, TASK.format(clue=clue), (*options, KEEP), rng)
        return chosen if chosen < len(options) else None
