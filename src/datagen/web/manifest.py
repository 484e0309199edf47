"""The record of a snapshot: what it holds, where it came from, what was left out and why.

    snapshot/
      pages/SOURCE-00000.parquet   the pages table, in source order; a shard holds pages of one source
      sources/SOURCE.json          written when all shards of a source are; lets another build use them again
      index/                       derived from the shards: page store and text index
      knowledge/                   derived from the pages by a catalogue: facts, closures, entities
      manifest.json                written last

Counting is complete: pages + skipped + redirects = records read, for every source.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from datagen import storage
from datagen.errors import SnapshotError, StorageError
from datagen.records.ids import content_id
from datagen.storage import FileEntry

FORMAT_VERSION = 1
KIND = "snapshot"
_REBUILD = "build it again with: datagen snapshot build {folder} SOURCE"


@dataclass(frozen=True, slots=True)
class SourceReport:
    """One source of a snapshot. `shards` are relative to the snapshot's folder."""

    name: str
    kind: str
    fingerprint: str
    extractor: str
    pages: int
    redirects: int
    skipped: Mapping[str, int]
    examples: Mapping[str, str]
    """For each reason the first record that was skipped for it."""
    shards: tuple[FileEntry, ...]

    @property
    def key(self) -> str:
        """Name of the source's files: the same content read by the same extractor has the same name."""
        return source_key(self.fingerprint, self.extractor)


@dataclass(frozen=True, slots=True)
class SnapshotManifest:
    """What `build_snapshot` returns and `Snapshot.manifest` shows."""

    digest: str
    extractor: str
    pages: int
    aliases: int
    skipped: Mapping[str, int]
    sources: tuple[SourceReport, ...]

    @property
    def shards(self) -> tuple[FileEntry, ...]:
        return tuple(shard for source in self.sources for shard in source.shards)


def source_key(fingerprint: str, extractor: str) -> str:
    return content_id("src1", {"fingerprint": fingerprint, "extractor": extractor})[5:17]


def make_manifest(
    sources: tuple[SourceReport, ...], extractor: str, aliases: int, lost_redirects: Mapping[str, int]
) -> SnapshotManifest:
    skipped = Counter[str](lost_redirects)
    for source in sources:
        skipped.update(source.skipped)
    files = [[shard.name, shard.sha256] for source in sources for shard in source.shards]
    return SnapshotManifest(
        digest=content_id("snap1", {"format": FORMAT_VERSION, "files": files}),
        extractor=extractor,
        pages=sum(source.pages for source in sources),
        aliases=aliases,
        skipped=dict(sorted(skipped.items())),
        sources=sources,
    )


def save_manifest(folder: Path, manifest: SnapshotManifest) -> None:
    fields = asdict(manifest)
    storage.write_manifest(folder, storage.Manifest(KIND, FORMAT_VERSION, manifest.shards, fields))


def load_manifest(folder: Path) -> SnapshotManifest:
    """Raises `SnapshotError` for what is not a finished snapshot of this format."""
    try:
        fields = storage.read_manifest(folder, kind=KIND, version=FORMAT_VERSION).fields
        sources = tuple(report_of(source) for source in fields["sources"])
        return SnapshotManifest(**{**fields, "sources": sources})
    except StorageError as exc:
        raise SnapshotError(f"{exc} To get a snapshot there, {_REBUILD.format(folder=folder)}.") from exc
    except (KeyError, TypeError) as exc:
        raise SnapshotError(f"{folder}: the manifest lacks {exc}; {_REBUILD.format(folder=folder)}.") from exc


def report_of(raw: Mapping[str, Any]) -> SourceReport:
    return SourceReport(**{**raw, "shards": tuple(FileEntry(**shard) for shard in raw["shards"])})


def save_report(folder: Path, report: SourceReport) -> None:
    storage.write_json(report_path(folder, report.key), asdict(report))


def load_report(folder: Path, key: str) -> SourceReport | None:
    """The report of a source whose shards are all there, unchanged; else None, and the source is read again."""
    path = report_path(folder, key)
    if not path.exists():
        return None
    report = report_of(storage.read_json(path))
    held = storage.Manifest(KIND, FORMAT_VERSION, report.shards)
    return report if storage.first_damaged_file(folder, held) is None else None


def report_path(folder: Path, key: str) -> Path:
    return folder / "sources" / f"{key}.json"


def redirects_path(folder: Path, key: str, number: int) -> Path:
    return folder / "sources" / f"{key}-redirects-{number:05d}.parquet"


def redirect_files(folder: Path, key: str) -> list[Path]:
    return sorted((folder / "sources").glob(f"{key}-redirects-*.parquet"))
