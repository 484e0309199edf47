"""One source read into shards of the pages table, by any number of processes, always to the same bytes.

The parent streams raw records in batches, keeps a bounded number of them in flight, and takes results back in order, so
the shards follow the source's order whatever the workers do. A shard is cut after `SHARD_ROWS` pages or `SHARD_BYTES` of
text, which depends on the pages alone.
"""

from __future__ import annotations

import multiprocessing
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from datagen import storage
from datagen.errors import SourceError, boundary
from datagen.records.page import Page
from datagen.records.rows import Row, page_to_row
from datagen.records.schema import arrow_schema
from datagen.storage import FileEntry
from datagen.web.extraction import extract
from datagen.web.manifest import SourceReport, redirect_files, redirects_path, source_key
from datagen.web.prose import Mode, extractor_version
from datagen.web.sources.raw import Redirect, SkippedRecord, Source, SourceRecord

SHARD_ROWS = 2_000
SHARD_BYTES = 64_000_000
SHARD_REDIRECTS = 200_000
ROW_GROUP_ROWS = 500
_BATCH_RECORDS = 64
_BATCH_BYTES = 4_000_000
_BATCHES_PER_WORKER = 3
REDIRECTS = pa.schema([("url", pa.string()), ("target", pa.string())])


@dataclass(slots=True)
class _Batch:
    """Records of a source in order, or what became of them."""

    rows: list[Row] = field(default_factory=list)
    redirects: list[tuple[str, str]] = field(default_factory=list)
    skips: list[tuple[str, str]] = field(default_factory=list)


def extract_batch(records: list[SourceRecord], mode: Mode) -> _Batch:
    batch = _Batch()
    for record in records:
        outcome = record if isinstance(record, Redirect | SkippedRecord) else extract(record, mode)
        if isinstance(outcome, Page):
            batch.rows.append(page_to_row(outcome))
        elif isinstance(outcome, Redirect):
            batch.redirects.append((outcome.url, outcome.target))
        else:
            batch.skips.append((outcome.reason, outcome.detail))
    return batch


class SourceReader:
    """Reads sources with one pool of processes; with one worker, in this process."""

    def __init__(self, mode: Mode, workers: int, on_progress: Callable[[int], None] | None = None) -> None:
        self._mode = mode
        self._workers = max(1, workers)
        self._on_progress = on_progress
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> SourceReader:
        if self._workers > 1:
            # Not fork: the parent may hold threads of arrow and tantivy, and a forked copy of their locks never opens.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._workers, mp_context=context)
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def read(self, source: Source, fingerprint: str, folder: Path) -> SourceReport:
        """Write the shards of `source` and its redirects; the report is the caller's to keep."""
        extractor = extractor_version(self._mode)
        writer = _ShardWriter(folder, source_key(fingerprint, extractor))
        skipped: Counter[str] = Counter()
        examples: dict[str, str] = {}
        with boundary(SourceError, f"reading {source.name}"):
            for batch in self._extracted(source):
                writer.add(batch)
                for reason, detail in batch.skips:
                    skipped[reason] += 1
                    examples.setdefault(reason, detail)
                if self._on_progress is not None:
                    self._on_progress(len(batch.rows))
        writer.finish()
        return SourceReport(
            name=source.name,
            kind=source.kind,
            fingerprint=fingerprint,
            extractor=extractor,
            pages=writer.pages,
            redirects=writer.redirects,
            skipped=dict(sorted(skipped.items())),
            examples=dict(sorted(examples.items())),
            shards=tuple(writer.shards),
        )

    def _extracted(self, source: Source) -> Iterator[_Batch]:
        if self._pool is None:
            for records in _batches(source):
                yield extract_batch(records, self._mode)
            return
        flying: deque[Future[_Batch]] = deque()
        for records in _batches(source):
            flying.append(self._pool.submit(extract_batch, records, self._mode))
            if len(flying) >= self._workers * _BATCHES_PER_WORKER:
                yield flying.popleft().result()
        while flying:
            yield flying.popleft().result()


def _batches(source: Source) -> Iterator[list[SourceRecord]]:
    batch: list[SourceRecord] = []
    size = 0
    for record in source:
        batch.append(record)
        size += len(getattr(record, "payload", b""))
        if len(batch) >= _BATCH_RECORDS or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class _ShardWriter:
    """Holds at most one shard of pages and one of redirects."""

    def __init__(self, folder: Path, key: str) -> None:
        self._folder = folder
        self._key = key
        self._schema = arrow_schema("pages")
        self._rows: list[Row] = []
        self._bytes = 0
        self._redirects: list[dict[str, str]] = []
        self._redirect_shards = 0
        self.shards: list[FileEntry] = []
        self.pages = 0
        self.redirects = 0
        for left_over in redirect_files(folder, key):
            left_over.unlink()

    def add(self, batch: _Batch) -> None:
        for url, target in batch.redirects:
            self._redirects.append({"url": url, "target": target})
            if len(self._redirects) >= SHARD_REDIRECTS:
                self._write_redirects()
        for row in batch.rows:
            self._rows.append(row)
            self._bytes += len(row["text"])
            if len(self._rows) >= SHARD_ROWS or self._bytes >= SHARD_BYTES:
                self._write_pages()

    def _write_pages(self) -> None:
        name = f"pages/{self._key}-{len(self.shards):05d}.parquet"
        table = pa.Table.from_pylist(self._rows, schema=self._schema)
        self.shards.append(write_shard(self._folder, name, table))
        self.pages += len(self._rows)
        self._rows, self._bytes = [], 0

    def _write_redirects(self) -> None:
        path = redirects_path(self._folder, self._key, self._redirect_shards)
        storage.write_parquet(path, pa.Table.from_pylist(self._redirects, schema=REDIRECTS), schema=REDIRECTS)
        self.redirects += len(self._redirects)
        self._redirect_shards += 1
        self._redirects = []

    def finish(self) -> None:
        if self._rows:
            self._write_pages()
        if self._redirects:
            self._write_redirects()


def write_shard(folder: Path, name: str, table: pa.Table) -> FileEntry:
    entry = storage.write_parquet(folder / name, table, schema=arrow_schema("pages"), row_group_rows=ROW_GROUP_ROWS)
    return FileEntry(name=name, bytes=entry.bytes, sha256=entry.sha256, rows=entry.rows)
