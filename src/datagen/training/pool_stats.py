"""What a pool of attempts did: how much was under way, what broke, how old it was, and where the time went."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class PoolStats:
    """What a pool did since it was last asked. Times are in seconds."""

    in_flight: int = 0
    """Attempts under way now."""
    most_in_flight: int = 0
    ready: int = 0
    """Whole groups that wait to be taken now."""
    finished: int = 0
    failed: int = 0
    """Attempts that raised, took too long, or ended in "error"; part of `finished`."""
    timed_out: int = 0
    """Part of `failed`."""
    cancelled: int = 0
    stale_used: int = 0
    stale_dropped: int = 0
    staleness: Counter[int] = field(default_factory=Counter)
    """Publications behind, of the attempts that were taken."""
    wall: float = 0.0
    waited: float = 0.0
    """Time that `take` had to wait."""
    attempting: float = 0.0
    """Added up over attempts, as are the next two."""
    generation: float = 0.0
    tools: float = 0.0

    @property
    def waiting_share(self) -> float:
        return self.waited / self.wall if self.wall else 0.0

    def figures(self, *, asynchronous: bool) -> dict[str, float]:
        """By the names of `recording.METRICS`. Who samples between updates alone waits for attempts, and that is no fault."""
        each = {"attempt_s": self.attempting, "generation_s": self.generation, "tools_s": self.tools}
        figures = {name: seconds / self.finished for name, seconds in each.items()} if self.finished else {}
        return figures | ({"waiting": self.waiting_share} if asynchronous else {})
