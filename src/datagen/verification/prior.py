"""No one may answer without searching: every guess of every guesser must be wrong.

A guesser has no tools. The program knows how often each value of the asked type occurs in the whole corpus, which is what
a model's prior amounts to on a corpus it has never read; a model knows what it was trained on, and is asked several times
with other seeds. One hit drops the question, and guessers after the one that hit are not asked.

How much luck is left is measured, not assumed. The rate *before* is the share of drafts reaching this gate that were hit;
the rate *after* is that of `closed_book_audit` more samples of every guesser on the accepted questions. These stop
nothing: stopping on them would make the rate 0 and the true one unknown again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

from datagen.agents.roles import Guesser, SamplingGuesser
from datagen.errors import ConfigError
from datagen.records.question import ClosedBook, Verdict
from datagen.synthesis.draft import Draft
from datagen.verification.gate import GateContext, failed, passed
from datagen.verification.grading import is_guessed


class PriorReason(StrEnum):
    GUESSED = "guessed_without_search"


class Prior:
    name = "prior"
    cost = 20

    def work(self, draft: Draft, context: GateContext) -> Draft:
        """Ask the guessers in order; the first that hits ends it, since the draft is lost then anyway."""
        if not context.guessers:
            raise ConfigError("the prior gate needs a guesser; name a cast in the config that has one.")
        asked: list[ClosedBook] = []
        for guesser in context.guessers:
            records = _ask(guesser, draft, context)
            asked += records
            if any(record.hits for record in records):
                break
        guesses = dict.fromkeys(answer for record in asked for answer in record.answers)
        return replace(draft, closed_book=tuple(asked), guesses=tuple(guesses))

    def check(self, draft: Draft, context: GateContext) -> Verdict:  # noqa: ARG002  # the protocol's signature
        for record in draft.closed_book:
            if record.hits:
                detail = f"{record.guesser} got it within {record.samples} guesses: {'; '.join(record.answers)}"
                return failed(self.name, PriorReason.GUESSED, detail)
        samples = sum(record.samples for record in draft.closed_book)
        return passed(self.name, f"{samples} guesses of {len(draft.closed_book)} guesser(s), all wrong")


def audited(draft: Draft, context: GateContext) -> Draft:
    """An accepted draft with what the guessers say when asked once more."""
    first, count = context.settings.prior_attempts, context.settings.closed_book_audit
    if not count or not draft.closed_book:
        return draft
    again = [_samples(guesser, draft.question, count, first) for guesser in context.guessers]
    said = {name: answers for samples in again for name, answers in samples.items()}
    records = [
        replace(
            record,
            audit_samples=len(said.get(record.guesser, ())),
            audit_hits=_hits(draft, said.get(record.guesser, ()), context),
        )
        for record in draft.closed_book
    ]
    return replace(draft, closed_book=tuple(records))


def _ask(guesser: Guesser, draft: Draft, context: GateContext) -> list[ClosedBook]:
    """One record for every model behind the guesser."""
    samples = _samples(guesser, draft.question, context.settings.prior_attempts, 0)
    return [
        ClosedBook(name, tuple(dict.fromkeys(a for a in said if a)), len(said), _hits(draft, said, context))
        for name, said in samples.items()
    ]


def _samples(guesser: Guesser, question: str, attempts: int, first: int) -> dict[str, list[str | None]]:
    """Answers by model, from sample `first` on. A guesser that does not sample gives its next likeliest answers."""
    if not isinstance(guesser, SamplingGuesser):
        return {guesser.name: list(guesser.guess(question, first + attempts)[first:])}
    said: dict[str, list[str | None]] = {}
    for name, answer in guesser.samples(question, attempts, first):
        said.setdefault(name, []).append(answer)
    return said


def _hits(draft: Draft, answers: Sequence[str | None], context: GateContext) -> int:
    return sum(is_guessed(draft.question, draft.answer, answer, context.judge) for answer in answers if answer)
