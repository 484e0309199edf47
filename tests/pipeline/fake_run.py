"""A whole run with a recipe that costs nothing: `python fake_run.py DIRECTORY SHARD_SIZE WORKERS [start|resume]`.

Candidate outcomes are pure functions of (seed, candidate, recipe), about half accepted, one in ten a repeat of an
earlier question. `run_fake_shard` stands where `pipeline.run_shard` stands.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from datagen.config import DatagenConfig, RunSection
from datagen.records.ids import content_id, rng_for
from datagen.records.schema import TABLES
from datagen.runs.directory import Run, attempt, open_run, start_run
from datagen.runs.settlement import Settlement, Unwatched, carry_out
from datagen.runs.shards import Outcome, wave_of, write_shard
from datagen.runs.tables import assemble
from datagen.runs.workers import Block, ShardReport, process_pool, serial

TARGET = {"infoseek": 60, "duetqa": 30}


def fake_config(directory: str, *, shard_size: int = 16, workers: int = 1, **changes: Any) -> DatagenConfig:
    section = {"wave_size": 100, "shard_size": shard_size, "workers": workers, "target": TARGET} | changes
    return DatagenConfig(run=RunSection(directory=directory, **section))


def empty_row(table: str) -> dict[str, Any]:
    return dict.fromkeys(TABLES[table])


def fake_outcome(run: Run, candidate: int, recipe: str) -> Outcome:
    rng = rng_for(run.config.run.seed, recipe, candidate)
    lineage = {"candidate": candidate, "seed": run.config.run.seed, "config": run.config.digest}
    if rng.random() < 0.5:
        reject = {"candidate": candidate, "recipe": recipe, "gate": "unique", "reason": "several_answers"}
        return Outcome(candidate, recipe, None, empty_row("rejects") | reject | {"lineage": lineage})
    text = f"Which number is {rng.randrange(400)}?"
    question = {"id": content_id("qa1", {"text": text}), "question": text, "answer": text[16:-1], "recipe": recipe}
    row = empty_row("questions") | question | {"lineage": lineage, "verdicts": [], "tree": "{}"}
    return Outcome(candidate, recipe, row, None)


def run_fake_shard(directory: str, first: int, stop: int) -> ShardReport:
    run = open_run(directory)
    wave = wave_of(run, first)
    recipes = wave.recipes()
    made = (fake_outcome(run, i, recipes[i - wave.first]) for i in range(first, stop))
    time.sleep(0.002 * (stop - first))
    return write_shard(run, Block(first, stop), made)


class Repeats:
    """Exact duplicates only."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def __call__(self, row: Any) -> tuple[str, str] | None:
        if row["question"] in self.seen:
            return "exact", "the same words"
        self.seen.add(row["question"])
        return None


def carry_out_fake(run: Run) -> Settlement:
    settlement = Settlement(run.config.run.target, Repeats())
    with attempt(run, "test"):
        if run.config.run.workers == 1:
            carry_out(run, settlement, pool=serial, work=run_fake_shard, watch=Unwatched())
        else:
            with process_pool(run.config.run.workers) as pool:
                carry_out(run, settlement, pool=pool, work=run_fake_shard, watch=Unwatched())
        assemble(run, settlement)
    return settlement


if __name__ == "__main__":
    directory, shard_size, workers, verb = sys.argv[1:5]
    config = fake_config(directory, shard_size=int(shard_size), workers=int(workers))
    run = start_run(config, "snap1-test") if verb == "start" else open_run(directory, lambda _: config)
    carry_out_fake(run)
