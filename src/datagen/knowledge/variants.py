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


class Variants:
    """Masks over the ids asked about: who surely matches (`sure`), who fits the type (`base`), who could fulfil root clue
    i (`alone`), who could match the first i clues (`prefixes`) and all of them (`full`), and who could without each clue
    in walk order (`drops`).
    """

    __slots__ = ("alone", "base", "drops", "full", "prefixes", "sure")

    def __init__(self, evaluation: Evaluation, node: Node, ids: Ids) -> None:
        self.sure = evaluation.graph.is_a(ids, node.type)
        self.base = evaluation.graph.may_be(ids, node.type)
        self.alone: list[Mask] = []
        self.prefixes = [self.base]
        below: list[list[Mask]] = []
        for clue in node.clues:
            sure, possible, nested = clue_variants(evaluation, clue, node.type, ids)
            self.sure = self.sure & sure
            self.alone.append(possible)
            self.prefixes.append(self.prefixes[-1] & possible)
            below.append(nested)
        self.full = self.prefixes[-1]
        self.drops: list[Mask] = []
        for before, tail, nested in zip(self.prefixes, self._tails(), below, strict=False):
            others = before if tail is None else before & tail
            self.drops.append(others)
            self.drops += [others & mask for mask in nested]

    def _tails(self) -> list[Mask | None]:
        """For each clue who could fulfil all the clues behind it; None where there are none."""
        tails: list[Mask | None] = [None]
        for mask in reversed(self.alone[1:]):
            tails.append(mask if tails[-1] is None else mask & tails[-1])
        tails.reverse()
        return tails


def clue_variants(evaluation: Evaluation, clue: Clue, type_id: str | None, ids: Ids) -> tuple[Mask, Mask, list[Mask]]:
    """Who surely fulfils a clue, who could, and who could with each clue below it left out."""
    if not isinstance(clue, Edge):
        return *evaluation.clue_masks(clue, type_id, ids), []
    below = [address for address, _ in walk_clues(clue.child)]
    if clue.inverse:
        return *evaluation.clue_masks(clue, type_id, ids), _inverse_drops(evaluation, clue, below, ids)
    view = evaluation.graph.view(clue.relation, clue.as_of)
    said = view.said(ids)
    full = evaluation.undecided(clue, type_id, view, said)
    # Dropping a clue widens the child: where no complete list limits the full clue, none limits a dropped one.
    listed = evaluation.allowed(clue, type_id) is not None
    drops = [evaluation.undecided(_without(clue, a), type_id, view, said) if listed else full.copy() for a in below]
    sure = np.zeros(len(ids), np.bool_)
    stated, position, objects = len(said.position), said.position, said.codes
    if len(said.maybe_position):
        position = np.concatenate([position, said.maybe_position])
        objects = np.concatenate([objects, said.maybe_codes])
    if len(position):
        child = Variants(evaluation, clue.child, objects)
        sure[said.position[child.sure[:stated]]] = True
        full[position[child.full]] = True
        for mask, drop in zip(drops, child.drops, strict=True):
            mask[position[drop]] = True
    return sure, full, drops


def _without(clue: Edge, address: ClueAddress) -> Edge:
    return replace(clue, child=drop_clue(clue.child, address))


def _inverse_drops(evaluation: Evaluation, clue: Edge, below: Collection[ClueAddress], ids: Ids) -> list[Mask]:
    everyone = np.ones(len(ids), np.bool_)
    if evaluation.clue_universe(clue, None) is None:
        return [everyone] * len(below)
    universes = [evaluation.clue_universe(_without(clue, address), None) for address in below]
    return [everyone if u is None else is_in(ids, u) for u in universes]
