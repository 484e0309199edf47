"""What makes a practice endpoint difficult: its latency, its limit, and how often which fault strikes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import NormalDist
from typing import Literal as OneOf

from datagen.errors import ConfigError

_NORMAL = NormalDist()


class Fault(StrEnum):
    """What can go wrong with a call. Those of `CONTENT_FAULTS` come as whole replies and are billed."""

    THROTTLE_WAIT = "throttle-wait"
    """429 that says how long to wait."""
    THROTTLE = "throttle"
    """429 that does not."""
    SERVER_ERROR = "server-error"
    """500, 502 or 503."""
    RESET = "reset"
    """The connection is reset before or in the middle of the reply."""
    TRUNCATED = "truncated"
    """The reply or the stream ends too early, on a connection that closes in good order."""
    MALFORMED_JSON = "malformed-json"
    """JSON text, or the arguments of a tool call, that does not parse."""
    WRONG_SCHEMA = "wrong-schema"
    """JSON that parses and is not what was asked for."""
    REFUSAL = "refusal"
    """The model declines."""
    FALSE_QUOTES = "false-quotes"
    """Quotes that no message contains."""


CONTENT_FAULTS = (Fault.MALFORMED_JSON, Fault.WRONG_SCHEMA, Fault.REFUSAL, Fault.FALSE_QUOTES)
TRANSPORT_FAULTS = tuple(fault for fault in Fault if fault not in CONTENT_FAULTS)


@dataclass(frozen=True, slots=True)
class Latency:
    """How long a reply takes. `fixed`: always `seconds`; `uniform`: from `seconds` to `spread`; `lognormal`: median
    `seconds`, with `spread` as the deviation of the logarithm.
    """

    shape: OneOf["fixed", "uniform", "lognormal"] = "fixed"
    seconds: float = 0.0
    spread: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Latency:
        """Read "0.5", "uniform:0.2,1.5" or "lognormal:1.0,0.5"."""
        shape, _, numbers = text.rpartition(":")
        parts = numbers.split(",")
        try:
            values = [float(part) for part in parts]
        except ValueError:
            values = []
        wanted = {"": 1, "fixed": 1, "uniform": 2, "lognormal": 2}.get(shape)
        sound = wanted == len(values) and all(math.isfinite(v) and v >= 0 for v in values)
        if not sound or (shape == "uniform" and values[1] < values[0]):
            raise ConfigError(f'{text!r} is no latency; write "0.5", "uniform:0.2,1.5" or "lognormal:1.0,0.5".')
        if shape == "uniform":
            return cls("uniform", values[0], values[1])
        return cls("lognormal", values[0], values[1]) if shape == "lognormal" else cls("fixed", values[0])

    def at(self, draw: float) -> float:
        """Seconds for a draw from (0, 1)."""
        if self.shape == "uniform":
            return self.seconds + (self.spread - self.seconds) * draw
        if self.shape == "lognormal":
            return self.seconds * math.exp(self.spread * _NORMAL.inv_cdf(min(max(draw, 1e-12), 1 - 1e-12)))
        return self.seconds


@dataclass(frozen=True, slots=True)
class Knobs:
    """How the endpoint behaves."""

    latency: Latency = Latency()
    at_once: int | None = None
    """Requests in progress, at most; the next one is turned away with 429. None for no limit."""
    faults: Mapping[Fault, float] = field(default_factory=dict)
    """Share of all requests that each fault strikes."""
    retry_after: float = 1.0
    """Seconds that a 429 with Retry-After asks for."""
    seed: int = 0
    """Decides which requests faults strike, and the latencies."""

    def __post_init__(self) -> None:
        shares = self.faults.values()
        if any(not 0 <= share <= 1 for share in shares) or sum(shares) > 1 + 1e-9:
            raise ConfigError("Shares of faults lie between 0 and 1, and so does their sum.")
        if self.at_once is not None and self.at_once < 1:
            raise ConfigError("At least one request has to be let in at once.")

    @classmethod
    def each(cls, share: float, *faults: Fault, **more: object) -> Knobs:
        """Every fault named strikes this share of requests."""
        return cls(faults=dict.fromkeys(faults, share), **more)  # type: ignore[arg-type]
