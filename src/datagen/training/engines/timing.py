"""Where the time of an attempt goes: to the engine, to the tools, or to neither.

    pool.run ──► Spent()  ◄── with spent("generation"): ...  by `TimedEngine`
                          ◄── with spent("tools"): ...       by `TimedWeb`

The account of an attempt travels with its task (a context variable, which threads started by `asyncio.to_thread` inherit),
so nothing has to be handed down. Outside an attempt nothing is counted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal as OneOf

from datagen.training.engines.base import Completion, Engine, Sampling
from datagen.web.tools import Hit, Web, Window

Purpose = OneOf["generation", "tools"]


@dataclass(slots=True)
class Spent:
    """Seconds of one attempt. Calls that overlap are added up."""

    generation: float = 0.0
    tools: float = 0.0
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def add(self, purpose: Purpose, seconds: float) -> None:
        with self._guard:
            setattr(self, purpose, getattr(self, purpose) + seconds)


_account: ContextVar[Spent | None] = ContextVar("spent", default=None)


def open_account() -> Spent:
    """A new account for the task that runs now."""
    account = Spent()
    _account.set(account)
    return account


@contextmanager
def spent(purpose: Purpose) -> Iterator[None]:
    """Charge the time of the block to the attempt that it belongs to."""
    account, begun = _account.get(), time.monotonic()
    try:
        yield
    finally:
        if account is not None:
            account.add(purpose, time.monotonic() - begun)


@dataclass(frozen=True, slots=True)
class TimedEngine:
    """An engine whose time is charged to the attempts that wait for it."""

    engine: Engine

    @property
    def version(self) -> int:
        return self.engine.version

    async def generate(
        self, prompt: Sequence[int], sampling: Sampling, *, session: str = "", share: str = ""
    ) -> Completion:
        with spent("generation"):
            return await self.engine.generate(prompt, sampling, session=session, share=share)

    async def release(self, session: str) -> None:
        await self.engine.release(session)


@dataclass(frozen=True, slots=True)
class TimedWeb:
    """A web whose time is charged to the attempts that look something up."""

    web: Web

    def search(self, query: str, top_k: int = 5) -> list[Hit]:
        with spent("tools"):
            return self.web.search(query, top_k)

    def visit(self, url: str, offset: int = 0) -> Window:
        with spent("tools"):
            return self.web.visit(url, offset)
