"""What a gate is: a question put to a draft, answered with a verdict and a reason.

A gate lives in one file, names its reasons in one enumeration, and says nothing about order; `cost` ranks it, and
`verification.funnel` runs the cheap ones first. Some gates have to try something before they can judge (solvers search,
guessers guess, readers read): they do that in `work`, which returns the draft with the attempts filled in, so that
`check` stays a pure function of the draft and a test can hand it any attempt it likes.

A draft without a certificate passes the gates that read one with the reason "uncertified"; `rivals` then decides.

    class Leak:
        name, cost = "leak", 10
        def check(self, draft, context) -> Verdict: ...

Adding a gate: one file, one enumeration, one line in `funnel.standard_gates`, one planted-fault test.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, runtime_checkable

from datagen.agents.roles import Guesser, Judge, OpenBookReader, RivalSeeker, Solver
from datagen.knowledge.catalogue import Catalogue
from datagen.knowledge.formula import Query
from datagen.records.question import Verdict
from datagen.synthesis.draft import Draft, Recipe
from datagen.verification.contamination import BenchmarkIndex
from datagen.web.tools import Web

UNCERTIFIED = "uncertified"
"""Reason of a gate that reads the certificate and passes on a draft that has none."""
NO_RIVAL_SEARCH = "no_proof_and_no_rival_search"
"""Reason where a draft has neither a certificate nor anybody who could look for rivals."""


@dataclass(frozen=True, slots=True)
class SourceRule:
    """How varied the evidence of one recipe has to be. With `relaxed`, a miss passes and the row says so."""

    min_hosts: int = 1
    min_kinds: int = 1
    max_encyclopedia_share: float = 1.0
    relaxed: bool = False


@dataclass(frozen=True, slots=True)
class GateSettings:
    """The thresholds of all gates."""

    min_identifying_clues: int = 2
    """m*: a smallest identifying subset below this means the rest of the question is idle. Never below 2."""
    min_documents: int = 2
    """Fewest pages that together state all clues; 1 would mean a single page answers everything."""
    shortcut_top_k: int = 1
    """The answer may not be readable among this many first results of the question or of one clue as a query."""
    prior_attempts: int = 3
    """Guesses of every guesser without tools, all of which must be wrong."""
    closed_book_audit: int = 1
    """Guesses of every guesser on an accepted question, made with other seeds; they stop nothing."""
    rival_attempts: int = 3
    """Searches of every seeker for another answer to a question without a certificate."""
    oracle_attempts: int = 0
    """Tries to answer from the gold pages among distractors, all of which must succeed; 0 leaves the check out."""
    oracle_distractors: int = 4
    """Pages that look right and state no clue, shown beside the gold ones."""
    min_tool_calls: int = 2
    """Searches plus visits that every solver needed at least; fewer means no research was needed."""
    max_answer_words: int = 12
    cutoff: str | None = None
    """Day (ISO) that the newest evidence must reach where the recipe wants something recent."""
    fresh_recipes: tuple[Recipe, ...] = ("duetqa",)
    """Recipes whose newest evidence must reach the cutoff."""
    sources: Mapping[str, SourceRule] = field(default_factory=dict)
    """Missing recipes have the default rule."""


class Writer(Protocol):
    """Words from formulas; `language.verbalise.Verbaliser` is one."""

    def write(self, query: Query, rng: random.Random) -> str: ...


@dataclass(frozen=True, slots=True)
class GateContext:
    """What gates may use besides the draft."""

    web: Web
    catalogue: Catalogue
    verbaliser: Writer
    settings: GateSettings
    solvers: tuple[Solver, ...] = ()
    guessers: tuple[Guesser, ...] = ()
    trial_solvers: tuple[Solver, ...] = ()
    """Tries at accepted questions that stop nothing: what share succeeds is the question's difficulty for them."""
    benchmarks: BenchmarkIndex | None = None
    rival_seekers: tuple[RivalSeeker, ...] = ()
    open_book: OpenBookReader | None = None
    judge: Judge | None = None
    """Compares answers that words alone do not settle."""


class Gate(Protocol):
    name: str
    cost: int

    def check(self, draft: Draft, context: GateContext) -> Verdict: ...


@runtime_checkable
class WorkingGate(Protocol):
    """A gate that has to try something first."""

    name: str
    cost: int

    def work(self, draft: Draft, context: GateContext) -> Draft:
        """The draft with what was tried filled in, and its `spend` raised by the tool calls that took."""
        ...

    def check(self, draft: Draft, context: GateContext) -> Verdict: ...


def passed(gate: str, detail: str = "") -> Verdict:
    return Verdict(gate, passed=True, detail=detail)


def uncertified(gate: str) -> Verdict:
    return Verdict(gate, passed=True, reason=UNCERTIFIED, detail="no certificate; the search for rivals decides")


def failed(gate: str, reason: StrEnum, detail: str) -> Verdict:
    return Verdict(gate, passed=False, reason=reason.value, detail=detail)
