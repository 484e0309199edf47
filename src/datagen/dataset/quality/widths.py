"""How many things meet a single clue: FORT's clue width, on the facts of a snapshot.

    "founded in 1900..1909" of a club       41 clubs surely      wide
    "plays at Veltrin Park"                 1 club surely        low: at most two are left

A clue that leaves at most two candidates is nearly an answer, whatever stands beside it. Only things that surely meet the
clue are counted, since those are what a searcher can find stated; certificates count those as well that nothing excludes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datagen.dataset.quality.figures import formula_of
from datagen.errors import SnapshotError
from datagen.knowledge.evaluator import Evaluation
from datagen.knowledge.formula import Clue, Edge, Node, walk_nodes
from datagen.knowledge.graph import FactGraph
from datagen.web.snapshot import Snapshot

LOW = 2
"""Candidates that a low-width clue leaves at most (FORT)."""


@dataclass(frozen=True, slots=True)
class Widths:
    """Sizes for one question: of clues that state something, each at its own vertex, and of the branches of the root."""

    question_id: str
    stated: tuple[int, ...]
    branches: tuple[int, ...]


def clue_widths(graph: FactGraph, rows: Iterable[Mapping[str, Any]]) -> list[Widths]:
    """Widths of every row that has a formula."""
    found = []
    for row in rows:
        root = formula_of(row)
        if root is not None:
            stated = tuple(
                _width(graph, node.type, clue)
                for _, node in walk_nodes(root)
                for clue in node.clues
                if not isinstance(clue, Edge)
            )
            found.append(Widths(row["id"], stated, tuple(_width(graph, root.type, clue) for clue in root.clues)))
    return found


def _width(graph: FactGraph, type_id: str | None, clue: Clue) -> int:
    alone = Node(type_id, (clue,))
    return len(Evaluation(graph, alone).sure(alone))


def open_graph(snapshot: Snapshot) -> FactGraph:
    """The fact graph of a snapshot, made in memory where no run has left one. What is sure rests on no assumption."""
    for folder in sorted(Path(snapshot.folder, "knowledge").glob("graph-*")):
        try:
            return FactGraph.load(folder)
        except SnapshotError:
            continue
    return FactGraph.build(snapshot.catalogue(), snapshot.facts(), snapshot.closures(), snapshot.entities())
