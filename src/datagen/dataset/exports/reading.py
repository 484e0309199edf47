"""The tables of a release, row by row, as exporters read them.

    release = ReleaseTables.open(Path("out/demo/release"))
    release.splits("trajectories")                    ("train", "test")
    for row in release.rows("questions", "train"): ...

A trajectory holds the pages it read, so a table is never in memory as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from datagen.dataset.release import RELEASE_KIND, RELEASE_VERSION
from datagen.errors import ExportError
from datagen.storage import read_batches, read_manifest

Row = Mapping[str, Any]
Table = Literal["questions", "trajectories", "preferences"]
FOLDERS: Mapping[Table, str] = {"questions": "qa", "trajectories": "trajectories", "preferences": "preferences"}
SPLITS = ("train", "validation", "test")
BATCH_ROWS = 100


@dataclass(frozen=True, slots=True)
class ReleaseTables:
    """A finished release. `files` are those of its manifest that are tables."""

    folder: Path
    snapshot: str
    """Id of the snapshot that the questions were made from; the environment has to serve this one."""
    config: str
    files: tuple[str, ...]

    @classmethod
    def open(cls, folder: Path) -> ReleaseTables:
        manifest = read_manifest(folder, kind=RELEASE_KIND, version=RELEASE_VERSION)
        tables = tuple(entry.name for entry in manifest.files if entry.name.endswith(".parquet"))
        fields = manifest.fields
        return cls(folder, str(fields.get("snapshot", "")), str(fields.get("config", "")), tables)

    def splits(self, table: Table) -> tuple[str, ...]:
        """Splits in which the table has files."""
        return tuple(split for split in SPLITS if self._names(table, split))

    def rows(self, table: Table, split: str, columns: Sequence[str] | None = None) -> Iterator[Row]:
        for name in self._names(table, split):
            wanted = None if columns is None else list(columns)
            for batch in read_batches(self.folder / name, wanted, rows=BATCH_ROWS):
                yield from batch.to_pylist()

    def require(self, table: Table, target: str) -> None:
        """Refuse an export that would be empty."""
        if not self.splits(table):
            raise ExportError(
                f"{self.folder} has no {table}, of which an export to {target} consists. "
                "`datagen rollout RUN` makes them, and the run's release then carries them."
            )

    def _names(self, table: Table, split: str) -> list[str]:
        start = f"data/{FOLDERS[table]}/{split}-"
        return [name for name in self.files if name.startswith(start)]
