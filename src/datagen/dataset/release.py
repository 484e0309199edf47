"""Write a release folder: Parquet by config and split, card, plots, browser, statistics, provenance, manifest last.

    release/
      README.md                                   the card; its YAML names configs, splits and files
      data/qa/train-00000-of-00001.parquet        accepted questions, wide and flat
      data/trajectories/, data/preferences/       attempts at the questions and pairs of them, where some were made
      data/rejects/train-00000-of-00001.parquet   every stopped candidate with gate, reason and spend
      plots/*.png  browser.html  reports/{statistics,funnel}.json  provenance.json
      manifest.json                               SHA-256 and rows of every file; its presence means the rest is whole

A split is a hash of the answer's entity, so an entity never answers in two splits and stays in its split as the dataset
grows. Rows are ordered by a hash of their id: shuffled once, at writing, the same way every time.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from datagen.dataset.attempt_views import QUESTIONS_WITH_ATTEMPTS, views_of
from datagen.dataset.attempts import AttemptFigures, Attempts, write_attempts
from datagen.dataset.browser import MAX_ROWS, render_browser
from datagen.dataset.card import ReleaseMeta, choose_example, render_card
from datagen.dataset.plots import draw_plots
from datagen.dataset.spending import closed_book, spending
from datagen.dataset.statistics import describe, funnel, solver_failures, stopped_by_gate
from datagen.errors import ReleaseError
from datagen.records.schema import arrow_schema
from datagen.storage import FileEntry, Manifest, describe_file, write_atomic, write_json, write_manifest, write_parquet
from datagen.web.snapshot import Snapshot

RELEASE_KIND, RELEASE_VERSION = "release", 1
ROW_GROUP_ROWS = 1_000
ROWS_PER_SHARD = 50_000
"""About 100 MB of compressed rows with their certificates: far below the 500 MB at which loaders split files."""
BATCH_ROWS = 500
COUNTED = (
    "id",
    "question",
    "answer",
    "answer_type",
    "answer_canonical",
    "answer_entity",
    "answer_entity_type",
    "recipe",
    "mode",
    "difficulty",
    "certificate",
    "n_hosts",
    "rivals_tried",
    "wording",
    "spend",
)
COUNTED_PARTS = {
    "evidence": ("page_id", "host", "source_kind"),
    "attempts": ("searches", "visits"),
    "obfuscations": ("kind",),
    "hops": ("host", "source_kind"),
    "closed_book": ("guesser", "samples", "audit_samples", "audit_hits"),
}
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
    questions: pa.Table,
    rejects: pa.Table,
    folder: Path,
    meta: ReleaseMeta,
    *,
    gate_order: Sequence[str],
    attempts: Attempts | None = None,
    snapshot: Snapshot | None = None,
) -> Release:
    """Write a whole release beside `folder` and move it there; an existing folder is refused.

    With the snapshot that it was made from, the card gets the table of quality beside published sets.

    `questions`, `rejects` and the tables of `attempts` follow `records.schema`. Raises `ReleaseError` for a used folder.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ReleaseError(f"{folder} is not empty. Choose another folder, or remove it with `rm -r {folder}`.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        splits = _Writing(questions, rejects, work, meta, gate_order, attempts, snapshot).write()
        work.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        work.rename(folder)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return Release(folder, splits, rejects.num_rows)


@dataclass(slots=True)
class _Writing:
    """A release on its way into a folder: tables first, then what is computed from them, the manifest last."""

    questions: pa.Table
    rejects: pa.Table
    work: Path
    meta: ReleaseMeta
    gate_order: Sequence[str]
    attempts: Attempts | None
    snapshot: Snapshot | None
    rows: list[dict[str, Any]] = field(default_factory=list)
    """The counted part of every question, in the order of the table."""
    by_split: dict[str, list[int]] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)
    files: list[FileEntry] = field(default_factory=list)
    tried: AttemptFigures | None = None

    def write(self) -> dict[str, int]:
        """Write everything; returns rows by split."""
        self._arrange()
        self._write_tables()
        self._write_card()
        self._write_browser()
        write_json(self.work / "provenance.json", self.meta.provenance())
        self.files += [describe_file(path, name=str(path.relative_to(self.work))) for path in _other_files(self.work)]
        splits = {name: len(part) for name, part in self.by_split.items()}
        fields = {
            "splits": splits,
            "snapshot": self.meta.snapshot,
            "config": self.meta.config_digest,
            "rollouts": self.attempts.plan if self.attempts else None,
        }
        write_manifest(self.work, Manifest(RELEASE_KIND, RELEASE_VERSION, tuple(self.files), fields))
        return splits

    def _arrange(self) -> None:
        """Every question to its split, in the order of the hash of its id."""
        rows = [_counted(row) for batch in self.questions.to_batches(BATCH_ROWS) for row in batch.to_pylist()]
        self.rows = rows
        self.order = sorted(range(len(rows)), key=lambda index: hashlib.sha256(rows[index]["id"].encode()).digest())
        by_split: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
        for index in self.order:
            by_split[split_of(answer_root(rows[index]))].append(index)
        self.by_split = {name: part for name, part in by_split.items() if part}

    def _write_tables(self) -> None:
        for name, part in self.by_split.items():
            self.files += _write_split(self.questions, part, self.work, f"qa/{name}")
        self.files += _write_split(self.rejects, range(self.rejects.num_rows), self.work, "rejects/train")
        if self.attempts is not None:
            places = {self.rows[index]["id"]: name for name, part in self.by_split.items() for index in part}
            written, self.tried = write_attempts(self.attempts, places, self.work)
            self.files += written

    def _write_card(self) -> None:
        """Figures, plots and the card that is made of them."""
        rows = [self.rows[index] for index in self.order]
        reject_rows = self.rejects.select(["recipe", "gate", "reason", "spend"]).to_pylist()
        statistics = describe(rows) | {
            "stopped_by_gate": stopped_by_gate(reject_rows),
            "solver_failures": solver_failures(reject_rows),
            "spending": spending(rows, reject_rows),
            "closed_book": closed_book(rows, reject_rows, self.gate_order),
        }
        steps = funnel(rows, reject_rows, self.gate_order)
        draw_plots(statistics, steps, self.work / "plots")
        write_json(self.work / "reports" / "statistics.json", statistics)
        write_json(self.work / "reports" / "funnel.json", [asdict(step) for step in steps])
        entities = {n: len({answer_root(self.rows[i]) for i in part}) for n, part in self.by_split.items()}
        card = render_card(
            self.meta,
            rows,
            statistics,
            steps,
            splits={name: (len(part), entities[name]) for name, part in self.by_split.items()},
            example=_whole_row(self.questions, choose_example(rows)),
            attempts=self.tried,
            quality=_measure(self.work, self.snapshot) if self.snapshot is not None else "",
        )
        write_atomic(self.work / "README.md", card.encode())

    def _write_browser(self) -> None:
        shown = self.questions.take(pa.array(self.order[:MAX_ROWS], pa.int64())).to_pylist()
        read = [row["id"] for row in shown[:QUESTIONS_WITH_ATTEMPTS]]
        views = views_of(self.attempts.trajectories, read) if self.attempts else {}
        page = render_browser(self.meta.pretty_name, shown, total=len(self.rows), attempts=views)
        write_atomic(self.work / "browser.html", page.encode())


def _counted(row: dict[str, Any]) -> dict[str, Any]:
    """The part of a row that figures are counted from: a tenth of it, so that all rows fit into memory at once."""
    kept = {key: row[key] for key in COUNTED}
    for name, keys in COUNTED_PARTS.items():
        kept[name] = [{key: _shared(item[key]) for key in keys} for item in row[name] or ()]
    lineage = row["lineage"] or {}
    kept["lineage"] = {name: [_shared(value) for value in lineage.get(name) or ()] for name in ("models", "prompts")}
    return kept


def _shared(value: Any) -> Any:
    """One copy in memory of a string that thousands of rows hold."""
    return sys.intern(value) if isinstance(value, str) else value


def _whole_row(questions: pa.Table, row: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if row is None:
        return None
    found: dict[str, Any] = questions.filter(pc.equal(questions["id"], row["id"])).slice(0, 1).to_pylist()[0]
    return found


def _measure(work: Path, snapshot: Snapshot) -> str:
    """The quality of what was written, as a file for programs and as the card's tables."""
    from datagen.dataset.quality import measure_folder  # which reads releases, and so imports this module

    found = measure_folder(work, snapshot)
    write_json(work / "reports" / "quality.json", found.to_dict())
    return found.to_markdown()


def _other_files(work: Path) -> list[Path]:
    return sorted(p for p in work.rglob("*") if p.is_file() and p.suffix != ".parquet")


def _write_split(table: pa.Table, order: Sequence[int], work: Path, split: str) -> Iterator[FileEntry]:
    """Files `data/SPLIT-00000-of-…` with the rows of `table` in this order; only one file's rows are in memory twice."""
    schema = arrow_schema("questions" if split.startswith("qa/") else "rejects")
    count = max(1, -(-len(order) // ROWS_PER_SHARD))
    size = -(-len(order) // count)
    for index in range(count):
        name = f"data/{split}-{index:05d}-of-{count:05d}.parquet"
        part = table.take(pa.array(order[index * size : (index + 1) * size], pa.int64()))
        entry = write_parquet(work / name, part, schema=schema, row_group_rows=ROW_GROUP_ROWS)
        yield FileEntry(name, entry.bytes, entry.sha256, entry.rows)
