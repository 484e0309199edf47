"""Grounding: from what a reader quotes to the fact of the graph that the quoted words state.

A claim in free words joins the graph where three things meet: the words it quotes overlap the evidence of a fact, it is
about that fact's subject, and its object is that fact's object. The relation's words only decide between facts that agree
in all of this. What does not join stays a claim; nothing is added to the graph on its word.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from datagen.knowledge.catalogue import Relation
from datagen.knowledge.graph import FactGraph
from datagen.knowledge.literals import contains, normalise_text, parse_literal
from datagen.records.fact import Fact


@dataclass(frozen=True, slots=True)
class Quotation:
    """A claim and where it is quoted from: `url`, characters `start` to `end` of the page's text."""

    subject: str
    relation: str
    object: str
    url: str
    start: int
    end: int


class Grounder:
    """Finds facts for claims. Safe for threads."""

    def __init__(self, graph: FactGraph) -> None:
        self._graph = graph

    def ground(self, claim: Quotation, about: Iterable[str] = ()) -> Fact | None:
        """The fact that a claim states; `about` are keys that its subject is known to have, else names decide."""
        subjects = [i for key in about if (i := self._graph.find(key)) is not None] or self.named(claim.subject)
        found = [fact for i in subjects for fact in self._stated(i, claim)]
        if not found:
            return None
        words = set(normalise_text(claim.relation).split())
        return max(found, key=lambda fact: len(words & self._words(fact.relation)))

    def named(self, name: str) -> list[int]:
        """Entities that go by a name, in the graph's order."""
        return self._by_name.get(normalise_text(name), [])

    def _stated(self, i: int, claim: Quotation) -> Iterator[Fact]:
        """Facts about an entity that the quoted words state.

        What the graph has heard and does not believe joins as well, so that the proof can fail by it: a rumour that
        joined nothing would pass for a claim that nobody has spoken of.
        """
        for relation in self._graph.relations:
            for fact in self._graph.facts(i, relation.id):
                if states(claim, fact) and self.same_object(claim.object, fact, relation):
                    yield fact

    def same_object(self, words: str, fact: Fact, relation: Relation) -> bool:
        """Whether `words` mean the object of the fact."""
        said = normalise_text(words)
        if said == normalise_text(fact.object):
            return True
        if fact.object_key is not None:
            i = self._graph.find(fact.object_key)
            return i is not None and said in {normalise_text(n) for n in (self._graph.name(i), *self._graph.aliases(i))}
        if fact.literal is None or fact.literal.kind == "text":
            return False
        value = parse_literal(words, fact.literal.kind, relation.unit)
        return value is not None and (contains(fact.literal, value) or contains(value, fact.literal))

    def _words(self, relation_id: str) -> set[str]:
        relation = self._graph.catalogue.relations[relation_id]
        return set(normalise_text(f"{relation.label} {relation.id.replace('_', ' ')}").split())

    @cached_property
    def _by_name(self) -> dict[str, list[int]]:
        names: dict[str, list[int]] = defaultdict(list)
        for i in range(len(self._graph)):
            for name in {normalise_text(n) for n in (self._graph.name(i), *self._graph.aliases(i))}:
                names[name].append(i)
        return dict(names)


def states(claim: Quotation, fact: Fact) -> bool:
    """Whether the quoted words overlap the fact's evidence."""
    evidence = fact.evidence
    return evidence.url == claim.url and claim.start < evidence.end and evidence.start < claim.end
