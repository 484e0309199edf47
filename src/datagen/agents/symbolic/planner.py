"""InfoSeek's planner: sees the tree and the target, never a page, and picks one of the four actions with its vertex.

    no tree                      initialise
    not deep enough              extend, at the deepest vertex or (less often) somewhere above it
    room for another branch      extend, anywhere that leaves room for a description of the new vertex
    vertices without a leaf clue blur, the shallowest first: what it leaves open is for the vertices below to decide
    otherwise                    terminate

An action that failed is tried in another form (another vertex, another number of claims) or growth begins anew with
another entity; how long is for the recipe to limit. The planner keeps no state: the tree, the target and the last
failure say all it needs.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from datagen.agents.roles import GrowthTarget, NoGrowth, ResearchTree, TreeAction
from datagen.knowledge.catalogue import Catalogue
from datagen.knowledge.formula import ClueAddress, Edge, Node, count_vertices, walk_nodes

MAX_CLAIMS = 4


@dataclass(frozen=True, slots=True)
class PlannerSettings:
    """Distributions of the planner's choices."""

    deepest: float = 0.8
    """Chance that depth grows at the deepest vertex, not at another."""
    branch: float = 0.35
    """Chance of another branch while the target leaves room for one."""
    retry: float = 0.2
    """Chance that a failed blur is tried again."""


class SymbolicPlanner:
    """Chooses actions by configured distributions."""

    name = "symbolic"

    def __init__(self, catalogue: Catalogue, settings: PlannerSettings | None = None) -> None:
        self._catalogue = catalogue
        self._settings = settings or PlannerSettings()

    def plan(
        self, tree: ResearchTree | None, target: GrowthTarget, last: NoGrowth | None, rng: random.Random
    ) -> TreeAction:
        if tree is None:
            return TreeAction("initialise")
        root = tree.query.root
        waiting = self.undescribed(root)
        if last is not None:
            return self._after_failure(root, waiting, target, last, rng)
        places = [a for a in waiting if len(a) + 1 < target.depth]
        if levels(root) < target.depth and places:
            deepest = rng.random() < self._settings.deepest
            return TreeAction("extend", places[-1] if deepest else rng.choice(places))
        room = target.vertices - count_vertices(root) - len(waiting)
        if places and room >= 2 and rng.random() < self._settings.branch:
            return TreeAction("extend", rng.choice(places))
        if waiting:
            return self._blur(root, waiting, target, rng)
        met = levels(root) >= target.depth and count_vertices(root) >= target.vertices
        return TreeAction("terminate", reason="target met" if met else "all described")

    def undescribed(self, root: Node) -> list[ClueAddress]:
        """Vertices that still need leaf clues, the shallowest first."""
        found = [a for a, node in walk_nodes(root) if not self.is_described(node)]
        return sorted(found, key=lambda a: (len(a), a))

    def is_described(self, node: Node) -> bool:
        """Whether a vertex has leaf clues, or is the one object of a described subject."""
        return any(not isinstance(c, Edge) or self._pins(c) for c in node.clues)

    def _pins(self, edge: Edge) -> bool:
        return edge.inverse and self._catalogue.relations[edge.relation].single

    def _blur(
        self, root: Node, waiting: list[ClueAddress], target: GrowthTarget, rng: random.Random, *, change: int = 0
    ) -> TreeAction:
        room = max(target.vertices - count_vertices(root), len(waiting))
        share = room / len(waiting)
        claims = int(share) + (rng.random() < share - int(share)) + change
        return TreeAction("blur", waiting[0], claims=min(max(claims, 1), MAX_CLAIMS))

    def _after_failure(
        self, root: Node, waiting: list[ClueAddress], target: GrowthTarget, last: NoGrowth, rng: random.Random
    ) -> TreeAction:
        """Depth that cannot be had is given up for a description; a description that cannot be had, for a new tree."""
        if last.reason == "not_needed":
            others = waiting[1:]
            if others:
                return self._blur(root, others[::-1], target, rng)
            return TreeAction("terminate", reason="all described")
        if last.reason == "no_link" and waiting:
            return self._blur(root, waiting, target, rng)
        if waiting and rng.random() < self._settings.retry:
            return self._blur(root, waiting, target, rng, change=rng.choice((-1, 1)))
        return TreeAction("initialise")


def levels(node: Node) -> int:
    """Entity vertices on the longest path; the depth of the tree once its deepest vertex has a leaf clue."""
    return 1 + max((levels(c.child) for c in node.clues if isinstance(c, Edge)), default=0)
