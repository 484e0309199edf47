"""What is left of an epoch as numbered batches: batch 0, batch 1, ... whoever makes them.

A `torch` DataLoader hands numbers to its workers in turn and puts the batches back into order, so that the rows come in
one order with any number of workers, and a count of batches says where training stands:

    batches = rows.batches(32)
    for step, batch in enumerate(DataLoader(batches, batch_size=None, num_workers=2)):
        ...
        state = batches.state_after(step + 1)

Nothing here imports torch: a DataLoader takes anything that has a length and can be asked for a number.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from datagen.dataset.streaming.stream import RowStream

WINDOWS_KEPT = 2
"""A batch may begin in one window and end in the next."""


class EpochBatches:
    """Batches of one rank from where its stream stood; all of `batch_rows` rows but the last."""

    def __init__(self, rows: RowStream, batch_rows: int, *, arrow: bool = False) -> None:
        if batch_rows < 1:
            raise ValueError(f"a batch has at least one row, not {batch_rows}.")
        self._rows = rows
        self._start = rows.position
        self._total = len(rows)
        self._batch_rows = batch_rows
        self._arrow = arrow
        self._windows: OrderedDict[int, pa.Table] = OrderedDict()

    def __len__(self) -> int:
        return (self._total + self._batch_rows - 1) // self._batch_rows

    def __getitem__(self, number: int) -> Any:
        """Batch `number` as a list of rows, or as an Arrow table."""
        if not 0 <= number < len(self):
            raise IndexError(f"there are {len(self)} batches, and {number} is none of them.")
        first = number * self._batch_rows
        table = pa.concat_tables(self._parts(first, min(first + self._batch_rows, self._total)))
        return table if self._arrow else table.to_pylist()

    def state_after(self, batches: int) -> dict[str, Any]:
        """The stream's state once so many batches were used; with all of them, the beginning of the next epoch."""
        done = min(batches * self._batch_rows, self._total)
        return self._rows.state_at(self._start + done * self._rows.world_size, ended=done == self._total)

    def _parts(self, first: int, stop: int) -> list[pa.Table]:
        """Rows `first` to `stop - 1` of this rank, window by window."""
        rows, parts = self._rows, []
        while first < stop:
            position = rows.first_position(self._start) + first * rows.world_size
            window = rows.order.window_at(position)
            table = self._window(window)
            offset = (position - rows.first_position(rows.order.start_of(window))) // rows.world_size
            part = table.slice(offset, stop - first)
            parts.append(part)
            first += part.num_rows
        return parts

    def _window(self, number: int) -> pa.Table:
        if number not in self._windows:
            while len(self._windows) >= WINDOWS_KEPT:
                self._windows.popitem(last=False)
            self._windows[number] = self._rows.rows_in(number)
        return self._windows[number]
