"""What is left of an epoch as numbered batches: batch 0, batch 1, ... whoever makes them.

A `torch` DataLoader hands numbers to its workers in turn and puts the batches back into order, so that the rows come in
one order with any number of workers, and a count of batches says where training stands:

    batches = rows.batches(32)
    for step, batch in enumerate(DataLoader(batches, batch_size=None, num_workers=2)):
        ...
        state = batches.state_after(step + 1)
    rows.next_epoch()

The epoch is fixed where the batches are made: what a curriculum decides later waits for the next one. Every worker reads
the windows that its batches lie in, so workers share out the work on rows, not the reading.

Nothing here imports torch: a DataLoader takes anything that has a length and can be asked for a number.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from datagen.dataset.streaming.windows import read_window

if TYPE_CHECKING:
    from datagen.dataset.streaming.stream import RowStream

WINDOWS_KEPT = 2
"""A batch may begin in one window and end in the next."""


class EpochBatches:
    """Batches of one rank from where its stream stood; all of `batch_rows` rows but the last."""

    def __init__(self, rows: RowStream, batch_rows: int, *, arrow: bool = False) -> None:
        if batch_rows < 1:
            raise ValueError(f"a batch has at least one row, not {batch_rows}.")
        self._order = rows.order
        self._share = rows.share
        self._state = {**rows.state_dict(), "epoch": rows.epoch, "position": rows.position}
        self._files, self._columns = rows.files, rows.columns
        self._rows = rows
        self._batch_rows = batch_rows
        self._arrow = arrow
        self._windows: OrderedDict[int, pa.Table] = OrderedDict()

    def __len__(self) -> int:
        return (len(self._share) + self._batch_rows - 1) // self._batch_rows

    def __getitem__(self, number: int) -> Any:
        """Batch `number` as a list of rows, or as an Arrow table."""
        if not 0 <= number < len(self):
            raise IndexError(f"there are {len(self)} batches, and {number} is none of them.")
        first = number * self._batch_rows
        table = pa.concat_tables(self._parts(first, min(first + self._batch_rows, len(self._share))))
        return table if self._arrow else table.to_pylist()

    def rows_of(self, numbers: Sequence[int]) -> Iterator[dict[str, Any]]:
        """The rows of some batches, one by one."""
        for number in numbers:
            yield from self[number].to_pylist() if self._arrow else self[number]

    def state_after(self, batches: int) -> dict[str, Any]:
        """The stream's state once so many batches were used; with all of them, the beginning of the next epoch."""
        done = min(batches * self._batch_rows, len(self._share))
        ended = done == len(self._share)
        place = (
            {"epoch": self._state["epoch"] + 1, "position": 0}
            if ended
            else {"position": self._state["position"] + done * self._share.step}
        )
        coming = self._rows.curriculum.selection().state_dict()
        return {**self._state, **place, "curriculum": {**self._state["curriculum"], "coming": coming}}

    def _parts(self, first: int, stop: int) -> Iterator[pa.Table]:
        """Rows `first` to `stop - 1` of this rank, window by window."""
        while first < stop:
            position = self._share.first + first * self._share.step
            window = self._order.window_at(position)
            begin = self._share.first_in(self._order.start_of(window))
            part = self._window(window).slice((position - begin) // self._share.step, stop - first)
            yield part
            first += part.num_rows

    def _window(self, number: int) -> pa.Table:
        if number not in self._windows:
            while len(self._windows) >= WINDOWS_KEPT:
                self._windows.popitem(last=False)
            self._windows[number] = read_window(self._files, self._order, number, self._share, self._columns)
        return self._windows[number]

    def __getstate__(self) -> dict[str, Any]:
        """Windows are read where they are used."""
        return {**self.__dict__, "_windows": OrderedDict()}
