"""A draft: a question on its way through the gates.

A recipe makes a `Draft` or a `Rejected`; a gate returns a `Verdict`; the funnel turns a draft that passed everything into
a row of `questions`, and everything else into a row of `rejects` with its gate, reason and spend.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal as OneOf

from datagen.knowledge.formula import Query
from datagen.records.question import (
    Answer,
    Attempt,
    Certificate,
    ClosedBook,
    Hop,
    Obfuscation,
    OracleCheck,
    Verdict,
)

Recipe = OneOf["infoseek", "duetqa", "chains"]
STAGES = ("propose", "grow", "prove", "answer", "verbalise")
"""Where a candidate can end inside its recipe, in order; the gates come after."""


@dataclass(frozen=True, slots=True)
class Draft:
    """Everything known about a candidate before verification."""

    candidate: int
    """Index of the candidate in the run; with the run's seed it reproduces the draft alone."""
    recipe: Recipe
    query: Query
    question: str
    question_raw: str
    """The wording before obfuscation; equal to `question` where the recipe has no such step."""
    answer: Answer
    certificate: Certificate | None
    """None where facts cannot be joined; such a row is marked and never guessed."""
    hidden_names: tuple[str, ...]
    """Names and aliases of the answer and of every internal entity: none may occur in the question."""
    themes: tuple[str, ...] = ()
    themes_used: tuple[str, ...] = ()
    mode: str = ""
    """duetqa: mixture or seeded; infoseek: the stop that ended growth."""
    seed_id: str | None = None
    hops: tuple[Hop, ...] = ()
    obfuscations: tuple[Obfuscation, ...] = ()
    proposer: str = ""
    verifiers: tuple[str, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    """Filled by the agreement gate."""
    guesses: tuple[str, ...] = ()
    """Distinct guesses of all guessers; filled by the prior gate, as is `closed_book`."""
    closed_book: tuple[ClosedBook, ...] = ()
    """The guesses by guesser."""
    oracle: OracleCheck | None = None
    """Filled by the oracle gate; None where it was not asked."""
    rivals: tuple[Attempt, ...] = ()
    """Searches for another answer, filled by the rivals gate; empty where a certificate excludes rivals."""
    wording: str = "grammar"
    """Who found the words, and what holds them to the meaning: "grammar" (the grammar, and they parse back), "parse_back"
    (a model, and they parse back), "entailment" (a model, and a judge took both for the same question), "model"."""
    spend: dict[str, int] = field(default_factory=dict)
    """Tool calls so far: searches, visits."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A candidate that ended. `gate` is the gate's name or the recipe's stage ("propose", "grow", "verbalise")."""

    candidate: int
    recipe: Recipe
    gate: str
    reason: str
    detail: str
    draft: Draft | None = None
    query: Query | None = None
    """The tree of a candidate that ended before it was a draft."""
    verdicts: tuple[Verdict, ...] = ()
    """What the gates said before and at the end; empty for a candidate that ended inside its recipe."""
    spend: dict[str, int] = field(default_factory=dict)
