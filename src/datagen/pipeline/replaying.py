"""Make a finished run again from what it has seen, with every socket closed, and compare.

Models answer from the cache of replies, the live web from the run's own recording, a snapshot from its files. Equal rows
mean that nothing in them came from anywhere else: every verdict follows from what was kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from datagen.errors import ReleaseError
from datagen.pipeline.making import reopen
from datagen.pipeline.workshop import Workshop, open_workshop
from datagen.runs.directory import Run
from datagen.runs.shards import Outcome, Row, read_outcomes, shard_schema

Watch = Callable[[int, int], None]
AT_ONCE = 256
"""Candidates made again before they are compared."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A candidate that came out otherwise."""

    candidate: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Replay:
    """How a replay went."""

    candidates: int
    accepted: int
    differences: tuple[Difference, ...]

    def raise_if_different(self) -> None:
        if self.differences:
            first = self.differences[0]
            raise ReleaseError(
                f"{len(self.differences):,} of {self.candidates:,} candidates came out otherwise. First, candidate "
                f"{first.candidate}: {first.sentence}"
            )


def replay(directory: str, watch: Watch | None = None) -> Replay:
    """Make every candidate of a run again, offline. Raises `ReplayMissError` where something was not kept."""
    run = reopen(directory)
    shop = open_workshop(run, offline=True)
    total = sum(table.num_rows for table in read_outcomes(run, []))
    differences: list[Difference] = []
    done = accepted = 0
    for kept in _kept(run):
        accepted += sum(row["question"] is not None for row in kept)
        differences += _compare(shop, kept)
        done += len(kept)
        if watch is not None:
            watch(done, total)
    return Replay(done, accepted, tuple(differences))


def _kept(run: Run) -> Iterator[Sequence[Row]]:
    for table in read_outcomes(run, ["recipe", "question", "reject"]):
        for start in range(0, table.num_rows, AT_ONCE):
            yield table.slice(start, AT_ONCE).to_pylist()


def _compare(shop: Workshop, kept: Sequence[Row]) -> Iterator[Difference]:
    made = shop.make_all([(row["candidate"], row["recipe"]) for row in kept])
    for before, after in zip(kept, _as_stored(list(made)), strict=True):
        sentence = _difference(before, after)
        if sentence is not None:
            yield Difference(before["candidate"], sentence)


def _as_stored(outcomes: Sequence[Outcome]) -> Sequence[Row]:
    """The rows as they would be read back from a shard."""
    values = [
        {"candidate": o.candidate, "recipe": o.recipe, "question": o.question, "reject": o.reject} for o in outcomes
    ]
    rows: Sequence[Row] = pa.Table.from_pylist(values, schema=shard_schema()).to_pylist()
    return rows


def _difference(before: Row, after: Row) -> str | None:
    for kind, other in (("question", "reject"), ("reject", "question")):
        old, new = before[kind], after[kind]
        if old is None:
            continue
        if new is None:
            ended = after[other]
            said = f"{ended['gate']}: {ended['reason']}" if kind == "question" else "accepted"
            return f"it was {'accepted' if kind == 'question' else old['gate']} and is now {said}."
        changed = [column for column in old if old[column] != new[column]]
        if changed:
            column = changed[0]
            return f"its {column} was {old[column]!r} and is now {new[column]!r}."
    return None
