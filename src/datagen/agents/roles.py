"""The roles of the recipes as small protocols. A recipe is their interplay; a cast is who plays them.

Every role is deterministic given its arguments: randomness comes in as `rng`, the outside world as `web`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal as OneOf
from typing import Protocol, runtime_checkable

from datagen.agents.budget import Limits
from datagen.knowledge.formula import ClueAddress, Query
from datagen.records.fact import Fact
from datagen.records.page import Page
from datagen.records.question import Attempt, Hop
from datagen.records.trajectory import Transcript
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
    answer: str = ""
    """The answer as the proposer says it; where the query is proven, the proof says it again."""
    names: tuple[str, ...] = ()
    """What the described things are called, the answer among them."""
    outline: Outline | None = None
    """The same claims without the names of what is to be found, for whoever puts them into words."""


@dataclass(frozen=True, slots=True)
class Outline:
    """A question before it has words: letters for what has to be found, and what is said of it."""

    kinds: tuple[tuple[str, str], ...]
    """(letter, sort of thing)."""
    claims: tuple[tuple[str, str, str], ...]
    """(subject, relation, object); a letter, or a name, date or number that the question may state."""
    answer: str
    """Letter of the thing asked for."""
    asked: str = ""
    """A relation of it whose object is asked for; empty for its name."""
    days: tuple[str | None, ...] = ()
    """For each claim the day it was stated for, where what it says may be otherwise on another day."""
    asked_day: str | None = None
    """The same for what is asked."""


@dataclass(frozen=True, slots=True)
class NoProposal:
    """Why a proposer came back empty-handed; `reason` is a short code for the rejects table."""

    reason: str
    detail: str
    searches: int
    visits: int


@dataclass(frozen=True, slots=True)
class SkeletonClue:
    """One clue of a seed question's skeleton. `child` is set exactly where the shape is "edge"."""

    shape: OneOf["constant", "interval", "class", "edge"]
    hint: str
    """What the relation is about, in plain words ("opening year"); a proposer takes the nearest that the pages have."""
    child: SkeletonNode | None = None


@dataclass(frozen=True, slots=True)
class SkeletonNode:
    """One vertex of a skeleton: what sort of thing it is, in plain words, and its clues."""

    hint: str
    clues: tuple[SkeletonClue, ...]


@dataclass(frozen=True, slots=True)
class SeedQuestion:
    """A model question whose multi-hop skeleton a proposer keeps while it fills in other facts."""

    id: str
    text: str
    asks: OneOf["entity", "date", "number"]
    skeleton: SkeletonNode


class Proposer(Protocol):
    """Gathers facts through the tools only and chains a subset of them into a multi-hop query (spec fathom §1.3)."""

    name: str

    def propose(
        self, themes: tuple[str, ...], seed_question: SeedQuestion | None, web: Web, rng: random.Random
    ) -> Proposal | NoProposal:
        """`themes` are search words, one string per theme; without a seed question the facts are chained freely."""
        ...


class Solver(Protocol):
    """Answers a question through the tools. Sees the question, the tools and page text; never the fact graph."""

    name: str

    def solve(self, question: str, web: Web) -> Attempt: ...


class Policy(Protocol):
    """Attempts a question through the tools and keeps a log of all it did; sees what a solver sees and nothing else."""

    name: str

    def roll_out(self, question: str, web: Web, *, attempt: int, limits: Limits) -> Transcript:
        """One attempt; `attempt` numbers independent tries, and equal arguments give equal transcripts.

        Raises what the infrastructure raises (`EndpointError`, ...). A model that writes nonsense is no exception: its
        transcript ends as `malformed`.
        """
        ...


class Guesser(Protocol):
    """Answers with no tools at all: from the question's words and the corpus-wide prior of the answer's type."""

    name: str

    def guess(self, question: str, attempts: int) -> tuple[str, ...]:
        """At most `attempts` distinct answers, the most probable first."""
        ...


@runtime_checkable
class SamplingGuesser(Protocol):
    """A guesser that draws, alone or for several models: asked with another number, it may say something else."""

    name: str

    def guess(self, question: str, attempts: int) -> tuple[str, ...]: ...

    def samples(self, question: str, attempts: int, first: int = 0) -> tuple[tuple[str, str | None], ...]:
        """(model, answer) of the samples numbered `first` to `first + attempts - 1` of every model; None for no guess."""
        ...


@dataclass(frozen=True, slots=True)
class ResearchTree:
    """An InfoSeek tree while it grows: the formula, and the entity that stands behind every vertex of it.

    Growth only appends clues, so an address keeps its meaning. The question never names these entities.
    """

    query: Query
    vertices: tuple[tuple[ClueAddress, str], ...]
    """(address of the edge that leads to the vertex, `()` for the root; entity key)."""


@dataclass(frozen=True, slots=True)
class GrowthTarget:
    """What a tree shall become, drawn by the recipe from its configured distributions."""

    depth: int
    vertices: int
    """In InfoSeek's sense, `formula.count_vertices`: entity vertices plus one per leaf clue."""
    ask_literal: bool = False
    """The answer shall be a literal of the root (a date, a number), not the root's name."""


@dataclass(frozen=True, slots=True)
class TreeAction:
    """The planner's next step: one of InfoSeek's four actions, and the vertex it concerns."""

    kind: OneOf["initialise", "blur", "extend", "terminate"]
    at: ClueAddress = ()
    claims: int = 0
    """blur: how many clues to add, none of whose candidate sets contains another's."""
    reason: str = ""
    """terminate: why growth ends ("target met", ...)."""


@dataclass(frozen=True, slots=True)
class NoGrowth:
    """Why an action could not be carried out; `reason` is a short code for the rejects table."""

    reason: str
    detail: str


class Planner(Protocol):
    """Chooses the next action from the tree alone; sees no page (spec infoseek_webexplorer §1.4)."""

    def plan(
        self, tree: ResearchTree | None, target: GrowthTarget, last: NoGrowth | None, rng: random.Random
    ) -> TreeAction:
        """`tree` None asks for "initialise"; `last` is the failure of the previous action, None after a success."""
        ...


class Browser(Protocol):
    """Carries an action out from the pages of the vertex's entity, by what they state and link to."""

    def act(
        self, action: TreeAction, tree: ResearchTree | None, target: GrowthTarget, rng: random.Random
    ) -> ResearchTree | NoGrowth: ...


class Obfuscator(Protocol):
    """Makes a clue vaguer by choosing among wordings that were computed, so that it cannot break the proof."""

    name: str

    def choose(self, clue: str, options: tuple[str, ...], rng: random.Random) -> int | None:
        """Index of the vaguer wording to use for the clue; None leaves it as it is."""
        ...


class Rewriter(Protocol):
    """Says a question in other words; whether it still asks the same is for others to check."""

    name: str

    def reword(self, question: str, rng: random.Random) -> str: ...

    def write(self, outline: Outline, rng: random.Random) -> str:
        """A question for claims that no formula holds. The names of what is to be found are not shown to the writer."""
        ...


class Judge(Protocol):
    """Compares; a judge that fails raises, it never answers "no" instead."""

    name: str

    def same_answer(self, question: str, expected: str, given: str) -> bool:
        """Whether `given` is the answer `expected` in other words."""
        ...

    def same_question(self, first: str, second: str) -> bool:
        """Whether both ask for the same thing under the same conditions, with none added and none missing."""
        ...


class RivalSeeker(Protocol):
    """Looks for another entity that meets every clue of a question."""

    name: str

    def seek(self, question: str, known: str, web: Web, attempt: int) -> Attempt:
        """`answer` None means that none was found. `attempt` numbers independent tries."""
        ...


class OpenBookReader(Protocol):
    """Answers from given pages alone, with no tools: gold pages among distractors."""

    name: str

    def read(self, question: str, pages: tuple[Page, ...], attempt: int) -> str | None: ...
