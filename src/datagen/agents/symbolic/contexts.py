"""Who is left at a vertex: the accounting by which growth knows that a tree has one answer and no idle clue.

A tree falls into *contexts*. A context has a closed pool, the entities that its root vertex can be at all, and below it
the vertices that are reached over single-valued relations. For every member of the pool the statements say which entity
stands at each of those vertices, so a clue anywhere in the context excludes members of the pool:

    context root    club            pool: the 20 clubs that play in the Northern League (a complete list)
      clue          founded 1900s   excludes 15 of them
      edge          plays_at        -> stadium, for each club its ground
        clue        opened 1930s    excludes the clubs whose ground opened in another decade

A tree is identified when one member of each pool is left, and a clue is needed when it alone excludes some member. A
pool comes from a complete list named by a leaf clue, from a class that is known completely, or from a *closing* edge, the first clue of a context root, whose
child is a context of its own: the list belongs to the child ("clubs of [a league that ...]"), or the child points here
with its only object ("the ground of [a club that ...]").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from datagen.agents.roles import ResearchTree
from datagen.agents.symbolic.claims import Claim, ClaimBook, is_list
from datagen.knowledge.arrays import Ids, Mask
from datagen.knowledge.catalogue import Catalogue
from datagen.knowledge.formula import ClueAddress, Edge, EntityRef, IsA, Match, Node, walk_nodes
from datagen.knowledge.graph import FactGraph

MAX_CLASS = 2_000
"""A complete class up to this size is a pool by itself."""
UNKNOWN = -1
"""Stands where no settled statement says which entity a member of the pool leads to."""


@dataclass(frozen=True, slots=True)
class Place:
    """A vertex of a context: its own entity, and for each member of the pool the entity that stands there."""

    address: ClueAddress
    node: Node
    entity: int
    values: Ids

    @property
    def excludable(self) -> Mask:
        """Members that some clue at this vertex could exclude."""
        mask: Mask = (self.values != UNKNOWN) & (self.values != self.entity)
        return mask


@dataclass(frozen=True, slots=True)
class Context:
    """Vertices that share one pool; `excluded` has one row per leaf clue, one column per member."""

    root: ClueAddress
    pool: Ids
    places: tuple[Place, ...]
    excluded: npt.NDArray[np.bool_]

    @property
    def alive(self) -> Mask:
        """Rivals that no clue excludes yet."""
        own = self.places[0].values == self.places[0].entity
        mask: Mask = ~self.excluded.any(axis=0) & ~own
        return mask

    def place(self, at: ClueAddress) -> Place:
        return next(p for p in self.places if p.address == at)


class Contexts:
    """Reads contexts off a tree; a pure function of the tree and the graph."""

    def __init__(self, graph: FactGraph, book: ClaimBook) -> None:
        self._graph = graph
        self._catalogue: Catalogue = graph.catalogue
        self._book = book

    def entity(self, tree: ResearchTree, at: ClueAddress) -> int:
        return self._graph.id(dict(tree.vertices)[at])

    def root_of(self, tree: ResearchTree, at: ClueAddress) -> ClueAddress:
        """Address of the context root that the vertex belongs to."""
        root: ClueAddress = ()
        while root != at and at[len(root)] == 0 and self.closing(tree, root) is not None:
            root = (*root, 0)
        return root

    def closing(self, tree: ResearchTree, at: ClueAddress) -> Claim | None:
        """The first edge of a context root as a claim, if it closes the pool by itself."""
        node = node_at(tree.query.root, at)
        if not node.clues or not isinstance(node.clues[0], Edge):
            return None
        edge = node.clues[0]
        entity, child = self.entity(tree, at), self.entity(tree, (*at, 0))
        relation = self._catalogue.relations[edge.relation]
        claim = (
            self._book.pointed(entity, edge.relation, child, edge.as_of)
            if edge.inverse
            else self._book.towards(entity, relation, child, edge.as_of)
        )
        return claim if claim.closed is not None and (is_list(claim) or edge.inverse) else None

    def pool(self, tree: ResearchTree, root: ClueAddress) -> Ids | None:
        """The closed pool of a context; None while no clue closes it."""
        closing = self.closing(tree, root)
        if closing is not None:
            return closing.closed
        entity = self.entity(tree, root)
        for clue in node_at(tree.query.root, root).clues:
            claim = None if isinstance(clue, Edge | IsA) else self._as_claim(entity, clue)
            if claim is not None and is_list(claim):
                return claim.closed
        return self._whole_class(node_at(tree.query.root, root).type)

    def _whole_class(self, type_id: str | None) -> Ids | None:
        """All that may be of a class which is known completely."""
        if type_id is None or not self._graph.type_closed(type_id):
            return None
        members = self._graph.maybe_members(type_id)
        return members if len(members) <= MAX_CLASS else None

    def read(self, tree: ResearchTree, root: ClueAddress, pool: Ids) -> Context:
        """The context with this root over this pool."""
        places: list[Place] = []
        self._collect(tree, root, node_at(tree.query.root, root), pool, places)
        rows = [
            self.excludes(place, self._as_claim(place.entity, clue))
            for place in places
            for clue in place.node.clues
            if not isinstance(clue, Edge | IsA)
        ]
        excluded = np.array(rows, np.bool_).reshape(len(rows), len(pool))
        return Context(root, pool, tuple(places), excluded[excluded.any(axis=1)] if rows else excluded)

    def _collect(self, tree: ResearchTree, at: ClueAddress, node: Node, values: Ids, places: list[Place]) -> None:
        places.append(Place(at, node, self.entity(tree, at), values))
        closes = self.closing(tree, at) is not None and at == self.root_of(tree, at)
        for index, clue in enumerate(node.clues):
            if isinstance(clue, Edge) and not (closes and index == 0):
                self._collect(tree, (*at, index), clue.child, self.follow(values, clue.relation, clue.as_of), places)

    def follow(self, values: Ids, relation: str, day: str | None) -> Ids:
        """From each entity to its one object, over a single-valued relation."""
        view = self._graph.view(relation, day)
        reached = np.full(len(values), UNKNOWN, np.int32)
        known = np.flatnonzero(values != UNKNOWN)
        position, objects = view.pairs(values[known])
        reached[known[position]] = objects
        # A page of low trust that says otherwise keeps its value possible, so nothing follows from the settled one.
        reached[known[view.maybe_pairs(values[known])[0]]] = UNKNOWN
        return reached

    def excludes(self, place: Place, claim: Claim) -> Mask:
        """Members of the pool that a claim at this vertex excludes."""
        mask = np.zeros(len(place.values), np.bool_)
        known = np.flatnonzero(place.values != UNKNOWN)
        if len(known):
            mask[known] = ~self._book.survivors(claim, place.node.type, place.values[known])
        return mask

    def _as_claim(self, entity: int, clue: object) -> Claim:
        if isinstance(clue, Match) and isinstance(clue.value, EntityRef):
            other = self._graph.id(clue.value.key)
            if clue.inverse:
                return self._book.pointed(entity, clue.relation, other, clue.as_of)
            return self._book.towards(entity, self._catalogue.relations[clue.relation], other, clue.as_of)
        return Claim(clue, None, None)  # type: ignore[arg-type]


def node_at(root: Node, at: ClueAddress) -> Node:
    return dict(walk_nodes(root))[at]


def all_needed(rows: Sequence[Mask]) -> list[bool]:
    """For each row of exclusions whether it alone excludes some member."""
    if not rows:
        return []
    table = np.array(rows, np.bool_)
    alone = table.sum(axis=0) == 1
    return [bool(row[alone].any()) for row in table]
