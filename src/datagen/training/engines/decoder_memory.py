"""Where keys and values lie: slabs of rows of one capacity, so that rows of like length are attended together.

    slab of 512 tokens   row 0  ████████████░░░░░░   a conversation that is being continued
                         row 1  ██████████░░░░░░░░   another
                         row 2  ███████░░░░░░░░░░░   one that waits for its tool: kept, not attended
    slab of 2,048        row 0  ███████████████████████████████░░░░░░░░░

A decoding step multiplies the first rows of a slab up to the longest of them, in place: nothing is gathered or copied per
step. Rows in use are moved together when too many in between are not, and a conversation that outgrows its capacity moves
to a slab of twice the capacity, which costs a copy of each token once per doubling.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

SMALLEST = 128
SLAB_TOKENS = 2**16
SLAB_ROWS = 64
"""Calls per step grow with the number of slabs, wasted length with the rows in one; 16 to 128 measure alike (`docs/log.md`)."""


@dataclass(slots=True, eq=False)
class Row:
    """A sequence whose keys and values are held."""

    capacity: int
    tokens: list[int] = field(default_factory=list)
    """Those whose keys and values are there, in order."""
    slab: Slab | None = None
    slot: int = 0


class Slab:
    """Keys and values of up to `rows` sequences: per layer (rows, kv_heads, capacity, dim)."""

    def __init__(
        self, rows: int, capacity: int, *, layers: int, heads: int, dim: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        shape = (rows, heads, capacity, dim)
        # Zeros, not whatever memory holds: places behind a row's end are multiplied with a weight of 0, and 0 * nan is nan.
        self.keys = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(layers)]
        self.values = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(layers)]
        self.capacity = capacity
        self.rows: list[Row | None] = [None] * rows

    @property
    def free(self) -> int:
        """Rows that nobody has."""
        return self.rows.count(None)

    def tensors(self) -> list[Tensor]:
        """All keys and values, one tensor per layer and kind."""
        return [*self.keys, *self.values]

    def place(self, row: Row) -> None:
        """Give the first free slot to a row."""
        row.slab, row.slot = self, self.rows.index(None)
        self.rows[row.slot] = row

    def exchange(self, one: int, other: int) -> None:
        """Let two rows change places."""
        first, second = self.rows[one], self.rows[other]
        length = max(len(row.tokens) if row else 0 for row in (first, second))
        for tensor in self.tensors():
            kept = tensor[one, :, :length].clone() if first else None
            tensor[one, :, :length] = tensor[other, :, :length]
            if kept is not None:
                tensor[other, :, :length] = kept
        self.rows[one], self.rows[other] = second, first
        for slot in (one, other):
            row = self.rows[slot]
            if row is not None:
                row.slot = slot


class Memory:
    """All slabs of a decoder."""

    def __init__(self, layers: int, heads: int, dim: int, dtype: torch.dtype, device: torch.device) -> None:
        self.layers, self.heads, self.dim, self.dtype, self.device = layers, heads, dim, dtype, device
        self.slabs: list[Slab] = []
        self.held = 0
        """Tokens that rows have room for."""

    @staticmethod
    def capacity(tokens: int) -> int:
        """Room that a sequence of so many tokens is given."""
        return max(SMALLEST, 1 << (tokens - 1).bit_length())

    def allocate(self, tokens: int, together: int = 1) -> Row:
        """A row with room for so many tokens; `together` rows of like size are about to be asked for, this one included."""
        row = Row(self.capacity(tokens))
        alike = [slab for slab in self.slabs if slab.capacity == row.capacity and slab.free]
        slab = min(alike, key=lambda slab: slab.free) if alike else self._slab(row.capacity, together)
        slab.place(row)
        self.held += row.capacity
        return row

    def _slab(self, capacity: int, wanted: int) -> Slab:
        most = max(4, min(SLAB_ROWS, SLAB_TOKENS // capacity))
        rows = min(most, max(4, 1 << (wanted - 1).bit_length()))
        slab = Slab(
            rows,
            capacity,
            layers=self.layers,
            heads=self.heads,
            dim=self.dim,
            dtype=self.dtype,
            device=self.device,
        )
        self.slabs.append(slab)
        return slab

    def free(self, row: Row) -> None:
        """Give a row back. A slab without rows goes when another of its kind has room."""
        slab = row.slab
        assert slab is not None
        slab.rows[row.slot] = None
        row.slab = None
        row.tokens = []
        self.held -= row.capacity
        if slab.free == len(slab.rows) and any(
            s is not slab and s.capacity == slab.capacity and s.free for s in self.slabs
        ):
            self.slabs.remove(slab)

    def fork(self, source: Row, target: Row, length: int) -> None:
        """Copy the keys and values of the first tokens."""
        assert source.slab is not None
        assert target.slab is not None
        for there, here in zip(source.slab.tensors(), target.slab.tensors(), strict=True):
            here[target.slot, :, :length] = there[source.slot, :, :length]
        target.tokens = source.tokens[:length]

    def clear(self) -> None:
        """Forget every row; memory that is taken already is given out again."""
        self.held = 0
        for slab in self.slabs:
            for row in slab.rows:
                if row is not None:
                    row.slab = None
                    row.tokens = []
            slab.rows = [None] * len(slab.rows)
