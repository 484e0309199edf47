"""No one may answer without searching: every guess from the question and the prior of its answer type must be wrong.

The guesser has no tools. It knows how often each value of the asked type occurs in the whole corpus, which is what a
model's prior amounts to on a corpus it has never read, and it tries the likeliest values first.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from datagen.errors import ConfigError
from datagen.records.question import Verdict
from datagen.synthesis.answers import is_correct
from datagen.synthesis.draft import Draft
from datagen.verification.gate import GateContext, failed, passed


class PriorReason(StrEnum):
    GUESSED = "guessed_without_search"


class Prior:
    name = "prior"
    cost = 20

    def work(self, draft: Draft, context: GateContext) -> Draft:
        if context.guesser is None:
            raise ConfigError("the prior gate needs a guesser; name a cast in the config that has one.")
        return replace(draft, guesses=context.guesser.guess(draft.question, context.settings.prior_attempts))

    def check(self, draft: Draft, context: GateContext) -> Verdict:  # noqa: ARG002  # the protocol's signature
        for rank, guess in enumerate(draft.guesses, start=1):
            if is_correct(draft.answer, guess):
                return failed(self.name, PriorReason.GUESSED, f"guess {rank} of {len(draft.guesses)} was {guess!r}")
        return passed(self.name, f"{len(draft.guesses)} guesses, all wrong")
