"""Chains: the plainest questions that need several pages, each page naming the next.

    Aga Brun ── birthplace ──► Velmo ── in_region ──► Upper Trisk
    "Which region contains the town of which Aga Brun is a native?"

Every link is a relation of which an entity has one object at most, and every value is stated on the article about its
subject. So a chain has one answer and one way to it, which makes it a question for those who are still learning to search;
research trees and self-play ask what chains do not. The certificate is the same as theirs.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal as OneOf

from datagen.errors import WordingError
from datagen.knowledge.certificate import certify
from datagen.knowledge.formula import Constant, Edge, EntityRef, Match, Node, Query
from datagen.knowledge.graph import FactGraph
from datagen.records.ids import rng_for, seed_for
from datagen.synthesis.answers import answer_of, as_asked
from datagen.synthesis.draft import Draft, Rejected
from datagen.synthesis.settings import Writer

TRIES = 50
"""Beginnings that are tried before a candidate is given up."""
WORDINGS = 8
"""Wordings that are tried for one of the wanted sort."""
UNSEEN_OF = 5
"""One of so many sentence patterns is kept from training."""
Wordings = OneOf["any", "seen", "unseen"]


@dataclass(frozen=True, slots=True)
class ChainSettings:
    """Shapes of chains."""

    hops: Mapping[int, float] = field(default_factory=lambda: {1: 0.3, 2: 0.7})
    """Links of a chain, with the weight of each length."""
    relations: tuple[str, ...] = ()
    """Relations that links are made of; every one that fits where empty."""
    wordings: Wordings = "any"
    """Which sentence patterns: a fifth of them, by their hash, is kept for questions that are only ever asked in tests."""
    value_share: float = 0.35
    """Share of longer chains that ask for a date, a number or a word at their end, where there is one."""


@dataclass(frozen=True, slots=True)
class Link:
    """One step: what is looked up about whom, and what is found."""

    subject: EntityRef
    relation: str
    value: Constant


@dataclass(frozen=True, slots=True)
class Chain:
    """Links from the name that the question gives to the answer."""

    links: tuple[Link, ...]

    def query(self, graph: FactGraph) -> Query:
        """The chain as a formula: what is sought is the object of the last link."""
        first = self.links[0]
        node = Node(self._type(graph, first), (Match(first.relation, first.subject, inverse=True),))
        for link in self.links[1:]:
            if not isinstance(link.value, EntityRef):
                return Query(node, ask=link.relation)
            node = Node(self._type(graph, link), (Edge(link.relation, node, inverse=True),))
        return Query(node)

    @staticmethod
    def _type(graph: FactGraph, link: Link) -> str | None:
        assert isinstance(link.value, EntityRef)
        return graph.type(graph.id(link.value.key))

    @property
    def root(self) -> str:
        """Key of the entity that the formula's root stands for."""
        last = self.links[-1]
        return last.value.key if isinstance(last.value, EntityRef) else last.subject.key


class ChainGround:
    """What chains of one graph can be made of."""

    def __init__(self, graph: FactGraph, relations: Sequence[str] = ()) -> None:
        self.graph = graph
        wanted = set(relations) or set(graph.catalogue.relations)
        self._relations = {
            r.id for r in graph.catalogue.relations.values() if r.id in wanted and r.single and not r.changes
        }

    @cached_property
    def links(self) -> dict[str, dict[str, Link]]:
        """Key of an entity -> relation -> link, for entities with a name of their own."""
        graph = self.graph
        found: dict[str, dict[str, Link]] = {}
        for i in range(len(graph)):
            if graph.key(i) in self.named:
                links = {s.relation: Link(graph.ref(i), s.relation, s.value) for s in graph.outgoing(i)}
                kept = {r: link for r, link in links.items() if r in self._relations and self._on_article(i, r)}
                if kept:
                    found[graph.key(i)] = kept
        return found

    @cached_property
    def named(self) -> set[str]:
        """Keys of entities whose sort is known and whose name is theirs alone."""
        graph = self.graph
        names = Counter(graph.name(i) for i in range(len(graph)))
        return {graph.key(i) for i in range(len(graph)) if names[graph.name(i)] == 1 and graph.type(i) is not None}

    def _on_article(self, i: int, relation: str) -> bool:
        """Whether the article about the entity states the value, and no page another one."""
        facts = self.graph.facts(i, relation)
        own = any(fact.evidence.url == self.graph.key(i) for fact in facts)
        return own and len({fact.object_key or fact.object for fact in facts}) == 1

    @cached_property
    def starts(self) -> dict[str, list[str]]:
        """Relation -> keys of entities that a chain can begin with."""
        starts: dict[str, list[str]] = defaultdict(list)
        for key, links in self.links.items():
            for relation, link in links.items():
                if isinstance(link.value, EntityRef) and link.value.key in self.named:
                    starts[relation].append(key)
        return dict(starts)

    def draw(self, hops: int, value_share: float, rng: random.Random) -> Chain | None:
        """A chain of this many links; the first relation is drawn evenly, for some are a hundred times as frequent."""
        relations = sorted(self.starts)
        for _ in range(TRIES):
            if not relations:
                return None
            relation = rng.choice(relations)
            first = self.links[rng.choice(self.starts[relation])][relation]
            chain = self._prolonged([first], hops, wants_value=rng.random() < value_share, rng=rng)
            if chain is not None:
                return chain
        return None

    def _prolonged(self, links: list[Link], hops: int, *, wants_value: bool, rng: random.Random) -> Chain | None:
        while len(links) < hops:
            value, seen = links[-1].value, {link.subject.key for link in links}
            options = self.links.get(value.key, {}) if isinstance(value, EntityRef) else {}
            things, values = self._options(options, seen)
            last = len(links) == hops - 1
            chosen = values if last and wants_value and values else things
            if not chosen:
                return None
            links.append(rng.choice(chosen))
        return Chain(tuple(links))

    def _options(self, options: Mapping[str, Link], seen: set[str]) -> tuple[list[Link], list[Link]]:
        """Links to things that were not passed yet, and links to values that can be asked for."""
        things, values = [], []
        for relation, link in options.items():
            if isinstance(link.value, EntityRef):
                if link.value.key in self.named and link.value.key not in seen:
                    things.append(link)
            elif self.graph.catalogue.relations[relation].ask:
                values.append(link)
        return things, values


@dataclass(frozen=True, slots=True)
class ChainDraft:
    """A question with the chain that it asks for, which whoever shows the way needs."""

    draft: Draft
    chain: Chain


def make_chain(
    candidate: int, seed: int, ground: ChainGround, writer: Writer, settings: ChainSettings
) -> ChainDraft | Rejected:
    """One candidate; equal arguments give equal questions."""
    rng = rng_for(seed, "chains", candidate)
    hops = rng.choices(list(settings.hops), list(settings.hops.values()))[0]
    chain = ground.draw(hops, settings.value_share, rng)
    if chain is None:
        return Rejected(candidate, "chains", "grow", "no_chain", f"no chain of {hops} links was found")
    query = chain.query(ground.graph)
    proof = certify(ground.graph, query)
    if proof.answer_set != (chain.root,) or not proof.unique:
        return Rejected(candidate, "chains", "prove", "not_unique", "something else could match", query=query)
    answer = answer_of(ground.graph, query, chain.root)
    if answer is None:
        return Rejected(candidate, "chains", "answer", "no_single_value", "the value cannot be graded", query=query)
    try:
        words = _worded(query, chain, writer, settings.wordings, rng)
    except WordingError as exc:
        return Rejected(candidate, "chains", "verbalise", "no_words", str(exc), query=query)
    if words is None:
        return Rejected(candidate, "chains", "verbalise", "other_wording", "no wording of that sort", query=query)
    hidden = tuple(link.value.name for link in chain.links if isinstance(link.value, EntityRef))
    if any(name in words for name in hidden):
        return Rejected(candidate, "chains", "verbalise", "names_a_link", "a name holds another one", query=query)
    draft = Draft(
        candidate=candidate,
        recipe="chains",
        query=query,
        question=words,
        question_raw=words,
        answer=as_asked(answer, words),
        certificate=proof,
        hidden_names=hidden,
        mode=f"{hops} links",
    )
    return ChainDraft(draft, chain)


def _worded(query: Query, chain: Chain, writer: Writer, wanted: Wordings, rng: random.Random) -> str | None:
    """Words of the wanted sort; None where a few tries found none."""
    for _ in range(WORDINGS):
        words = writer.write(query, rng)
        if wanted == "any" or is_unseen(pattern_of(words, chain)) == (wanted == "unseen"):
            return words
    return None


def pattern_of(question: str, chain: Chain) -> str:
    """The sentence without the name that it gives, as in "Which town is the birthplace of *?"."""
    return question.replace(chain.links[0].subject.name, "*")


def is_unseen(pattern: str) -> bool:
    """Whether a sentence pattern is one of those that are kept for tests."""
    return seed_for("wording", pattern) % UNSEEN_OF == 0
