"""Tables of a snapshot's knowledge: `knowledge/` with its own manifest, which names the pages it was read from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from datagen import storage
from datagen.errors import SnapshotError, StorageError
from datagen.knowledge.catalogue import Catalogue, load_catalogue
from datagen.records.fact import Closure, Entity, Fact
from datagen.records.rows import row_to_closure, row_to_entity, row_to_fact

KIND = "knowledge"
FORMAT_VERSION = 1


class KnowledgeFiles:
    """Read access to facts, closures, entities and the catalogue they were read with."""

    def __init__(self, folder: Path, manifest: storage.Manifest) -> None:
        self.folder = folder
        self._manifest = manifest

    @classmethod
    def open(cls, snapshot: Path, digest: str) -> KnowledgeFiles:
        """Raises `SnapshotError` where nothing was read, or where the pages have changed since."""
        folder = snapshot / "knowledge"
        again = f"read the pages with: datagen snapshot build {snapshot} SOURCE"
        try:
            manifest = storage.read_manifest(folder, kind=KIND, version=FORMAT_VERSION)
        except StorageError as exc:
            raise SnapshotError(f"{snapshot} has no facts of this format yet ({exc}); {again}") from exc
        if manifest.fields["snapshot"] != digest:
            raise SnapshotError(f"the facts of {snapshot} were read from other pages than it now holds; {again}")
        return cls(folder, manifest)

    @property
    def fields(self) -> Mapping[str, Any]:
        """Counts, the catalogue's digest, and what the reader could not read, by reason."""
        return self._manifest.fields

    def catalogue(self) -> Catalogue:
        return load_catalogue(self.folder / "catalogue.json")

    def facts(self) -> Iterator[Fact]:
        for row in self._rows("facts-"):
            yield row_to_fact(row)

    def closures(self) -> Iterator[Closure]:
        for row in self._rows("closures"):
            yield row_to_closure(row)

    def entities(self) -> Iterator[Entity]:
        for row in self._rows("entities"):
            yield row_to_entity(row)

    def _rows(self, prefix: str) -> Iterator[dict[str, Any]]:
        for entry in self._manifest.files:
            if entry.name.startswith(prefix):
                with pq.ParquetFile(self.folder / entry.name) as file:
                    for batch in file.iter_batches(batch_size=4_096):
                        yield from batch.to_pylist()
