"""InfoSeek's browser: carries out the planner's actions with what the pages of a vertex's entity state.

    initialise    an entity becomes the answer; one related child is attached
    extend        a child vertex over a stated relation, to an entity that can itself be described
    blur          k claims from the entity's own statements that leave fewer rivals, the last blur of a context none

InfoSeek asks that no claim's candidates contain another's, S(c_i) not in S(c_j). The rule here is stronger: every claim
alone excludes a rival that nothing else in the tree excludes, so no clue is idle; see `contexts` for the accounting.
The planner (`agents.symbolic.planner`) is the other half.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from datagen.agents.roles import GrowthTarget, NoGrowth, ResearchTree, TreeAction
from datagen.agents.symbolic.claims import MAX_CLOSED, Claim, ClaimBook, is_list
from datagen.agents.symbolic.contexts import Context, Contexts, Place, all_needed, node_at
from datagen.knowledge.arrays import Ids, Mask
from datagen.knowledge.evaluator import Evaluation
from datagen.knowledge.formula import ClueAddress, Edge, IsA, Match, Node, Query, add_clue
from datagen.knowledge.graph import FactGraph
from datagen.knowledge.taxonomy import PAGELESS

RESTARTS = 6
CLAIMS_TRIED = 8
"""Claims that a blur weighs per restart."""
ANCHORS_TRIED = 12
LINKS_TRIED = 8


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

    def __init__(self, graph: FactGraph, settings: BrowserSettings | None = None) -> None:
        self._graph = graph
        self._catalogue = graph.catalogue
        self._settings = settings or BrowserSettings()
        self._book = ClaimBook(graph)
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
            sharp = [c for c in self._book.pointers(entity) if c.pins]
            return self._choose(sharp, hidden, rng, deeper=deeper, first=True)
        if draw < self._settings.pointer + self._settings.listing:
            return self._choose(self._book.lists(entity), hidden, rng, deeper=deeper, first=True)
        return None

    def _choose(
        self, claims: Sequence[Claim], hidden: frozenset[int], rng: random.Random, *, deeper: bool, first: bool
    ) -> Claim | None:
        """A link to an entity that can be described: in its parent's context or, over a closing edge, in its own."""
        ends = [c for c in claims if c.other is not None and c.other not in hidden]
        for claim in rng.sample(ends, min(LINKS_TRIED, len(ends))):
            other = claim.other
            assert other is not None
            own = self._book.claims(other)
            known = self._graph.type(other) is not None and sum(c.closed is None for c in own) >= 1
            closing = first and claim.closed is not None and (is_list(claim) or self._points(claim))
            fits = known and (not closing or self._has_list(claim))
            if fits and (not deeper or any(c.other is not None and c.other not in hidden for c in own)):
                return claim
        return None

    def _separates(self, entity: int, link: Claim) -> bool:
        """Whether the link leads elsewhere for some member of a list that could become the vertex's pool."""
        view = self._graph.view(link.clue.relation, link.clue.as_of)
        lists = (c.closed for c in self._book.lists(entity) if c.clue.relation != link.clue.relation)
        return any((view.pairs(ids)[1] != link.other).any() for ids in lists if ids is not None)

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
        every = (*self._book.claims(entity), *(c for c in self._book.pointers(entity) if is_list(c)))
        options = [c for c in every if c.other not in hidden and c.clue.relation not in used]
        root = self._contexts.root_of(tree, at)
        pool = self._contexts.pool(tree, root)
        if pool is None and root != at:
            return NoGrowth("no_pool", f"{self._graph.name(entity)} cannot be described before the vertex above it")
        best: list[Claim] | None = None
        context = self._contexts.read(tree, root, pool) if pool is not None else None
        for _ in range(RESTARTS):
            chosen = self._draw(tree, at, context, options, wanted=claims, rng=rng)
            if chosen is not None and (best is None or abs(len(chosen) - claims) < abs(len(best) - claims)):
                best = chosen
            if best is not None and len(best) == claims:
                break
        if best is None:
            return NoGrowth("not_determined", f"no claims of {self._graph.name(entity)} exclude the rivals left to it")
        if not best:
            return NoGrowth("not_needed", f"{self._graph.name(entity)} leaves its rivals to the vertices below it")
        grown = tree.query.root
        for claim in best:
            grown = add_clue(grown, at, claim.clue)
        return replace(tree, query=replace(tree.query, root=grown))

    def _draw(
        self,
        tree: ResearchTree,
        at: ClueAddress,
        context: Context | None,
        options: list[Claim],
        *,
        wanted: int,
        rng: random.Random,
    ) -> list[Claim] | None:
        """One try at claims for the vertex; opens the context with a complete list where it has no pool yet."""
        opening: list[Claim] = []
        if context is None:
            lists = [c for c in options if is_list(c)]
            if not lists:
                return None
            opening = rng.choices(lists, [len(c.closed) ** 0.5 for c in lists if c.closed is not None])
            assert opening[0].closed is not None
            context = self._contexts.read(tree, at, opening[0].closed)
        if context.place(at).entity not in context.place(at).values:
            return None
        drawn = _drawn(options, opening, wanted, rng)
        bare = not opening and not node_at(tree.query.root, at).clues
        taken = self._exclude(context, context.place(at), drawn, wanted - len(opening), must_take=bare)
        if taken is None or not self._lists_needed(tree, at, [*opening, *taken]):
            return None
        return [*opening, *taken]

    def _lists_needed(self, tree: ResearchTree, at: ClueAddress, claims: list[Claim]) -> bool:
        """Beside a second complete list, the first could go; each has to leave somebody in when it does."""
        if sum(c.closed is not None for c in claims) < 2:
            return True
        node = node_at(tree.query.root, at)
        for dropped in claims:
            rest = Node(node.type, (*node.clues, *(c.clue for c in claims if c is not dropped)))
            left = Evaluation(self._graph).closed(rest)
            if left is not None and len(left) < 2:
                return False
        return True

    def _exclude(
        self, context: Context, place: Place, options: list[Claim], wanted: int, *, must_take: bool
    ) -> list[Claim] | None:
        """Claims that exclude what later vertices cannot, leave something for each of them, and are all needed."""
        later = [p for p in context.places if p.address != place.address and not p.node.clues]
        self_column = context.places[0].values == context.places[0].entity
        rows = list(context.excluded)
        alive = ~context.excluded.any(axis=0) & ~self_column
        reachable = np.zeros(len(alive), np.bool_)
        for p in later:
            reachable |= p.excludable
        scored = [(claim, self._contexts.excludes(place, claim)) for claim in options]
        # Where something must stay for others the vaguest claims come first, else the sharpest.
        scored.sort(key=lambda pair: int((pair[1] & alive).sum()), reverse=not (later or wanted > 2))
        taken: list[tuple[Claim, Mask]] = []
        for claim, row in scored:
            must = alive & ~reachable
            useful = row & (must if must.any() else alive)
            short = len(taken) < max(wanted, int(must_take))
            if not useful.any() or not (must.any() or (short and later)):
                continue
            left = alive & ~row
            if all((left & p.excludable).any() for p in later):
                taken.append((claim, row))
                alive = left
        if (alive & ~reachable).any() or (must_take and not taken):
            return None
        for pair in list(taken):
            others = [r for c, r in taken if c is not pair[0]]
            if len(taken) > int(must_take) and not all_needed([pair[1], *rows, *others])[0]:
                taken.remove(pair)
        return [c for c, _ in taken] if all(all_needed([*rows, *(r for _, r in taken)])) else None

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


def _drawn(options: list[Claim], opening: list[Claim], wanted: int, rng: random.Random) -> list[Claim]:
    """Some claims, one per relation, with at most one complete list more."""
    taken = {c.clue.relation for c in opening}
    lists = 0
    drawn: list[Claim] = []
    for claim in rng.sample(options, len(options)):
        if claim.clue.relation not in taken and not claim.pins and (claim.closed is None or not lists):
            taken.add(claim.clue.relation)
            lists += claim.closed is not None
            drawn.append(claim)
    return drawn[: max(CLAIMS_TRIED, wanted)]
