"""DUETQA's proposer as a model: it searches for the themes, reads, and chains what it found into a question's claims.

Everything it says is held against what it saw: a claim's quote must stand in a window that was visited. Claims then join
the fact graph where they are grounded (`proposing.Joiner`), and the recipe computes the certificate there.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict

import orjson

from datagen.agents.budget import Budget, Limits
from datagen.agents.llm.fencing import section
from datagen.agents.llm.loop import FinalTool, Researched, research
from datagen.agents.llm.proposing import Joiner, ProposalArguments, Told, problems_of
from datagen.agents.llm.quoting import words_at
from datagen.agents.llm.voice import Voice, draw
from datagen.agents.roles import NoProposal, Outline, Proposal, SeedQuestion
from datagen.errors import UnusableReplyError
from datagen.knowledge.graph import FactGraph
from datagen.records.question import Hop
from datagen.web.tools import Web

PROPOSE = FinalTool("propose", "End the research with your proposal.", ProposalArguments, problems_of)
DEFAULT_BUDGET = Budget(searches=60, visits=250)


class LlmProposer:
    """One model that proposes; two of them check each other."""

    def __init__(
        self,
        voice: Voice,
        name: str,
        graph: FactGraph,
        *,
        cutoff: str,
        min_hosts: int = 2,
        complete_types: Sequence[str] = (),
        budget: Budget | None = None,
    ) -> None:
        self.name = name
        self._voice = voice
        self._joiner = Joiner(graph)
        self._cutoff = cutoff
        self._min_hosts = min_hosts
        self._complete = tuple(complete_types)
        self._budget = budget or DEFAULT_BUDGET

    def propose(
        self, themes: tuple[str, ...], seed_question: SeedQuestion | None, web: Web, rng: random.Random
    ) -> Proposal | NoProposal:
        opening = self._voice.opening(
            "proposer",
            themes=[section("theme", words, number=number) for number, words in enumerate(themes, start=1)],
            seed_question=_shown_seed(seed_question),
            cutoff=self._cutoff,
            hosts=self._min_hosts,
            complete_types=", ".join(self._complete),
            searches=self._budget.searches,
            visits=self._budget.visits,
        )
        seed = draw("proposer", self.name, *themes, seed_question.id if seed_question else "", rng.getrandbits(31))
        done = research(self._voice, opening, web, PROPOSE, Limits(self._budget), seed=seed)
        if done.value is None:
            return NoProposal(
                "budget", "the searches and visits were spent before a proposal stood", done.searches, done.visits
            )
        if not done.value.claims:
            return NoProposal("no_chain", done.value.failure or "no reason given", done.searches, done.visits)
        return self._proposal(done.value, done, themes)

    def _proposal(
        self, said: ProposalArguments, done: Researched[ProposalArguments], themes: tuple[str, ...]
    ) -> Proposal:
        told = self._joiner.told(said, done.windows)
        if len(told) < len(said.claims):
            raise UnusableReplyError(f"{self.name} proposed claims without their quotes.", "no_quoted_claims")
        names = {vertex.id: vertex.name for vertex in said.vertices}
        return Proposal(
            query=self._joiner.to_query(said, told),
            hops=tuple(_hop(each, names) for each in told),
            facts=tuple(each.fact for each in told if each.fact is not None),
            themes_used=tuple(themes[n - 1] for n in said.themes_used if 1 <= n <= len(themes)),
            searches=done.searches,
            visits=done.visits,
            answer=_answer(said, told, names),
            names=tuple(names.values()),
            outline=_outline(said, told),
        )


def _shown_seed(seed: SeedQuestion | None) -> str:
    """The model question whose shape is to be kept, in words and as a tree."""
    if seed is None:
        return ""
    question = section("model_question", seed.text, id=seed.id, asks=seed.asks)
    return f"{question}\n{section('shape', orjson.dumps(asdict(seed.skeleton)).decode())}"


def _answer(said: ProposalArguments, told: Sequence[Told], names: dict[str, str]) -> str:
    asked = next((each.claim.object for each in told if each.asked), None)
    return names[said.answer] if asked is None else asked


def _outline(said: ProposalArguments, told: Sequence[Told]) -> Outline:
    """The claims by letter, without the one that states what is asked for."""
    shown = [each for each in told if not each.asked]
    return Outline(
        kinds=tuple((v.id, v.kind) for v in said.vertices),
        claims=tuple((each.claim.subject, each.claim.relation, each.claim.object) for each in shown),
        answer=said.answer,
        asked=said.asked,
        days=tuple(_day(each) for each in shown),
        asked_day=next((_day(each) for each in told if each.asked), None),
    )


def _day(told: Told) -> str | None:
    """The day of a statement; for one that the graph does not know, whether days matter is for the writer to see."""
    return told.fact.as_of if told.fact is not None else told.window.published_at


def _hop(told: Told, names: dict[str, str]) -> Hop:
    claim, window = told.claim, told.window
    subject, value = (names.get(end, end) for end in (claim.subject, claim.object))
    return Hop(
        entity_in=subject,
        relation=told.fact.relation if told.fact is not None else claim.relation,
        entity_out=value,
        fact=f"{subject} | {claim.relation}: {value}",
        url=window.url,
        host=window.host,
        source_kind=window.source_kind,
        published_at=window.published_at,
        as_of=told.fact.as_of if told.fact is not None else None,
        quote=words_at(window, told.start, told.end),
    )
