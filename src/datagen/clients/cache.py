"""Replies that were already paid for, by the content of what was asked: nothing is asked twice.

One file per kind of reply (`chat.sqlite`, `search.sqlite`, `fetch.sqlite`), shared by runs. The key is a SHA-256 of the
final request and of the server it went to, so an entry is never wrong, only unused: there is nothing to invalidate.
Values are JSON under zstd, never pickle, so a cache from elsewhere can be read without running what it says.

    with cache.single_flight(key):          # two threads with one request: the second finds what the first paid for
        value = cache.get(key)
        if value is None:
            value = ask()
            cache.put(key, value, model="...", role="solver")   # on return the entry survives kill -9
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import zstandard

from datagen.clients.chat import KEY_VERSION
from datagen.clients.database import Database
from datagen.clients.turns import Turns
from datagen.errors import StorageError

STORES = ("chat", "search", "fetch")
FORMAT = 1
SCHEMA = (
    """
    CREATE TABLE replies (
        key TEXT PRIMARY KEY, created_at REAL NOT NULL, version INTEGER NOT NULL, model TEXT NOT NULL,
        role TEXT NOT NULL, seconds REAL, raw_bytes INTEGER NOT NULL, body BLOB NOT NULL
    )
    """,
    "CREATE INDEX replies_by_age ON replies (created_at)",
)
_ADVICE = "Free space with `datagen cache prune`, move the file away, or name another folder with cast.cache."
_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class ModelEntries:
    """Entries of one model (of one service or host in the other stores)."""

    model: str
    entries: int
    raw_bytes: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What one store holds. Times are seconds since 1970, None where it is empty."""

    store: str
    path: Path
    entries: int
    raw_bytes: int
    stored_bytes: int
    file_bytes: int
    outdated: int
    """Entries of an older key version: no request finds them."""
    oldest: float | None
    newest: float | None
    models: tuple[ModelEntries, ...]


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a pruning removed, or would remove."""

    entries: int
    stored_bytes: int


class ReplyCache:
    """One store. Safe for many threads and processes; two of them may be open on one file."""

    def __init__(self, folder: Path, store: str, *, version: int = KEY_VERSION) -> None:
        self.store = store
        self.path = folder / f"{store}.sqlite"
        self.version = version
        self._database = Database(self.path, SCHEMA, version=FORMAT, advice=_ADVICE)
        self._turns = Turns(folder / f"{store}.lock")
        # Both keep tables of up to megabytes, so a pair per thread would be hundreds of them.
        self._compressors = _Pool(lambda: zstandard.ZstdCompressor(level=3))
        self._decompressors = _Pool(zstandard.ZstdDecompressor)

    def get(self, key: str) -> dict[str, Any] | None:
        """The value of a key, or None. It is the caller's own copy."""
        rows = self._database.read("SELECT body FROM replies WHERE key = ?", (key,))
        return self._unpacked(key, rows[0][0]) if rows else None

    def put(
        self, key: str, value: dict[str, Any], *, model: str = "", role: str = "", seconds_spent: float | None = None
    ) -> None:
        """Keep a value. The first one of a key stays; when this returns, it outlives the process."""
        raw = json.dumps(value, separators=(",", ":")).encode()
        row = (key, time.time(), self.version, model, role, seconds_spent, len(raw), self._packed(raw))
        self._database.insert("INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

    def keys(self) -> list[str]:
        """Keys of all entries, in order."""
        return [str(row[0]) for row in self._database.read("SELECT key FROM replies ORDER BY key")]

    def single_flight(self, key: str) -> AbstractContextManager[None]:
        """`with` this, one thread at a time works on a key, of whatever process; others of the same key wait."""
        return self._turns.one(key)

    def stats(self) -> CacheStats:
        per_model = self._database.read(
            "SELECT model, COUNT(*), SUM(raw_bytes), SUM(LENGTH(body)), SUM(version < ?), MIN(created_at), "
            "MAX(created_at) FROM replies GROUP BY model ORDER BY COUNT(*) DESC, model",
            (self.version,),
        )
        return CacheStats(
            store=self.store,
            path=self.path,
            entries=sum(row[1] for row in per_model),
            raw_bytes=sum(row[2] for row in per_model),
            stored_bytes=sum(row[3] for row in per_model),
            file_bytes=self.path.stat().st_size,
            outdated=sum(row[4] for row in per_model),
            oldest=min((row[5] for row in per_model), default=None),
            newest=max((row[6] for row in per_model), default=None),
            models=tuple(ModelEntries(*row[:4]) for row in per_model),
        )

    def prune(
        self, *, older_than_days: float | None = None, max_bytes: int | None = None, dry_run: bool = False
    ) -> Pruned:
        """Remove entries of older key versions, entries above an age, and the oldest ones above a size in all."""
        now = time.time()
        going: list[tuple[int, int]] = []
        newer_bytes = 0
        for row, version, created, size in self._database.read(
            "SELECT rowid, version, created_at, LENGTH(body) FROM replies ORDER BY created_at DESC, rowid DESC"
        ):
            outdated = version < self.version
            too_old = older_than_days is not None and created < now - older_than_days * _DAY
            too_much = max_bytes is not None and newer_bytes + size > max_bytes
            if outdated or too_old or too_much:
                going.append((row, size))
            if not outdated:
                newer_bytes += size
        if going and not dry_run:
            self._remove([row for row, _ in going])
        return Pruned(len(going), sum(size for _, size in going))

    def close(self) -> None:
        self._database.close()

    def _remove(self, rows: list[int], at_once: int = 1_000) -> None:
        """In short transactions, so that a run that uses the cache at the same time need not wait."""
        for start in range(0, len(rows), at_once):
            batch = [(row,) for row in rows[start : start + at_once]]
            self._database.commit(partial(_delete, rows=batch))
            self._database.shrink()

    def _packed(self, raw: bytes) -> bytes:
        with self._compressors.one() as compressor:
            return compressor.compress(raw)

    def _unpacked(self, key: str, body: bytes) -> dict[str, Any]:
        try:
            with self._decompressors.one() as decompressor:
                value = json.loads(decompressor.decompress(body))
        except (zstandard.ZstdError, ValueError) as exc:
            raise StorageError(f"the entry {key} of {self.path} is damaged: {exc}. {_ADVICE}") from exc
        if not isinstance(value, dict):
            raise StorageError(f"the entry {key} of {self.path} is no JSON object. {_ADVICE}")
        return value


def _delete(connection: sqlite3.Connection, rows: list[tuple[int]]) -> None:
    connection.executemany("DELETE FROM replies WHERE rowid = ?", rows)


T = TypeVar("T")


class _Pool(Generic[T]):
    """Things that serve one thread at a time and cost memory: no more of them than are used at once."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._free: list[T] = []

    @contextmanager
    def one(self) -> Iterator[T]:
        try:
            thing = self._free.pop()
        except IndexError:
            thing = self._make()
        try:
            yield thing
        finally:
            self._free.append(thing)
