"""Write a release folder: Parquet by config and split, card, plots, browser, statistics, provenance, manifest last.

    release/
      README.md                                   the card; its YAML names configs, splits and files
      data/qa/train-00000-of-00001.parquet        accepted questions, wide and flat
      data/rejects/train-00000-of-00001.parquet   every stopped candidate with gate, reason and spend
      plots/*.png  browser.html  reports/{statistics,funnel}.json  provenance.json
      manifest.json                               SHA-256 and rows of every file; its presence means the rest is whole

A split is a hash of the answer's entity, so an entity never answers in two splits and stays in its split as the dataset
grows. Rows are ordered by a hash of their id: shuffled once, at writing, the same way every time.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from datagen.dataset.browser import render_browser
from datagen.dataset.card import ReleaseMeta, render_card
from datagen.dataset.plots import draw_plots
from datagen.dataset.statistics import describe, funnel, solver_failures
from datagen.errors import ReleaseError
from datagen.records.schema import arrow_schema
from datagen.storage import FileEntry, Manifest, describe_file, write_atomic, write_json, write_manifest, write_parquet

RELEASE_KIND, RELEASE_VERSION = "release", 1
ROW_GROUP_ROWS = 1_000
ROWS_PER_SHARD = 50_000
"""About 100 MB of compressed rows with their certificates: far below the 500 MB at which loaders split files."""
SPLIT_SHARES = (("test", 50), ("validation", 50))
"""Per mille of answer entities; the rest is train."""


@dataclass(frozen=True, slots=True)
class Release:
    """What was written."""

    folder: Path
    splits: Mapping[str, int]
    rejects: int


def split_of(answer_root: str) -> str:
    """The split of every question whose root entity has this key."""
    bucket = int.from_bytes(hashlib.sha256(answer_root.encode()).digest()[:4], "big") % 1000
    for name, share in SPLIT_SHARES:
        if bucket < share:
            return name
        bucket -= share
    return "train"


def answer_root(row: Mapping[str, Any]) -> str:
    """The entity whose name or value is the answer: the certificate's one sure match, else the answer itself."""
    sure = row["certificate"]["answer_set"] if row["certificate"] else []
    return str(sure[0] if sure else row["answer_entity"] or row["answer_canonical"])


def write_release(
    questions: pa.Table, rejects: pa.Table, folder: Path, meta: ReleaseMeta, *, gate_order: Sequence[str]
) -> Release:
    """Write a whole release beside `folder` and move it there; an existing folder is refused.

    `questions` and `rejects` follow `records.schema`. Raises `ReleaseError` for a used folder.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ReleaseError(f"{folder} is not empty. Choose another folder, or remove it with `rm -r {folder}`.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        splits = _write_all(questions, rejects, work, meta, gate_order)
        work.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        work.rename(folder)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return Release(folder, splits, rejects.num_rows)


def _write_all(
    questions: pa.Table, rejects: pa.Table, work: Path, meta: ReleaseMeta, gate_order: Sequence[str]
) -> dict[str, int]:
    rows = sorted(questions.to_pylist(), key=lambda r: hashlib.sha256(r["id"].encode()).digest())
    reject_rows = rejects.to_pylist()
    by_split: dict[str, list[dict[str, Any]]] = {"train": [], "validation": [], "test": []}
    for row in rows:
        by_split[split_of(answer_root(row))].append(row)
    by_split = {name: part for name, part in by_split.items() if part}
    files = [entry for name, part in by_split.items() for entry in _write_split(part, work, "qa", name)]
    files += _write_split(reject_rows, work, "rejects", "train")
    statistics = describe(rows) | {"solver_failures": solver_failures(reject_rows)}
    steps = funnel(rows, reject_rows, gate_order)
    draw_plots(statistics, steps, work / "plots")
    entities = {name: len({answer_root(row) for row in part}) for name, part in by_split.items()}
    spend = total_spend(rows, reject_rows)
    sizes = {name: (len(part), entities[name]) for name, part in by_split.items()}
    card = render_card(meta, rows, statistics, steps, splits=sizes, spend=spend)
    write_atomic(work / "README.md", card.encode())
    write_atomic(work / "browser.html", render_browser(meta.pretty_name, rows).encode())
    write_json(work / "reports" / "statistics.json", statistics)
    write_json(work / "reports" / "funnel.json", [asdict(step) for step in steps])
    write_json(work / "provenance.json", meta.provenance())
    files += [describe_file(path, name=str(path.relative_to(work))) for path in _other_files(work)]
    fields = {
        "splits": {n: len(p) for n, p in by_split.items()},
        "snapshot": meta.snapshot,
        "config": meta.config_digest,
    }
    write_manifest(work, Manifest(RELEASE_KIND, RELEASE_VERSION, tuple(files), fields))
    return {name: len(part) for name, part in by_split.items()}


def _other_files(work: Path) -> list[Path]:
    return sorted(p for p in work.rglob("*") if p.is_file() and p.suffix != ".parquet")


def _write_split(rows: list[dict[str, Any]], work: Path, config: str, split: str) -> Iterator[FileEntry]:
    schema = arrow_schema("questions" if config == "qa" else "rejects")
    count = max(1, -(-len(rows) // ROWS_PER_SHARD))
    size = -(-len(rows) // count) if rows else 0
    for index in range(count):
        name = f"data/{config}/{split}-{index:05d}-of-{count:05d}.parquet"
        part = pa.Table.from_pylist(rows[index * size : (index + 1) * size], schema=schema)
        entry = write_parquet(work / name, part, schema=schema, row_group_rows=ROW_GROUP_ROWS)
        yield FileEntry(name, entry.bytes, entry.sha256, entry.rows)


def total_spend(*tables: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Tool calls over all candidates, accepted or not."""
    spends = [row["spend"] or {} for table in tables for row in table]
    return {key: sum(int(s.get(key) or 0) for s in spends) for key in ("searches", "visits")}
