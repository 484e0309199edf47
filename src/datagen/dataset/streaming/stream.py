"""The loader: one rank's rows of one epoch after the other, from any position on.

Positions count the rows of an epoch over all ranks; rank r of w has the positions p with p % w == r. So one number says
what is done, every rank's state says it, and a run may go on with another number of ranks: each row comes exactly once in
an epoch, whatever happens in between. Ranks consume in step, as training does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from datagen.dataset.streaming.batches import EpochBatches
from datagen.dataset.streaming.curriculum import Curriculum
from datagen.dataset.streaming.files import RowFiles, find_files
from datagen.dataset.streaming.order import EpochOrder
from datagen.errors import StreamStateError

STATE_VERSION = 1
WINDOW_GROUPS = 8
WINDOWS_AHEAD = 2
"""Windows that are read and mixed while one is used; each is in memory."""
ROWS_AT_ONCE = 256
"""Rows that are turned into Python objects together."""


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """What fixes the order of rows. Equal settings over equal data give equal epochs."""

    seed: int = 0
    shuffle: bool = True
    window: int | None = WINDOW_GROUPS
    """Row groups that are mixed with each other; None for all of them, which holds the whole table in memory."""
    id_column: str = "id"
    """What a curriculum calls a row by."""


def stream(
    source: str | Path | Sequence[str | Path],
    *,
    table: str = "qa",
    split: str = "train",
    columns: Sequence[str] | None = None,
    seed: int = 0,
    shuffle: bool = True,
    window: int | None = WINDOW_GROUPS,
    rank: int = 0,
    world_size: int = 1,
    curriculum: Curriculum | None = None,
    id_column: str = "id",
) -> RowStream:
    """Open a stream of rows. `source` is a release folder (with `table` and `split`), a file, a glob, a URL or a list.

    `columns` limits what is read. Raises `ReleaseError` where there is nothing to read.
    """
    files = RowFiles.of(find_files(source, table, split))
    settings = StreamSettings(seed, shuffle, window, id_column)
    return RowStream(files, settings, columns=columns, rank=rank, world_size=world_size, curriculum=curriculum)


class RowStream:
    """Iterating gives what is left of the epoch; iterating again gives the next one."""

    def __init__(
        self,
        files: RowFiles,
        settings: StreamSettings,
        *,
        columns: Sequence[str] | None = None,
        rank: int = 0,
        world_size: int = 1,
        curriculum: Curriculum | None = None,
    ) -> None:
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} is not among {world_size} ranks.")
        self.files = files
        self.settings = settings
        self.columns = None if columns is None else tuple(columns)
        self.rank = rank
        self.world_size = world_size
        self.curriculum = curriculum or Curriculum()
        self.epoch = 0
        self.position = 0
        """Rows of the epoch that all ranks together have consumed."""
        self._ids: list[str] | None = None
        self._order: EpochOrder | None = None

    # What comes ------------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The rows that are left of this epoch, for this rank."""
        for part in self.tables():
            for first in range(0, part.num_rows, ROWS_AT_ONCE):
                rows = part.slice(first, ROWS_AT_ONCE).to_pylist()
                for row in rows:
                    self._advance()
                    yield row
        self._end_epoch()

    def arrow(self, batch_rows: int = 1_000) -> Iterator[pa.Table]:
        """The same rows as Arrow tables of at most `batch_rows`."""
        for part in self.tables():
            for first in range(0, part.num_rows, batch_rows):
                table = part.slice(first, batch_rows)
                self._advance(table.num_rows)
                yield table
        self._end_epoch()

    def batches(self, batch_rows: int, *, arrow: bool = False) -> EpochBatches:
        """What is left of the epoch as numbered batches, for a `torch` DataLoader with workers; see `batches`."""
        return EpochBatches(self, batch_rows, arrow=arrow)

    def to_datasets(self) -> Any:
        """What is left of the epoch as a `datasets.IterableDataset`."""
        from datasets import Features, IterableDataset

        schema = self.files.read(0, self.columns).schema if self.files.groups else None
        features = Features.from_arrow_schema(schema) if schema is not None else None
        return IterableDataset.from_generator(lambda: iter(self), features=features)

    def __len__(self) -> int:
        """Rows that are left of this epoch for this rank."""
        return max(0, -(-(self.order.total - self.first_position(self.position)) // self.world_size))

    def first_position(self, position: int) -> int:
        """This rank's first position at or behind a position."""
        return position + (self.rank - position) % self.world_size

    # Windows ---------------------------------------------------------------------------------------------------------

    def tables(self) -> Iterator[pa.Table]:
        """What is left of the epoch for this rank, window by window; the next ones are read and mixed meanwhile."""
        order = self.order
        start = self.first_position(self.position)
        waiting = deque(range(order.window_at(start), len(order.windows)))
        with ThreadPoolExecutor(WINDOWS_AHEAD, thread_name_prefix="window") as readers:
            made: deque[Future[pa.Table]] = deque()
            while waiting or made:
                while waiting and len(made) <= WINDOWS_AHEAD:
                    made.append(readers.submit(self._rows_from, order, waiting.popleft(), start))
                yield made.popleft().result()

    def _rows_from(self, order: EpochOrder, window: int, start: int) -> pa.Table:
        return self._mine(order, window, self._window(order, window), start)

    def rows_in(self, window: int) -> pa.Table:
        """All rows of this rank in one window."""
        order = self.order
        return self._mine(order, window, self._window(order, window), order.start_of(window))

    def _window(self, order: EpochOrder, window: int) -> pa.Table:
        """The groups of a window, one behind the other."""
        return pa.concat_tables([self.files.read(int(group), self.columns) for group in order.windows[window]])

    def _mine(self, order: EpochOrder, window: int, table: pa.Table, start: int) -> pa.Table:
        """This rank's rows of a window in the order of emission, from position `start` on."""
        begin = order.start_of(window)
        offset = self.first_position(max(begin, start)) - begin
        places = order.rows_of(window)[offset :: self.world_size]
        whole = len(places) == table.num_rows and not order.shuffle
        return table if whole else table.combine_chunks().take(places)

    @property
    def order(self) -> EpochOrder:
        """The order of the running epoch; what a curriculum decided before its first row counts."""
        if self.position == 0 and self.curriculum.begin():
            self._order = None
        if self._order is None:
            self._order = EpochOrder.of(
                self.files.starts,
                seed=self.settings.seed,
                epoch=self.epoch,
                shuffle=self.settings.shuffle,
                window=self.settings.window,
                copies=self._copies(),
            )
        return self._order

    def _copies(self) -> Any:
        if not self.curriculum.changes_rows:
            return None
        if self._ids is None:
            self._ids = self.files.column(self.settings.id_column)
        return self.curriculum.copies(self._ids, self.settings.seed, self.epoch)

    # Where it stands -------------------------------------------------------------------------------------------------

    def _advance(self, rows: int = 1) -> None:
        self.position += rows * self.world_size

    def _end_epoch(self) -> None:
        self.epoch += 1
        self.position = 0
        self._order = None

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides what comes next, as JSON."""
        return self.state_at(self.position)

    def state_at(self, position: int, *, ended: bool = False) -> dict[str, Any]:
        """The state at a position of this epoch, or at the beginning of the next: for batches that are made ahead."""
        curriculum = self.curriculum.state_dict() if self.curriculum.in_use else None
        return {
            "version": STATE_VERSION,
            "data": self.files.fingerprint,
            "seed": self.settings.seed,
            "shuffle": self.settings.shuffle,
            "window": self.settings.window,
            "epoch": self.epoch + ended,
            "position": 0 if ended else position,
            "curriculum": curriculum,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a state was taken, on any rank of any number of ranks.

        Raises `StreamStateError` for a state of other data or of another order, naming what differs.
        """
        mine = self.state_dict()
        wrong = [name for name in ("version", "data", "seed", "shuffle", "window") if state.get(name) != mine[name]]
        if wrong:
            told = ", ".join(f"{name} (saved {state.get(name)!r}, here {mine[name]!r})" for name in wrong)
            raise StreamStateError(
                f"this state belongs to another stream: {told}. Open the stream with what it was saved with; rows that were "
                "added since make other data, and an epoch of them begins anew."
            )
        self.epoch, self.position = int(state["epoch"]), int(state["position"])
        self.curriculum.load_state_dict(state["curriculum"] or Curriculum().state_dict())
        self._order = None
