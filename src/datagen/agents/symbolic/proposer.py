"""The symbolic DUETQA proposer: facts for the themes, then a chain of descriptions over them (spec fathom §1.3).

    1  gather    every theme is searched, pages are visited, links followed (see `gathering`)
    2  chain     an entity of the harvest becomes the answer and is described by what the pages state, hop by hop
                 (see `describing`); a seed question's skeleton says how many hops and which relations are wanted
    3  source    each used fact is credited to the page that states it; other hosts are preferred over one more
                 page of the same
    4  accept    at least three facts, one stated on or after the cut-off day, from at least two
                 hosts, and no single page that states them all

Nothing but the tools is used: what was not read on a visited page is not in the proposal. The proposal's uniqueness is
the proposer's belief; the certificate is computed by others.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from datagen.agents.budget import Budget
from datagen.agents.roles import NoProposal, Proposal, SeedQuestion, SkeletonNode
from datagen.agents.symbolic.comparison import fold
from datagen.agents.symbolic.describing import Describer
from datagen.agents.symbolic.describing_parts import Description, Step
from datagen.agents.symbolic.gathering import Harvest, Temperament, gather
from datagen.agents.symbolic.page_memory import BudgetSpentError, Competence, PageMemory
from datagen.agents.symbolic.solving import STOP_WORDS, plural
from datagen.agents.symbolic.standing import Statement, is_nameless, same_object
from datagen.knowledge.catalogue import Catalogue, Relation
from datagen.knowledge.formula import Node, Query, depth
from datagen.records.question import Hop
from datagen.web.tools import Web

DEFAULT_CUTOFF = "2024-01-01"
ROOTS_TRIED = 24
MIN_DEPTH = 2
MIN_STEPS = 3
"""Facts of a chain; two make a question that one page and one click answer."""
MIN_HOSTS = 2
"""Hosts that state a chain's hops, unless the corpus has but one."""
HINTED = 4.0
"""How much likelier a relation is taken that a seed question's hint speaks of."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A description that could become a proposal, with the sources chosen for its steps."""

    description: Description
    ask: str | None
    ask_as_of: str | None
    steps: tuple[Step, ...]
    themes: tuple[str, ...]

    @property
    def hosts(self) -> int:
        return len({_host(s.statement.url) for s in self.steps})

    def is_recent(self, cutoff: str) -> bool:
        return any(s.statement.published_at >= cutoff or (s.statement.fact.as_of or "") >= cutoff for s in self.steps)


@dataclass(slots=True)
class _Tried:
    """What came of the chains that were tried."""

    why: str
    miss: tuple[str, str] = ("", "")
    spare: Chain | None = None
    joined: Chain | None = None

    def __post_init__(self) -> None:
        self.miss = ("no_chain", self.why)


class SymbolicProposer:
    """A proposer of one temperament; two with different ones are M1 and M2."""

    def __init__(
        self,
        name: str,
        competence: Competence,
        temperament: Temperament,
        *,
        cutoff: str = DEFAULT_CUTOFF,
        min_hosts: int = MIN_HOSTS,
        min_steps: int = MIN_STEPS,
        complete_types: Iterable[str] = (),
        budget: Budget | None = None,
    ) -> None:
        self.name = name
        self._competence = competence
        self._temperament = temperament
        self.cutoff = cutoff
        self.min_hosts = min_hosts
        self.min_steps = min_steps
        self.complete_types = frozenset(complete_types)
        """Types that the config declares complete: their members are told apart from the whole class."""
        self._budget = budget or Budget(searches=60, visits=250)

    def propose(
        self, themes: tuple[str, ...], seed_question: SeedQuestion | None, web: Web, rng: random.Random
    ) -> Proposal | NoProposal:
        memory = PageMemory(web, self._competence, self._budget)
        session = _Session(memory, self, rng)
        try:
            harvest = gather(memory, themes, self._temperament, rng)
            outcome = session.chain(harvest, themes, seed_question)
        except BudgetSpentError:
            outcome = ("budget", "the searches or visits of one proposal were spent before a chain stood")
        if isinstance(outcome, Chain):
            return session.proposal(outcome)
        reason, detail = outcome
        return NoProposal(reason, detail, memory.searches, memory.visits)


class _Session:
    """One proposal in the making."""

    def __init__(self, memory: PageMemory, proposer: SymbolicProposer, rng: random.Random) -> None:
        self._memory = memory
        self._notebook = memory.notebook
        self._catalogue: Catalogue = memory.notebook.catalogue
        self._cutoff = proposer.cutoff
        self._min_hosts = proposer.min_hosts
        self._min_steps = proposer.min_steps
        self._complete_types = proposer.complete_types
        self._rng = rng

    def chain(self, harvest: Harvest, themes: tuple[str, ...], seed: SeedQuestion | None) -> Chain | tuple[str, str]:
        """The first chain that joins two themes, else the first at all."""
        roots = self._roots(seed)
        if not roots:
            return "no_facts", f"{self._memory.visits} visits brought no entity with linked facts"
        describer = Describer(self._memory, self._rng, self._preferences(seed, themes), self._complete_types)
        hops = max(2, _hops(seed.skeleton)) if seed else self._rng.choice((2, 3, 3))
        tried = _Tried(f"none of {len(roots)} entities could be described in {self._min_steps} steps or more")
        try:
            for key in roots[:ROOTS_TRIED]:
                description = describer.describe(key, hops, frozenset())
                if description is not None and self._is_long_enough(description):
                    self._weigh(self._sourced(description, harvest, themes, seed), tried)
                if tried.joined is not None:
                    return tried.joined
        except BudgetSpentError:
            if tried.spare is None:
                raise
        return tried.spare or tried.miss

    def _is_long_enough(self, description: Description) -> bool:
        return len(description.steps) >= self._min_steps and depth(description.node) >= MIN_DEPTH

    def _weigh(self, chain: Chain, tried: _Tried) -> None:
        """What a chain is good for: a proposal of two themes, one of a single theme, or none."""
        if not chain.is_recent(self._cutoff):
            tried.miss = ("nothing_recent", f"no hop of the chain is stated on or after {self._cutoff}")
        elif chain.hosts < self._min_hosts:
            tried.miss = ("one_host", "all hops of the chain are stated on one host")
        elif self._on_one_page(chain.description):
            tried.miss = ("one_page", "one page states all hops of the chain")
        elif len(chain.themes) > 1:
            tried.joined = chain
        else:
            tried.spare = tried.spare or chain

    def _roots(self, seed: SeedQuestion | None) -> list[str]:
        """Entities with a page that the notebook knows something about; those of a seed's class come first."""
        keys = [k for k in self._notebook.types if not is_nameless(k) and k in self._notebook.names]
        self._rng.shuffle(keys)
        if seed is None:
            return keys
        wanted = fold(seed.skeleton.hint)
        return sorted(keys, key=lambda k: self._class_words(k) != wanted)

    def _class_words(self, key: str) -> str:
        return fold(self._catalogue.types[self._notebook.types[key]].singular)

    def _preferences(self, seed: SeedQuestion | None, themes: tuple[str, ...]) -> Mapping[str, float]:
        """Relations whose label shares a word with a hint of the skeleton; in a whole class also with a theme."""
        told = [*(_hints(seed.skeleton) if seed else ()), *(themes if self._complete_types else ())]
        words = {w for text in told for w in fold(text).split() if len(w) > 2}
        return {r.id: HINTED for r in self._catalogue.relations.values() if words & _label_words(r)}

    def _sourced(
        self, description: Description, harvest: Harvest, themes: tuple[str, ...], seed: SeedQuestion | None
    ) -> Chain:
        """Credit every step to a page, a new host first, recent pages first; then decide what is asked."""
        self._look_elsewhere(description)
        hosts: set[str] = set()
        steps: list[Step] = []
        for step in description.steps:
            options = self._sources(step.statement)
            best = min(
                options,
                key=lambda s: (_is_encyclopedic(s), _host(s.url) in hosts, s.published_at < self._cutoff, s.url),
            )
            hosts.add(_host(best.url))
            steps.append(replace(step, statement=best))
        ask = self._ask(description, seed)
        if ask is not None:
            steps.insert(0, Step(description.key, description.node.clues[0], ask))
        return Chain(
            description,
            ask.fact.relation if ask else None,
            ask.fact.as_of if ask else None,
            tuple(steps),
            self._themes(steps, harvest, themes),
        )

    def _look_elsewhere(self, description: Description) -> None:
        """One search per described entity for other pages that speak of it: news, official sites."""
        keys = dict.fromkeys(step.key for step in description.steps)
        queries = [f"{self._notebook.names[key]} {RECENT}" for key in keys]
        self._memory.expect_searches(queries, top_k=4)
        found = [hit.url for query in queries for hit in self._memory.search(query, top_k=4)[:3]]
        self._memory.read_all(found)

    def _on_one_page(self, description: Description) -> bool:
        """Whether some visited page states every hop: reading that one page would do."""
        pages = [{s.url for s in self._sources(step.statement)} for step in description.steps]
        return bool(set.intersection(*pages))

    def _sources(self, statement: Statement) -> list[Statement]:
        fact = statement.fact
        day = fact.as_of
        found = self._notebook.statements(fact.subject, fact.relation, day)
        return [s for s in found if same_object(s.fact, fact)] or [statement]

    def _ask(self, description: Description, seed: SeedQuestion | None) -> Statement | None:
        """The literal that is asked for, if one is: a settled value that no clue of the answer gives away."""
        wants = seed.asks if seed else self._rng.choice(("entity", "date", "number"))
        if wants == "entity":
            return None
        used = {s.statement.fact.relation for s in description.steps if s.key == description.key}
        relations = list(self._catalogue.relations.values())
        for relation in self._rng.sample(relations, len(relations)):
            if relation.object_kind == wants and relation.ask and relation.single and relation.id not in used:
                found = self._notebook.settled(description.key, relation, None)
                if len(found) == 1 and found[0].fact.literal is not None:
                    return found[0]
        return None

    def _themes(self, steps: list[Step], harvest: Harvest, themes: tuple[str, ...]) -> tuple[str, ...]:
        """Themes that brought a used page, or that speak of the class of a described entity."""
        relations = self._catalogue.relations
        said = {w for s in steps for w in _label_words(relations[s.statement.fact.relation])}
        told = tuple(t for t in themes if said & set(fold(t).split()))
        if told and self._complete_types:  # every page of a class speaks of all themes; the used facts do not
            return told
        used = {harvest.theme_of.get(s.statement.url) for s in steps}
        for key in {s.key for s in steps}:
            kind = self._notebook.types.get(key)
            if kind is not None:
                words = {self._class_words(key), fold(plural(self._catalogue, kind))}
                used |= {theme for theme in themes if any(w in fold(theme) for w in words)}
        return tuple(theme for theme in themes if theme in used)

    def proposal(self, chain: Chain) -> Proposal:
        root: Node = chain.description.node
        return Proposal(
            query=Query(root, chain.ask, chain.ask_as_of),
            hops=tuple(self._hops(chain)),
            facts=tuple(s.statement.fact for s in chain.steps),
            themes_used=chain.themes,
            searches=self._memory.searches,
            visits=self._memory.visits,
        )

    def _hops(self, chain: Chain) -> Iterator[Hop]:
        for step in chain.steps:
            fact, evidence = step.statement.fact, step.statement.fact.evidence
            subject = self._notebook.names.get(fact.subject, fact.subject)
            yield Hop(
                entity_in=subject,
                relation=fact.relation,
                entity_out=fact.object,
                fact=f"{subject} | {self._catalogue.relations[fact.relation].label}: {fact.object}",
                url=evidence.url,
                host=_host(evidence.url),
                source_kind=evidence.source_kind,
                published_at=evidence.published_at,
                as_of=fact.as_of,
                quote=evidence.quote,
            )


RECENT = "news official"
PLAIN_WORDS = STOP_WORDS | {"total", "rate", "name", "number", "national", "country", "countries", "level", "years"}
"""Words of labels that say nothing of their subject."""


def _label_words(relation: Relation) -> set[str]:
    return {w for w in fold(f"{relation.label} {relation.id.replace('_', ' ')}").split() if w not in PLAIN_WORDS}


def _is_encyclopedic(statement: Statement) -> bool:
    return statement.fact.evidence.source_kind == "encyclopedia"


def _host(url: str) -> str:
    return url.split("/")[2] if "://" in url else url


def _hops(skeleton: SkeletonNode) -> int:
    """Edges on the longest path of a skeleton; at least one, or there would be nothing to chain."""
    below = [_hops(c.child) for c in skeleton.clues if c.child is not None and any(k.child for k in c.child.clues)]
    edges = any(c.child is not None for c in skeleton.clues)
    return 1 + max(below, default=0) if edges else 1


def _hints(skeleton: SkeletonNode) -> Iterator[str]:
    for clue in skeleton.clues:
        yield clue.hint
        if clue.child is not None:
            yield from _hints(clue.child)
