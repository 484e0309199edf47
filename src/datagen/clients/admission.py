"""Who may call an endpoint now: as many at once as it bears, and nobody while it asks to wait.

One `Limiter` per endpoint, whoever calls it and for whichever role. Its limit rises by one with every success until the
endpoint throttles for the first time (the start-up ramp), after that by one per 25 successes; a throttled call cuts it to
three quarters, once per two seconds, because the calls in flight then were all sent under the old limit. Failures other
than throttling leave it alone: they say nothing about how much an endpoint bears.

A slot belongs to one try: it is given back while a call waits for its next one, so a throttled call never blocks a
healthy one.

Free slots go to who has waited longest, hand to hand, so that 256 threads cost what one costs.

An endpoint of which nearly every recent call failed is taken for down: everybody who waits or comes is told so, instead
of losing one record after the other. Throttled calls do not count as failed: who asks to wait is there.

    with limiter.slot():
        reply = engine.attempt(request, key)
    limiter.succeeded()
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from datagen.errors import EndpointDownError

BACK_OFF = 0.75
COOL_DOWN_SECONDS = 2.0
SUCCESSES_PER_STEP = 25
REST_SECONDS = 0.25
"""How long the slot of a call that was turned away stays closed, where the endpoint does not say how long to wait."""
MIN_WINDOW = 20
"""Calls that have to have ended before an endpoint can be taken for down."""
DOWN_SHARE = 0.95
PATIENCE_SECONDS = 900.0
"""An endpoint that asks to wait longer than this ends the run, which can be resumed; a run that sleeps for hours looks
like one that hangs."""


class Clock:
    """Time as the limiters see it; tests pass one that they turn by hand."""

    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def wait(self, event: threading.Event, seconds: float | None) -> None:
        """Until the event is set, or that long."""
        event.wait(seconds)


class AdaptiveLimit:
    """How many at once: additive increase, multiplicative decrease. Knows neither threads nor clocks."""

    def __init__(self, most: int, start: int) -> None:
        self.most = max(1, most)
        self._start = self.limit = min(self.most, max(1, start))
        self._ramping = True
        self._clean = 0
        self._cut_at: float | None = None

    def succeeded(self) -> None:
        self._clean += 1
        if self._ramping or self._clean >= SUCCESSES_PER_STEP:
            self._clean = 0
            self.limit = min(self.most, self.limit + 1)

    def throttled(self, now: float, in_flight: int | None = None) -> None:
        """`in_flight` counts the throttled call."""
        if self._cut_at is None or now - self._cut_at >= COOL_DOWN_SECONDS:
            if self._ramping and in_flight is not None:
                # The ramp runs ahead of what is under way: turned-away calls give their slots back at once.
                self.limit = min(self.limit, max(self._start, in_flight))
            self._cut_at = now
            self._clean = 0
            self.limit = max(1, int(self.limit * BACK_OFF))
        self._ramping = False


class FailureWindow:
    """The last calls of an endpoint, and whether they say that it is down.

    The window is twice as long as the calls that were in flight of late: a server that restarts cuts all of them once,
    and only when their next tries fail as well is it down. It narrows with successes, so that the last few calls of a
    long run need not fail hundreds of times.
    """

    def __init__(self) -> None:
        self._failed: deque[bool] = deque()
        self._failures = 0
        self._in_flight = 0

    def ended(self, *, failed: bool, in_flight: int) -> None:
        """One call; `in_flight` counts it."""
        self._in_flight = max(in_flight, self._in_flight - (not failed))
        self._failed.append(failed)
        self._failures += failed
        while len(self._failed) > self.length:
            self._failures -= self._failed.popleft()

    @property
    def length(self) -> int:
        return max(MIN_WINDOW, 2 * self._in_flight)

    @property
    def down(self) -> bool:
        return len(self._failed) == self.length and self._failures >= DOWN_SHARE * self.length

    def __str__(self) -> str:
        return f"{self._failures:,} of its last {len(self._failed):,} calls failed"


@dataclass(slots=True, eq=False)
class _Turn:
    """Somebody in line."""

    event: threading.Event = field(default_factory=threading.Event)
    admitted: bool = False


@dataclass(slots=True)
class _Slot:
    limiter: Limiter

    def __enter__(self) -> None:
        self.limiter.enter()

    def __exit__(self, *exception: object) -> None:
        self.limiter.leave()


class Limiter:
    """The door of one endpoint."""

    def __init__(
        self, most: int, start: int = 8, *, name: str = "the endpoint", resume: str = "", clock: Clock | None = None
    ) -> None:
        self._name = name
        self._resume = resume or "the same command again"
        self._clock = clock or Clock()
        self._guard = threading.Lock()
        self._allowed = AdaptiveLimit(most, start)
        self._window = FailureWindow()
        self._queue: deque[_Turn] = deque()
        self._in_flight = 0
        self._shut_until = 0.0
        self._resting: deque[float] = deque()
        """Until when each slot stays closed whose call was turned away."""
        self._down: str | None = None
        self._counts = {"succeeded": 0, "throttled": 0, "failed": 0}

    def slot(self) -> _Slot:
        """`with` this, one try is in flight. Waits for a free slot; raises `EndpointDownError` where that is vain."""
        return _Slot(self)

    def check(self) -> None:
        """Raises `EndpointDownError` if the endpoint is taken for down."""
        if self._down is not None:
            raise EndpointDownError(self._down)

    def succeeded(self) -> None:
        with self._guard:
            self._counts["succeeded"] += 1
            self._allowed.succeeded()
            self._window.ended(failed=False, in_flight=self._in_flight)
            self._admit()

    def throttled(self, retry_after: float | None = None) -> None:
        """The endpoint asks to wait; nobody starts before `retry_after` seconds are over."""
        with self._guard:
            now = self._clock.now()
            self._counts["throttled"] += 1
            self._allowed.throttled(now, self._in_flight)
            if retry_after is not None and retry_after > PATIENCE_SECONDS:
                self._give_up(f"asks to wait {retry_after:,.0f} seconds")
            elif retry_after is not None and now + retry_after > self._shut_until:
                self._shut_until = now + retry_after
                self._wake_first()
            elif retry_after is None:
                # Calls that are turned away come back at once; without a rest, all who wait would bounce one after another.
                self._resting.append(now + REST_SECONDS)

    def failed(self) -> None:
        """A try that failed on the endpoint's side: 5xx, reset, timeout."""
        with self._guard:
            self._counts["failed"] += 1
            self._window.ended(failed=True, in_flight=self._in_flight)
            if self._window.down:
                self._give_up(f"seems to be down: {self._window}")

    def standing(self) -> dict[str, Any]:
        """For people who watch."""
        with self._guard:
            waiting, shut = len(self._queue), max(0.0, self._shut_until - self._clock.now())
            known = {"in_flight": self._in_flight, "limit": self._allowed.limit, "waiting": waiting}
            return {**known, **self._counts, "shut_for_seconds": round(shut, 1), "down": self._down is not None}

    def enter(self) -> None:
        """Take a slot, waiting for it in line; prefer `slot()`, which gives it back whatever happens."""
        with self._guard:
            self.check()
            turn = _Turn()
            self._queue.append(turn)
            self._admit()
        try:
            self._await(turn)
        except BaseException:
            self._withdraw(turn)
            raise

    def leave(self) -> None:
        """Give a slot back."""
        with self._guard:
            self._in_flight -= 1
            self._admit()

    def _await(self, turn: _Turn) -> None:
        while not turn.admitted:
            self._clock.wait(turn.event, self._nap(turn))

    def _nap(self, turn: _Turn) -> float | None:
        """How long somebody in line may sleep unless woken; None for as long as it takes."""
        with self._guard:
            self._admit()
            if turn.admitted:
                return 0.0
            self.check()
            turn.event.clear()
            # The first in line wakes by itself when the door opens again, and lets the others in.
            return self._opens_in() if self._queue[0] is turn else None

    def _withdraw(self, turn: _Turn) -> None:
        """Somebody who waited goes away: interrupted, or told that the endpoint is down."""
        with self._guard:
            if turn.admitted:
                self._in_flight -= 1
            else:
                self._queue.remove(turn)
            self._admit()
            self._wake_first()

    # The guard is held in everything below.

    def _opens_in(self) -> float | None:
        """Seconds until time alone opens the door further; None where only others' slots do."""
        now = self._clock.now()
        until = self._shut_until if self._shut_until > now else next(iter(self._resting), 0.0)
        return until - now if until > now else None

    def _admit(self) -> None:
        """Hand free slots to those who have waited longest."""
        now = self._clock.now()
        while self._resting and self._resting[0] <= now:
            self._resting.popleft()
        while self._queue and self._in_flight + len(self._resting) < self._allowed.limit and self._down is None:
            if now < self._shut_until:
                return
            turn = self._queue.popleft()
            self._in_flight += 1
            turn.admitted = True
            turn.event.set()
        if self._resting:
            self._wake_first()  # whoever is first now has to know when the next slot has rested

    def _wake_first(self) -> None:
        if self._queue:
            self._queue[0].event.set()

    def _give_up(self, why: str) -> None:
        self._down = f"{self._name} {why}. What was paid for is kept; when it answers again, run {self._resume}."
        for turn in self._queue:
            turn.event.set()


class RateLimiter:
    """A fixed rate, for services that sell one: calls are spaced evenly, whoever makes them."""

    def __init__(self, per_minute: float, *, clock: Clock | None = None) -> None:
        self._pause = 60.0 / per_minute
        self._clock = clock or Clock()
        self._guard = threading.Lock()
        self._next = self._shut_until = self._clock.now()

    def wait(self) -> None:
        """Until it is this caller's turn."""
        while True:
            with self._guard:
                now = self._clock.now()
                mine = max(now, self._next, self._shut_until)
                self._next = mine + self._pause
            if mine > now:
                self._clock.sleep(mine - now)
            if mine >= self._shut_until:
                return  # else the service asked to wait while this caller slept, and a new turn has to be found

    def throttled(self, retry_after: float | None = None) -> None:
        """The service asks to wait; nobody starts before that is over."""
        with self._guard:
            until = self._clock.now() + (self._pause if retry_after is None else retry_after)
            self._shut_until = max(self._shut_until, until)
