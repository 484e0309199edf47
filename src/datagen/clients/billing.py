"""What one record costs: every reply that was used to make it, whether it was paid for now or found in the cache.

A bill is a function of the record's requests, so a resumed run writes the bytes of an undisturbed one. What was really
paid in a run, each call once, is the ledger's (`clients.ledger`). Tokens and money are None as soon as one reply lacks
them: a sum that silently leaves something out would be a guess.

    with billing() as bill:      # per thread: what roles spend inside the block goes on this bill
        make(candidate)
    row["spend"] = bill.spend()
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from datagen.clients.chat import Usage

JUDGING_ROLES = frozenset({"judge"})
"""Roles whose spend is kept apart from that of the roles that make something."""


@dataclass(slots=True)
class Account:
    """Calls, tokens and money of one side of a bill."""

    calls: int = 0
    input_tokens: int | None = 0
    output_tokens: int | None = 0
    cost_usd: float | None = 0.0

    def add(self, usage: Usage, cost_usd: float | None) -> None:
        self.calls += 1
        self.input_tokens = _plus(self.input_tokens, usage.input_tokens)
        self.output_tokens = _plus(self.output_tokens, usage.output_tokens)
        self.cost_usd = None if self.cost_usd is None or cost_usd is None else self.cost_usd + cost_usd

    def fields(self, prefix: str = "") -> dict[str, Any]:
        """Columns of `spend`; money to a millionth of a cent, so that sums in another order are equal."""
        spent = self.calls > 0
        return {
            f"{prefix}calls": self.calls,
            f"{prefix}input_tokens": self.input_tokens if spent else None,
            f"{prefix}output_tokens": self.output_tokens if spent else None,
            f"{prefix}cost_usd": round(self.cost_usd, 8) if spent and self.cost_usd is not None else None,
        }


def _plus(total: int | None, more: int | None) -> int | None:
    return None if total is None or more is None else total + more


@dataclass(slots=True)
class Bill:
    """The spend of one record."""

    making: Account = field(default_factory=Account)
    judging: Account = field(default_factory=Account)
    corrections: int = 0
    """Turns in which a model was told that its reply did not fit."""
    models: dict[str, None] = field(default_factory=dict)
    """"role=model" of every call, in order of first use."""
    prompts: dict[str, None] = field(default_factory=dict)
    """"name@hash" of every prompt, in order of first use."""

    memory: dict[Hashable, Any] = field(default_factory=dict)
    """What the record has asked for already: a role that comes back to a page in one record need not ask again, and
    records stay independent of each other."""

    def charge(self, role: str, model: str, usage: Usage, cost_usd: float | None) -> None:
        """One reply, from the server or from the cache."""
        (self.judging if role in JUDGING_ROLES else self.making).add(usage, cost_usd)
        self.models.setdefault(f"{role}={model}")

    def spend(self) -> dict[str, Any]:
        """Columns of a row's `spend`, tool calls excepted."""
        return {**self.making.fields(), **self.judging.fields("judge_"), "corrections": self.corrections}


_current: ContextVar[Bill | None] = ContextVar("bill", default=None)


@contextmanager
def billing() -> Iterator[Bill]:
    """Open a bill for this thread; an outer one is set aside until the block ends."""
    bill = Bill()
    token = _current.set(bill)
    try:
        yield bill
    finally:
        _current.reset(token)


def current_bill() -> Bill:
    """The open bill; outside of any, one that nobody reads."""
    return _current.get() or Bill()
