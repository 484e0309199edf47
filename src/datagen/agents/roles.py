"""The roles of the recipes as small protocols. A recipe is their interplay; a cast is who plays them.

Every role is deterministic given its arguments: randomness comes in as `rng`, the outside world as `web`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Protocol

from datagen.knowledge.formula import Query
from datagen.records.fact import Fact
from datagen.records.question import Attempt, Hop
from datagen.web.tools import Web


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a DUETQA proposer found and chained: the meaning, and the facts it rests on, each with its source."""

    query: Query
    hops: tuple[Hop, ...]
    facts: tuple[Fact, ...]
    themes_used: tuple[str, ...]
    searches: int
    visits: int


@dataclass(frozen=True, slots=True)
class NoProposal:
    """Why a proposer came back empty-handed; `reason` is a short code for the rejects table."""

    reason: str
    detail: str
    searches: int
    visits: int


class Proposer(Protocol):
    """Gathers facts through the tools only and chains a subset of them into a multi-hop query (spec fathom §1.3)."""

    name: str

    def propose(
        self, themes: tuple[str, ...], seed_question: str | None, web: Web, rng: random.Random
    ) -> Proposal | NoProposal: ...


class Solver(Protocol):
    """Answers a question through the tools. Sees the question, the tools and page text; never the fact graph."""

    name: str

    def solve(self, question: str, web: Web) -> Attempt: ...


class Guesser(Protocol):
    """Answers with no tools at all: from the question's words and the corpus-wide prior of the answer's type."""

    name: str

    def guess(self, question: str, attempts: int) -> tuple[str, ...]:
        """At most `attempts` distinct answers, the most probable first."""
        ...
