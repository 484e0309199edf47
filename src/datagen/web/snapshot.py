"""A frozen corpus on disk: open it, read its pages, facts and entities.

    manifest = build_snapshot([open_source("factbook.warc.gz")], "out/factbook")
    snapshot = Snapshot.open("out/factbook")
    snapshot.page("https://factbook.example/countries/algeria/").title
    SnapshotWeb(snapshot).search("largest country in Africa")

`datagen.web.manifest` draws the folder. Opening reads the manifest only; pages stay on disk until they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from datagen import storage
from datagen.errors import PageNotFoundError, SnapshotError
from datagen.knowledge.catalogue import Catalogue
from datagen.records.fact import Closure, Entity, Fact
from datagen.records.page import Page
from datagen.web.build import BuildOptions, build_snapshot
from datagen.web.index import TextIndex
from datagen.web.knowledge_files import KnowledgeFiles
from datagen.web.manifest import FORMAT_VERSION, KIND, SnapshotManifest, SourceReport, load_manifest
from datagen.web.store import PageStore

__all__ = ["BuildOptions", "Snapshot", "SnapshotManifest", "SourceReport", "build_snapshot"]


class Snapshot:
    """Read access to a finished snapshot; cheap to open, and to open again in every worker."""

    def __init__(self, folder: Path, manifest: SnapshotManifest) -> None:
        self.folder = folder
        self.manifest = manifest

    @classmethod
    def open(cls, folder: str | Path) -> Snapshot:
        path = storage.local_path(folder)
        manifest = load_manifest(path)
        if not (path / "index" / "state.json").exists():
            raise SnapshotError(
                f"{path} has no index; make it from what is there with: datagen snapshot build {path} SOURCE"
            )
        return cls(path, manifest)

    @property
    def digest(self) -> str:
        """Identity of all pages: equal digests mean equal bytes."""
        return self.manifest.digest

    def __len__(self) -> int:
        return self.manifest.pages

    @cached_property
    def store(self) -> PageStore:
        return PageStore(self.folder / "index")

    @cached_property
    def index(self) -> TextIndex:
        return TextIndex(self.folder / "index" / "text")

    def pages(self, start: int = 0, stop: int | None = None) -> Iterator[Page]:
        """Pages in source order, all of them or a slice by number."""
        return self.store.pages(start, stop)

    def page(self, url: str) -> Page:
        """The page at an address, or at the address that it forwards to."""
        row = self.store.find(url)
        if row is None:
            raise PageNotFoundError(
                f"{self.folder} has no page at {url}; find one with: datagen search {self.folder} WORDS"
            )
        return self.store.page(row)

    def first_damaged_file(self) -> str | None:
        """Name of the first page shard whose bytes are not those of the manifest."""
        return storage.first_damaged_file(self.folder, storage.Manifest(KIND, FORMAT_VERSION, self.manifest.shards))

    @cached_property
    def knowledge(self) -> KnowledgeFiles:
        """What `build_knowledge` wrote; raises `SnapshotError` where it has not run on these pages."""
        return KnowledgeFiles.open(self.folder, self.digest)

    def catalogue(self) -> Catalogue:
        return self.knowledge.catalogue()

    def facts(self) -> Iterator[Fact]:
        return self.knowledge.facts()

    def closures(self) -> Iterator[Closure]:
        return self.knowledge.closures()

    def entities(self) -> Iterator[Entity]:
        return self.knowledge.entities()
