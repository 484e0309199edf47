"""Parquet files as one long table whose parts are row groups, found and read by number."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import io
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from datagen import storage
from datagen.errors import ReleaseError

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
    columns: pa.Schema
    identity: dict[str, Any]
    """What states compare: how many files, rows and columns, and a digest of the files' footers with their statistics."""
    _idle: OrderedDict[int, list[pq.ParquetFile]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _process: int = field(default_factory=os.getpid)

    @classmethod
    def of(cls, urls: Sequence[str]) -> RowFiles:
        """Read the footers. Raises `ReleaseError` where there is no file, or files differ in their columns."""
        if not urls:
            raise ReleaseError("there is no Parquet file to stream; give a release folder, a file, or a glob.")
        groups: list[RowGroup] = []
        content = hashlib.sha256()
        columns: pa.Schema | None = None
        for number, url in enumerate(urls):
            with storage.opened_parquet(url) as file:
                if columns is not None and not file.schema_arrow.equals(columns):
                    raise ReleaseError(f"{url} has other columns than {urls[0]}; they are not files of one table.")
                columns = file.schema_arrow if columns is None else columns
                sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
                content.update(f"{url.rsplit('/', 1)[-1]}\n".encode())
                content.update(_footer(file))
            groups += [RowGroup(number, i, rows) for i, rows in enumerate(sizes) if rows]
        assert columns is not None
        identity = {
            "files": len(urls),
            "rows": sum(group.rows for group in groups),
            "columns": len(columns),
            "content": content.hexdigest()[:24],
        }
        return cls(tuple(urls), tuple(groups), columns, identity)

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        """Number of the first row of every group, and the total behind them."""
        return np.concatenate(([0], np.cumsum([group.rows for group in self.groups], dtype=np.int64)))

    def known(self, columns: Sequence[str]) -> tuple[str, ...]:
        """These columns. Raises `ReleaseError` for one that the files lack, which Parquet readers would leave out."""
        lacking = [name for name in columns if name not in self.columns.names]
        if lacking or not columns:
            named = ", ".join(map(repr, lacking)) or "nothing"
            raise ReleaseError(f"asked for {named}; the columns are {', '.join(self.columns.names)}.")
        return tuple(columns)

    def schema(self, columns: Sequence[str] | None = None) -> pa.Schema:
        """Names and types of what `read` gives."""
        return self.columns if columns is None else pa.schema([f for f in self.columns if f.name in columns])

    def read(self, number: int, columns: Sequence[str] | None = None) -> pa.Table:
        """One row group."""
        group = self.groups[number]
        with self._lent(group.file) as file:
            return file.read_row_group(group.number, columns=None if columns is None else list(columns))

    def column(self, name: str) -> pa.ChunkedArray[Any]:
        """One whole column, for the ids that a curriculum speaks of."""
        self.known([name])
        parts = [self.read(number, [name])[name] for number in range(len(self.groups))]
        return pa.chunked_array([chunk for part in parts for chunk in part.chunks], self.columns.field(name).type)

    @contextlib.contextmanager
    def _lent(self, number: int) -> Iterator[pq.ParquetFile]:
        """An open file that nobody else reads from meanwhile: neither another thread nor the process we are a fork of."""
        if self._process != os.getpid():
            self._idle, self._lock, self._process = OrderedDict(), threading.Lock(), os.getpid()
        with self._lock:
            idle = self._idle.get(number)
            file = idle.pop() if idle else None
        file = storage.open_parquet(self.urls[number]) if file is None else file
        yield file
        with self._lock:
            self._idle.setdefault(number, []).append(file)
            self._idle.move_to_end(number)
            while len(self._idle) > OPEN_FILES:
                for old in self._idle.popitem(last=False)[1]:
                    old.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Open files stay where they are."""
        return type(self), (self.urls, self.groups, self.columns, self.identity)


def _footer(file: pq.ParquetFile) -> bytes:
    """The file's own description: places, sizes and statistics of every column of every row group."""
    written = io.BytesIO()
    file.metadata.write_metadata_file(written)
    return written.getvalue()


def find_files(source: str | Path | Sequence[str | Path], table: str, split: str) -> tuple[str, ...]:
    """The files of a source: a release folder with its table and split, a folder, a file, a glob, a URL, or a list."""
    if not isinstance(source, str | Path):
        return tuple(url for part in source for url in find_files(part, table, split))
    text = str(source)
    if glob.has_magic(text) and not storage.exists(text):
        return storage.matching(text)
    if text.endswith(".parquet"):
        return (text,)
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
