"""Which positions of an epoch belong to a rank.

Positions count the rows of an epoch over all ranks. From an anchor on, which all ranks share, they are dealt out in turn:

    >>> list(Share.of(anchor=6, total=13, rank=1, ranks=3))
    [7, 10]
    >>> (
    ...     list(Share.of(anchor=6, total=13, rank=0, ranks=3)),
    ...     list(Share.of(anchor=6, total=13, rank=0, ranks=3, even=True)),
    ... )
    ([6, 9, 12], [6, 9])
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """Positions `first`, `first + step`, ... below `stop`."""

    first: int
    stop: int
    step: int

    @classmethod
    def of(cls, *, anchor: int, total: int, rank: int, ranks: int, even: bool = False) -> Share:
        """A rank's share from an anchor on. `even` leaves out what does not fill a last step of all ranks."""
        left = max(0, total - anchor)
        stop = anchor + (left - left % ranks if even else left)
        return cls(anchor + (rank - anchor) % ranks, stop, ranks)

    def __len__(self) -> int:
        return max(0, -(-(self.stop - self.first) // self.step))

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.stop, self.step))

    def first_in(self, begin: int) -> int:
        """The first position of the share at or behind `begin`."""
        return self.first if begin <= self.first else begin + (self.first - begin) % self.step

    def places(self, begin: int) -> slice:
        """The share within a list of rows whose first one stands at position `begin`."""
        return slice(self.first_in(begin) - begin, max(0, self.stop - begin), self.step)
