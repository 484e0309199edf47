"""What one attempt at a question may spend."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Budget:
    """What one attempt may spend on the two tools."""

    searches: int = 40
    visits: int = 120


@dataclass(frozen=True, slots=True)
class Limits:
    """Everything that can end an attempt before its answer.

    Tokens are what the model wrote, where the engine counts them. Seconds are the only limit by the clock: a rollout that
    has one is not reproducible to the byte, so it is unset by default.
    """

    budget: Budget = Budget()
    turns: int | None = None
    """Assistant turns; as many as the budget has calls, and one for the answer, where unset."""
    tokens: int | None = None
    context_chars: int | None = None
    """Characters of the conversation after which it has to be concluded."""
    seconds: float | None = None
