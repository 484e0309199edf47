"""Which formulas a catalogue gives a meaning to."""

from __future__ import annotations

from datagen.knowledge.catalogue import Catalogue
from datagen.knowledge.formula import Edge, EntityRef, IsA, Match, Node, Within


def check_formula(catalogue: Catalogue, node: Node) -> None:
    """Raise ValueError when a clue names an unknown relation or type, or asks an entity of a literal or the reverse."""
    if node.type is not None and node.type not in catalogue.types:
        raise ValueError(f"the catalogue {catalogue.name} has no type {node.type!r}")
    for clue in node.clues:
        if isinstance(clue, IsA):
            check_formula(catalogue, Node(clue.type, ()))
            continue
        relation = catalogue.relations.get(clue.relation)
        if relation is None:
            raise ValueError(f"the catalogue {catalogue.name} has no relation {clue.relation!r}")
        names_entity = isinstance(clue, Edge) or (isinstance(clue, Match) and isinstance(clue.value, EntityRef))
        backwards = not isinstance(clue, Within) and clue.inverse
        if names_entity != (relation.object_kind == "entity") or (backwards and not names_entity):
            raise ValueError(f"objects of {relation.id} are of kind {relation.object_kind}, and the clue asks: {clue}")
        if isinstance(clue, Edge):
            check_formula(catalogue, clue.child)
