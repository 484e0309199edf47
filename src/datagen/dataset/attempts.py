"""Attempts in a release: trajectories and preference pairs by the split of their question, and their figures.

    data/trajectories/train-00000-of-00002.parquet     every attempt, right or wrong; siblings stand together
    data/preferences/train-00000-of-00001.parquet      chosen and rejected continuations

Rows keep the order in which they were made, so a reader of groups finds one in one place. A trajectory holds the pages
it read, so the tables are streamed and never in memory as a whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from datagen.records.schema import arrow_schema
from datagen.storage import FileEntry, read_batches, read_parquet, write_parquet

Row = Mapping[str, Any]
TABLES = ("trajectories", "preferences")
ROWS_PER_FILE = 5_000
"""About 100 MB of compressed trajectories."""
ROW_GROUP_ROWS = 200
"""A trajectory holds the pages it read, so a row is a hundred times a question's."""
FIGURE_COLUMNS = [
    "policy", "correct", "answer", "verified", "shortcut", "termination", "answer_check", "n_turns", "n_searches",
    "n_visits", "clue_turns", "reward",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Attempts:
    """The finished tables of a rollout directory. `plan` is the identity of the attempts."""

    trajectories: str
    preferences: str
    plan: str


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
class AttemptFigures:
    """What the card says of the attempts."""

    policies: tuple[PolicyFigures, ...]
    pairs: Mapping[str, int]
    """By rule."""
    splits: Mapping[str, Mapping[str, int]]
    """Table -> split -> rows."""

    @property
    def attempts(self) -> int:
        return sum(policy.attempts for policy in self.policies)

    @property
    def verified(self) -> int:
        return sum(policy.verified for policy in self.policies)


def write_attempts(
    attempts: Attempts, split_of_question: Mapping[str, str], work: Path
) -> tuple[list[FileEntry], AttemptFigures]:
    """Write both tables under `work/data` and count what is in them."""
    files: list[FileEntry] = []
    splits: dict[str, dict[str, int]] = {}
    for table in TABLES:
        url = getattr(attempts, table)
        counts = Counter(
            split_of_question[str(q)] for q in read_parquet(url, ["question_id"])["question_id"].to_pylist()
        )
        splits[table] = {name: counts[name] for name in ("train", "validation", "test") if counts[name]}
        for split, rows in splits[table].items():
            ids = pa.array(sorted(q for q, name in split_of_question.items() if name == split), pa.string())
            files += _write_split(_of_questions(url, ids), work, table=table, split=split, rows=rows)
    return files, count_attempts(attempts, splits)


def count_attempts(attempts: Attempts, splits: Mapping[str, Mapping[str, int]]) -> AttemptFigures:
    """Figures by policy and by rule."""
    rows = read_parquet(attempts.trajectories, FIGURE_COLUMNS).to_pylist()
    rules = [str(rule) for rule in read_parquet(attempts.preferences, ["rule"])["rule"].to_pylist()]
    names = dict.fromkeys(row["policy"] for row in rows)
    return AttemptFigures(
        policies=tuple(figures_of(name, [row for row in rows if row["policy"] == name]) for name in names),
        pairs=dict(sorted(Counter(rules).items())),
        splits=splits,
    )


def _write_split(wanted: _Pending, work: Path, *, table: str, split: str, rows: int) -> Iterator[FileEntry]:
    """Files `data/TABLE/SPLIT-00000-of-…` with these rows."""
    count = max(1, -(-rows // ROWS_PER_FILE))
    size = -(-rows // count)
    for index in range(count):
        name = f"data/{table}/{split}-{index:05d}-of-{count:05d}.parquet"
        part = _first(wanted, size)
        entry = write_parquet(work / name, part, schema=arrow_schema(table), row_group_rows=ROW_GROUP_ROWS)
        yield FileEntry(name, entry.bytes, entry.sha256, entry.rows)


class _Pending:
    """Batches that can be given back."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self.batches = batches
        self.left: list[pa.RecordBatch] = []

    def __next__(self) -> pa.RecordBatch:
        return self.left.pop() if self.left else next(self.batches)


def _of_questions(url: str, ids: pa.Array[Any]) -> _Pending:
    def chosen() -> Iterator[pa.RecordBatch]:
        for batch in read_batches(url, rows=ROW_GROUP_ROWS):
            kept = batch.filter(pc.is_in(batch.column("question_id"), value_set=ids))
            if kept.num_rows:
                yield kept

    return _Pending(chosen())


def _first(batches: _Pending, rows: int) -> Iterator[pa.RecordBatch]:
    """The next `rows` rows; what is over is left for the next call."""
    while rows > 0:
        try:
            batch = next(batches)
        except StopIteration:
            return
        if batch.num_rows > rows:
            batches.left.append(batch.slice(rows))
            batch = batch.slice(0, rows)
        rows -= batch.num_rows
        yield batch


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
