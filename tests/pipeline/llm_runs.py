"""Runs whose roles are played over HTTP: a cast at a practice endpoint, and what a run left in its tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from datagen import storage
from datagen.config import DatagenConfig, load_config
from datagen.pipeline.making import carry_on, prepare, reopen
from datagen.practice.knobs import Knobs
from datagen.practice.minds import SymbolicMind
from datagen.practice.server import PracticeServer, running
from datagen.records.shipped import shipped_file
from datagen.runs.directory import Run
from datagen.runs.workers import thread_pool
from datagen.web.synthetic.ontology import load_ontology

CAST = shipped_file("casts/practice.toml")
CANDIDATES = {"infoseek": 10, "duetqa": 8}


@contextmanager
def practice(knobs: Knobs | None = None, **options: Any) -> Iterator[PracticeServer]:
    """A practice endpoint that speaks of the synthetic web."""
    with running(SymbolicMind(load_ontology()), knobs=knobs, **options) as server:
        yield server


def overlays(folder: Path, snapshot: Path, url: str, *more: str) -> list[str]:
    """The demo with a cast at `url`: so many candidates of each recipe, all of them made."""
    target = ",".join(f"{recipe}={count}" for recipe, count in CANDIDATES.items())
    return [
        f"cast.file={CAST}",
        f"cast.endpoints.practice.base_url={url}",
        f"cast.cache={folder}/cache",
        "cast.retry_seconds=0.02",
        f"web.snapshot={snapshot}",
        "web.sources=[]",
        f"run.target={{{target}}}",
        "run.max_candidates_per_question=1",
        "run.runner=thread",
        "run.wave_size=100",
        "run.shard_size=6",
        f"run.directory={folder}/run",
        f"release.directory={folder}/release",
        "rollouts=none",
        *more,
    ]


def configured(folder: Path, snapshot: Path, url: str, *more: str) -> DatagenConfig:
    return load_config("demo", overlays(folder, snapshot, url, *more))


def carried_out(config: DatagenConfig) -> Run:
    """A whole run in this process."""
    run = prepare(config)
    with thread_pool(2) as pool:
        carry_on(run, pool=pool)
    return run


def carried_on(directory: str, config: DatagenConfig | None = None) -> Run:
    run = reopen(directory, config)
    with thread_pool(2) as pool:
        carry_on(run, pool=pool)
    return run


def table(run: Run, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = storage.read_parquet(storage.join(run.directory, f"{name}.parquet")).to_pylist()
    return rows


def accepted(run: Run) -> dict[int, str]:
    """Candidate -> id of its question."""
    return {row["lineage"]["candidate"]: row["id"] for row in table(run, "questions")}


def given_up(run: Run) -> dict[int, str]:
    """Candidate -> reason, of those that ended because calls or corrections were exhausted."""
    return {row["candidate"]: row["reason"] for row in table(run, "rejects") if row["gate"] in ("endpoint", "reply")}
