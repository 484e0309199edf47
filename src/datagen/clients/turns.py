"""One at a time per key: threads of this process and those of others that use the same file.

Between processes a turn is a lock on one byte of an empty file, at an offset that the key's hash gives. The kernel
releases it when its process ends, however it ends, so nobody waits for the dead. Who has to wait looks again and again
instead of sleeping in the kernel: these locks belong to processes, not to threads, and the kernel would take two
processes that wait for one another's threads for a deadlock.

Where the system has no such locks (Windows), turns hold within a process only.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

if sys.platform != "win32":
    import fcntl

FIRST_LOOK_SECONDS = 0.01
LAST_LOOK_SECONDS = 0.25
"""Between two looks at a lock that another process has, at first and at most."""


class Turns:
    """Locks by key, there only while somebody holds or wants them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._guard = threading.Lock()
        self._locks: dict[str, _Wanted] = {}

    @contextlib.contextmanager
    def one(self, key: str) -> Iterator[None]:
        """The turn of this thread; others with the same key wait."""
        with self._guard:
            wanted = self._locks.setdefault(key, _Wanted(threading.Lock()))
            wanted.by += 1
        try:
            with wanted.lock, _between_processes(self._path, key):
                yield
        finally:
            with self._guard:
                wanted.by -= 1
                if not wanted.by:
                    del self._locks[key]


@dataclass(slots=True)
class _Wanted:
    lock: threading.Lock
    by: int = 0


@contextlib.contextmanager
def _between_processes(path: Path, key: str) -> Iterator[None]:
    if sys.platform == "win32":
        yield
        return
    file, offset = _lock_file(path), _offset(key)
    pause = FIRST_LOOK_SECONDS
    while not _locked(file, offset):
        time.sleep(pause)
        pause = min(LAST_LOOK_SECONDS, 2 * pause)
    try:
        yield
    finally:
        fcntl.lockf(file, fcntl.LOCK_UN, 1, offset)


def _locked(file: int, offset: int) -> bool:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
    except (BlockingIOError, PermissionError):  # either, by POSIX
        return False
    return True


@cache
def _lock_file(path: Path) -> int:
    """Never closed: closing any descriptor of a file gives up all locks that the process has on it."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _offset(key: str) -> int:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 2
