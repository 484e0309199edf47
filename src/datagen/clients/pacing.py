"""One request at a time to a host, with a pause after each: whoever asks, from whichever thread or process.

Threads of a process wait for each other with locks, processes with the lock of a file per host (a bucket of hosts), whose
time of change says when the last request ended.

    with pace.turn("www.lexicora.example", pause=1.0):
        ...
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_BUCKETS = 4_096
_KEPT_HOSTS = 10_000


class Pace:
    """Turns at hosts. Without a folder, only the threads of this process wait for each other."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._guard = threading.Lock()
        self._hosts: dict[str, _Host] = {}
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def turn(self, host: str, pause: float) -> Iterator[None]:
        """Waits until nobody else asks this host and `pause` seconds have passed since somebody did."""
        held = self._host(host)
        try:
            with held.lock, self._between_processes(host, pause):
                _sleep_until(max(held.free_at, held.ended_at + pause))
                try:
                    yield
                finally:
                    held.ended_at = time.monotonic()
        finally:
            with self._guard:
                held.wanted -= 1

    def wait_asked_for(self, host: str, seconds: float) -> None:
        """The host asks everybody to wait."""
        held = self._host(host)
        held.free_at = max(held.free_at, time.monotonic() + seconds)
        with self._guard:
            held.wanted -= 1

    def _host(self, host: str) -> _Host:
        with self._guard:
            if len(self._hosts) >= _KEPT_HOSTS and host not in self._hosts:
                self._forget_idle()
            held = self._hosts.setdefault(host, _Host())
            held.wanted += 1
            return held

    def _forget_idle(self) -> None:
        now = time.monotonic()
        for name, held in list(self._hosts.items()):
            if not held.wanted and now > max(held.free_at, held.ended_at + 60.0):
                del self._hosts[name]

    @contextmanager
    def _between_processes(self, host: str, pause: float) -> Iterator[None]:
        if self._folder is None or pause <= 0:
            yield
            return
        # Never deleted, as another process may hold the file; hosts of one bucket merely wait for each other.
        path = self._folder / f"{zlib.crc32(host.encode()) % _BUCKETS:04d}.turn"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            new = os.fstat(descriptor).st_size == 0
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not new:
                # The clock of files can be set back and forth; a pause is never longer than itself.
                time.sleep(min(pause, max(0.0, os.fstat(descriptor).st_mtime + pause - time.time())))
            yield
        finally:
            os.pwrite(descriptor, b".", 0)
            os.close(descriptor)


class _Host:
    """A host that somebody asks or has asked."""

    __slots__ = ("ended_at", "free_at", "lock", "wanted")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.ended_at = float("-inf")
        self.free_at = float("-inf")
        self.wanted = 0


def _sleep_until(moment: float) -> None:
    left = moment - time.monotonic()
    if left > 0:
        time.sleep(left)
