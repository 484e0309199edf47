"""Episodes: handles that clients carry, and exact counts that all worker processes of a server share.

    table = EpisodeTable.create(path, slots=65_536)       once; the workers of the server call EpisodeTable.open(path)
    handle = table.begin(task=17, budget=Budget(40, 120))         "AAAAAE3v0l...", 24 characters
    table.spend(handle, "search")                                 Episode(task=17, searches=1, visits=0, ...)
    table.spend(handle, "search")                                 raises EpisodeFault("budget_spent", ...) after the 40th

A server that kept its episodes in memory would need clients to come back to the same process. Here a handle names a slot
of a fixed table of a memory-mapped file, the slot holds the counts, and a lock on the slot's bytes makes check and count
one step, whichever process does it. Memory is bounded by the table: new episodes take slots in turn, and the one that
stood there is over, which its owner is told by a code of its own. A handle is a slot, 64 random bits and 48 bits of a
keyed hash over both: a made-up one is told apart from an expired one without looking at the table.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import hashlib
import hmac
import mmap
import os
import secrets
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal as OneOf

from datagen.agents.budget import Budget
from datagen.agents.toolbox import BUDGET_SPENT
from datagen.errors import StorageError

SLOTS = 65_536
"""Episodes at once before the oldest is over: 40 bytes each."""
UNKNOWN_EPISODE = "unknown_episode"
EPISODE_EXPIRED = "episode_expired"
EPISODE_GRADED = "episode_graded"
NO_TASK = 0xFFFFFFFF
_MAGIC = b"datagen-episodes-1\0\0\0\0\0\0"
_HEADER = struct.Struct("<24s32sIQ")
"""Magic, key of the hash, number of slots, episodes begun."""
_BEGUN = struct.Struct("<Q")
_BEGUN_AT = 24 + 32 + 4
_FIRST_SLOT = 128
_SLOT = struct.Struct("<QIIIIII8x")
"""Nonce, task, limits of searches and visits, searches and visits made, gradings left."""
_NAME = struct.Struct("<IQ")
_MAC_BYTES = 6
Tool = OneOf["search", "visit"]


class EpisodeFault(Exception):
    """Why a call is refused; `code` and the message go to the client as they are."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Episode:
    """One episode as its slot has it. `task` is a number of the task bank, or None for free exploration."""

    task: int | None
    budget: Budget
    searches: int
    visits: int
    gradings_left: int


class EpisodeTable:
    """The table of one server. Instances of one file, in any number of processes and threads, see the same episodes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("r+b")
        self._map = mmap.mmap(self._file.fileno(), 0)
        magic, self._key, self.slots, _ = _HEADER.unpack_from(self._map)
        if magic != _MAGIC or len(self._map) != _FIRST_SLOT + self.slots * _SLOT.size:
            raise StorageError(f"{path} is no table of episodes; let `datagen serve` make its own.")
        # Locks of files are between processes; threads of one process need one of their own.
        self._threads = threading.Lock()

    @classmethod
    def create(cls, path: Path, slots: int = SLOTS) -> EpisodeTable:
        """A new table, which only its owner may read: it holds the key of the handles."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            file.write(_HEADER.pack(_MAGIC, secrets.token_bytes(32), slots, 0))
            file.truncate(_FIRST_SLOT + slots * _SLOT.size)
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> EpisodeTable:
        return cls(path)

    def close(self) -> None:
        self._map.close()
        self._file.close()

    @property
    def begun(self) -> int:
        """Episodes since the table was made."""
        return int(_BEGUN.unpack_from(self._map, _BEGUN_AT)[0])

    def begin(self, task: int | None, budget: Budget, gradings: int = 1) -> str:
        """A new episode; returns its handle."""
        nonce = secrets.randbits(64) or 1  # an empty slot has the nonce 0
        with self._locked(_BEGUN_AT, _BEGUN.size):
            begun = self.begun
            _BEGUN.pack_into(self._map, _BEGUN_AT, begun + 1)
        slot = begun % self.slots
        place = self._place(slot)
        numbers = (NO_TASK if task is None else task, budget.searches, budget.visits, 0, 0, gradings)
        with self._locked(place, _SLOT.size):
            _SLOT.pack_into(self._map, place, nonce, *numbers)
        name = _NAME.pack(slot, nonce)
        return base64.urlsafe_b64encode(name + self._mac(name)).decode()

    def look(self, handle: object) -> Episode:
        """The episode as it stands."""
        place, nonce = self._find(handle)
        with self._locked(place, _SLOT.size):
            return self._read(place, nonce)

    def spend(self, handle: object, tool: Tool, times: int = 1) -> Episode:
        """Count a call, or several that are one request, or refuse them all; returns the episode with them counted."""
        place, nonce = self._find(handle)
        with self._locked(place, _SLOT.size):
            held = self._read(place, nonce)
            searches = held.searches + times * (tool == "search")
            visits = held.visits + times * (tool == "visit")
            if searches > held.budget.searches or visits > held.budget.visits:
                raise EpisodeFault(BUDGET_SPENT, f"No {'searches' if tool == 'search' else 'visits'} are left.")
            struct.pack_into("<II", self._map, place + 20, searches, visits)
        return Episode(held.task, held.budget, searches, visits, held.gradings_left)

    def take_grading(self, handle: object) -> Episode:
        """Use one grading up, or refuse: who may ask again and again finds the key by asking."""
        place, nonce = self._find(handle)
        with self._locked(place, _SLOT.size):
            held = self._read(place, nonce)
            if not held.gradings_left:
                raise EpisodeFault(EPISODE_GRADED, "The answer of this episode was graded already.")
            struct.pack_into("<I", self._map, place + 28, held.gradings_left - 1)
        return Episode(held.task, held.budget, held.searches, held.visits, held.gradings_left - 1)

    def _find(self, handle: object) -> tuple[int, int]:
        """Place of the slot and the nonce that a handle names, once its hash has shown that we made it."""
        if isinstance(handle, str) and len(handle) == 24 and handle.isascii():
            try:
                raw = base64.b64decode(handle, altchars=b"-_", validate=True)
            except binascii.Error:
                raw = b""
            name, mac = raw[: _NAME.size], raw[_NAME.size :]
            # The decoder takes "+" for "-" and "/" for "_" as well; a handle has one spelling.
            spelled = base64.urlsafe_b64encode(raw).decode() == handle
            if spelled and len(raw) == 18 and hmac.compare_digest(mac, self._mac(name)):
                slot, nonce = _NAME.unpack(name)
                return self._place(slot), nonce
        raise EpisodeFault(UNKNOWN_EPISODE, "There is no such episode; begin one with reset.")

    def _read(self, place: int, nonce: int) -> Episode:
        held, task, searches, visits, searched, visited, gradings = _SLOT.unpack_from(self._map, place)
        if held != nonce:
            raise EpisodeFault(
                EPISODE_EXPIRED, "This episode is over: newer ones took its place; begin one with reset."
            )
        return Episode(None if task == NO_TASK else task, Budget(searches, visits), searched, visited, gradings)

    def _mac(self, name: bytes) -> bytes:
        return hashlib.blake2b(name, digest_size=_MAC_BYTES, key=self._key).digest()

    def _place(self, slot: int) -> int:
        return _FIRST_SLOT + slot * _SLOT.size

    @contextmanager
    def _locked(self, start: int, length: int) -> Iterator[None]:
        with self._threads:
            fcntl.lockf(self._file, fcntl.LOCK_EX, length, start)
            try:
                yield
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN, length, start)
