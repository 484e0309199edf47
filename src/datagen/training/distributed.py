"""Several processes that train one model: who they are, and what they tell each other.

    torchrun --nproc-per-node 2 ...            # or nothing: then a world of one, and the same code runs
    with distributed() as world:
        mine = shard_rows(rows, world.rank, world.size)
        totals = world.total({"tokens": 1.0 * tokens})

Every rank makes the same calls in the same order: what waits for all ranks hangs where one does not come.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch.distributed as dist

from datagen.errors import TrainingError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class World:
    """The processes of one training. A world of one needs no torchrun and waits for nobody."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"
    """Where this rank computes: "cpu", or "cuda:0"."""

    @property
    def leads(self) -> bool:
        """Whether this is the rank that writes what is written once."""
        return self.rank == 0

    def gather(self, value: T) -> list[T]:
        """The value of every rank, in the order of ranks, on every rank. Values are pickled."""
        if self.size == 1:
            return [value]
        values: list[T | None] = [None] * self.size
        dist.all_gather_object(values, value)
        return values  # type: ignore[return-value]  # every place was filled

    def total(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Sums over ranks, added in the order of ranks; a name that a rank lacks counts 0 there."""
        totals: dict[str, float] = {}
        for part in self.gather(dict(sums)):
            for name, value in part.items():
                totals[name] = totals.get(name, 0.0) + value
        return totals

    def together(self, work: Callable[[], T]) -> T:
        """Do `work` on every rank; where it fails on one, all raise, so that none waits for what never comes.

        A rank that failed raises its own error, the others a `TrainingError` that repeats the first one's message.
        """
        failure: Exception | None = None
        result: T | None = None
        try:
            result = work()
        except Exception as exc:  # noqa: BLE001  it is raised below, on every rank
            failure = exc
        if self.size > 1:
            words = self.gather(None if failure is None else f"{failure}")
            told = [(rank, word) for rank, word in enumerate(words) if word is not None]
            if told and failure is None:
                rank, word = told[0]
                raise TrainingError(f"rank {rank} failed: {word}")
        if failure is not None:
            raise failure
        return result  # type: ignore[return-value]  # set where nothing failed
