"""Attempts made: shards of whole questions, then the two tables, then the manifest.

    plan = plan_rollouts("out/demo/run", config, "out/demo/run/rollouts")
    carry_on_rollouts(plan, pool=serial)            what is on disk is not made again
    report_rollouts(plan.directory)                 attempts, grades, pairs, per policy

Where models or checkpoints play, a thread waits for every attempt; programs attempt one after the other.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from datagen import storage
from datagen.agents.budget import Budget, Limits
from datagen.agents.roles import Policy
from datagen.clients.billing import billing
from datagen.dataset.attempts import ROW_GROUP_ROWS, TABLES
from datagen.pipeline.rollout_cast import Studio, open_studio
from datagen.pipeline.rollout_plan import RolloutPlan, open_plan, read_questions
from datagen.records.schema import arrow_schema
from datagen.records.trajectory import Trajectory
from datagen.records.trajectory_rows import preference_to_row, trajectory_to_row
from datagen.rollouts.collect import Task, roll_out
from datagen.rollouts.pairs import preference_pairs
from datagen.runs.directory import Run
from datagen.runs.directory import attempt as holding
from datagen.runs.shards import Row
from datagen.runs.workers import Block, Pool, ShardReport, Work
from datagen.storage import Manifest

ROLLOUTS_KIND, ROLLOUTS_VERSION = "rollouts", 1

Watch = Callable[[ShardReport], None]


def _unwatched(_report: ShardReport) -> None: ...


def carry_on_rollouts(
    plan: RolloutPlan, *, pool: Pool, work: Work | None = None, watch: Watch = _unwatched
) -> Manifest:
    """Make what is missing and put the tables together."""
    try:
        with holding(Run(plan.directory, plan.config, plan.snapshot), version("datagen")):
            for report in pool(work or run_attempts, plan.directory, missing_blocks(plan)):
                watch(report)
            return _assemble(plan)
    finally:
        forget_studios()


def missing_blocks(plan: RolloutPlan) -> list[Block]:
    """Shards that are not on disk."""
    there = set(storage.list_names(_shards(plan), ".parquet")) if storage.exists(_shards(plan)) else set()
    return [block for block in plan.blocks() if _shard_name(block) not in there]


def run_attempts(directory: str, first: int, stop: int) -> ShardReport:
    """All attempts at questions `first` to `stop - 1`, and the pairs made of them, written as one shard."""
    started = time.perf_counter()
    plan, studio = opened(directory)
    rows: list[Row] = []
    pairs: list[Row] = []
    counts: dict[str, int] = {}
    for siblings in attempts_at(plan, studio, read_questions(plan, first, stop), first):
        rows += [row for _, row in siblings]
        made = [trajectory for trajectory, _ in siblings]
        pairs += map(preference_to_row, preference_pairs(made, gamma=plan.settings.conciseness))
        for trajectory in made:
            outcome = outcome_of(trajectory)
            counts[outcome] = counts.get(outcome, 0) + 1
    _write_shard(plan, Block(first, stop), rows, pairs)
    verified = counts.pop("verified", 0)
    rest = tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    return ShardReport(first, stop, verified, rest, time.perf_counter() - started)


def outcome_of(trajectory: Trajectory) -> str:
    """The one word for an attempt in counts."""
    if trajectory.correct is None:
        return "errored"
    if not trajectory.correct:
        return "unanswered" if trajectory.transcript.answer is None else "wrong"
    if trajectory.verified:
        return "verified"
    return "shortcut" if trajectory.shortcut else "unverified"


Made = tuple[Trajectory, Row]
Place = tuple[int, Task, Policy, int]
"""Number of the question, the question, who attempts it, and which try it is."""


def attempts_at(plan: RolloutPlan, studio: Studio, questions: Sequence[Row], first: int) -> Iterator[list[Made]]:
    """Siblings, question by question. Where models play, all attempts of the shard are under way at once."""
    places = [
        (first + number, Task.of(row, studio.facts), policy, attempt)
        for number, row in enumerate(questions)
        for policy in studio.policies
        for attempt in range(plan.settings.attempts)
    ]
    each = len(places) // len(questions) if questions else 1

    def make(place: Place) -> Made:
        return _attempt(plan, studio, place)

    if not studio.at_once:
        made: Iterable[Made] = map(make, places)
        yield from _grouped(made, each)
        return
    with ThreadPoolExecutor(plan.config.cast.concurrency, thread_name_prefix="attempt") as threads:
        futures = [threads.submit(make, place) for place in places]
        try:
            yield from _grouped((future.result() for future in futures), each)
        finally:
            for future in futures:
                future.cancel()


def _grouped(made: Iterable[Made], size: int) -> Iterator[list[Made]]:
    group: list[Made] = []
    for one in made:
        group.append(one)
        if len(group) == size:
            yield group
            group = []


def _attempt(plan: RolloutPlan, studio: Studio, place: Place) -> Made:
    """One attempt with its row; what it spent is on the row's bill."""
    number, task, policy, attempt = place
    with billing() as bill:
        script = roll_out(task, policy, studio.web, attempt=attempt, limits=limits_of(plan))
        trajectory = studio.assessor.assess(task, policy.name, attempt, script)
    row = trajectory_to_row(trajectory)
    spend = {"searches": row["n_searches"], "visits": row["n_visits"], **bill.spend()}
    lineage = {**studio.lineage, "candidate": number, "models": list(bill.models), "prompts": list(bill.prompts)}
    return trajectory, row | {"spend": spend, "lineage": lineage}


def limits_of(plan: RolloutPlan) -> Limits:
    """What one attempt may spend."""
    s = plan.settings
    return Limits(Budget(s.searches, s.visits), s.turns, s.tokens, s.context_chars, s.seconds)


_opening = threading.Lock()


def opened(directory: str) -> tuple[RolloutPlan, Studio]:
    """A plan and its studio, kept for the next shard of the same plan in this process; threads share one."""
    with _opening:
        return _opened(directory)


@lru_cache(maxsize=1)
def _opened(directory: str) -> tuple[RolloutPlan, Studio]:
    plan = open_plan(directory)
    return plan, open_studio(plan)


def forget_studios() -> None:
    """Let go of what this process keeps open."""
    with _opening:
        _opened.cache_clear()


def _shards(plan: RolloutPlan) -> str:
    return storage.join(plan.directory, "shards")


def _shard_name(block: Block) -> str:
    return f"shard-{block.first:09d}-{block.stop:09d}.parquet"


def shard_schema() -> pa.Schema:
    """Rows of both tables as nullable structs, so that one file and one rename hold a whole shard."""
    fields: list[pa.Field[Any]] = [pa.field(name, pa.struct(list(arrow_schema(name)))) for name in TABLES]
    return pa.schema(fields)


def _write_shard(plan: RolloutPlan, block: Block, rows: Sequence[Row], pairs: Sequence[Row]) -> None:
    schema = shard_schema()
    values = [{TABLES[0]: row, TABLES[1]: None} for row in rows] + [{TABLES[0]: None, TABLES[1]: row} for row in pairs]
    url = storage.join(_shards(plan), _shard_name(block))
    storage.write_parquet(
        url, pa.Table.from_pylist(values, schema=schema), schema=schema, row_group_rows=ROW_GROUP_ROWS
    )


def _assemble(plan: RolloutPlan) -> Manifest:
    """Both tables in the order of the questions, then the manifest. Equal plans give equal bytes."""
    files = tuple(
        storage.write_parquet(
            storage.join(plan.directory, f"{name}.parquet"),
            _rows_of(plan, name),
            schema=arrow_schema(name),
            row_group_rows=ROW_GROUP_ROWS,
        )
        for name in TABLES
    )
    manifest = Manifest(
        kind=ROLLOUTS_KIND,
        version=ROLLOUTS_VERSION,
        files=files,
        fields={"plan": plan.digest, "snapshot": plan.snapshot, "questions": plan.total, "attempts": plan.attempts},
    )
    storage.write_manifest(plan.directory, manifest)
    return manifest


def _rows_of(plan: RolloutPlan, name: str) -> Iterator[pa.RecordBatch]:
    for block in plan.blocks():
        column = storage.read_parquet(storage.join(_shards(plan), _shard_name(block)), [name])[name]
        there = column.filter(pc.is_valid(column))
        yield from pa.Table.from_struct_array(there).to_batches()


def read_rollouts_manifest(directory: str) -> Manifest:
    """The manifest of finished attempts."""
    return storage.read_manifest(directory, kind=ROLLOUTS_KIND, version=ROLLOUTS_VERSION)


def finished(directory: str) -> Mapping[str, Any] | None:
    """What the manifest of a rollout directory says; None where the attempts are not all made."""
    if not storage.exists(storage.join(directory, storage.MANIFEST_NAME)):
        return None
    return read_rollouts_manifest(directory).fields
