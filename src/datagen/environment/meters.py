"""How many requests, how many errors, how long: counters that the worker processes of a server share without locks.

Each worker owns one row of a memory-mapped file and is the only one to write there, so counting is two additions; whoever
is asked for the figures adds up the rows. Times go into buckets a quarter of a doubling apart, which gives a percentile
to within a tenth at any load, in a fixed 80 numbers.
"""

from __future__ import annotations

import mmap
from math import log2
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

ROUTES = (
    "search",
    "visit",
    "retrieve",
    "reset",
    "reward",
    "episode",
    "tasks",
    "health",
    "metrics",
    "tools",
    "mcp",
    "other",
)
_BUCKETS = 80
_PER_DOUBLING = 4
_LEAST_S = 1e-5
_WIDTH = _BUCKETS + 1
"""Times, and the number of errors."""


class Meters:
    """The counters of all workers; `worker` is the row that this process writes."""

    def __init__(self, path: Path, worker: int = 0) -> None:
        self._file = path.open("r+b")
        self._map = mmap.mmap(self._file.fileno(), 0)
        numbers = np.frombuffer(self._map, dtype=np.uint64)
        self._all: npt.NDArray[np.uint64] = numbers.reshape(-1, len(ROUTES), _WIDTH)
        self._own = memoryview(self._map).cast("Q")
        self._start = worker * len(ROUTES) * _WIDTH
        self._places = {name: self._start + i * _WIDTH for i, name in enumerate(ROUTES)}

    @classmethod
    def create(cls, path: Path, workers: int) -> Meters:
        with path.open("xb") as file:
            file.truncate(workers * len(ROUTES) * _WIDTH * 8)
        return cls(path)

    def count(self, route: str, seconds: float, *, failed: bool) -> None:
        place = self._places[route]
        bucket = int(log2(seconds / _LEAST_S) * _PER_DOUBLING) if seconds > _LEAST_S else 0
        self._own[place + min(bucket, _BUCKETS - 1)] += 1
        if failed:
            self._own[place + _BUCKETS] += 1

    def figures(self) -> dict[str, Any]:
        """Per route: requests, errors, and the 50th and 95th percentile of the time until the reply was handed over."""
        total = self._all.sum(axis=0)
        return {name: _figures(total[i]) for i, name in enumerate(ROUTES) if total[i][:_BUCKETS].any()}


def _figures(row: npt.NDArray[np.uint64]) -> dict[str, Any]:
    times = row[:_BUCKETS]
    reached = np.cumsum(times)
    requests = int(reached[-1])
    return {
        "requests": requests,
        "errors": int(row[_BUCKETS]),
        "p50_ms": _percentile_ms(reached, 0.50),
        "p95_ms": _percentile_ms(reached, 0.95),
        "p99_ms": _percentile_ms(reached, 0.99),
    }


def _percentile_ms(reached: npt.NDArray[np.uint64], share: float) -> float:
    """Middle of the bucket in which the share is reached."""
    bucket = int(np.searchsorted(reached, share * float(reached[-1])))
    return round(1000 * _LEAST_S * 2 ** ((bucket + 0.5) / _PER_DOUBLING), 3)
