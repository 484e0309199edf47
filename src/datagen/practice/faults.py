"""Which fault strikes which request: a function of content, so that runs repeat themselves at any concurrency.

Transport faults are drawn from (seed, request, how many times it came before): a retry may fare better. Content faults are
drawn from (seed, request, how many times it was answered whole before): what a model says does not depend on the
connections that broke on the way, so the text that arrives in the end is the same whatever was lost before it. A request
is known by its digest; requests that the limit turns away are not counted, because who is turned away is chance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from datagen.practice.knobs import CONTENT_FAULTS, TRANSPORT_FAULTS, Fault, Knobs

_UNIT = 2.0**64


@dataclass(frozen=True, slots=True)
class Strike:
    """What happens to one request on the way. `variant` is a draw from [0, 1) that picks among forms of a fault."""

    fault: Fault | None
    variant: float
    seconds: float


def draws(seed: int, digest: str, purpose: str, time: int) -> tuple[float, float, float]:
    """Three numbers from [0, 1) at an address."""
    raw = sha256(f"{seed}/{purpose}/{time}/{digest}".encode()).digest()
    a, b, c = (int.from_bytes(raw[at : at + 8], "big") / _UNIT for at in (0, 8, 16))
    return a, b, c


def transport_strike(knobs: Knobs, digest: str, seen: int) -> Strike:
    """What strikes a request that came `seen` times before, and how long it takes."""
    which, variant, slowness = draws(knobs.seed, digest, "transport", seen)
    return Strike(_pick(knobs, TRANSPORT_FAULTS, which, 1.0), variant, knobs.latency.at(slowness))


def content_strike(knobs: Knobs, digest: str, answered: int) -> tuple[Fault | None, float]:
    """What is wrong with the words of a reply to a request that was answered whole `answered` times before.

    Shares are of all requests, and only those that no transport fault struck get here.
    """
    which, variant, _ = draws(knobs.seed, digest, "content", answered)
    reached = 1.0 - sum(knobs.faults.get(fault, 0.0) for fault in TRANSPORT_FAULTS)
    return _pick(knobs, CONTENT_FAULTS, which, reached), variant


def _pick(knobs: Knobs, faults: Sequence[Fault], draw: float, out_of: float) -> Fault | None:
    reached = 0.0
    for fault in faults:
        reached += knobs.faults.get(fault, 0.0)
        if draw * out_of < reached:
            return fault
    return None


@dataclass(slots=True)
class Striker:
    """Counts what came and what was answered, and draws accordingly. Used from one thread."""

    knobs: Knobs
    _seen: Counter[str] = field(default_factory=Counter)
    _answered: Counter[str] = field(default_factory=Counter)
    _calm: bool = False

    def __post_init__(self) -> None:
        # Without faults and with one latency nothing depends on the counts, and a long benchmark keeps no memory of them.
        self._calm = not any(self.knobs.faults.values()) and self.knobs.latency.shape == "fixed"

    def arriving(self, digest: str) -> Strike:
        """A request is let in."""
        if self._calm:
            return Strike(None, 0.0, self.knobs.latency.seconds)
        self._seen[digest] += 1
        return transport_strike(self.knobs, digest, self._seen[digest] - 1)

    def answering(self, digest: str) -> tuple[Fault | None, float]:
        """A reply is about to be made; `unanswered` takes it back where nobody waited for it."""
        if self._calm:
            return None, 0.0
        self._answered[digest] += 1
        return content_strike(self.knobs, digest, self._answered[digest] - 1)

    def unanswered(self, digest: str) -> None:
        if not self._calm:
            self._answered[digest] -= 1

    def answered_before(self, digest: str) -> None:
        """A reply of an earlier life of this server, found in its ledger."""
        if not self._calm:
            self._answered[digest] += 1
