"""Waves and shards as files: which candidates there are, which are done, and what became of them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import pyarrow as pa

from datagen import storage
from datagen.errors import RunDirectoryError
from datagen.records.schema import arrow_schema
from datagen.runs.directory import Run
from datagen.runs.workers import Block, ShardReport

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Wave:
    """A contiguous block of candidates with a number of slots for each recipe."""

    index: int
    first: int
    slots: tuple[tuple[str, int], ...]

    @property
    def stop(self) -> int:
        return self.first + sum(count for _, count in self.slots)

    def recipes(self) -> tuple[str, ...]:
        """The recipe of every candidate, in order: slots are spread evenly, so that shards cost about the same."""
        return _spread(self.slots)


@cache
def _spread(slots: tuple[tuple[str, int], ...]) -> tuple[str, ...]:
    places = [(Fraction(2 * k + 1, 2 * count), recipe) for recipe, count in slots for k in range(count)]
    return tuple(recipe for _, recipe in sorted(places))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one candidate: exactly one of the two rows."""

    candidate: int
    recipe: str
    question: Row | None
    reject: Row | None


def shard_schema() -> pa.Schema:
    """Both tables' rows as nullable structs, so that one file and one rename hold a whole shard."""
    fields: list[pa.Field[Any]] = [
        pa.field("candidate", pa.int64(), nullable=False),
        pa.field("recipe", pa.string(), nullable=False),
        pa.field("question", _row_type("questions")),
        pa.field("reject", _row_type("rejects")),
    ]
    return pa.schema(fields)


def _row_type(table: str) -> pa.DataType:
    schema = arrow_schema(table)
    return pa.struct([schema.field(index) for index in range(len(schema))])


def saved_waves(run: Run) -> list[Wave]:
    """All planned waves, in order."""
    folder = storage.join(run.directory, "waves")
    waves = [storage.read_json(storage.join(folder, name)) for name in storage.list_names(folder, ".json")]
    return [Wave(w["index"], w["first"], tuple((recipe, count) for recipe, count in w["slots"])) for w in waves]


def save_wave(run: Run, wave: Wave) -> None:
    value = {"index": wave.index, "first": wave.first, "slots": wave.slots}
    storage.write_json(storage.join(run.directory, "waves", f"wave-{wave.index:05d}.json"), value)


def wave_of(run: Run, candidate: int) -> Wave:
    """The saved wave that a candidate belongs to."""
    for wave in saved_waves(run):
        if wave.first <= candidate < wave.stop:
            return wave
    raise RunDirectoryError(f"{run.directory} has no wave with candidate {candidate}; run `datagen resume` on it.")


def finished_blocks(run: Run) -> list[Block]:
    """The shards on disk, in candidate order."""
    names = storage.list_names(storage.join(run.directory, "shards"), ".parquet")
    return [Block(*map(int, name.removesuffix(".parquet").split("-")[1:])) for name in names]


def missing_blocks(run: Run, wave: Wave) -> list[Block]:
    """What is left to do of a wave, cut into shards; what another shard size left behind is respected.

    A wave that is smaller than a shard for every worker is shared out among them all the same.
    """
    blocks, position = [], wave.first
    size = min(run.config.run.shard_size, -(-(wave.stop - wave.first) // run.config.run.workers))
    done = [b for b in finished_blocks(run) if b.first < wave.stop and b.stop > wave.first]
    for finished in [*done, Block(wave.stop, wave.stop)]:
        for first in range(position, finished.first, size):
            blocks.append(Block(first, min(first + size, finished.first)))
        position = max(position, finished.stop)
    return blocks


def write_shard(run: Run, block: Block, outcomes: Iterable[Outcome]) -> ShardReport:
    """Write a whole shard in one step, once every candidate of the block has its outcome."""
    started = time.perf_counter()
    rows = list(outcomes)
    wanted = list(range(block.first, block.stop))
    if [row.candidate for row in rows] != wanted or any((r.question is None) == (r.reject is None) for r in rows):
        raise ValueError(f"a shard needs one outcome for each of the candidates {block.first}..{block.stop - 1}")
    values = [{"candidate": r.candidate, "recipe": r.recipe, "question": r.question, "reject": r.reject} for r in rows]
    schema = shard_schema()
    storage.write_parquet(_shard_url(run, block), pa.Table.from_pylist(values, schema=schema), schema=schema)
    gates: dict[str, int] = {}
    for row in rows:
        if row.reject is not None:
            gates[row.reject["gate"]] = gates.get(row.reject["gate"], 0) + 1
    return ShardReport(
        block.first,
        block.stop,
        accepted=len(rows) - sum(gates.values()),
        rejected=tuple(sorted(gates.items(), key=lambda item: (-item[1], item[0]))),
        seconds=time.perf_counter() - started,
    )


def _shard_url(run: Run, block: Block) -> str:
    return storage.join(run.directory, "shards", f"shard-{block.first:09d}-{block.stop:09d}.parquet")


def read_outcomes(run: Run, columns: list[str], *, first: int = 0, stop: int | None = None) -> Iterator[pa.Table]:
    """Shard tables in candidate order, each candidate once, restricted to candidates `first` to `stop - 1`."""
    position = first
    for block in finished_blocks(run):
        if block.stop <= position or (stop is not None and block.first >= stop):
            continue
        table = storage.read_parquet(_shard_url(run, block), columns=["candidate", *columns])
        # Two shards overlap only when a dead driver's worker outlived it under another shard size; their rows are equal.
        start = max(position, block.first) - block.first
        yield table.slice(start)
        position = block.stop
