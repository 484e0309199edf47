"""One call of a chat completion, from the request that was let in to the last byte of its reply.

    let in ──► throttled, failed, reset                        nothing is booked, it is listed as aborted
       │
       └─► the mind answers, meanwhile the latency passes ──► fault of content? ──► booked ──► last byte
                                                                    └──► cut short: aborted

Everything here runs on the server's loop, the mind's thinking excepted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from datagen.practice.canned import CannedMind, asks_what_is_possible
from datagen.practice.completions import (
    Asked,
    Reply,
    as_said,
    completion,
    count_output,
    error_body,
    within_limit,
)
from datagen.practice.faults import Strike, Striker
from datagen.practice.flaws import Said, spoil
from datagen.practice.http import Connection
from datagen.practice.knobs import Fault, Knobs
from datagen.practice.ledger import Aborted, Booking, PracticeLedger
from datagen.practice.streaming import DONE, events
from datagen.practice.tokens import count_input
from datagen.practice.wire import Mind

log = logging.getLogger("datagen.practice")
_SERVER_ERRORS = ((500, "The server had an error."), (502, "Bad gateway."), (503, "The engine is overloaded."))


@dataclass(frozen=True, slots=True)
class Desk:
    """What every call needs."""

    mind: Mind
    knobs: Knobs
    ledger: PracticeLedger
    striker: Striker
    loop: asyncio.AbstractEventLoop
    threads: Executor


def think(mind: Mind, asked: Asked) -> tuple[Said, int]:
    """What the mind says, and how many tokens it read.

    Minds know the roles and nothing else; like any model, the endpoint still answers somebody who only asks whether it
    can speak, fill in a schema, or call a tool.
    """
    try:
        answer = mind.answer(asked.wire)
    except LookupError as exc:
        if type(exc) is not LookupError or not asks_what_is_possible(asked.wire):
            raise
        answer = CannedMind().answer(asked.wire)
    said = as_said(answer, asked.digest)
    return within_limit(said, asked.wire.body), count_input(asked.wire.messages, asked.wire.body)


def deliver(connection: Connection, reply: Reply, asked: Asked) -> None:
    """A whole reply at once, as it was asked for."""
    if not asked.stream:
        connection.send(200, completion(reply, asked.wire.body))
        return
    written = events(reply, asked.wire.body, include_usage=asked.include_usage)
    connection.start_stream(b"".join(written))
    connection.end_stream(DONE)


class Call:
    """A request in progress."""

    def __init__(self, desk: Desk, connection: Connection, asked: Asked, key: str, done: Callable[[], None]) -> None:
        """`key` is the Idempotency-Key, empty where none came; `done` is called once, however it ends."""
        self._desk = desk
        self._connection = connection
        self._asked = asked
        self._key = key
        self._done = done
        self._strike: Strike = desk.striker.arriving(asked.digest)
        self._started = desk.loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._future: asyncio.Future[tuple[Said, int]] | None = None
        self._reply: Reply | None = None
        self._spoiled: Fault | None = None
        self._rest = b""
        connection.when_lost = self._left

    def start(self) -> None:
        fault = self._strike.fault
        if fault is not None:
            self._desk.ledger.faults[fault] += 1
        if fault in {Fault.THROTTLE, Fault.THROTTLE_WAIT}:
            self._throttle(wait=fault is Fault.THROTTLE_WAIT)
        elif fault is Fault.SERVER_ERROR:
            self._at(1.0, self._fail)
        elif fault is Fault.RESET and self._strike.variant < 0.5:
            self._at(1.0, self._reset)
        elif isinstance(self._desk.mind, CannedMind):
            self._thought(think(self._desk.mind, self._asked))
        else:
            self._future = self._desk.loop.run_in_executor(self._desk.threads, think, self._desk.mind, self._asked)
            self._future.add_done_callback(self._collect)

    def _at(self, share: float, act: Callable[[], None]) -> None:
        """Act when this share of the latency has passed."""
        seconds = self._started + self._strike.seconds * share - self._desk.loop.time()
        if seconds <= 0:
            act()
        else:
            self._timer = self._desk.loop.call_later(seconds, act)

    def _throttle(self, *, wait: bool) -> None:
        self._abort(str(self._strike.fault))
        headers = (b"retry-after: %g" % self._desk.knobs.retry_after,) if wait else ()
        self._connection.send(429, error_body("Too many requests.", "rate_limit_error", "rate_limit_exceeded"), headers=headers)  # fmt: skip

    def _fail(self) -> None:
        self._abort(Fault.SERVER_ERROR)
        status, message = _SERVER_ERRORS[int(self._strike.variant * len(_SERVER_ERRORS))]
        self._connection.send(status, error_body(message, "server_error"))

    def _reset(self) -> None:
        self._abort(Fault.RESET)
        self._connection.reset()

    def _collect(self, future: asyncio.Future[tuple[Said, int]]) -> None:
        if future.cancelled() or self._connection.transport.is_closing():
            return
        fault = future.exception()
        if fault is None:
            self._thought(future.result())
        elif type(fault) is LookupError:
            self._abort("unknown-kind")
            self._connection.send(400, error_body(str(fault), "invalid_request_error", "unknown_kind"))
        else:
            log.error("the mind failed", exc_info=fault)
            self._abort("mind-failed")
            self._connection.send(500, error_body(f"The mind failed: {type(fault).__name__}: {fault}", "mind_error"))

    def _thought(self, thought: tuple[Said, int]) -> None:
        self._at(0.5 if self._asked.stream else 1.0, lambda: self._write(*thought))

    def _write(self, said: Said, input_tokens: int) -> None:
        """The words are settled; the whole reply goes out, or the first half of a stream."""
        asked, broken = self._asked, self._strike.fault is not None
        if not broken:
            said = self._with_fault(said)
        identity = f"chatcmpl-{asked.digest[:28]}"
        self._reply = Reply(said, asked.wire.model, input_tokens, count_output(said), identity, int(time.time()))
        if asked.stream:
            written = events(self._reply, asked.wire.body, include_usage=asked.include_usage)
            half = max(1, len(written) // 2)
            self._connection.start_stream(b"".join(written[:half]))
            self._rest = b"".join(written[half:])
            self._at(1.0, self._cut_stream if broken else self._end_stream)
        elif broken:
            self._cut_body(completion(self._reply, asked.wire.body))
        else:
            deliver(self._connection, self._book(self._reply), asked)

    def _with_fault(self, said: Said) -> Said:
        fault, variant = self._desk.striker.answering(self._asked.digest)
        spoiled = None if fault is None else spoil(said, fault, variant, self._asked.wire)
        if spoiled is None or fault is None:
            return said
        self._spoiled = fault
        return spoiled

    def _book(self, reply: Reply) -> Reply:
        """The reply that goes out: this one, or the one that another request with the same key got in the meantime."""
        self._end()
        asked, ledger = self._asked, self._desk.ledger
        if self._key and (found := ledger.find(self._key)) is not None:
            ledger.counts["replayed"] += 1
            return found[1]
        if self._spoiled is not None:
            ledger.faults[self._spoiled] += 1
        booking = Booking(
            key=self._key or asked.digest,
            digest=asked.digest,
            model=reply.model,
            input_tokens=reply.input_tokens,
            output_tokens=reply.output_tokens,
            fault=self._spoiled,
            at=time.time(),
        )
        ledger.book(booking, reply, idempotent=bool(self._key))
        return reply

    def _end_stream(self) -> None:
        assert self._reply is not None
        self._book(self._reply)
        self._connection.end_stream(self._rest + DONE)

    def _cut_stream(self) -> None:
        if self._strike.fault is Fault.RESET:
            self._reset()
            return
        self._abort(Fault.TRUNCATED)
        if self._strike.variant < 0.5:
            self._connection.hang_up()
        else:
            self._connection.end_stream()  # well framed, and still only half of what was to be said

    def _cut_body(self, body: bytes) -> None:
        part = body[: len(body) // 2]
        if self._strike.fault is Fault.RESET:
            self._connection.send_part(body, part)
            self._reset()
            return
        self._abort(Fault.TRUNCATED)
        if self._strike.variant < 0.5:
            self._connection.send_part(body, part)
            self._connection.hang_up()
        else:
            self._connection.send(200, part)  # a proxy that lost the rest, and counted what it had

    def _left(self) -> None:
        """The client is gone."""
        if self._reply is not None and self._strike.fault is None:
            self._desk.striker.unanswered(self._asked.digest)
        self._abort("client-left")

    def _abort(self, reason: str) -> None:
        self._end()
        asked = self._asked
        self._desk.ledger.abort(Aborted(self._key or asked.digest, asked.digest, asked.wire.model, reason))

    def _end(self) -> None:
        self._connection.when_lost = None
        if self._timer is not None:
            self._timer.cancel()
        if self._future is not None:
            self._future.cancel()
        self._done()
