"""Describing a member of a class that is known completely, where no page lists who shares what.

Country profiles are the example: every country has a page, none lists those that border one another. Two or three
claims of the member are taken that exclude most of the members read so far, and one of its links may lead to another
member, described the same way. Members that were not read cannot be excluded one by one, so the description is a good
guess with a claim to spare; the certificate says whether it is enough, and idle claims are pruned then.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from datagen.agents.symbolic.describing_parts import Claim, Description, Step
from datagen.agents.symbolic.page_memory import PageMemory
from datagen.agents.symbolic.standing import Statement, Status, is_nameless
from datagen.knowledge.catalogue import Relation
from datagen.knowledge.formula import Clue, Edge, EntityRef, Match, Node

RIVALS_READ = 30
"""Members whose statements are compared; a member's profile holds a hundred statements."""
RELATIONS_TRIED = 24
LEAF_CLAIMS = (3, 4)
MIN_EXCLUDED = 0.5
"""Share of the compared members that a claim has to exclude."""
LINKS_TRIED = 4


class ClassDescriber:
    """Builds descriptions of members of whole classes from one notebook."""

    def __init__(
        self,
        memory: PageMemory,
        rng: random.Random,
        clues_for: Callable[[Statement], list[Clue]],
        preferences: Mapping[str, float],
    ) -> None:
        self._memory = memory
        self._notebook = memory.notebook
        self._relations = tuple(memory.notebook.catalogue.relations.values())
        self._rng = rng
        self._clues_for = clues_for
        self._preferences = preferences

    def describe(self, key: str, hops: int, hidden: frozenset[str]) -> Description | None:
        """A few sharp claims and, while hops are left, an edge to another member."""
        hidden |= {key}
        self._memory.read(key)
        kind = self._notebook.types.get(key)
        read = [k for k in self._memory.visited if k != key and self._notebook.types.get(k) == kind]
        rivals = self._rng.sample(read, min(RIVALS_READ, len(read)))
        claims = self._claims(key, rivals)
        if kind is None or not claims:
            return None
        steps = [Step(key, claim.clue, claim.statement) for claim in claims]
        clues: list[Clue] = [claim.clue for claim in claims]
        link = self._link(key, hops, hidden)
        if link is not None:
            clues.append(link[0].clue)
            steps += link
        return Description(key, Node(kind, tuple(clues)), tuple(steps))

    def _claims(self, key: str, rivals: list[str]) -> list[Claim]:
        """Claims over different relations, each of which excludes many of the rivals; seed hints come first."""
        wanted = self._rng.choice(LEAF_CLAIMS)
        usable = [r for r in self._relations if r.clue and r.single and not r.changes and r.object_kind != "entity"]
        drawn = self._rng.sample(usable, len(usable))
        drawn.sort(key=lambda r: -self._preferences.get(r.id, 1.0))
        found: list[Claim] = []
        for relation in drawn[:RELATIONS_TRIED]:
            claim = self._sharpest(key, relation, rivals)
            if claim is not None:
                found.append(claim)
            if len(found) == wanted:
                break
        return found

    def _sharpest(self, key: str, relation: Relation, rivals: list[str]) -> Claim | None:
        """The widest of the relation's clues that excludes enough rivals but not all; words nobody shares are a name."""
        stated = self._notebook.settled(key, relation, None)
        if len(stated) != 1:
            return None
        for clue in reversed(self._clues_for(stated[0])):
            statuses = {k: self._notebook.check(k, clue)[0] for k in rivals}
            if relation.object_kind == "text" and Status.YES not in statuses.values():
                continue
            excludes = frozenset(k for k, status in statuses.items() if status is Status.NO)
            if MIN_EXCLUDED * len(rivals) <= len(excludes) < len(rivals):
                return Claim(clue, stated[0], excludes)
        return None

    def _link(self, key: str, hops: int, hidden: frozenset[str]) -> list[Step] | None:
        """An edge to a described member, or the member's name where no hop is left, with all steps below it."""
        links = [
            (relation, statement)
            for relation in self._relations
            if relation.object_kind == "entity" and relation.clue and not relation.changes
            for statement in self._notebook.statements(key, relation.id, None)
            if statement.fact.object_key not in hidden and not is_nameless(statement.fact.object_key or "entity:")
        ]
        for relation, statement in self._rng.sample(links, min(LINKS_TRIED, len(links))):
            other = statement.fact.object_key or ""
            if hops <= 0:
                name = self._notebook.names.get(other, statement.fact.object)
                return [Step(key, Match(relation.id, EntityRef(other, name)), statement, other)]
            child = self.describe(other, hops - 1, hidden)
            if child is not None:
                return [Step(key, Edge(relation.id, child.node), statement, other), *child.steps]
        return None
