"""Attempts in figures: per policy how often it was right, verified or hasty, what it spent, and which pairs there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any

from datagen import storage
from datagen.clients.ledger import LedgerTotals
from datagen.pipeline.calling import paid_in
from datagen.pipeline.rolling import read_rollouts_manifest
from datagen.runs.shards import Row

COLUMNS = [
    "policy", "correct", "answer", "verified", "shortcut", "termination", "answer_check", "n_turns", "n_searches",
    "n_visits", "clue_turns", "reward",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class PolicyFigures:
    """One policy's attempts. Shares are of the attempts that could be graded; `errored` counts the others."""

    policy: str
    attempts: int
    errored: int
    correct: int
    verified: int
    shortcuts: int
    answered: int
    clues_evidenced: float | None
    """Mean share of a question's clues that some turn evidenced."""
    calls: float | None
    """Mean tool calls of an attempt."""
    calls_per_success: float | None
    turns: float | None
    rewards: Mapping[str, float | None]
    """Mean of every reward form."""
    terminations: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class RolloutReport:
    """What a rollout directory holds."""

    directory: str
    questions: int
    policies: tuple[PolicyFigures, ...]
    pairs: Mapping[str, int]
    """By rule."""
    paid: LedgerTotals | None = None

    @property
    def attempts(self) -> int:
        return sum(policy.attempts for policy in self.policies)

    @property
    def verified(self) -> int:
        return sum(policy.verified for policy in self.policies)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"attempts": self.attempts, "verified": self.verified}


def report_rollouts(directory: str) -> RolloutReport:
    """The report of finished attempts, read from their tables."""
    manifest = read_rollouts_manifest(directory)
    rows = storage.read_parquet(storage.join(directory, "trajectories.parquet"), COLUMNS).to_pylist()
    table = storage.read_parquet(storage.join(directory, "preferences.parquet"), ["rule"])
    pairs = [str(rule) for rule in table["rule"].to_pylist()]
    names = dict.fromkeys(row["policy"] for row in rows)
    return RolloutReport(
        directory=directory,
        questions=manifest.fields["questions"],
        policies=tuple(figures_of(name, [row for row in rows if row["policy"] == name]) for name in names),
        pairs=dict(sorted(Counter(pairs).items())),
        paid=paid_in(directory),
    )


def figures_of(policy: str, rows: Sequence[Row]) -> PolicyFigures:
    """The figures of one policy from its rows."""
    graded = [row for row in rows if row["correct"] is not None]
    right = [row for row in graded if row["correct"]]
    clued = [row["clue_turns"] for row in graded if row["clue_turns"]]
    names = rows[0]["reward"] if rows else {}
    return PolicyFigures(
        policy=policy,
        attempts=len(rows),
        errored=len(rows) - len(graded),
        correct=len(right),
        verified=sum(row["verified"] for row in graded),
        shortcuts=sum(row["shortcut"] for row in graded),
        answered=sum(row["answer"] is not None for row in graded),
        clues_evidenced=_mean([sum(turn is not None for turn in turns) / len(turns) for turns in clued]),
        calls=_mean([_calls(row) for row in graded]),
        calls_per_success=_mean([_calls(row) for row in right]),
        turns=_mean([row["n_turns"] for row in graded]),
        rewards={name: _mean([r for row in graded if (r := row["reward"][name]) is not None]) for name in names},
        terminations=dict(Counter(row["termination"] for row in rows).most_common()),
    )


def _calls(row: Row) -> int:
    return int(row["n_searches"] + row["n_visits"])


def _mean(values: Sequence[float]) -> float | None:
    return round(mean(values), 3) if values else None
