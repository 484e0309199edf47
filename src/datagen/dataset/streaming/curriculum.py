"""Which rows an epoch holds, and how often: pruning what is solved, repeating what matters.

    curriculum.prune(["qa1-…"])                 left out from the next epoch on, until it is recycled
    curriculum.recycle()                        everything that was pruned comes back with the next epoch
    curriculum.reweight({"qa1-…": 2.5})         twice or three times per epoch, half of the epochs each

Changes take effect where an epoch begins, so that a position in a running epoch keeps its meaning: a stream keeps the
`Selection` that its epoch began with. Ranks have to decide the same, in the same epoch. Fractions are decided by a hash of
seed, epoch and id. All of it travels in the loader's state. Ids that the data lack say nothing: a curriculum may speak of
all splits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

MOST_COPIES = 255


@dataclass(frozen=True, slots=True)
class Selection:
    """What one epoch holds."""

    pruned: frozenset[str] = frozenset()
    weights: Mapping[str, float] = field(default_factory=dict)

    @property
    def changes_rows(self) -> bool:
        """Whether the epoch holds anything but every row once."""
        return bool(self.pruned) or any(weight != 1 for weight in self.weights.values())

    def copies(self, ids: pa.ChunkedArray[Any], seed: int, epoch: int) -> npt.NDArray[np.uint8]:
        """How often each row comes in an epoch; rows that share an id share its lot."""
        often = {row: int(w) + (_chance(seed, epoch, row) < w - int(w)) for row, w in self.weights.items()}
        often |= dict.fromkeys(self.pruned, 0)
        named: Any = pc.index_in(ids, value_set=pa.array(list(often), ids.type))
        counts: npt.NDArray[np.uint8] = np.array([*often.values(), 1], np.uint8)
        places: npt.NDArray[np.int32] = named.fill_null(len(often)).to_numpy()
        return counts[places]

    def state_dict(self) -> dict[str, Any]:
        return {"pruned": sorted(self.pruned), "weights": dict(sorted(self.weights.items()))}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Selection:
        return cls(frozenset(state["pruned"]), dict(state["weights"]))


@dataclass(slots=True)
class Curriculum:
    """What was decided for the coming epochs."""

    pruned: set[str] = field(default_factory=set)
    weights: dict[str, float] = field(default_factory=dict)

    def prune(self, ids: Iterable[str]) -> None:
        """Leave rows out of the epochs to come."""
        self.pruned |= _several(ids)

    def recycle(self, ids: Iterable[str] | None = None) -> None:
        """Take pruned rows back, all of them or these, from the next epoch on."""
        self.pruned -= self.pruned.copy() if ids is None else _several(ids)

    def reweight(self, weights: Mapping[str, float]) -> None:
        """How often rows come per epoch, on average; 1 for those never named."""
        for row, weight in weights.items():
            if not 0 <= weight <= MOST_COPIES:
                raise ValueError(f"the weight of {row} is {weight}; weights are between 0 and {MOST_COPIES}.")
        self.weights |= {row: float(weight) for row, weight in weights.items()}

    def selection(self) -> Selection:
        """What an epoch that begins now holds."""
        return Selection(frozenset(self.pruned), dict(self.weights))

    def load(self, selection: Selection) -> None:
        self.pruned, self.weights = set(selection.pruned), dict(selection.weights)


def _several(ids: Iterable[str]) -> set[str]:
    if isinstance(ids, str):
        raise TypeError(f"a curriculum takes ids in a list: [{ids!r}].")
    return set(ids)


def _chance(seed: int, epoch: int, row: str) -> float:
    """A number in [0, 1) that belongs to a row and an epoch."""
    digest = hashlib.sha256(f"{seed}/{epoch}/{row}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / (1 << 56)
