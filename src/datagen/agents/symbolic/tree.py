"""InfoSeek's browser: carries out the planner's actions with what the pages of a vertex's entity state.

    initialise    an entity becomes the answer; one related child is attached
    extend        a child vertex over a stated relation, to an entity that can itself be described
    blur          k claims from the entity's own statements that leave fewer rivals, the last blur of a context none

The rule by which claims are chosen is in `blurring`, the accounting of who is left in `contexts`; the planner
(`agents.symbolic.planner`) is the other half.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from datagen.agents.roles import GrowthTarget, NoGrowth, ResearchTree, TreeAction
from datagen.agents.symbolic.blurring import Blur
from datagen.agents.symbolic.claims import MAX_CLOSED, Claim, ClaimBook, is_list
from datagen.agents.symbolic.contexts import UNKNOWN, Contexts, node_at
from datagen.agents.symbolic.sourcing import has_one_source
from datagen.knowledge.arrays import Ids
from datagen.knowledge.formula import ClueAddress, Edge, IsA, Match, Node, Query, add_clue, walk_nodes
from datagen.knowledge.graph import FactGraph
from datagen.knowledge.taxonomy import PAGELESS

ANCHORS_TRIED = 12
LINKS_TRIED = 8
SEPARATED = 0.5
"""Share of a list's other members that a link has to lead elsewhere for, or it would tell too few apart."""


@dataclass(frozen=True, slots=True)
class BrowserSettings:
    """Distributions of the browser's choices."""

    pointer: float = 0.25
    """Chance that the first child points at its parent ("the ground of ...") where that is possible."""
    listing: float = 0.35
    """Chance that the first child is what a complete list is about ("clubs of [a league that ...]")."""


class SymbolicBrowser:
    """Grows research trees over one fact graph; keeps claims of recent entities, nothing else."""

    name = "symbolic"

    def __init__(
        self,
        graph: FactGraph,
        settings: BrowserSettings | None = None,
        *,
        book: ClaimBook | None = None,
        links_shown: int = 1,
    ) -> None:
        """`book` holds what may be claimed; `links_shown` fitting links are found before one of them is picked."""
        self._links_shown = links_shown
        self._graph = graph
        self._catalogue = graph.catalogue
        self._settings = settings or BrowserSettings()
        self._book = book or ClaimBook(graph)
        self._contexts = Contexts(graph, self._book)
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
        entity, node = self._contexts.entity(tree, at), node_at(tree.query.root, at)
        hidden = frozenset(self._graph.id(key) for _, key in tree.vertices)
        deeper = len(at) + 2 < target.depth
        if not node.clues and self._contexts.root_of(tree, at) == at:
            link = self._closing_link(entity, hidden, rng, deeper=deeper)
            if link is not None:
                return self._attach(tree, at, link)
        used = self._used(tree, at)
        inner = [
            c
            for c in self._book.claims(entity)
            if c.other is not None and c.clue.relation not in used and self._catalogue.relations[c.clue.relation].single
        ]
        first = not node.clues and self._contexts.root_of(tree, at) == at
        if first:
            inner = [c for c in inner if is_list(c) or self._separates(entity, c)]
        link = self._choose(inner, hidden, rng, deeper=deeper, first=first)
        if link is None:
            return NoGrowth("no_link", f"{self._graph.name(entity)} has no link to an entity that can be described")
        return self._attach(tree, at, link)

    def _closing_link(self, entity: int, hidden: frozenset[int], rng: random.Random, *, deeper: bool) -> Claim | None:
        """A first edge that closes the pool of its parent, drawn by the configured chances."""
        draw = rng.random()
        if draw < self._settings.pointer:
            return self._choose(self._book.pins(entity, rng), hidden, rng, deeper=deeper, first=True)
        if draw < self._settings.pointer + self._settings.listing:
            return self._choose(self._book.lists(entity), hidden, rng, deeper=deeper, first=True)
        return None

    def _choose(
        self, claims: Sequence[Claim], hidden: frozenset[int], rng: random.Random, *, deeper: bool, first: bool
    ) -> Claim | None:
        """A link to an entity that can be described: in its parent's context or, over a closing edge, in its own."""
        ends = [c for c in claims if c.other is not None and c.other not in hidden]
        found: list[Claim] = []
        for claim in rng.sample(ends, min(LINKS_TRIED, len(ends))):
            other = claim.other
            assert other is not None
            own = self._book.claims(other)
            known = self._graph.type(other) is not None and sum(c.closed is None for c in own) >= 1
            closing = first and claim.closed is not None and (is_list(claim) or self._points(claim))
            fits = known and (not closing or self._has_list(claim))
            if fits and (not deeper or any(c.other is not None and c.other not in hidden for c in own)):
                found.append(claim)
            if len(found) == self._links_shown:
                break
        return self._pick(found, rng) if found else None

    def _pick(self, links: Sequence[Claim], rng: random.Random) -> Claim:  # noqa: ARG002  # others choose, and may draw
        """One of the links that fit, in the order in which they were drawn."""
        return links[0]

    def _separates(self, entity: int, link: Claim) -> bool:
        """Whether the link leads elsewhere for most members of some list that could become the vertex's pool."""
        for claim in self._book.lists(entity):
            if claim.closed is not None and claim.clue.relation != link.clue.relation:
                ends = self._contexts.follow(claim.closed, link.clue.relation, link.clue.as_of)
                elsewhere = int(((ends != UNKNOWN) & (ends != link.other)).sum())
                if elsewhere >= SEPARATED * (len(claim.closed) - 1):
                    return True
        return False

    def _points(self, claim: Claim) -> bool:
        return isinstance(claim.clue, Match) and claim.clue.inverse

    def _has_list(self, link: Claim) -> bool:
        """Whether the link's far end is in a complete list that does not speak of the near end."""
        assert link.other is not None
        if self._graph.type_closed(self._graph.type(link.other)):
            return True
        return any(c.clue.relation != link.clue.relation for c in self._book.lists(link.other))

    def _attach(self, tree: ResearchTree, at: ClueAddress, link: Claim) -> ResearchTree:
        assert isinstance(link.clue, Match)
        assert link.other is not None
        child = Node(self._graph.type(link.other), ())
        edge = Edge(link.clue.relation, child, link.clue.inverse, link.clue.as_of)
        address = (*at, len(node_at(tree.query.root, at).clues))
        root = add_clue(tree.query.root, at, edge)
        vertices = (*tree.vertices, (address, self._graph.key(link.other)))
        return ResearchTree(replace(tree.query, root=root), vertices)

    # Blur ---------------------------------------------------------------------------------------------------------

    def _blur(self, tree: ResearchTree, at: ClueAddress, claims: int, rng: random.Random) -> ResearchTree | NoGrowth:
        entity = self._contexts.entity(tree, at)
        hidden = frozenset(self._graph.id(key) for _, key in tree.vertices)
        used = self._used(tree, at)
        inverse = (c for c in self._book.lists(entity) if isinstance(c.clue, Match) and c.clue.inverse)
        every = (*self._book.claims(entity), *inverse)
        options = [c for c in every if c.other not in hidden and c.clue.relation not in used]
        root = self._contexts.root_of(tree, at)
        if root != at and self._contexts.pool(tree, root) is None:
            return NoGrowth("no_pool", f"{self._graph.name(entity)} cannot be described before the vertex above it")
        best = Blur(self._graph, self._contexts, tree, at).choose(options, claims, rng)
        if best is None:
            return NoGrowth("not_determined", f"no claims of {self._graph.name(entity)} exclude the rivals left to it")
        if not best:
            return NoGrowth("not_needed", f"{self._graph.name(entity)} leaves its rivals to the vertices below it")
        root_node = tree.query.root
        for claim in best:
            root_node = add_clue(root_node, at, claim.clue)
        grown = replace(tree, query=replace(tree.query, root=root_node))
        complete = all(node.clues for _, node in walk_nodes(root_node))
        if complete and has_one_source(self._graph, grown):
            return NoGrowth("one_page", f"one page states all that the tree says of {self._graph.name(entity)}")
        return grown

    def _used(self, tree: ResearchTree, at: ClueAddress) -> set[str | None]:
        """Relations that already speak about the vertex, the asked one among them."""
        used: set[str | None] = {c.relation for c in node_at(tree.query.root, at).clues if not isinstance(c, IsA)}
        return used if at else used | {tree.query.ask}


def _anchors(graph: FactGraph) -> dict[str, Ids]:
    """Entities by type that can be an answer: with a page, and in a complete list that helps to tell them apart."""
    listed = [c.members for c in graph.subject_lists() if 1 < len(c.members) <= MAX_CLOSED]
    listed += [graph.members(t) for t in graph.catalogue.types if graph.type_closed(t)]
    for relation in graph.relations:
        if relation.object_kind == "entity" and not relation.single and not relation.changes and relation.inverse:
            view = graph.view(relation.id, None)
            listed.append(view.pairs(view.settled)[1])
    ids = np.unique(np.concatenate(listed)) if listed else np.empty(0, np.int32)
    by_type: dict[str, list[int]] = defaultdict(list)
    for i in ids.tolist():
        kind = graph.type(i)
        if kind is not None and not graph.key(i).startswith(PAGELESS):
            by_type[kind].append(i)
    return {kind: np.array(found, np.int32) for kind, found in sorted(by_type.items())}
