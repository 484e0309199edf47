"""Named numpy arrays in a folder, read back through shared memory maps, and string tables made of two such arrays.

Worker processes that load the same folder share its pages: nothing is copied until it is touched, and then by the
kernel once for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Ids: TypeAlias = npt.NDArray[np.int32]
Mask: TypeAlias = npt.NDArray[np.bool_]
Arrays: TypeAlias = dict[str, npt.NDArray[Any]]

NO_IDS: Ids = np.empty(0, np.int32)


def save_arrays(arrays: Mapping[str, npt.NDArray[Any]], folder: Path) -> None:
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", np.ascontiguousarray(array))


def load_arrays(folder: Path) -> Arrays:
    """Every array of the folder, memory-mapped. Plain `ndarray` views: slicing a `memmap` costs ten times as much."""
    loaded = {}
    for path in sorted(folder.glob("*.npy")):
        # numpy cannot map a file without rows
        mapped = np.load(path, mmap_mode="r") if path.stat().st_size > 128 else np.load(path)
        loaded[path.stem] = np.asarray(mapped).view(np.ndarray)
    return loaded


class StringTable:
    """Strings by number, UTF-8 in one blob."""

    __slots__ = ("blob", "offsets")

    def __init__(self, blob: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> None:
        self.blob = blob
        self.offsets = offsets

    @classmethod
    def of(cls, strings: Iterable[str]) -> StringTable:
        blob = bytearray()
        offsets = [0]
        for string in strings:
            blob += string.encode()
            offsets.append(len(blob))
        return cls(np.frombuffer(bytes(blob), np.uint8), np.array(offsets, np.int64))

    @classmethod
    def load(cls, arrays: Arrays, name: str) -> StringTable:
        return cls(arrays[f"{name}_blob"], arrays[f"{name}_offsets"])

    def arrays(self, name: str) -> Arrays:
        return {f"{name}_blob": self.blob, f"{name}_offsets": self.offsets}

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def raw(self, i: int) -> bytes:
        return self.blob[self.offsets[i] : self.offsets[i + 1]].tobytes()

    def __getitem__(self, i: int) -> str:
        return self.raw(i).decode()


def sorted_ids(values: Iterable[int] | npt.NDArray[Any]) -> Ids:
    """Distinct ids in ascending order."""
    array = values if isinstance(values, np.ndarray) else np.fromiter(values, np.int32)
    return np.unique(array).astype(np.int32, copy=False)


def union(parts: Iterable[Ids]) -> Ids:
    """Distinct ids of all parts in ascending order."""
    present = [p for p in parts if len(p)]
    if not present:
        return NO_IDS
    return np.unique(np.concatenate(present)) if len(present) > 1 else np.unique(present[0])


def is_in(ids: Ids, ascending: Ids) -> Mask:
    """For each of `ids` whether it is among `ascending`; `ids` may repeat and have any order."""
    if not len(ascending):
        return np.zeros(len(ids), np.bool_)
    found: Mask = ascending.take(ascending.searchsorted(ids), mode="clip") == ids
    return found


def rows_of(ids: Ids, ascending: Ids) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """All (position in `ids`, row of `ascending`) with equal values; `ascending` may repeat."""
    low, high = ascending.searchsorted(ids), ascending.searchsorted(ids, "right")
    counts = high - low
    total = int(counts.sum())
    if not total:
        return np.empty(0, np.intp), np.empty(0, np.intp)
    position = np.repeat(np.arange(len(ids)), counts)
    ends = counts.cumsum()
    rows = np.arange(total) + np.repeat(low - ends + counts, counts)
    return position, rows
