"""No one may answer without searching: every guess of every guesser must be wrong.

A guesser has no tools. The program knows how often each value of the asked type occurs in the whole corpus, which is what
a model's prior amounts to on a corpus it has never read; a model knows what it was trained on, and is asked several times
with other seeds. One hit drops the question, and guessers after the one that hit are not asked.

How much luck is left is measured, not assumed. The rate *before* is the share of drafts reaching this gate that were hit;
the rate *after* is that of `closed_book_audit` more samples of every guesser on the accepted questions. These stop
nothing: stopping on them would make the rate 0 and the true one unknown again.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from datagen.agents.roles import Guesser, SamplingGuesser
from datagen.errors import ConfigError
from datagen.records.question import ClosedBook, Verdict
from datagen.synthesis.answers import is_correct
from datagen.synthesis.draft import Draft
from datagen.verification.gate import GateContext, failed, passed


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
            asked.append(_ask(guesser, draft, context.settings.prior_attempts))
            if asked[-1].hits:
                break
        guesses = dict.fromkeys(answer for record in asked for answer in record.answers if answer)
        return replace(draft, closed_book=tuple(asked), guesses=tuple(guesses))

    def check(self, draft: Draft, context: GateContext) -> Verdict:  # noqa: ARG002  # the protocol's signature
        for record in draft.closed_book:
            for rank, guess in enumerate(record.answers, start=1):
                if is_correct(draft.answer, guess):
                    detail = f"guess {rank} of {record.guesser} was {guess!r}"
                    return failed(self.name, PriorReason.GUESSED, detail)
        samples = sum(record.samples for record in draft.closed_book)
        return passed(self.name, f"{samples} guesses of {len(draft.closed_book)} guesser(s), all wrong")


def _ask(guesser: Guesser, draft: Draft, attempts: int) -> ClosedBook:
    answers = _samples(guesser, draft.question, 0, attempts)
    return ClosedBook(guesser.name, answers, len(answers), _hits(draft, answers))


def audited(draft: Draft, context: GateContext) -> Draft:
    """An accepted draft with what the guessers say when asked once more."""
    first, count = context.settings.prior_attempts, context.settings.closed_book_audit
    if not count or not draft.closed_book:
        return draft
    records = []
    for record, guesser in zip(draft.closed_book, context.guessers, strict=True):
        answers = _samples(guesser, draft.question, first, count)
        records.append(replace(record, audit_samples=len(answers), audit_hits=_hits(draft, answers)))
    return replace(draft, closed_book=tuple(records))


def _samples(guesser: Guesser, question: str, first: int, count: int) -> tuple[str, ...]:
    """Samples `first` to `first + count - 1`. A guesser that does not sample gives its next likeliest answers."""
    if isinstance(guesser, SamplingGuesser):
        return guesser.samples(question, first, count)
    return guesser.guess(question, first + count)[first:]


def _hits(draft: Draft, answers: tuple[str, ...]) -> int:
    return sum(is_correct(draft.answer, answer) for answer in answers)
