"""The knobs of both recipes, and the workbench they work at.

Settings hold what a config turns; the workbench holds what a process loads once: the web, the fact graph, the words and
the cast. Both are passed to `make_infoseek` and `make_duetqa`, which are pure functions of (candidate, seed) beside them.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from datagen.agents.roles import Browser, Judge, Obfuscator, Planner, Proposer, Rewriter, SeedQuestion
from datagen.knowledge.catalogue import Catalogue
from datagen.knowledge.formula import Query
from datagen.knowledge.graph import FactGraph
from datagen.synthesis.themes import Taxonomy
from datagen.web.tools import Web


class Writer(Protocol):
    """Words from formulas; `language.verbalise.Verbaliser` is one."""

    def write(self, query: Query, rng: random.Random) -> str: ...


class Reader(Protocol):
    """Formulas from words; `language.parse.Parser` is one."""

    def parse(self, text: str) -> Query: ...


@dataclass(frozen=True, slots=True)
class InfoseekSettings:
    """Shapes of research trees. Shares need not add up to one; they are weights."""

    depth: Mapping[int, float] = field(default_factory=lambda: {2: 0.55, 3: 0.3, 4: 0.1, 5: 0.05})
    vertices: Mapping[int, float] = field(
        default_factory=lambda: {
            3: 0.05,
            4: 0.2,
            5: 0.25,
            6: 0.25,
            7: 0.1,
            8: 0.06,
            9: 0.04,
            10: 0.03,
            11: 0.01,
            12: 0.01,
        }
    )
    ask_share: float = 0.3
    """Share of trees whose answer is a literal of the root (a date, a number) instead of its name."""
    max_steps: int = 40
    """Actions after which an unfinished tree is given up."""
    obfuscate: float = 0.5
    """Chance that a clue that could be vaguer is made so."""


@dataclass(frozen=True, slots=True)
class DuetqaSettings:
    """Self-play questions."""

    theme_counts: tuple[int, ...] = (5, 6, 7)
    """How many themes one candidate samples, each count as likely as the others."""
    domains: tuple[str, ...] = ()
    """Domains of the taxonomy to sample themes from; empty for all of them."""
    seeded_share: float = 0.5
    """Share of candidates that rebuild a seed question's skeleton; the others mix themes freely."""
    obfuscate: float = 0.8
    """Chance that a clue that could be vaguer is made so."""
    cutoff: str | None = None
    """Day (ISO) that the newest hop must reach; checked before any other work, and again by the dates gate."""


@dataclass(frozen=True, slots=True)
class Workbench:
    """What a process loads once and every candidate shares. Nothing in it changes."""

    web: Web
    graph: FactGraph
    catalogue: Catalogue
    verbaliser: Writer
    parser: Reader
    planner: Planner | None = None
    browser: Browser | None = None
    proposers: tuple[Proposer, ...] = ()
    """duetqa: M1 and M2; which one proposes is drawn per candidate, and both verify."""
    taxonomy: Taxonomy | None = None
    seed_questions: tuple[SeedQuestion, ...] = ()
    obfuscator: Obfuscator | None = None
    """Chooses which clues become vaguer; without one, chance does."""
    rewriter: Rewriter | None = None
    """Says certified questions in its own words, and writes those that no grammar can."""
    rewriter_share: float = 1.0
    """Share of certified questions that are said in other words where there is a rewriter."""
    judge: Judge | None = None
    """Decides whether other words still ask the same, where they cannot be read back."""
