"""Programs as policies: the solvers' own searches and visits as transcripts, with the thoughts that go with them.

    topdown, bottomup    what `TopDownSolver` and `BottomUpSolver` do, to the end
    hasty                starts like topdown and answers with the first thing that fits one clue, or leads to something
                         that fits one, and has been seen to break none; often right, seldom checked, sometimes wrong,
                         as hasty people are

Attempts differ by their number: in the order in which clues of equal promise are taken up, in whether a broad search
comes first, and in every word of the thoughts. Equal arguments give equal transcripts.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from datagen.agents.budget import Budget, Limits
from datagen.agents.roles import Policy
from datagen.agents.symbolic.bottomup import BottomUpSolver
from datagen.agents.symbolic.comparison import fold
from datagen.agents.symbolic.findings import Classes, Finding, NamedClue, clues_of
from datagen.agents.symbolic.logbook import Logbook, Turn, events_of_turn, turns_of
from datagen.agents.symbolic.narrating import Narrator
from datagen.agents.symbolic.page_memory import Competence, PageMemory
from datagen.agents.symbolic.solving import Found
from datagen.agents.symbolic.solving import attempt as solve_with
from datagen.agents.symbolic.topdown import TopDownSolver
from datagen.agents.symbolic.wordbank import Wordbank
from datagen.errors import ParseError
from datagen.knowledge.formula import ClueAddress, Edge, Node, Query
from datagen.records.ids import rng_for
from datagen.records.question import Attempt
from datagen.records.trajectory import Event, Shown, Termination, Transcript
from datagen.web.tools import Web

BROAD_SHARE = 0.3
"""Attempts that begin with the plain description."""
BROAD_HITS = 5
_DANGLING = re.compile(
    r"(?: (?:an?|and|as|at|between|by|first|for|from|has|have|in|is|its|of|on|or|that|the|their|there|this|to|was|were|what"
    r"|when|where|which|who|whose|with))+$"
)
"""Words that nobody ends a query with, where the cut left them."""
Solving = TopDownSolver | BottomUpSolver


class SymbolicPolicy:
    """A solver that is watched."""

    def __init__(
        self, name: str, solver: Callable[[Competence, Budget], Solving], competence: Competence, *, hasty: bool = False
    ) -> None:
        self.name = name
        self._solver = solver
        self._competence = competence
        self._hasty = hasty

    def roll_out(self, question: str, web: Web, *, attempt: int, limits: Limits) -> Transcript:
        rng = rng_for("policy", self.name, question, attempt)
        try:
            query = self._competence.parser.parse(question)
        except ParseError as exc:
            puzzled = Event(0, "thought", Wordbank(rng).say("close", "unclear"))
            return Transcript((puzzled,), None, "gave_up", detail=f"The question is outside the grammar: {exc}")
        book = Logbook(web)
        memory = PageMemory(book, self._competence, limits.budget)
        asked = query if attempt == 0 else replace(query, root=_reordered(query.root, rng))
        done = self._solve(question, memory, asked, limits.budget, broad=rng.random() < BROAD_SHARE)
        classes = Classes(self._competence.catalogue, self._competence.type_in_url)
        narrator = Narrator(query, classes, memory.readings, rng)
        told = _Telling(narrator, clues_of(query, self._competence.catalogue), query, limits)
        return told.transcript(turns_of(book.actions), done, hasty=self._hasty)

    def _solve(self, question: str, memory: PageMemory, query: Query, budget: Budget, *, broad: bool) -> Attempt:
        solver = self._solver(self._competence, budget)

        def find(memory: PageMemory, _root: Node) -> Found:
            if broad:
                memory.search(_described(question), top_k=BROAD_HITS)
            return solver.find(memory, query.root)

        return solve_with(self.name, memory, self._competence.parser, question, find)


Settled = tuple[Finding, str, str | None]
"""What convinced, the answer, and its key."""


def _reordered(node: Node, rng: random.Random) -> Node:
    """The same conditions in another order; solvers take up what looks equally good in the order given."""
    clues = [replace(c, child=_reordered(c.child, rng)) if isinstance(c, Edge) else c for c in node.clues]
    rng.shuffle(clues)
    return Node(node.type, tuple(clues))


def _described(question: str) -> str:
    """The first sentence or so of the question, as somebody in a hurry would paste it."""
    return _DANGLING.sub("", " ".join(question.rstrip("?.").split()[:24]))


@dataclass(slots=True)
class _Telling:
    """One attempt turned into a transcript."""

    narrator: Narrator
    clues: Sequence[NamedClue]
    query: Query
    limits: Limits

    def transcript(self, turns: Sequence[Turn], done: Attempt, *, hasty: bool) -> Transcript:
        events: list[Event] = []
        limit = self.limits.turns
        later = [{action.url for action in turn} for turn in turns]
        for number in reversed(range(len(turns) - 1)):
            later[number] |= later[number + 1]
        for number, turn in enumerate(turns):
            if limit is not None and number >= limit - 1:
                return Transcript(tuple(events), None, "turns")
            reaction = self.narrator.reaction(turns[number - 1], turn, later[number]) if number else ""
            settled = self._settled() if hasty and number else None
            if settled is not None:
                return self._answer_hastily(events, number, reaction, settled)
            thought = (
                self.narrator.thought(reaction, turns[number - 1], turn) if number else self.narrator.opening(turn)
            )
            if thought:
                events.append(Event(number, "thought", thought))
            events += events_of_turn(number, turn)
        reaction = self.narrator.last_reaction(turns[-1]) if turns else ""
        return self._concluded(events, len(turns), reaction, done)

    def _concluded(self, events: list[Event], number: int, reaction: str, done: Attempt) -> Transcript:
        if done.answer is None:
            thought = f"{reaction} {self.narrator.end.giving_up(done.failure or '')}".strip()
            ended: Termination = "budget" if done.failure == "budget" else "gave_up"
            events.append(Event(number, "thought", thought))
            return Transcript(tuple(events), None, ended, detail=done.failure or "")
        named = done.answer if self.query.ask is None else self._root_name(done.answer)
        value = done.answer if self.query.ask is not None else None
        closing = self.narrator.end.closing(named, value)
        events.append(Event(number, "thought", f"{reaction} {closing}".strip()))
        sources = tuple(Shown(url) for url in done.evidence_urls if url in done.urls)
        events.append(Event(number, "answer", done.answer, documents=sources))
        return Transcript(tuple(events), done.answer, "answered", done.answer_key)

    def _root_name(self, value: str) -> str:
        """What the pages call the thing whose value this is: the one with most behind it among those that have it."""
        about = [f for f in self.narrator.findings if self._is_at(f, ())]
        names = {f.name: f.subject for f in about if f.bearing != "differs"}
        having = [n for n, key in names.items() if self._asked_of(key) == value]
        return max(having or names, key=self.narrator.end.supports, default="it")

    # Haste -----------------------------------------------------------------------------------------------------------

    def _settled(self) -> Settled | None:
        """An answer as soon as something fits one clue, itself or by what it leads to, and
        breaks none.
        """
        about = [f for f in self.narrator.findings if self._is_at(f, ())]
        out = {f.subject for f in about if f.bearing == "differs"}
        given = {fold(clue.constant) for clue in self.clues if clue.constant is not None}
        for found in about:
            if found.subject in out or fold(found.name) in given or not self._convinces(found):
                continue
            if self.query.ask is None:
                return found, found.name, found.subject
            value = self._asked_of(found.subject)
            if value is not None:
                return found, value, None
        return None

    def _convinces(self, found: Finding) -> bool:
        """Whether it fits, or leads to something at the clue's far end that does."""
        if found.bearing == "fits":
            return True
        place = self.clues[found.clue].address
        there = {f.bearing for f in self.narrator.findings if self._is_at(f, place) and f.subject == found.far}
        return "fits" in there and "differs" not in there

    def _is_at(self, found: Finding, place: ClueAddress) -> bool:
        return self.clues[found.clue].address[:-1] == place

    def _asked_of(self, subject: str) -> str | None:
        """The asked value of a thing, where a page that was read states it."""
        stated = self.narrator.stated(subject, self.query.ask or "")
        return stated and stated[0]

    def _answer_hastily(self, events: list[Event], number: int, reaction: str, settled: Settled) -> Transcript:
        found, answer, key = settled
        urls = {found.fact.evidence.url: None}
        value = self.narrator.stated(found.subject, self.query.ask or "")
        if value is not None and self.query.ask is not None:
            urls[value[1]] = None
        asked = answer if self.query.ask is not None else None
        if self.narrator.end.complete() == found.name:
            thought = self.narrator.end.closing(found.name, asked)  # nothing was left to check
        else:
            thought = self.narrator.end.settling(found, asked if answer not in reaction else None)
        events.append(Event(number, "thought", f"{reaction} {thought}".strip()))
        events.append(Event(number, "answer", answer, documents=tuple(map(Shown, urls))))
        return Transcript(tuple(events), answer, "answered", key)


def _named(
    name: str, solver: Callable[[Competence, Budget], Solving], *, hasty: bool = False
) -> Callable[[Competence], Policy]:
    def make(competence: Competence) -> Policy:
        return SymbolicPolicy(name, solver, competence, hasty=hasty)

    return make


SYMBOLIC_POLICIES: Mapping[str, Callable[[Competence], Policy]] = {
    "topdown": _named("topdown", TopDownSolver),
    "bottomup": _named("bottomup", BottomUpSolver),
    "hasty": _named("hasty", TopDownSolver, hasty=True),
}
