"""One measurement of one policy on one set of questions in one mode.

    EvaluationRecord.of("rl", "held-out", "greedy", {"q1": [True], "q2": [False], "q3": [None]}, phase="rl", step=50)

has n = 2 and right = 1: at q3 the infrastructure broke, which says nothing about the policy; it is counted apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Self

from datagen.errors import StorageError
from datagen.training.intervals import Interval, mean_interval, wilson

Mode = Literal["greedy", "sampled", "no_search"]
MODE_NAMES: Mapping[str, str] = {"greedy": "greedy", "sampled": "T = 1", "no_search": "no search"}


@dataclass(frozen=True, slots=True)
class EvaluationRecord:
    """What came out, question by question, so that two policies can be compared on the same questions."""

    policy: str
    set: str
    """Name of the set of questions."""
    mode: str
    """greedy; sampled: at a temperature of 1; no_search: an answer at once, without tools."""
    n: int
    """Attempts that were graded."""
    right: int
    per_question: Mapping[str, float] = field(default_factory=dict)
    """By id: 1 or 0, or the share of right attempts where there were several. Questions without a grade are not in it."""
    phase: str = ""
    step: int = 0
    """Updates of the phase that the weights had seen."""
    attempts: int = 1
    """Attempts at each question."""
    failures: int = 0
    """Attempts that the infrastructure broke: not in n."""
    searches: float | None = None
    """Searches per attempt; like the next three None where nobody counted."""
    visits: float | None = None
    """Pages opened per attempt."""
    turns: float | None = None
    tokens: float | None = None
    """Tokens that the policy wrote, per attempt."""
    seconds: float | None = None
    """Of the whole measurement."""
    by_group: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """(right, n) of kinds of questions, such as "3 hops"."""

    def __post_init__(self) -> None:
        if not 0 <= self.right <= self.n:
            raise ValueError(f"{self.right} right answers of {self.n} attempts cannot be")

    @classmethod
    def of(
        cls, policy: str, set_name: str, mode: Mode, outcomes: Mapping[str, Sequence[bool | None]], **figures: Any
    ) -> Self:
        """From the grades of all attempts by question; None where the infrastructure broke or nobody could tell."""
        graded = {name: [grade for grade in grades if grade is not None] for name, grades in outcomes.items()}
        return cls(
            policy=policy,
            set=set_name,
            mode=mode,
            n=sum(map(len, graded.values())),
            right=sum(map(sum, graded.values())),
            per_question={name: sum(found) / len(found) for name, found in graded.items() if found},
            attempts=max(map(len, outcomes.values()), default=1),
            failures=sum(grade is None for grades in outcomes.values() for grade in grades),
            **figures,
        )

    @property
    def success(self) -> float | None:
        """Share of right attempts."""
        return self.right / self.n if self.n else None

    @property
    def mode_name(self) -> str:
        return MODE_NAMES.get(self.mode, self.mode)

    def interval(self, level: float = 0.95) -> Interval | None:
        """Of the share of right attempts; None without any.

        Wilson's for one attempt per question. Attempts at one question are alike, so several count as one observation,
        their share, and the interval is Student's over questions; where all shares are equal, which would be an interval
        without width, it is Wilson's over questions.
        """
        if self.n == 0:
            return None
        shares = list(self.per_question.values())
        if self.attempts == 1 or not shares:
            return wilson(self.right, self.n, level)
        if len(set(shares)) == 1:
            return wilson(round(shares[0] * len(shares)), len(shares), level)
        found = mean_interval(shares, level)
        return Interval(found.value, max(found.low, 0.0), min(found.high, 1.0))

    def to_line(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self) | {
            "per_question": dict(self.per_question),
            "by_group": {name: list(counts) for name, counts in self.by_group.items()},
        }

    @classmethod
    def from_line(cls, line: Mapping[str, Any]) -> Self:
        known = {one.name for one in fields(cls)}
        try:
            record = cls(**{name: value for name, value in line.items() if name in known and name != "by_group"})
        except (TypeError, ValueError) as exc:
            raise StorageError(f"An evaluation cannot be read ({exc}); measure again with `datagen evaluate`.") from exc
        groups = {name: (int(r), int(n)) for name, (r, n) in line.get("by_group", {}).items()}
        object.__setattr__(record, "by_group", groups)
        return record
