"""The order of an epoch: a keyed permutation that can be entered anywhere.

Row groups are put into an order drawn from (seed, epoch), and neighbours in that order form a window, whose rows are mixed
by another draw. Finding out what stands at a position takes the table of windows and one window: nothing before it has to
be read or counted again. A window of all groups is a full shuffle; smaller ones need less memory and mix less.

Draws are hashes (splitmix64, Steele et al. 2014) of seed, epoch and place, so that no release of a library changes them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]


def splitmix64(values: Words) -> Words:
    """The finaliser of SplitMix64, element by element: a bijection of 64-bit words without visible order.

    >>> int(splitmix64(np.array([0], np.uint64))[0])
    16294208416658607535
    """
    with np.errstate(over="ignore"):
        z = values + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def drawn(key: int, count: int) -> Words:
    """`count` words for a key."""
    base = splitmix64(np.array([key & 0xFFFF_FFFF_FFFF_FFFF], np.uint64))[0]
    with np.errstate(over="ignore"):
        return splitmix64(base + splitmix64(np.arange(count, dtype=np.uint64)))


def key_of(*parts: int) -> int:
    """One word for several."""
    word = np.zeros(1, np.uint64)
    for part in parts:
        word = splitmix64(word ^ np.uint64(part & 0xFFFF_FFFF_FFFF_FFFF))
    return int(word[0])


def shuffled(key: int, count: int) -> Ints:
    """A permutation of `range(count)`.

    Every number rides in the low bits of its hash, so sorting the words sorts the numbers, faster than an argsort would,
    and no two words are equal.
    """
    bits = np.uint64(max(1, (count - 1).bit_length()) if count else 1)
    numbers = np.arange(count, dtype=np.uint64)
    words = np.sort((drawn(key, count) >> bits << bits) | numbers)
    return (words & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)


@dataclass(frozen=True, slots=True)
class EpochOrder:
    """What stands where in one epoch. Positions count emitted rows over all ranks, copies included."""

    key: int
    group_starts: Ints
    """First row of every group in the files, and the total."""
    copies: npt.NDArray[np.uint8] | None
    """How often each row comes in this epoch; None for once each."""
    windows: tuple[Ints, ...]
    """Groups of every window."""
    ends: Ints
    """Position behind every window."""
    shuffle: bool

    @classmethod
    def of(
        cls,
        group_starts: Ints,
        *,
        seed: int,
        epoch: int,
        shuffle: bool,
        window: int | None,
        copies: npt.NDArray[np.uint8] | None = None,
    ) -> EpochOrder:
        """`window` groups are mixed with each other; None mixes everything."""
        groups = len(group_starts) - 1
        key = key_of(seed, epoch)
        order = shuffled(key, groups) if shuffle else np.arange(groups, dtype=np.int64)
        size = max(1, groups) if window is None and shuffle else max(1, window or 1)
        windows = tuple(order[first : first + size] for first in range(0, groups, size))
        if copies is None:
            per_group = np.diff(group_starts)
        else:
            running = np.concatenate(([0], np.cumsum(copies, dtype=np.int64)))
            per_group = running[group_starts[1:]] - running[group_starts[:-1]]
        counts = np.array([int(per_group[part].sum()) for part in windows], np.int64)
        return cls(key, group_starts, copies, windows, np.cumsum(counts, dtype=np.int64), shuffle)

    @property
    def total(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def window_at(self, position: int) -> int:
        """Number of the window that holds a position."""
        return int(np.searchsorted(self.ends, position, side="right"))

    def start_of(self, window: int) -> int:
        return int(self.ends[window - 1]) if window else 0

    def rows_of(self, window: int) -> Ints:
        """Places within the window's groups, laid one behind the other, in the order of emission."""
        groups = self.windows[window]
        sizes = self.group_starts[groups + 1] - self.group_starts[groups]
        places = np.arange(int(sizes.sum()), dtype=np.int64)
        if self.copies is not None:
            often = np.concatenate([self.copies[self.group_starts[g] : self.group_starts[g + 1]] for g in groups])
            places = np.repeat(places, often)
        if not self.shuffle:
            return places
        return places[shuffled(key_of(self.key, window + 1), len(places))]
