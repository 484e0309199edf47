"""Parquet files as one long table whose parts are row groups, found and read by number."""

from __future__ import annotations

import glob
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from datagen import storage
from datagen.errors import ReleaseError
from datagen.records.ids import content_id

OPEN_FILES = 64
"""Files kept open; more are opened again when they are needed."""


@dataclass(frozen=True, slots=True)
class RowGroup:
    """A row group by its place."""

    file: int
    number: int
    rows: int


@dataclass(slots=True)
class RowFiles:
    """The files of one table, in order. Travels to other processes; files are opened where they are read."""

    urls: tuple[str, ...]
    groups: tuple[RowGroup, ...]
    fingerprint: str
    """Identity of what is in the files, from their footers: equal data in equal files."""
    _open: OrderedDict[int, pq.ParquetFile] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, urls: Sequence[str]) -> RowFiles:
        """Read the footers. Raises `ReleaseError` where there is no file, or files differ in their columns."""
        if not urls:
            raise ReleaseError("there is no Parquet file to stream; give a release folder, a file, or a glob.")
        groups: list[RowGroup] = []
        described: list[object] = []
        schema: pa.Schema | None = None
        for number, url in enumerate(urls):
            with storage.opened_parquet(url) as file:
                meta = file.metadata
                if schema is not None and not file.schema_arrow.equals(schema):
                    raise ReleaseError(f"{url} has other columns than {urls[0]}; they are not files of one table.")
                schema = file.schema_arrow
                sizes = [meta.row_group(i).num_rows for i in range(meta.num_row_groups)]
                bytes_ = [meta.row_group(i).total_byte_size for i in range(meta.num_row_groups)]
            groups += [RowGroup(number, i, rows) for i, rows in enumerate(sizes) if rows]
            described.append([url.rsplit("/", 1)[-1], sizes, bytes_])
        assert schema is not None
        names = [[f.name, str(f.type)] for f in schema]
        return cls(tuple(urls), tuple(groups), content_id("rows1", {"files": described, "columns": names}))

    @property
    def total(self) -> int:
        return sum(group.rows for group in self.groups)

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        """Number of the first row of every group, and the total behind them."""
        return np.concatenate(([0], np.cumsum([group.rows for group in self.groups], dtype=np.int64)))

    def read(self, number: int, columns: Sequence[str] | None = None) -> pa.Table:
        """One row group."""
        group = self.groups[number]
        with self._lock:  # a Parquet file is read by one thread at a time
            file = self._file(group.file)
            return file.read_row_group(group.number, columns=None if columns is None else list(columns))

    def column(self, name: str) -> list[Any]:
        """One whole column, for the ids that a curriculum speaks of."""
        values: list[Any] = []
        for number in range(len(self.groups)):
            values += self.read(number, [name])[name].to_pylist()
        return values

    def _file(self, number: int) -> pq.ParquetFile:
        if number not in self._open:
            while len(self._open) >= OPEN_FILES:
                self._open.popitem(last=False)[1].close()
            self._open[number] = storage.open_parquet(self.urls[number])
        self._open.move_to_end(number)
        return self._open[number]

    def __getstate__(self) -> dict[str, Any]:
        """Open files stay where they are."""
        return {"urls": self.urls, "groups": self.groups, "fingerprint": self.fingerprint}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.urls, self.groups, self.fingerprint = state["urls"], state["groups"], state["fingerprint"]
        self._open = OrderedDict()
        self._lock = threading.Lock()


def find_files(source: str | Path | Sequence[str | Path], table: str, split: str) -> tuple[str, ...]:
    """The files of a source: a release folder with its table and split, a folder, a file, a glob, a URL, or a list."""
    if not isinstance(source, str | Path):
        return tuple(str(part) for part in source)
    text = str(source)
    if text.endswith(".parquet") and not glob.has_magic(text):
        return (text,)
    if glob.has_magic(text):
        return tuple(sorted(glob.glob(text, recursive=True)))  # noqa: PTH207  a pattern may be absolute
    folder = storage.join(text, "data", table)
    if storage.exists(folder):
        names = [n for n in storage.list_names(folder, ".parquet") if n.split("-")[0] == split]
        if not names:
            raise ReleaseError(f"{text} has no rows of {table} in the split {split!r}.")
        return tuple(storage.join(folder, name) for name in names)
    names = storage.list_names(text, ".parquet") if storage.exists(text) else []
    if not names:
        raise ReleaseError(
            f"{text} holds no {table}: give a release folder, a folder of Parquet files, a file or a glob."
        )
    return tuple(storage.join(text, name) for name in names)
