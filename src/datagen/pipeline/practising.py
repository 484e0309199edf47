"""Practice: plain questions in any number, each with its proof and, where wanted, with a demonstration.

    make_practice(plan)         out/practice/data/qa/train-00000-of-00008.parquet
                                out/practice/data/trajectories/train-00000-of-00008.parquet

The tables are those of a release, so loaders, exports and trainers read them as they read any other. Nothing is sampled
from a model and no gate is asked: a chain has its certificate, and a demonstration is graded like every attempt. Shards
are written whole, so a run that is cut short goes on where it stopped; equal plans give equal bytes.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from datagen import storage
from datagen.clients.billing import Bill
from datagen.config import KnowledgeConfig, WebConfig
from datagen.dataset.attempts import ROW_GROUP_ROWS
from datagen.errors import RunDirectoryError
from datagen.knowledge.graph import FactGraph
from datagen.language.verbalise import Verbaliser
from datagen.pipeline.corpus import build_corpus_from, derive, graph_folder, has_facts
from datagen.records.ids import content_id
from datagen.records.schema import arrow_schema
from datagen.records.trajectory_rows import trajectory_to_row
from datagen.rollouts.collect import Assessor, Task
from datagen.rollouts.hindsight import POLICY, Demonstrator, HindsightSettings
from datagen.runs.workers import Block, Pool, ShardReport
from datagen.synthesis.chains import ChainDraft, ChainGround, ChainSettings, make_chain
from datagen.synthesis.draft import Rejected
from datagen.verification.rows import to_question_row
from datagen.web.snapshot import Snapshot
from datagen.web.snapshot_web import SnapshotWeb

PLAN = "practice.json"
SHARD = 1_500
"""Candidates of one shard."""


@dataclass(frozen=True, slots=True)
class PracticePlan:
    """What is made, where, and from which web."""

    folder: str
    snapshot: str
    sources: tuple[str, ...]
    """What the snapshot is built from where it is not there."""
    candidates: int
    """Chains that are tried; a few of a hundred are left out."""
    seed: int = 0
    chains: ChainSettings = field(default_factory=ChainSettings)
    demonstrate: bool = True
    """Whether every question comes with a demonstration; one that cannot be shown is left out then."""
    hindsight: HindsightSettings = field(default_factory=HindsightSettings)
    split: str = "train"

    def as_json(self, digest: str) -> dict[str, Any]:
        """Everything that decides the rows, and where they come from."""
        raw: dict[str, Any] = orjson.loads(orjson.dumps(asdict(self), option=orjson.OPT_NON_STR_KEYS))
        return {name: value for name, value in raw.items() if name != "folder"} | {"digest": digest}

    @classmethod
    def from_json(cls, folder: str, raw: Mapping[str, Any]) -> PracticePlan:
        """The plan that `as_json` wrote."""
        plain = {name: value for name, value in raw.items() if name != "digest"}
        chains = raw["chains"]
        hops = {int(length): weight for length, weight in chains["hops"].items()}
        settings = ChainSettings(**(chains | {"hops": hops, "relations": tuple(chains["relations"])}))
        hindsight = HindsightSettings(**raw["hindsight"])
        parts = {"folder": folder, "sources": tuple(raw["sources"]), "chains": settings, "hindsight": hindsight}
        return cls(**(plain | parts))

    def blocks(self) -> list[Block]:
        return [Block(first, min(first + SHARD, self.candidates)) for first in range(0, self.candidates, SHARD)]


@dataclass(frozen=True, slots=True)
class PracticeReport:
    """What came of it."""

    folder: str
    questions: int
    left_out: Mapping[str, int]
    """Reason -> candidates."""


def make_practice(plan: PracticePlan, pool: Pool) -> PracticeReport:
    """Build the snapshot where it is missing, and what shards are missing.

    Raises `RunDirectoryError` where the folder holds practice of another plan.
    """
    knowledge = _knowledge(plan)
    if not has_facts(Path(plan.snapshot), knowledge):
        build_corpus_from(WebConfig(snapshot=plan.snapshot, sources=plan.sources, extraction="fast"), knowledge)
    snapshot = Snapshot.open(Path(plan.snapshot))
    derive(snapshot, knowledge)
    _settle(plan, snapshot.digest)
    blocks = plan.blocks()
    for _ in pool(make_shard, plan.folder, [block for block in blocks if not _is_made(plan, block)]):
        pass
    return _report(plan, blocks)


def read_practice(plan: PracticePlan) -> PracticeReport | None:
    """What is there already; None where the practice is not whole."""
    blocks, url = plan.blocks(), storage.join(plan.folder, PLAN)
    if not storage.exists(url):
        return None
    there = {name: value for name, value in storage.read_json(url).items() if name != "digest"}
    same = there == {name: value for name, value in plan.as_json("").items() if name != "digest"}
    return _report(plan, blocks) if same and all(_is_made(plan, block) for block in blocks) else None


def _knowledge(plan: PracticePlan) -> KnowledgeConfig:
    synthetic = all(source.startswith("synthetic:") for source in plan.sources)
    return KnowledgeConfig(catalogue="synthetic") if synthetic else KnowledgeConfig()


def _settle(plan: PracticePlan, digest: str) -> None:
    """Write down what the folder is to hold, or find that it holds just that."""
    url = storage.join(plan.folder, PLAN)
    wanted = plan.as_json(digest)
    if not storage.exists(url):
        storage.write_json(url, wanted)
    elif storage.read_json(url) != wanted:
        raise RunDirectoryError(
            f"{plan.folder} holds practice of another plan. Choose another folder, or remove it with "
            f"`rm -r {plan.folder}` to make it anew."
        )


# One shard -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Room:
    """What a process opens once."""

    plan: PracticePlan
    ground: ChainGround
    writer: Verbaliser
    demonstrator: Demonstrator
    lineage: Mapping[str, Any]


@lru_cache(maxsize=1)
def _room(folder: str) -> _Room:
    raw = storage.read_json(storage.join(folder, PLAN))
    plan = PracticePlan.from_json(folder, raw)
    snapshot = Snapshot.open(Path(plan.snapshot))
    graph = FactGraph.load(graph_folder(snapshot, _knowledge(plan)))
    lineage = {
        "seed": plan.seed,
        "snapshot": snapshot.digest,
        "config": content_id("pr1", raw),
        "catalogue": graph.catalogue.digest,
        "code": f"datagen {version('datagen')}",
        "cast": "symbolic",
        "models": [],
        "prompts": [],
    }
    ground = ChainGround(graph, plan.chains.relations)
    demonstrator = Demonstrator(SnapshotWeb(snapshot), graph, plan.hindsight)
    return _Room(plan, ground, Verbaliser(graph.catalogue), demonstrator, lineage)


def make_shard(folder: str, first: int, stop: int) -> ShardReport:
    """Candidates `first` to `stop - 1`."""
    began = time.perf_counter()
    room, block = _room(folder), Block(first, stop)
    questions: list[dict[str, Any]] = []
    attempts: list[dict[str, Any]] = []
    left_out: Counter[str] = Counter()
    for candidate in range(first, stop):
        made = make_chain(candidate, room.plan.seed, room.ground, room.writer, room.plan.chains)
        if isinstance(made, Rejected):
            left_out[made.reason] += 1
            continue
        attempt = _demonstration(room, made) if room.plan.demonstrate else None
        if room.plan.demonstrate and attempt is None:
            left_out["not_demonstrable"] += 1
            continue
        questions.append(to_question_row(made.draft, (), room.lineage))
        attempts += [attempt] if attempt is not None else []
    _write(room.plan, "qa", "questions", block, questions)
    if room.plan.demonstrate:
        _write(room.plan, "trajectories", "trajectories", block, attempts)
    _write_done(room.plan, block, len(questions), left_out)
    return ShardReport(first, stop, len(questions), tuple(left_out.most_common()), time.perf_counter() - began)


def _demonstration(room: _Room, made: ChainDraft) -> dict[str, Any] | None:
    """A row of `trajectories`, graded like every attempt; None where there is none that is right."""
    script = room.demonstrator.demonstrate(made.chain)
    if script is None:
        return None
    task = Task.of(to_question_row(made.draft, (), room.lineage))
    graded = Assessor().assess(task, POLICY, 0, script)
    if not graded.correct:
        return None
    row = trajectory_to_row(graded)
    spend = {"searches": row["n_searches"], "visits": row["n_visits"], **Bill().spend()}
    return row | {"spend": spend, "lineage": {**room.lineage, "candidate": made.draft.candidate}}


def _write(plan: PracticePlan, table: str, schema: str, block: Block, rows: list[dict[str, Any]]) -> None:
    arrow = arrow_schema(schema)
    storage.write_parquet(
        _file(plan, table, block),
        pa.Table.from_pylist(rows, schema=arrow),
        schema=arrow,
        row_group_rows=ROW_GROUP_ROWS,
    )


def _file(plan: PracticePlan, table: str, block: Block) -> str:
    name = f"{plan.split}-{block.first // SHARD:05d}-of-{len(plan.blocks()):05d}.parquet"
    return storage.join(plan.folder, "data", table, name)


# What is done --------------------------------------------------------------------------------------------------------


def _done(plan: PracticePlan, block: Block) -> str:
    return storage.join(plan.folder, "done", f"{plan.split}-{block.first:09d}.json")


def _is_made(plan: PracticePlan, block: Block) -> bool:
    return storage.exists(_done(plan, block))


def _write_done(plan: PracticePlan, block: Block, questions: int, left_out: Mapping[str, int]) -> None:
    """Written last: a shard without it is made again."""
    storage.write_json(_done(plan, block), {"questions": questions, "left_out": dict(left_out)})


def _report(plan: PracticePlan, blocks: Sequence[Block]) -> PracticeReport:
    left_out: Counter[str] = Counter()
    questions = 0
    for block in blocks:
        done = storage.read_json(_done(plan, block))
        questions += done["questions"]
        left_out.update(done["left_out"])
    return PracticeReport(plan.folder, questions, dict(left_out.most_common()))
