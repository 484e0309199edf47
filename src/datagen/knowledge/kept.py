"""What was computed before, kept up to a number of entries; shared by threads.

Values are pure functions of their keys, so two threads that miss at once do the work twice and keep equal results.
Reading takes no lock. The oldest entries go first, however often they were used: what is kept is sized to a corpus.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
_MISSING = object()


class Kept(Generic[K, V]):
    """A bounded memory of results."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: dict[K, V] = {}
        self._lock = threading.Lock()

    def get(self, key: K, make: Callable[[], V]) -> V:
        """The value of the key, made now if it is not kept."""
        found = self._items.get(key, _MISSING)
        if found is not _MISSING:
            return found  # type: ignore[return-value]
        value = make()
        with self._lock:
            self._items[key] = value
            while len(self._items) > self._size:
                del self._items[next(iter(self._items))]
        return value

    def __len__(self) -> int:
        return len(self._items)
