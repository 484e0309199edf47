"""InfoSeek's browser: carries out the planner's actions with what the pages of a vertex's entity state.

    initialise    an entity becomes the answer; one related child is attached
    extend        a child vertex over a stated relation, to an entity that can itself be described
    blur          k claims that together with the vertex's edges leave one entity, none of them idle

"None of them idle" is InfoSeek's rule S(c_i) not in S(c_j) and more: a claim whose candidates contain another's adds
nothing beside it, so it would be idle. One claim or edge of a vertex is closed (see `claims`), the others exclude the
members of that closed set; so a vertex is identified through its own clues although the web is open. `agents.symbolic.
planner` is the other half.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from datagen.agents.roles import GrowthTarget, NoGrowth, ResearchTree, TreeAction
from datagen.agents.symbolic.claims import MAX_CLOSED, Claim, ClaimBook
from datagen.knowledge.arrays import Ids, Mask
from datagen.knowledge.formula import ClueAddress, Edge, IsA, Match, Node, Query, add_clue, walk_nodes
from datagen.knowledge.graph import FactGraph
from datagen.knowledge.taxonomy import PAGELESS

RESTARTS = 5
CLAIMS_TRIED = 8
"""Claims beside the closed one that a blur looks at per restart."""
ANCHORS_TRIED = 12
LINKS_TRIED = 8


@dataclass(frozen=True, slots=True)
class BrowserSettings:
    """Distributions of the browser's choices."""

    pointer: float = 0.3
    """Chance that a new child points at its parent ("the ground of ...") where that is possible."""


class SymbolicBrowser:
    """Grows research trees over one fact graph; keeps claims of recent entities, nothing else."""

    name = "symbolic"

    def __init__(self, graph: FactGraph, settings: BrowserSettings | None = None) -> None:
        self._graph = graph
        self._catalogue = graph.catalogue
        self._settings = settings or BrowserSettings()
        self._book = ClaimBook(graph)
        self._anchors = _anchors(graph)
        self._weights = [len(ids) ** 0.5 for ids in self._anchors.values()]

    def act(
        self, action: TreeAction, tree: ResearchTree | None, target: GrowthTarget, rng: random.Random
    ) -> ResearchTree | NoGrowth:
        if action.kind == "initialise":
            return self._initialise(target, rng)
        if tree is None:
            raise ValueError(f"{action.kind} needs a tree; the first action is initialise")
        if action.kind == "extend":
            return self._extend(tree, action.at, target, rng)
        if action.kind == "blur":
            return self._blur(tree, action.at, action.claims, rng)
        raise ValueError("terminate is for the recipe: a browser has nothing left to do")

    # Initialise ---------------------------------------------------------------------------------------------------

    def _initialise(self, target: GrowthTarget, rng: random.Random) -> ResearchTree | NoGrowth:
        if not self._anchors:
            return NoGrowth("no_anchor", "no entity with a page is in a complete list or pointed to")
        for _ in range(ANCHORS_TRIED):
            ids = rng.choices(list(self._anchors.values()), self._weights)[0]
            anchor = int(ids[rng.randrange(len(ids))])
            query = Query(Node(self._graph.type(anchor), ()))
            if target.ask_literal:
                asked = self._ask(anchor, rng)
                if asked is None:
                    continue
                query = replace(query, ask=asked[0], ask_as_of=asked[1])
            tree = ResearchTree(query, (((), self._graph.key(anchor)),))
            grown = self._extend(tree, (), target, rng)
            if isinstance(grown, ResearchTree):
                return grown
        return NoGrowth("no_anchor", f"none of {ANCHORS_TRIED} entities drawn has a related one to start with")

    def _ask(self, i: int, rng: random.Random) -> tuple[str, str | None] | None:
        """A literal that the question can ask for."""
        found = []
        for stated in self._graph.outgoing(i):
            relation = self._catalogue.relations[stated.relation]
            if stated.object_id is None and relation.ask and relation.single and relation.object_kind != "text":
                found.append((relation.id, stated.as_of))
        return rng.choice(found) if found else None

    # Extend -------------------------------------------------------------------------------------------------------

    def _extend(
        self, tree: ResearchTree, at: ClueAddress, target: GrowthTarget, rng: random.Random
    ) -> ResearchTree | NoGrowth:
        entity, node = self._vertex(tree, at)
        hidden = self._hidden(tree)
        last = len(at) + 2 >= target.depth
        if not node.clues and rng.random() < self._settings.pointer:
            link = self._choose(self._book.pointers(entity), entity, hidden, rng, last=last)
            if link is not None:
                return self._attach(tree, at, link)
        used = {c.relation for c in node.clues if not isinstance(c, IsA)} | ({tree.query.ask} if not at else set())
        forward = [c for c in self._book.claims(entity) if c.other is not None and c.clue.relation not in used]
        link = self._choose([c for c in forward if not c.pins], entity, hidden, rng, last=last)
        if link is None and not node.clues:
            link = self._choose(self._book.pointers(entity), entity, hidden, rng, last=last)
        if link is None:
            return NoGrowth("no_link", f"{self._graph.name(entity)} has no link to an entity that can be described")
        return self._attach(tree, at, link)

    def _choose(
        self, claims: Sequence[Claim], entity: int, hidden: frozenset[int], rng: random.Random, *, last: bool
    ) -> Claim | None:
        """A link to an entity that can be described; rare ends are likelier than places everyone links to."""
        open_ends = [c for c in claims if c.other is not None and c.other not in hidden]
        for _ in range(min(LINKS_TRIED, len(open_ends))):
            weights = [1.0 / (1 + len(c.closed)) ** 0.5 if c.closed is not None else 0.5 for c in open_ends]
            claim = rng.choices(open_ends, weights)[0]
            other = claim.other
            assert other is not None
            known = self._graph.type(other) is not None and self._book.is_describable(other, entity)
            if known and (last or any(c.other is not None for c in self._book.claims(other))):
                return claim
            open_ends.remove(claim)
            if not open_ends:
                break
        return None

    def _attach(self, tree: ResearchTree, at: ClueAddress, link: Claim) -> ResearchTree:
        assert isinstance(link.clue, Match)
        assert link.other is not None
        child = Node(self._graph.type(link.other), ())
        edge = Edge(link.clue.relation, child, link.clue.inverse, link.clue.as_of)
        address = (*at, len(self._vertex(tree, at)[1].clues))
        root = add_clue(tree.query.root, at, edge)
        return ResearchTree(replace(tree.query, root=root), (*tree.vertices, (address, self._graph.key(link.other))))

    # Blur ---------------------------------------------------------------------------------------------------------

    def _blur(self, tree: ResearchTree, at: ClueAddress, claims: int, rng: random.Random) -> ResearchTree | NoGrowth:
        entity, _ = self._vertex(tree, at)
        hidden = self._hidden(tree)
        fixed = self._edges_as_claims(tree, at)
        used = {c.clue.relation for c in fixed} | ({tree.query.ask} if not at else set())
        options = [c for c in self._book.claims(entity) if c.other not in hidden and c.clue.relation not in used]
        best: list[Claim] | None = None
        for _ in range(RESTARTS):
            chosen = self._determine(entity, fixed, options, claims, rng)
            if chosen is not None and (best is None or abs(len(chosen) - claims) < abs(len(best) - claims)):
                best = chosen
            if best is not None and len(best) == claims:
                break
        if best is None:
            detail = f"no claims of {self._graph.name(entity)} single it out beside {len(fixed)} edges"
            return NoGrowth("not_determined", detail)
        root = tree.query.root
        for claim in best:
            root = add_clue(root, at, claim.clue)
        return replace(tree, query=replace(tree.query, root=root))

    def _determine(
        self, entity: int, fixed: list[Claim], options: list[Claim], wanted: int, rng: random.Random
    ) -> list[Claim] | None:
        """Claims that with the edges leave the entity alone, each needed; None where this draw fails."""
        closed_edges = [c for c in fixed if c.closed is not None]
        chosen: list[Claim] = []
        if closed_edges:
            pool = min((c.closed for c in closed_edges if c.closed is not None), key=len)
        else:
            closers = [c for c in options if c.closed is not None and 1 < len(c.closed) <= MAX_CLOSED]
            if not closers:
                return None
            closer = rng.choice(closers)
            assert closer.closed is not None
            chosen, pool = [closer], closer.closed
        if len(pool) > MAX_CLOSED or entity not in pool:
            return None
        return self._cover(pool, fixed, chosen, _drawn(options, chosen, wanted, rng), wanted)

    def _cover(
        self, pool: Ids, fixed: list[Claim], chosen: list[Claim], options: list[Claim], wanted: int
    ) -> list[Claim] | None:
        edge_masks = [self._book.survivors(c, pool) for c in fixed]
        left = _all_of(edge_masks, len(pool))
        masks = [(c, self._book.survivors(c, pool)) for c in options]
        # Few claims wanted: the sharpest first. Many: the vaguest first, so that several are needed.
        masks.sort(key=lambda pair: int(pair[1].sum()), reverse=wanted > 2)
        taken: list[tuple[Claim, Mask]] = []
        for claim, mask in masks:
            if int(left.sum()) == 1:
                break
            if int((left & mask).sum()) < int(left.sum()):
                taken.append((claim, mask))
                left = left & mask
        if int(left.sum()) != 1:
            return None
        for pair in list(taken):
            others = [m for c, m in taken if c is not pair[0]]
            if int(_all_of([*edge_masks, *others], len(pool)).sum()) == 1:
                taken.remove(pair)
        for position, edge in enumerate(fixed):
            others = edge_masks[:position] + edge_masks[position + 1 :] + [m for _, m in taken]
            lone_closer = edge.closed is not None and not chosen
            if not lone_closer and int(_all_of(others, len(pool)).sum()) == 1:
                return None
        found = [*chosen, *(c for c, _ in taken)]
        return found or None

    # The tree -----------------------------------------------------------------------------------------------------

    def _vertex(self, tree: ResearchTree, at: ClueAddress) -> tuple[int, Node]:
        return self._graph.id(dict(tree.vertices)[at]), dict(walk_nodes(tree.query.root))[at]

    def _hidden(self, tree: ResearchTree) -> frozenset[int]:
        return frozenset(self._graph.id(key) for _, key in tree.vertices)

    def _edges_as_claims(self, tree: ResearchTree, at: ClueAddress) -> list[Claim]:
        """The vertex's edges, each with the child's entity in its place: children are described before parents."""
        entity, node = self._vertex(tree, at)
        keys = dict(tree.vertices)
        found = []
        for index, clue in enumerate(node.clues):
            if isinstance(clue, Edge):
                child = self._graph.id(keys[*at, index])
                relation = self._catalogue.relations[clue.relation]
                found.append(
                    self._book.pointed(entity, clue.relation, child, clue.as_of)
                    if clue.inverse
                    else self._book.towards(entity, relation, child, clue.as_of)
                )
        return found


def _anchors(graph: FactGraph) -> dict[str, Ids]:
    """Entities by type that can be an answer: with a page, and in a complete list that helps to tell them apart."""
    listed = [c.members for c in graph.subject_lists() if 1 < len(c.members) <= MAX_CLOSED]
    ids = np.unique(np.concatenate(listed)) if listed else np.empty(0, np.int32)
    by_type: dict[str, list[int]] = defaultdict(list)
    for i in ids.tolist():
        kind = graph.type(i)
        if kind is not None and not graph.key(i).startswith(PAGELESS):
            by_type[kind].append(i)
    return {kind: np.array(found, np.int32) for kind, found in sorted(by_type.items())}


def _all_of(masks: Sequence[Mask], size: int) -> Mask:
    left: Mask = np.ones(size, np.bool_)
    for mask in masks:
        left = left & mask
    return left


def _drawn(options: list[Claim], chosen: list[Claim], wanted: int, rng: random.Random) -> list[Claim]:
    """Some open claims, one per relation; a second closed one could make the first idle."""
    taken = {c.clue.relation for c in chosen}
    drawn: list[Claim] = []
    for claim in rng.sample(options, len(options)):
        if claim.closed is None and claim.clue.relation not in taken:
            taken.add(claim.clue.relation)
            drawn.append(claim)
    return drawn[: max(CLAIMS_TRIED, wanted)]
