"""Types as small matrices, and which entities may denote one thing.

An entity has one known type, or none. It *is* a T when its type is T or narrower. It *may be* a T when its type is not
known, or when some type is narrower than (or equal to) both its type and T: a known "work" may be a novel, and where
"poet" and "painter" share the narrower "poet-painter", a known poet may be a painter. Everything else is excluded.
The last code, `unknown`, stands for "no known type".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from datagen.knowledge.arrays import Ids, Mask
from datagen.knowledge.catalogue import Catalogue, Relation
from datagen.knowledge.literals import normalise_text
from datagen.records.fact import Entity

PAGELESS = "entity:"
"""Prefix of keys of entities that no page is about."""


class Taxonomy:
    """Type relations of a catalogue by code."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._codes = {name: i for i, name in enumerate(catalogue.types)}
        self.names = list(catalogue.types)
        self.unknown = len(self.names)
        size = self.unknown + 1
        self.narrower: npt.NDArray[np.bool_] = np.zeros((size, size), np.bool_)
        """narrower[a, b]: an entity of type a is a b."""
        for i, a in enumerate(self.names):
            for j, b in enumerate(self.names):
                self.narrower[i, j] = catalogue.is_a(a, b)
        common = self.narrower.T.astype(np.int32) @ self.narrower.astype(np.int32)
        self.compatible: npt.NDArray[np.bool_] = common > 0
        """compatible[a, b]: an entity known to be an a may be a b."""
        self.compatible[self.unknown, :] = True
        self.compatible[:, self.unknown] = True

    def code(self, type_id: str | None) -> int:
        """Raises KeyError with the type's name when the catalogue lacks it; None is `unknown`."""
        return self.unknown if type_id is None else self._codes[type_id]

    def code_or_unknown(self, type_id: str | None) -> int:
        return self._codes.get(type_id or "", self.unknown)

    def applicable(self, relation: Relation) -> Mask:
        """By type code: whether an entity known to be of that type can be a subject of `relation`."""
        wanted = [self.code(t) for t in relation.subject_types]
        if not wanted:
            return np.ones(self.unknown + 1, np.bool_)
        able: Mask = np.logical_or.reduce(self.compatible[:, wanted], axis=1)
        return able


def type_in_key(key: str) -> str | None:
    """The TYPE of `entity:TYPE/Name`."""
    return key.removeprefix(PAGELESS).partition("/")[0] or None if key.startswith(PAGELESS) else None


def name_in_key(key: str) -> str:
    """A name for a key that no entity row describes: the Name of `entity:TYPE/Name`, else the address's last part."""
    if key.startswith(PAGELESS):
        return key.partition("/")[2]
    return key.rstrip("/").rpartition("/")[2].replace("_", " ")


def find_twins(entities: Sequence[Entity], types: Ids, taxonomy: Taxonomy) -> dict[int, list[int]]:
    """For each entity, the others it may be identical with: one of the two has no page, a name in common, fitting types."""
    pageless = [e.key.startswith(PAGELESS) for e in entities]
    wanted = {n for i, e in enumerate(entities) if pageless[i] for n in _names(e)}
    by_name: dict[str, list[int]] = defaultdict(list)
    for i, entity in enumerate(entities):
        for name in _names(entity):
            if name in wanted:
                by_name[name].append(i)
    twins: dict[int, set[int]] = defaultdict(set)
    for group in by_name.values():
        for a in group:
            if pageless[a]:
                for b in group:
                    if a != b and taxonomy.compatible[types[a], types[b]]:
                        twins[a].add(b)
                        twins[b].add(a)
    return {i: sorted(others) for i, others in sorted(twins.items())}


def _names(entity: Entity) -> set[str]:
    return {normalise_text(n) for n in (entity.name, *entity.aliases)} - {""}
