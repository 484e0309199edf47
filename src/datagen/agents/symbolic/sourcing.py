"""Which pages state a research tree: one that any single page states in full asks for reading, not for research."""

from __future__ import annotations

from datagen.agents.roles import ResearchTree
from datagen.knowledge.formula import Edge, EntityRef, IsA, Match, Within, walk_clues
from datagen.knowledge.graph import FactGraph


def has_one_source(graph: FactGraph, tree: ResearchTree) -> bool:
    """Whether one trusted page states every clue of the tree."""
    entities = {address: graph.id(key) for address, key in tree.vertices}
    common: set[int] | None = None
    for address, clue in walk_clues(tree.query.root):
        if isinstance(clue, IsA):
            continue
        other = entities.get(address)
        pages = _stating(graph, clue, entities[address[:-1]], other)
        common = pages if common is None else common & pages
        if not common:
            return False
    return bool(common)


def _stating(graph: FactGraph, clue: Match | Within | Edge, entity: int, child: int | None) -> set[int]:
    """Pages that state one clue of an entity; for a value, pages that state any value the entity has there."""
    other = child
    if isinstance(clue, Match) and isinstance(clue.value, EntityRef):
        other = graph.find(clue.value.key)
    inverse = not isinstance(clue, Within) and clue.inverse
    subject, wanted = (other, entity) if inverse else (entity, other)
    if subject is None:
        return set()
    statements = graph.statements
    rows = [r for r in statements.rows(graph.relation_index[clue.relation], subject) if statements.rank[r] > 0]
    return {int(statements.page[r]) for r in rows if wanted is None or int(statements.code[r]) == wanted}
