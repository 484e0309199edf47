"""One blur: which claims describe a vertex, given who is left there.

InfoSeek asks that no claim's candidates contain another's, S(c_i) not in S(c_j). The rule here is stronger: every claim
alone excludes a rival that nothing else in the tree excludes (`contexts.all_needed`). A vertex with others still to be
described below it leaves rivals for each of them, and excludes those that they cannot; the last one excludes the rest.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np

from datagen.agents.roles import ResearchTree
from datagen.agents.symbolic.claims import Claim, is_list
from datagen.agents.symbolic.contexts import Context, Contexts, all_needed, node_at
from datagen.knowledge.arrays import Mask
from datagen.knowledge.evaluator import Evaluation
from datagen.knowledge.formula import ClueAddress, Edge, Node
from datagen.knowledge.graph import FactGraph

RESTARTS = 4
CLAIMS_TRIED = 8
"""Claims weighed per restart."""

Exclusion = tuple[Claim, Mask]
"""A claim and the members of the pool that it excludes."""


class Blur:
    """Draws claims for one vertex of one tree; what a claim excludes is worked out once for all draws."""

    def __init__(self, graph: FactGraph, contexts: Contexts, tree: ResearchTree, at: ClueAddress) -> None:
        self._graph = graph
        self._contexts = contexts
        self._tree, self._at = tree, at
        self._node = node_at(tree.query.root, at)
        self._has_edges = any(isinstance(c, Edge) for c in self._node.clues)
        root = contexts.root_of(tree, at)
        pool = contexts.pool(tree, root)
        self._opened: dict[int, Context] = {}
        """Contexts by the identity of the complete list that opens them; 0 for the one that is open already."""
        if pool is not None:
            self._opened[0] = contexts.read(tree, root, pool)
        self._excluded: dict[tuple[int, int], Mask] = {}

    def choose(self, options: Sequence[Claim], wanted: int, rng: random.Random) -> list[Claim] | None:
        """The draw that comes nearest to `wanted` claims; empty where none is needed, None where none does."""
        best: list[Claim] | None = None
        for _ in range(RESTARTS):
            chosen = self._draw(options, wanted, rng)
            if chosen is not None and (best is None or abs(len(chosen) - wanted) < abs(len(best) - wanted)):
                best = chosen
            if best is not None and len(best) == wanted:
                break
        return best

    def _draw(self, options: Sequence[Claim], wanted: int, rng: random.Random) -> list[Claim] | None:
        """One try; opens the context with a complete list where it has no pool yet."""
        opening: list[Claim] = []
        if 0 not in self._opened:
            lists = [c for c in options if is_list(c)]
            if not lists:
                return None
            opening = rng.choices(lists, [self._promise(c) for c in lists])
        drawn = _drawn(options, opening, wanted, rng)
        taken = self._exclude(opening, drawn, wanted - len(opening))
        if taken is None or not self._lists_needed([*opening, *taken]):
            return None
        return [*opening, *taken]

    def _promise(self, opening: Claim) -> float:
        """How likely a complete list is taken as pool: long ones, and ones whose members the vertices below tell apart."""
        assert opening.closed is not None
        size = len(opening.closed)
        below = [p.excludable for p in self._context([opening])[1].places[1:]] if self._has_edges else []
        told_apart = int(np.logical_or.reduce(below).sum()) / size if below else 1.0
        return math.sqrt(size) * (0.02 + told_apart) ** 2

    def _context(self, opening: list[Claim]) -> tuple[int, Context]:
        mark = id(opening[0]) if opening else 0
        if mark not in self._opened:
            closed = opening[0].closed
            assert closed is not None
            self._opened[mark] = self._contexts.read(self._tree, self._at, closed)
        return mark, self._opened[mark]

    def _exclude(self, opening: list[Claim], options: list[Claim], wanted: int) -> list[Claim] | None:
        """Claims that exclude what later vertices cannot, leave something for each of them, and are all needed."""
        mark, context = self._context(opening)
        must_take = int(not opening and not self._node.clues)
        later = [p.excludable for p in context.places if p.address != self._at and not p.node.clues]
        alive = context.alive
        reachable = np.logical_or.reduce(later) if later else np.zeros(len(alive), np.bool_)
        scored = [(claim, self._row(mark, context, claim)) for claim in options]
        # Where something must stay for others the vaguest claims come first, else the sharpest.
        scored.sort(key=lambda pair: int((pair[1] & alive).sum()), reverse=not (later or wanted > 2))
        taken: list[Exclusion] = []
        for claim, row in scored:
            must = alive & ~reachable
            asked = bool(must.any())
            if not asked and not (later and len(taken) < max(wanted, must_take)):
                break
            if not (row & (must if asked else alive)).any():
                continue
            left = alive & ~row
            if all((left & excludable).any() for excludable in later):
                taken.append((claim, row))
                alive = left
        if (alive & ~reachable).any() or len(taken) < must_take:
            return None
        return self._needed_among(list(context.excluded), taken, must_take)

    def _needed_among(self, rows: list[Mask], taken: list[Exclusion], least: int) -> list[Claim] | None:
        """Without the claims that later ones made idle; None where an earlier clue of the tree became idle."""
        for pair in list(taken):
            others = [row for claim, row in taken if claim is not pair[0]]
            if len(taken) > least and not all_needed([pair[1], *rows, *others])[0]:
                taken.remove(pair)
        return [claim for claim, _ in taken] if all(all_needed([*rows, *(row for _, row in taken)])) else None

    def _row(self, mark: int, context: Context, claim: Claim) -> Mask:
        key = (mark, id(claim))
        if key not in self._excluded:
            self._excluded[key] = self._contexts.excludes(context.place(self._at), claim)
        return self._excluded[key]

    def _lists_needed(self, claims: list[Claim]) -> bool:
        """Beside a second complete list, the first could go; each has to leave somebody in when it does."""
        if sum(c.closed is not None for c in claims) < 2:
            return True
        for dropped in claims:
            rest = (c.clue for c in claims if c is not dropped)
            left = Evaluation(self._graph).closed(Node(self._node.type, (*self._node.clues, *rest)))
            if left is not None and len(left) < 2:
                return False
        return True


def _drawn(options: Sequence[Claim], opening: list[Claim], wanted: int, rng: random.Random) -> list[Claim]:
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
