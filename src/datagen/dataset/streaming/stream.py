"""The loader: one rank's rows of one epoch after the other, from any position on.

Positions count the rows of an epoch over all ranks; rank r of w has the positions p with p % w == r. So one number says
what is done, every rank's state says it, and a run may go on with another number of ranks: each row comes exactly once in
an epoch, whatever happens in between. Ranks consume in step, as training does: states are those of equally many rows, and
an epoch begins when all ranks are through with the one before. Where its rows do not divide by the ranks, some ranks have
one row more, unless `even` leaves out the last few (others in every epoch), as collective operations need.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from datagen.dataset.streaming.batches import EpochBatches
from datagen.dataset.streaming.curriculum import Curriculum, Selection
from datagen.dataset.streaming.files import RowFiles, find_files
from datagen.dataset.streaming.order import EpochOrder
from datagen.dataset.streaming.share import Share
from datagen.dataset.streaming.state import STATE_VERSION, refuse_behind, refuse_other
from datagen.dataset.streaming.windows import windows_ahead
from datagen.errors import StreamStateError

WINDOW_GROUPS = 8
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
    even: bool = False
    """Whether all ranks have equally many rows, at the price of the last few of an epoch."""

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 1 << 64:
            raise ValueError(f"a seed is between 0 and 2**64 - 1, not {self.seed}.")
        if self.window is not None and self.window < 1:
            raise ValueError(f"a window has at least one row group, not {self.window}; None mixes all of them.")


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
    even: bool = False,
    curriculum: Curriculum | None = None,
    id_column: str = "id",
) -> RowStream:
    """Open a stream of rows. `source` is a release folder (with `table` and `split`), a file, a glob, a URL or a list.

    `columns` limits what is read. Raises `ReleaseError` where there is nothing to read.
    """
    files = RowFiles.of(find_files(source, table, split))
    settings = StreamSettings(seed, shuffle, window, id_column, even)
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
        self.columns = None if columns is None else files.known(columns)
        self.rank = rank
        self.world_size = world_size
        self.curriculum = curriculum or Curriculum()
        self.epoch = 0
        self.position = 0
        """Rows of the epoch that all ranks together have consumed."""
        self._running = Selection()
        self._ids: pa.ChunkedArray[Any] | None = None
        self._order: EpochOrder | None = None
        self._turn = 0
        """Which iterator may go on: two at a time would both count."""

    # What comes ------------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The rows that are left of this epoch, for this rank."""
        turn = self._begin()
        for part in windows_ahead(self.files, self.order, self.share, self.columns):
            for first in range(0, part.num_rows, ROWS_AT_ONCE):
                for row in part.slice(first, ROWS_AT_ONCE).to_pylist():
                    self._advance(1, turn)
                    yield row
        self._end_epoch(turn)

    def arrow(self, batch_rows: int = 1_000) -> Iterator[pa.Table]:
        """The same rows as Arrow tables of at most `batch_rows`."""
        turn = self._begin()
        for part in windows_ahead(self.files, self.order, self.share, self.columns):
            for first in range(0, part.num_rows, batch_rows):
                table = part.slice(first, batch_rows)
                self._advance(table.num_rows, turn)
                yield table
        self._end_epoch(turn)

    def batches(self, batch_rows: int, *, arrow: bool = False) -> EpochBatches:
        """What is left of the epoch as numbered batches, for a `torch` DataLoader with workers; see `batches`."""
        self._begin()
        return EpochBatches(self, batch_rows, arrow=arrow)

    def to_datasets(self) -> Any:
        """What is left of the epoch as a `datasets.IterableDataset`, with that library's own state.

        Its shards are batches of a few hundred rows, so a state of it is resumed without reading what lies before.
        """
        from datasets import Features, IterableDataset

        rest = self.batches(ROWS_AT_ONCE)
        features = Features.from_arrow_schema(self.files.schema(self.columns))
        numbers = {"numbers": list(range(len(rest)))}
        return IterableDataset.from_generator(rest.rows_of, gen_kwargs=numbers, features=features)

    def __len__(self) -> int:
        """Rows that are left of this epoch for this rank."""
        return len(self.share)

    def next_epoch(self) -> None:
        """Leave the running epoch, as the end of an iteration does; for batches, which do not move the stream."""
        self._take_turn()
        self.epoch += 1
        self.position = 0
        self._order = None

    @property
    def share(self) -> Share:
        """This rank's positions of what is left of the epoch."""
        return Share.of(
            anchor=self.position,
            total=self.order.total,
            rank=self.rank,
            ranks=self.world_size,
            even=self.settings.even,
        )

    @property
    def order(self) -> EpochOrder:
        """The order of the running epoch; what a curriculum decided before its first row counts."""
        if self.position == 0 and self._running != (coming := self.curriculum.selection()):
            self._running, self._order = coming, None
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
        if not self._running.changes_rows:
            return None
        if self._ids is None:
            self._ids = self.files.column(self.settings.id_column)
        return self._running.copies(self._ids, self.settings.seed, self.epoch)

    # Where it stands -------------------------------------------------------------------------------------------------

    def _begin(self) -> int:
        """A new reading goes on where the stream stands: in the next epoch where its state says so."""
        if self._is_through:
            self.next_epoch()
        return self._take_turn()

    def _take_turn(self) -> int:
        self._turn += 1
        return self._turn

    def _advance(self, rows: int, turn: int) -> None:
        if turn != self._turn:
            raise StreamStateError(
                "this stream was moved while it was read: a second iteration began, or a state was loaded. Go on with the "
                "newer iteration, or open a second stream."
            )
        self.position += rows * self.world_size

    def _end_epoch(self, turn: int) -> None:
        self._advance(0, turn)
        self.next_epoch()

    @property
    def _is_through(self) -> bool:
        """Whether no rank has a row left of an epoch that was begun."""
        return self.position > 0 and self.position >= self.share.stop

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides what comes next, as JSON: a few hundred bytes, and the ids a curriculum names."""
        through = self._is_through
        running = self._running if self.position else self.curriculum.selection()
        return {
            "version": STATE_VERSION,
            "data": self.files.identity,
            "settings": asdict(self.settings),
            "epoch": self.epoch + through,
            "position": 0 if through else self.position,
            "curriculum": {
                "running": running.state_dict(),
                "coming": self.curriculum.selection().state_dict(),
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a state was taken, on any rank of any number of ranks.

        Raises `StreamStateError` for a state of other data or of another order, naming what differs; the stream stays
        where it was.
        """
        refuse_other(state, self.state_dict())
        before = self.epoch, self.position, self._running, self._order
        self.epoch, self.position = state["epoch"], state["position"]
        self._running, self._order = Selection.from_state(state["curriculum"]["running"]), None
        if self.position:
            try:
                refuse_behind(self.position, self.order.total)
            except StreamStateError:
                self.epoch, self.position, self._running, self._order = before
                raise
        self.curriculum.load(Selection.from_state(state["curriculum"]["coming"]))
        self._take_turn()

    def __getstate__(self) -> dict[str, Any]:
        """What is made from the files is made again where it is needed."""
        return {**self.__dict__, "_ids": None, "_order": None}
