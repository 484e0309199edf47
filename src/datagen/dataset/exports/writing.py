"""The folder that an export is: tables, a few files of text, and a manifest that is written last.

    with ExportFolder(Path("out/verl"), "verl", release) as folder:
        folder.table("rl/train.parquet", RL_ROW, rows)
        folder.text("README.md", words)
    # out/verl appears here, whole; an error leaves nothing

Tables are written by `datagen.storage`, with chunks cut by content and a page index, so that a new version of an export
costs a store only what changed.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
from datasets import Features, Json, List, Value
from datasets.table import cast_table_to_features

from datagen.dataset.exports.reading import ReleaseTables
from datagen.errors import ExportError
from datagen.storage import FileEntry, Manifest, describe_file, write_atomic, write_manifest, write_parquet

EXPORT_KIND, EXPORT_VERSION = "export", 1
ROW_GROUP_ROWS = 500
"""A conversation with its pages is some 50 kB: a row group of them stays near 25 MB."""
BATCH_ROWS = 100


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written. `rows` counts the rows of every table, by its name in the folder."""

    target: str
    folder: Path
    rows: Mapping[str, int]


class ExportFolder:
    """Files are made in a hidden folder beside `out`, which becomes `out` when the block ends without an error."""

    def __init__(self, out: Path, target: str, release: ReleaseTables) -> None:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ExportError(f"{out} is not empty. Choose another folder, or remove it with `rm -r {out}`.")
        self.target = target
        self.release = release
        self.rows: dict[str, int] = {}
        self._out = out
        self._work = out
        self._entries: list[FileEntry] = []

    def __enter__(self) -> ExportFolder:
        self._out.parent.mkdir(parents=True, exist_ok=True)
        self._work = Path(tempfile.mkdtemp(prefix=f".{self._out.name}.", dir=self._out.parent))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if kind is not None:
            shutil.rmtree(self._work, ignore_errors=True)
            return
        fields = {"target": self.target, "snapshot": self.release.snapshot, "config": self.release.config}
        write_manifest(self._work, Manifest(EXPORT_KIND, EXPORT_VERSION, tuple(self._entries), fields))
        self._work.chmod(0o755)
        if self._out.exists():
            self._out.rmdir()
        self._work.rename(self._out)

    def table(self, name: str, features: Features, rows: Iterable[Mapping[str, Any]]) -> int:
        """A Parquet file; none is written where there are no rows. Returns how many there are."""
        schema: pa.Schema = features.arrow_schema
        batches = _batches(rows, features)
        first = next(batches, None)
        if first is None:
            return 0
        whole = chain((first,), batches)
        entry = write_parquet(self._work / name, whole, schema=schema, row_group_rows=ROW_GROUP_ROWS)
        return self._listed(FileEntry(name, entry.bytes, entry.sha256, entry.rows))

    def lines(self, name: str, rows: Iterable[Mapping[str, Any]]) -> int:
        """A file of one JSON object per line; none is written where there are no rows."""
        path = self._work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        count = 0
        with path.open("w", encoding="utf-8", newline="\n") as handle:
            for row in rows:
                handle.write(json.dumps(row, ensure_ascii=False) + "\n")
                count += 1
        if not count:
            path.unlink()
            return 0
        entry = describe_file(path, name=name)
        return self._listed(FileEntry(name, entry.bytes, entry.sha256, count))

    def text(self, name: str, text: str) -> None:
        write_atomic(self._work / name, text.encode())
        self._listed(describe_file(self._work / name, name=name))

    def exported(self) -> Exported:
        return Exported(self.target, self._out, dict(self.rows))

    def _listed(self, entry: FileEntry) -> int:
        self._entries.append(entry)
        if entry.rows is not None:
            self.rows[entry.name] = entry.rows
        return entry.rows or 0


def _stored(feature: Any) -> Any:
    """The feature with text where it has JSON."""
    if isinstance(feature, dict):
        return {name: _stored(part) for name, part in feature.items()}
    if isinstance(feature, List):
        return List(_stored(feature.feature))
    return Value("string") if isinstance(feature, Json) else feature


def _batches(rows: Iterable[Mapping[str, Any]], features: Features) -> Iterator[pa.RecordBatch]:
    """Arrow makes no nested columns of JSON from Python's values, so these are made as text and then cast."""
    stored = Features(_stored(dict(features))).arrow_schema
    left = iter(rows)
    while part := [dict(row) for row in islice(left, BATCH_ROWS)]:
        table = cast_table_to_features(pa.Table.from_pylist(part, schema=stored), features)
        yield from table.combine_chunks().to_batches()
