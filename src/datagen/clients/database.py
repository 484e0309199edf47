"""One SQLite file that many threads and processes read and write at once: under the cache and under the ledger.

**A commit outlives the process.** In WAL mode with synchronous=NORMAL a commit is a write() to the log without fsync: the
kernel has the bytes when the call returns, so `kill -9` loses nothing. A power cut may lose the last commits, never the
file; what is lost then is a reply that is asked for again.

**Commits are gathered.** SQLite has one writer. Two hundred threads that each wait for it would meet in its busy
handler, which sleeps; so a process has one writing connection. The first thread to come commits everything that waits,
in one transaction, wakes those it committed for, and hands the connection to one of those who came meanwhile. They are
not woken one by one through a lock: beside threads that compute, each step of such a chain waits for the interpreter.
So does each statement, which is why what is done for every call is one statement. `commit` and `insert` return when
their own part is in the log.

**Readers take a connection from a pool.** A connection per thread would be 256 page caches and 512 open files; reads are
short, so a few connections serve all threads. Connections are not carried over a fork.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from datagen.errors import StorageError

BUSY_SECONDS = 60.0
"""How long a statement waits for another process. Transactions here take a millisecond."""
PAGE_CACHE_KIB = 512
"""Of each connection; rows are found by key, so there is little to keep."""
MOST_READERS = 32
"""Connections that read at once. A read takes some 20 µs, most of them under the interpreter's lock."""
LOG_PAGES = 4_000
"""Pages (of 4 KiB) in the log before they are moved into the file. The move is what calls fsync."""

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], Any]


@dataclass(slots=True)
class _Ticket:
    """A piece of a transaction and what became of it."""

    work: Work
    alone: bool = False
    """It is one statement, which is a transaction by itself."""
    woken: threading.Lock = field(default_factory=threading.Lock)
    """Held while its thread has to wait."""
    leads: bool = False
    """Its thread was woken to write."""
    done: bool = False
    result: Any = None
    fault: BaseException | None = None


@dataclass(slots=True)
class _Open:
    """Connections of one process."""

    process: int
    writer: sqlite3.Connection
    guard: threading.Lock = field(default_factory=threading.Lock)
    """Over the two below; held for an instant."""
    waiting: list[_Ticket] = field(default_factory=list)
    writing: bool = False
    reading: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(MOST_READERS))
    readers: list[sqlite3.Connection] = field(default_factory=list)

    def enter(self, ticket: _Ticket) -> None:
        """Until the ticket is done, or its thread is the one that writes."""
        with self.guard:
            self.waiting.append(ticket)
            if not self.writing:
                self.writing = True
                return
        try:
            ticket.woken.acquire()
        except BaseException:  # an interrupt
            self.withdraw(ticket)
            raise

    def withdraw(self, ticket: _Ticket) -> None:
        with self.guard:
            self.waiting = [other for other in self.waiting if other is not ticket]
        if ticket.leads:
            self.leave()

    def batch(self) -> list[_Ticket]:
        with self.guard:
            batch, self.waiting = self.waiting, []
        return batch

    def leave(self) -> None:
        """Hand the writing connection to somebody who came meanwhile."""
        with self.guard:
            if self.waiting:
                self.waiting[0].leads = True
                self.waiting[0].woken.release()
            else:
                self.writing = False


_INHERITED: list[_Open] = []
"""Connections of a parent process. To close them in its child could break the parent's locks, so they stay here."""


class Database:
    """A file with a schema. `advice` ends the sentence of every fault: what a person can do about it."""

    def __init__(self, path: Path, schema: Sequence[str], *, version: int, advice: str) -> None:
        self.path = path
        self._schema = schema
        self._version = version
        self._advice = advice
        self._open = self._opened()

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows as of now; every commit that has returned, in whatever process, is in them."""
        connections = self._here()
        with self._faults("read"), connections.reading:
            try:
                connection = connections.readers.pop()
            except IndexError:
                connection = self._connect()
            try:
                return connection.execute(sql, values).fetchall()
            finally:
                connections.readers.append(connection)

    def commit(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` inside a transaction that holds the write lock, and return when it is in the log.

        `work` may run together with that of other threads; it raises nothing but faults of SQLite.
        """
        return cast("T", self._committed(_Ticket(work)))

    def insert(self, sql: str, values: Sequence[Any]) -> int | None:
        """`commit` for one INSERT; the row's number (any, in a table without them), or None where none was inserted."""

        def work(connection: sqlite3.Connection) -> int | None:
            cursor = connection.execute(sql, values)
            return cursor.lastrowid if cursor.rowcount == 1 else None

        return cast("int | None", self._committed(_Ticket(work, alone=True)))

    def _committed(self, ticket: _Ticket) -> Any:
        connections = self._here()
        ticket.woken.acquire()
        connections.enter(ticket)
        if not ticket.done:
            try:
                _commit_all(connections.writer, connections.batch())
            finally:
                connections.leave()
        if ticket.fault is not None:
            raise self._sentence("written", ticket.fault) from ticket.fault
        return ticket.result

    def shrink(self, pages: int = 10_000) -> None:
        """Give that many unused pages back to the disk, at most."""
        with self._faults("written"), contextlib.closing(self._connect()) as connection:
            # The pragma frees one page per step; `execute` takes one step, `executescript` all.
            connection.executescript(f"PRAGMA incremental_vacuum({pages})")

    def close(self) -> None:
        """Close this process's connections, which nobody may be using; the last to close moves the log into the file."""
        connections = self._here()
        for connection in (*connections.readers, connections.writer):
            connection.close()
        connections.readers.clear()

    def _here(self) -> _Open:
        if self._open.process != os.getpid():
            _INHERITED.append(self._open)
            self._open = self._opened()
        return self._open

    def _opened(self) -> _Open:
        with self._faults("opened"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return _Open(os.getpid(), self._prepared())

    def _prepared(self) -> sqlite3.Connection:
        """A connection to a file that has the schema."""
        connection = self._connect()
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found == 0:
            # auto_vacuum has to be chosen before the first table: pruned space can then be given back bit by bit.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            _use_log(connection)
            connection.execute("BEGIN IMMEDIATE")
            if connection.execute("PRAGMA user_version").fetchone()[0] == 0:  # another process may have been first
                for statement in self._schema:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {self._version}")
            connection.execute("COMMIT")
            found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found != self._version:
            connection.close()
            raise StorageError(
                f"{self.path} has format {found} and this program uses format {self._version}. {self._advice}"
            )
        return connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA cache_size = -{PAGE_CACHE_KIB}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {LOG_PAGES * 4096 * 4}")
        return connection

    @contextlib.contextmanager
    def _faults(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as exc:
            raise self._sentence(doing, exc) from exc

    def _sentence(self, doing: str, fault: BaseException) -> StorageError:
        return StorageError(f"{self.path} cannot be {doing}: {fault}. {self._advice}")


def _commit_all(writer: sqlite3.Connection, batch: list[_Ticket]) -> None:
    """One transaction for everybody who waits."""
    try:
        if len(batch) > 1 or not batch[0].alone:
            writer.execute("BEGIN IMMEDIATE")
        for ticket in batch:
            ticket.result = ticket.work(writer)
        if writer.in_transaction:
            writer.execute("COMMIT")
    except BaseException as exc:
        for ticket in batch:
            ticket.fault = exc
        if not isinstance(exc, sqlite3.Error):
            raise
    finally:
        if writer.in_transaction:
            writer.execute("ROLLBACK")
        for ticket in batch:
            ticket.done = True
            ticket.woken.release()


def _use_log(connection: sqlite3.Connection) -> None:
    """Switch to WAL mode. While another process does the same, SQLite answers "locked" without waiting."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return
