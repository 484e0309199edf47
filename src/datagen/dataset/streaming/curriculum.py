"""Which rows an epoch holds, and how often: pruning what is solved, repeating what matters.

    curriculum.prune(["qa1-…"])                 left out from the next epoch on, until it is recycled
    curriculum.recycle()                        everything that was pruned comes back with the next epoch
    curriculum.reweight({"qa1-…": 2.5})         twice or three times per epoch, half of the epochs each

Changes take effect where an epoch begins, so that a position in a running epoch keeps its meaning. Fractions are decided by a hash of seed, epoch and id. All of it travels in the loader's state.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

MOST_COPIES = 255


@dataclass(slots=True)
class Curriculum:
    """What the coming epochs hold, and what the running one holds."""

    pruned: set[str] = field(default_factory=set)
    weights: dict[str, float] = field(default_factory=dict)
    running: tuple[frozenset[str], Mapping[str, float]] = (frozenset(), {})
    """What the running epoch was begun with."""

    def prune(self, ids: Iterable[str]) -> None:
        """Leave rows out of the epochs to come."""
        self.pruned |= set(ids)

    def recycle(self, ids: Iterable[str] | None = None) -> None:
        """Take pruned rows back, all of them or these, from the next epoch on."""
        self.pruned -= self.pruned.copy() if ids is None else set(ids)

    def reweight(self, weights: Mapping[str, float]) -> None:
        """How often rows come per epoch, on average; 1 for those never named."""
        for row, weight in weights.items():
            if not 0 <= weight <= MOST_COPIES:
                raise ValueError(f"the weight of {row} is {weight}; weights are between 0 and {MOST_COPIES}.")
            self.weights[row] = float(weight)

    def begin(self) -> bool:
        """An epoch begins with what was decided until now; says whether that differs from what stood before."""
        before = self.running
        self.running = (frozenset(self.pruned), dict(self.weights))
        return self.running != before

    @property
    def changes_rows(self) -> bool:
        """Whether the running epoch holds anything but every row once."""
        return bool(self.running[0]) or any(weight != 1 for weight in self.running[1].values())

    @property
    def in_use(self) -> bool:
        return bool(self.pruned or self.weights) or self.changes_rows

    def copies(self, ids: Sequence[str], seed: int, epoch: int) -> npt.NDArray[np.uint8]:
        """How often each of the rows comes in the running epoch."""
        pruned, weights = self.running
        made = np.ones(len(ids), np.uint8)
        place = {row: number for number, row in enumerate(ids)}
        for row, weight in weights.items():
            if row in place:
                made[place[row]] = int(weight) + (_chance(seed, epoch, row) < weight - int(weight))
        for row in pruned:
            if row in place:
                made[place[row]] = 0
        return made

    def state_dict(self) -> dict[str, Any]:
        pruned, weights = self.running
        return {
            "pruned": sorted(self.pruned),
            "weights": dict(sorted(self.weights.items())),
            "running": {"pruned": sorted(pruned), "weights": dict(sorted(weights.items()))},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.pruned, self.weights = set(state["pruned"]), dict(state["weights"])
        self.running = (frozenset(state["running"]["pruned"]), dict(state["running"]["weights"]))


def _chance(seed: int, epoch: int, row: str) -> float:
    """A number in [0, 1) that belongs to a row and an epoch."""
    digest = hashlib.sha256(f"{seed}/{epoch}/{row}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / (1 << 56)
