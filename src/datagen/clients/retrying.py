"""Trying again, by the type of a fault and never by its text.

`EndpointError.retryable` decides. A throttled call waits as long as the server said, everything else longer each time,
with some jitter so that calls that failed together do not come back together. Nothing is held while a call waits. The
SDKs' own retries are off: one place counts the tries.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import stamina

from datagen.errors import EndpointError, RetriesExhaustedError, ThrottledError

# Tries are counted in the endpoint's standing; a line for each would be hundreds a second on a bad day.
logging.getLogger("stamina").setLevel(logging.ERROR)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait before the next try: `first` seconds, doubled each time up to `longest`, plus up to `jitter`."""

    first: float = 0.5
    longest: float = 30.0
    jitter: float = 0.5


def wait_asked_for(fault: Exception) -> bool | float:
    """Whether to try again; a number says after how many seconds."""
    if not isinstance(fault, EndpointError) or not fault.retryable:
        return False
    if isinstance(fault, ThrottledError) and fault.retry_after is not None:
        return max(0.0, fault.retry_after)
    return True


def with_retries(attempt: Callable[[int], T], *, attempts: int, what: str, patience: Patience | None = None) -> T:
    """Call `attempt(number)`, number from 0, until it returns, at most `attempts` times.

    Faults that are not retryable pass. After the last try, `RetriesExhaustedError` from the last fault; `what` begins
    its sentence.
    """
    waits = patience or Patience()
    number = 0
    try:
        for again in stamina.retry_context(
            wait_asked_for,
            attempts=attempts,
            timeout=None,
            wait_initial=waits.first,
            wait_max=waits.longest,
            wait_jitter=waits.jitter,
        ):
            with again:
                number = again.num
                return attempt(number - 1)
    except EndpointError as fault:
        if not fault.retryable:
            raise
        raise RetriesExhaustedError(f"{what} failed {number} times, at last so: {fault}") from fault
    raise AssertionError("unreachable")
