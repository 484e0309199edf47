"""Every drop-one variant of a tree in one walk.

Leaving one clue out changes only the vertices above it, so a vertex reports, for the ids it is asked about, who could
match in full and who could match with each clue of its subtree left out; its parent projects all of them at once.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from datagen.knowledge.arrays import Ids, Mask, is_in
from datagen.knowledge.evaluator import Evaluation
from datagen.knowledge.formula import Clue, ClueAddress, Edge, Node, drop_clue, walk_clues
from datagen.knowledge.views import Positions


class Variants:
    """Masks over the ids asked about: who fits the type (`base`), who could fulfil root clue i (`alone`), who could match
    the first i clues (`prefixes`) and all of them (`full`), and who could without each clue in walk order (`drops`).
    """

    __slots__ = ("alone", "base", "drops", "full", "prefixes")

    def __init__(self, evaluation: Evaluation, node: Node, ids: Ids) -> None:
        self.base = evaluation.graph.may_be(ids, node.type)
        units = [clue_variants(evaluation, clue, node.type, ids) for clue in node.clues]
        self.alone = [mask for mask, _ in units]
        self.prefixes = [self.base]
        for mask, _ in units:
            self.prefixes.append(self.prefixes[-1] & mask)
        self.full = self.prefixes[-1]
        self.drops: list[Mask] = []
        after: list[Mask | None] = [None]
        for mask, _ in reversed(units[1:]):
            tail = after[-1]
            after.append(mask if tail is None else mask & tail)
        after.reverse()
        for before, tail, (_, nested) in zip(self.prefixes, after, units, strict=False):
            others = before if tail is None else before & tail
            self.drops.append(others)
            self.drops += [others & mask for mask in nested]


def clue_variants(evaluation: Evaluation, clue: Clue, type_id: str | None, ids: Ids) -> tuple[Mask, list[Mask]]:
    """Who could fulfil a clue, and who could with each clue below it left out."""
    if not isinstance(clue, Edge):
        return evaluation.clue_masks(clue, type_id, ids)[1], []
    below = [address for address, _ in walk_clues(clue.child)]
    if clue.inverse:
        return _inverse_variants(evaluation, clue, below, ids)
    view = evaluation.graph.view(clue.relation, clue.as_of)
    open_full = evaluation.undecided(clue, type_id, view, ids)
    # Dropping a clue widens the child: where no complete list limits the full clue, none limits a dropped one.
    listed = evaluation.allowed(clue, type_id) is not None
    undecided = [evaluation.undecided(_without(clue, a), type_id, view, ids) if listed else open_full for a in below]
    position, objects = view.pairs(ids)
    if len(view.maybe_subj):
        maybe_position, maybe_objects = view.maybe_pairs(ids)
        position, objects = np.concatenate([position, maybe_position]), np.concatenate([objects, maybe_objects])
    if not len(position):
        return open_full, undecided
    child = Variants(evaluation, clue.child, objects)
    full = _projected(open_full, position, child.full)
    return full, [_projected(mask, position, drop) for mask, drop in zip(undecided, child.drops, strict=True)]


def _without(clue: Edge, address: ClueAddress) -> Edge:
    return replace(clue, child=drop_clue(clue.child, address))


def _projected(undecided: Mask, position: Positions, matches: Mask) -> Mask:
    mask = undecided.copy()
    mask[position[matches]] = True
    return mask


def _inverse_variants(
    evaluation: Evaluation, clue: Edge, below: Collection[ClueAddress], ids: Ids
) -> tuple[Mask, list[Mask]]:
    universe = evaluation.clue_universe(clue, None)
    if universe is None:
        everyone = np.ones(len(ids), np.bool_)
        return everyone, [everyone] * len(below)
    dropped = [evaluation.clue_universe(_without(clue, address), None) for address in below]
    masks = [np.ones(len(ids), np.bool_) if u is None else is_in(ids, u) for u in dropped]
    return is_in(ids, universe), masks
