"""What the endpoint would put on a bill: every reply that it answered whole, once.

With a path, a reply is a line of JSON there before its last byte goes out, so nobody can hold a reply that is not booked,
whenever either side is killed. A request whose Idempotency-Key was answered whole gets that reply again and is not booked
again; after a restart too, because the reply stands in the line. Without a path the newest replies are kept in memory.

    {"key": …, "digest": …, "model": "practice-m1", "input_tokens": 812, "output_tokens": 95, "fault": null, "at": …, "reply": {…}}
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from datagen.errors import StorageError, boundary
from datagen.practice.completions import Reply
from datagen.practice.flaws import Said
from datagen.practice.knobs import Fault

REPLIES_IN_MEMORY = 20_000
ABORTED_KEPT = 10_000
_START = b'{"key":'
"""How a line begins: only a torn line of ours may be cut off, not what somebody keeps in a file named by mistake."""


@dataclass(frozen=True, slots=True)
class Booking:
    """One reply that was answered whole."""

    key: str
    """The Idempotency-Key, or the request's digest where none came."""
    digest: str
    model: str
    input_tokens: int
    output_tokens: int
    fault: Fault | None
    """The fault of content in it."""
    at: float
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Aborted:
    """A request that was let in and not answered whole."""

    key: str
    digest: str
    model: str
    reason: str
    """The fault that cut it short, or "client-left"."""


class PracticeLedger:
    """Bookings, in memory and in an append-only file. Read from any thread; written by the server's."""

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._bookings: list[Booking] = []
        self._booked_keys: set[str] = set()
        self._places: dict[str, tuple[int, int]] = {}
        self._recent: OrderedDict[str, tuple[str, Reply]] = OrderedDict()
        self._aborted: OrderedDict[int, Aborted] = OrderedDict()
        self.counts: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.aborts: Counter[str] = Counter()
        self._by_model: dict[str, list[int]] = {}
        self._file: int | None = None
        self._end = 0
        if path is not None:
            try:
                self._open(path)
            except StorageError:
                self.close()
                raise

    def _open(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            # Replies are found again by their place in the file, which holds for one writer. The system lets go of the
            # lock when the process dies.
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise StorageError(f"The ledger {path} is in use by another server; name another file.") from exc
        except OSError as exc:
            raise StorageError(f"The ledger {path} cannot be opened ({exc.strerror}); name another file.") from exc
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith(b"\n") and (_START.startswith(line) or line.startswith(_START)):
                    break  # the line of a reply that never went out: the process died while it wrote
                with boundary(StorageError, f"Line {number} of {path} is no booking; name another file"):
                    self._load(line)
        os.ftruncate(self._file, self._end)

    def _load(self, line: bytes) -> None:
        raw = orjson.loads(line)
        fault = None if raw["fault"] is None else Fault(raw["fault"])
        named = {key: raw[key] for key in ("key", "digest", "model", "input_tokens", "output_tokens", "at")}
        self._add(Booking(**named, fault=fault))
        if raw["idempotent"]:
            self._places[raw["key"]] = (self._end, len(line))
        self._end += len(line)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def book(self, booking: Booking, reply: Reply, *, idempotent: bool) -> None:
        """The reply may go out after this returns."""
        with self._lock:
            if self._file is not None:
                line = _line(booking, reply, idempotent=idempotent)
                _write_all(self._file, line)
                if idempotent:
                    self._places[booking.key] = (self._end, len(line))
                self._end += len(line)
            elif idempotent:
                self._recent[booking.key] = (booking.digest, reply)
                if len(self._recent) > REPLIES_IN_MEMORY:
                    self._recent.popitem(last=False)
            self._add(booking)

    def _add(self, booking: Booking) -> None:
        if booking.key in self._booked_keys:
            self.counts["answered_twice"] += 1
        self._booked_keys.add(booking.key)
        self._bookings.append(booking)
        sums = self._by_model.setdefault(booking.model, [0, 0, 0])
        sums[0] += 1
        sums[1] += booking.input_tokens
        sums[2] += booking.output_tokens

    def find(self, key: str) -> tuple[str, Reply] | None:
        """Digest of the request and the reply that was booked under an Idempotency-Key."""
        with self._lock:
            place = self._places.get(key)
            if place is None or self._file is None:
                return self._recent.get(key)
            raw = orjson.loads(os.pread(self._file, place[1], place[0]))
        told = raw["reply"]
        calls = tuple((call_id, name, arguments) for call_id, name, arguments in told["said"].pop("tool_calls"))
        return raw["digest"], Reply(**told | {"said": Said(**told["said"], tool_calls=calls)})

    def abort(self, aborted: Aborted) -> None:
        with self._lock:
            self.aborts[aborted.reason] += 1
            self._aborted[self.aborts.total()] = aborted
            if len(self._aborted) > ABORTED_KEPT:
                self._aborted.popitem(last=False)

    def bookings(self) -> Iterator[Booking]:
        """Everything booked, in order."""
        with self._lock:
            return iter(tuple(self._bookings))

    def told(self, *, entries: bool = False) -> dict[str, Any]:
        """What GET /ledger answers."""
        with self._lock:
            models = {
                model: {"replies": sums[0], "input_tokens": sums[1], "output_tokens": sums[2]}
                for model, sums in sorted(self._by_model.items())
            }
            names = ("replies", "input_tokens", "output_tokens")
            told: dict[str, Any] = {
                "totals": {name: sum(sums[name] for sums in models.values()) for name in names},
                "models": models,
                **{name: self.counts[name] for name in ("requests", "replayed", "turned_away", "answered_twice")},
                "faults": {str(fault): count for fault, count in sorted(self.faults.items())},
                "aborted": {str(reason): count for reason, count in sorted(self.aborts.items())},
            }
            if entries:
                told["entries"] = [asdict(booking) for booking in self._bookings]
                told["aborted_entries"] = [asdict(aborted) for aborted in self._aborted.values()]
        return told


def _line(booking: Booking, reply: Reply, *, idempotent: bool) -> bytes:
    told: dict[str, Any] = asdict(booking) | {"idempotent": idempotent}
    if idempotent:
        told["reply"] = asdict(reply)
    return orjson.dumps(told) + b"\n"


def _write_all(file: int, data: bytes) -> None:
    """Hand the bytes to the system: they survive the death of this process."""
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]
