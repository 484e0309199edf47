"""The way of every call to a model: cache, budget, admission, tries, cache, ledger, bill.

    complete ──► single flight by key ──► cache ── hit ──────────────────────────────────────────► bill
                                            │ miss
                                            ▼
                                  budget ──► slot ──► engine (one try) ──► cache ──► ledger ──► bill
                                               ▲        │ retryable fault
                                               └─ wait ◄┘ (the slot is free meanwhile)

**Paid once, counted once.** A reply is in the cache before anybody uses it, and in the ledger after that. A process that
is killed between the two leaves a reply that says which ledger it belongs to: the resumed run finds it and books it
then. A process that is killed before the first of the two asks again with the same idempotency key.

The bill of a record is charged for every reply it used, from wherever it came; the ledger only for what was paid for.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from datagen.clients.admission import Clock, Limiter, RateLimiter
from datagen.clients.billing import current_bill
from datagen.clients.cache import ReplyCache
from datagen.clients.chat import ChatEngine, ChatReply, ChatRequest
from datagen.clients.ledger import Ledger, Reservation
from datagen.clients.prices import PriceBook
from datagen.clients.reply_json import reply_from_dict, reply_to_dict, sayable
from datagen.clients.retrying import Patience, with_retries
from datagen.errors import ConfigError, EndpointError, ReplayMissError, RetriesExhaustedError, ThrottledError


@dataclass(frozen=True)
class Endpoint:
    """A place where models are served, and how it may be called."""

    name: str
    engine: ChatEngine
    max_in_flight: int = 64
    start_in_flight: int = 8
    attempts: int = 6
    """Tries of one call, the first included."""
    requests_per_minute: float | None = None
    replicas: int = 1


class _Door:
    """An endpoint with those who guard it."""

    def __init__(self, endpoint: Endpoint, resume: str, clock: Clock) -> None:
        self.endpoint = endpoint
        self.engine = endpoint.engine
        self.limiter = Limiter(
            endpoint.max_in_flight,
            endpoint.start_in_flight,
            name=f"endpoint {endpoint.name} ({endpoint.engine.identity})",
            resume=resume,
            clock=clock,
        )
        per_minute = endpoint.requests_per_minute
        self.rate = RateLimiter(per_minute, clock=clock) if per_minute is not None else None


@dataclass(frozen=True, slots=True)
class _Call:
    """One request on its way."""

    key: str
    request: ChatRequest
    door: _Door
    role: str

    def __str__(self) -> str:
        return f"the {self.role}'s call of {self.request.model} at {self.door.endpoint.name}"


class ChatService:
    """What roles talk to; a `ChatClient`. Safe to call from many threads at once."""

    def __init__(
        self,
        endpoints: Mapping[str, Endpoint],
        cache: ReplyCache,
        ledger: Ledger,
        prices: PriceBook,
        *,
        budget_usd: float | None = None,
        offline: bool = False,
        patience: Patience | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`patience` and `clock` are for tests, which do not wait."""
        resume = f"`datagen resume {ledger.path.parent}`"
        self._doors = {name: _Door(endpoint, resume, clock or Clock()) for name, endpoint in endpoints.items()}
        self._cache = cache
        self._ledger = ledger
        self._prices = prices
        self._budget_usd = budget_usd
        self._offline = offline
        self._patience = patience

    def complete(self, request: ChatRequest, *, endpoint: str, role: str) -> ChatReply:
        """The reply, paid for at most once. Raises `RetriesExhaustedError`, or what ends a run."""
        door = self._doors.get(endpoint)
        if door is None:
            raise ConfigError(f"no endpoint is called {endpoint!r}; there is {', '.join(sorted(self._doors))}.")
        call = _Call(request.key(door.engine.identity), request, door, role)
        with self._cache.single_flight(call.key):
            reply = self._kept(call) or self._paid(call)
        current_bill().charge(role, request.model, reply.usage, self._prices.cost(request.model, reply.usage))
        return reply

    def standing(self) -> dict[str, Any]:
        """Calls in flight, limits and faults per endpoint, for people who watch."""
        return {name: door.limiter.standing() for name, door in self._doors.items()}

    def _kept(self, call: _Call) -> ChatReply | None:
        """The reply if it was paid for before."""
        value = self._cache.get(call.key)
        if value is None:
            return None
        reply = reply_from_dict(value["reply"])
        if value["ledger"] == self._ledger.identity and not self._ledger.has(call.key):
            self._book(call, reply, None)
        return reply

    def _paid(self, call: _Call) -> ChatReply:
        if self._offline:
            raise ReplayMissError(
                f"offline, and no reply to {call} was ever received. Replay needs the cache of the run "
                f"({self._cache.path}) and its config unchanged."
            )
        with self._ledger.reserve(self._most(call.request), budget_usd=self._budget_usd) as held:
            reply = sayable(self._asked(call))
            value = {"reply": reply_to_dict(reply), "ledger": self._ledger.identity}
            self._cache.put(call.key, value, model=call.request.model, role=call.role)
            self._book(call, reply, held)
        return reply

    def _book(self, call: _Call, reply: ChatReply, held: Reservation | None) -> None:
        self._ledger.paid(
            call.key,
            role=call.role,
            model=call.request.model,
            endpoint=call.door.endpoint.name,
            usage=reply.usage,
            cost_usd=self._prices.cost(call.request.model, reply.usage),
            held=held,
        )

    def _most(self, request: ChatRequest) -> float:
        """What the call can cost, where that matters."""
        if self._budget_usd is None:
            return 0.0
        most = self._prices.upper_bound(request)
        if most is None:
            raise ConfigError(
                f"a budget is set, and a call of {request.model} can cost any sum: it needs a price in "
                f"{self._prices.source} and max_tokens in its table under cast.models."
            )
        return most

    def _asked(self, call: _Call) -> ChatReply:
        """The engine's reply, after as many tries as the endpoint allows."""
        endpoint = call.door.endpoint
        # Turns of one conversation go to one replica, whose prefix cache knows them; a further try goes to another.
        prefer = _conversation(call.request) if endpoint.replicas > 1 else 0
        try:
            return with_retries(
                lambda number: _attempt(call, prefer + number),
                attempts=endpoint.attempts,
                what=str(call),
                patience=self._patience,
            )
        except RetriesExhaustedError:
            call.door.limiter.check()  # when the endpoint is down, it is not this record's fault
            raise


def _attempt(call: _Call, prefer: int) -> ChatReply:
    """One try, in a slot; what comes of it steers the limiter."""
    door, limiter = call.door, call.door.limiter
    with limiter.slot():
        if door.rate is not None:
            door.rate.wait()
        try:
            reply = door.engine.attempt(call.request, call.key, prefer=prefer)
        except ThrottledError as fault:
            limiter.throttled(fault.retry_after)
            if door.rate is not None:
                door.rate.throttled(fault.retry_after)
            limiter.check()
            raise
        except EndpointError as fault:
            if fault.retryable:
                limiter.failed()
                limiter.check()  # no waiting for the next try at an endpoint that is down
            raise
        limiter.succeeded()
        return reply


def _conversation(request: ChatRequest) -> int:
    """A number that is the same for every turn of a conversation: all begin with the same two messages."""
    return zlib.crc32("\0".join(message.content for message in request.messages[:2]).encode("utf-8", "surrogatepass"))
