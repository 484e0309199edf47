"""What attempts say about the questions: FORT's trajectory signatures (arXiv 2606.12087), and plain accuracy and cost.

    seen at turn 4, said at turn 2      answer hit time 2, a prior shortcut
    seen at turn 3, said at turn 5      answer hit time 3, none

Turns of the log count from 0 and are reported from 1, as steps are. An attempt that could not be graded is no failure and is
left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datagen.storage import read_batches

COLUMNS = [
    "question_id", "policy", "correct", "shortcut", "seen_turn", "said_turn", "n_searches", "n_visits",
    "events.list.element.kind", "events.list.element.turn",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class AttemptSignature:
    """One graded attempt in numbers."""

    question_id: str
    policy: str
    correct: bool
    shortcut: bool
    calls: int
    hit_turn: int | None
    """From 1."""
    hit_calls: int | None


def signature(row: Mapping[str, Any]) -> AttemptSignature | None:
    """The signature of a row of `trajectories`; None for one that could not be graded."""
    if row["correct"] is None:
        return None
    hit = hit_time(row["seen_turn"], row["said_turn"])
    calls = [event["turn"] for event in row["events"] if event["kind"] == "call"]
    return AttemptSignature(
        question_id=row["question_id"],
        policy=row["policy"],
        correct=row["correct"],
        shortcut=row["shortcut"],
        calls=row["n_searches"] + row["n_visits"],
        hit_turn=None if hit is None else hit + 1,
        hit_calls=None if hit is None else sum(turn <= hit for turn in calls),
    )


def hit_time(seen: int | None, said: int | None) -> int | None:
    """The first turn in which a result or the model has the answer.

    >>> hit_time(seen=4, said=2), hit_time(seen=3, said=5)
    (2, 3)
    """
    return min((turn for turn in (seen, said) if turn is not None), default=None)


def read_signatures(release: Path) -> Iterator[AttemptSignature]:
    """Those of every graded attempt of a release; page text is not read."""
    for path in sorted((release / "data" / "trajectories").glob("*.parquet")):
        for batch in read_batches(path, COLUMNS):
            yield from (found for row in batch.to_pylist() if (found := signature(row)) is not None)
