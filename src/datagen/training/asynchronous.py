"""Attempts that go on while the learner learns, with a bound on how old their weights may be.

    pool = RolloutPool(attempt, PoolSettings(groups=32, attempts=8, max_staleness=1), seed=7)
    pool.submit(tasks, epoch=0)
    while groups := await pool.take():          # 32 groups of 8, in the order of their questions
        version = learn(groups)
        await engine.sync.publish(version, weights)
        pool.published(version)

How far attempts run ahead is bounded when they begin, so that none has to be thrown away: with 2 groups per update and
max_staleness 1, while the weights of version v are in use,

    groups   0 1 | 2 3 | 4 5 | 6 7
    v = 0    now   ahead  -     -         the learner takes 0 and 1, publishes v = 1 ...
    v = 1          now  ahead   -         ... and is given 2 and 3, of which some began under v = 0: staleness 1

Staleness counts the publications between the weights that wrote an attempt's first token and those in use when the attempt
is taken (spec rl_algorithms §1.5; TRL's `max_staleness`). Groups that are taken as they finish, and spare ones, can be
older than the bound: they are dropped, or used and counted.

The same questions, seed and epoch give the same seeds in the same order, whatever finishes first. Which weights begin an
attempt depends on how fast things are, except with max_staleness 0, where it is always those of now.

An attempt that raises, takes too long, or ends in "error" is a `Rollout` without a reward. Only when all of the last
`fatal_failures` attempts failed does `take` raise: then something is down, and going on would consume the questions.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_right
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar
from typing import Literal as OneOf

from datagen.errors import DatagenError, EngineError
from datagen.records.ids import seed_for
from datagen.training.engines.timing import open_account
from datagen.training.pool_stats import PoolStats
from datagen.training.rollout import Group, Rollout

log = logging.getLogger("datagen.training")
SEED_BITS = 53
"""Exact in every JSON reader, also in those that know no integers."""


class Question(Protocol):
    """What is attempted."""

    @property
    def id(self) -> str: ...


Q = TypeVar("Q", bound=Question)
Attempt = Callable[[Q, int, int, int], Awaitable[Rollout]]
"""(question, number of the attempt, seed, version of the weights in use) to the attempt."""


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """What is under way at once, and what may be taken."""

    groups: int
    """Groups that one update takes."""
    attempts: int = 8
    """Of one group."""
    at_once: int = 64
    """Attempts under way."""
    max_staleness: int = 0
    """Publications that the weights of an attempt may be behind; 0 samples only between updates."""
    stale: OneOf["use", "drop"] = "use"
    """What becomes of attempts that are older. Either way they are counted."""
    order: OneOf["asked", "finished"] = "asked"
    """How groups are taken. As they finish: nobody waits for the slowest, and short attempts come first."""
    spare_groups: int = 0
    """Groups begun beyond the bound, so that there are enough when some are slow."""
    spare_attempts: int = 0
    """Attempts begun beyond those of a group; when enough are whole, the others are cancelled. This prefers short ones."""
    attempt_seconds: float | None = None
    """After which an attempt counts as broken."""
    fatal_failures: int = 64
    """So many failures in a row end the run."""


@dataclass(slots=True)
class _Open(Generic[Q]):
    """A group that is under way, or whole and not yet taken."""

    index: int
    question: Q
    epoch: int
    begun: int = 0
    ended: dict[int, Rollout] = field(default_factory=dict)
    running: set[asyncio.Task[None]] = field(default_factory=set)
    whole: bool = False


class RolloutPool(Generic[Q]):
    """Begins attempts, and hands out groups. Belongs to one event loop."""

    def __init__(self, attempt: Attempt[Q], settings: PoolSettings, *, seed: int, version: int = 0) -> None:
        """`version`: updates that the weights in use have seen."""
        self.settings = settings
        self.consumed = 0
        """Groups that were taken or dropped: where to go on after a resume, when they are taken as asked."""
        self._attempt = attempt
        self._seed = seed
        self._versions = [version]
        self._sources: deque[Iterator[tuple[Q, int]]] = deque()
        self._opened = 0
        self._filling: _Open[Q] | None = None
        self._open: dict[int, _Open[Q]] = {}
        self._finished: deque[int] = deque()
        """Indices of whole groups, first the one that was whole first."""
        self._running: set[asyncio.Task[None]] = set()
        self._wanted = 0
        self._base = 0
        """Groups consumed when the weights of now were published."""
        self._recent: deque[bool] = deque(maxlen=settings.fatal_failures)
        self._fault: BaseException | None = None
        """What the next `take` raises."""
        self._changed = asyncio.Event()
        self._stats = PoolStats()
        self._since: float | None = None

    @property
    def version(self) -> int:
        """Of the weights in use."""
        return self._versions[-1]

    def submit(self, questions: Iterable[Q], *, epoch: int = 0) -> None:
        """More questions, to be attempted after those that are there. They are drawn when their turn comes."""
        self._sources.append((question, epoch) for question in questions)
        self._changed.set()

    def published(self, version: int) -> None:
        """The engine now has the weights of this version. Attempts that begin from now on are its."""
        if version <= self.version:
            raise ValueError(f"version {version} was published after version {self.version}; versions rise")
        self._versions.append(version)
        self._base = self.consumed
        self._fill()

    async def take(self, count: int | None = None) -> list[Group]:
        """The next groups, by default as many as one update takes; fewer once the questions are used up.

        Raises `EngineError` when nothing but failures came of late.
        """
        loop = asyncio.get_running_loop()
        self._since = self._since if self._since is not None else loop.time()
        self._wanted = self.settings.groups if count is None else count
        groups: list[Group] = []
        try:
            while self._wanted:
                if self._fault is not None:
                    await self._give_up()
                self._fill()
                whole = self._next_whole()
                if whole is not None:
                    group = self._consume(whole)
                    if group is not None:
                        groups.append(group)
                        self._wanted -= 1
                elif not self._running:
                    break
                else:
                    await self._wait(loop)
        finally:
            self._wanted = 0
        self._fill()
        return groups

    async def _give_up(self) -> None:
        await self.cancel()
        assert self._fault is not None
        fault, self._fault = self._fault, None
        self._recent.clear()
        raise fault

    async def cancel(self) -> int:
        """Give up everything that is under way, waits, or was submitted. Returns how many attempts were cut off."""
        running = list(self._running)
        self._sources.clear()
        self._open.clear()
        self._finished.clear()
        self._filling = None
        self.consumed = self._base = self._opened
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        return len(running)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.cancel()

    def stats(self) -> PoolStats:
        """What happened since the last call."""
        now = asyncio.get_running_loop().time()
        told, self._stats = self._stats, PoolStats(most_in_flight=len(self._running))
        told.in_flight, told.ready = len(self._running), len(self._finished)
        told.wall = now - self._since if self._since is not None else 0.0
        self._since = now
        return told

    # Beginning attempts

    def _fill(self) -> None:
        """Begin as many attempts as may be."""
        while self._fault is None and len(self._running) < self.settings.at_once:
            group = self._next_to_fill()
            if group is None:
                return
            task = asyncio.get_running_loop().create_task(self._run(group, group.begun))
            group.begun += 1
            group.running.add(task)
            self._running.add(task)
            task.add_done_callback(partial(self._left, group))
            self._stats.most_in_flight = max(self._stats.most_in_flight, len(self._running))

    def _left(self, group: _Open[Q], task: asyncio.Task[None]) -> None:
        """An attempt is over, however it ended: its place is free."""
        group.running.discard(task)
        self._running.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._fault = fault
        self._fill()
        self._changed.set()

    def _next_to_fill(self) -> _Open[Q] | None:
        begin = self.settings.attempts + self.settings.spare_attempts
        if self._filling is not None and self._filling.begun < begin and not self._filling.whole:
            return self._filling
        self._filling = None
        ahead = self._base + (1 + self.settings.max_staleness) * self.settings.groups + self.settings.spare_groups
        if self._opened >= max(ahead, self.consumed + self._wanted):
            return None
        while self._sources:
            drawn = next(self._sources[0], None)
            if drawn is not None:
                self._filling = self._open[self._opened] = _Open(self._opened, *drawn)
                self._opened += 1
                return self._filling
            self._sources.popleft()
        return None

    async def _run(self, group: _Open[Q], number: int) -> None:
        loop = asyncio.get_running_loop()
        seed = attempt_seed(self._seed, group.question.id, number, group.epoch)
        begun, account, limit = loop.time(), open_account(), asyncio.timeout(self.settings.attempt_seconds)
        try:
            async with limit:
                rollout = await self._attempt(group.question, number, seed, self.version)
        except asyncio.CancelledError:
            self._stats.cancelled += 1
            raise
        except Exception as exc:
            self._stats.timed_out += limit.expired()
            cause = f"it took more than {self.settings.attempt_seconds:g} s" if limit.expired() else _told(exc)
            trace = not (limit.expired() or isinstance(exc, DatagenError))
            log.warning("attempt %d at %s broke: %s", number, group.question.id, cause, exc_info=trace)
            rollout = _broken(group.question.id, number, seed, self.version)
        else:
            cause = rollout.transcript.detail if rollout.transcript is not None else ""
        finally:
            self._stats.attempting += loop.time() - begun
            self._stats.generation += account.generation
            self._stats.tools += account.tools
        self._ended(group, number, rollout, cause)

    def _ended(self, group: _Open[Q], number: int, rollout: Rollout, cause: str) -> None:
        failed = rollout.termination == "error"
        self._stats.finished += 1
        self._stats.failed += failed
        self._recent.append(failed)
        if len(self._recent) == self._recent.maxlen and all(self._recent):
            self._fault = EngineError(
                f"all of the last {len(self._recent)} attempts failed, at last so: {cause.rstrip('.') or 'no reason given'}. "
                "See whether the engine and the web answer, then resume the run."
            )
        group.ended[number] = rollout
        good = sum(one.termination != "error" for one in group.ended.values())
        wanted, begin = self.settings.attempts, self.settings.attempts + self.settings.spare_attempts
        if not group.whole and (good >= wanted or len(group.ended) == begin) and group.index in self._open:
            group.whole = True
            self._finished.append(group.index)
            current = asyncio.current_task()
            for task in group.running:
                if task is not current:
                    task.cancel()

    # Handing out groups

    def _next_whole(self) -> _Open[Q] | None:
        if not self._finished:
            return None
        index = min(self._finished) if self.settings.order == "asked" else self._finished[0]
        if self.settings.order == "asked" and index != min(self._open):
            return None
        self._finished.remove(index)
        return self._open.pop(index)

    def _consume(self, whole: _Open[Q]) -> Group | None:
        """The group, without what is too old; None where nothing is left of it."""
        self.consumed += 1
        kept = []
        for rollout in _chosen(whole.ended, self.settings.attempts):
            if rollout.termination == "error":
                kept.append(rollout)
                continue
            behind = len(self._versions) - bisect_right(self._versions, rollout.version)
            if behind > self.settings.max_staleness:
                dropped = self.settings.stale == "drop"
                self._stats.stale_dropped += dropped
                self._stats.stale_used += not dropped
                if dropped:
                    continue
            self._stats.staleness[behind] += 1
            kept.append(rollout)
        if len(kept) < min(len(whole.ended), self.settings.attempts) and all(
            one.termination == "error" for one in kept
        ):
            return None
        return Group(whole.question.id, tuple(kept))

    async def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        begun = loop.time()
        self._changed.clear()
        try:
            await self._changed.wait()
        finally:
            self._stats.waited += loop.time() - begun


def attempt_seed(run_seed: int, question_id: str, number: int, epoch: int) -> int:
    """The seed of one attempt: a function of where it stands, so that it can be made again alone. 0 to 2^53 - 1."""
    return seed_for(run_seed, "attempt", question_id, epoch, number) >> (64 - SEED_BITS)


def _chosen(ended: dict[int, Rollout], count: int) -> list[Rollout]:
    """The first whole attempts, and broken ones only where those are too few; in the order of their numbers."""
    by_use = sorted(ended, key=lambda number: (ended[number].termination == "error", number))
    return [ended[number] for number in sorted(by_use[:count])]


def _broken(question_id: str, number: int, seed: int, version: int) -> Rollout:
    return Rollout(
        question_id=question_id,
        rollout_id=f"{question_id}-{number}-{seed}",
        sequences=(),
        reward=None,
        correct=None,
        termination="error",
        version=version,
    )


def _told(exc: Exception) -> str:
    return f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__
