"""From sources to a snapshot: read, settle addresses that occur twice, index, and write the manifest last.

Building is additive. A source that the folder already holds (same content, same extractor) is not read again, and the
index takes only what is new. Every step can be repeated: a build that was interrupted is finished by running it again.

    build_snapshot([open_source("a.warc.gz")], "out/web")
    build_snapshot([open_source("b.jsonl")], "out/web")       a.warc.gz stays, b.jsonl is added
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datagen import storage
from datagen.errors import SnapshotError
from datagen.records.rows import Row
from datagen.storage import FileEntry
from datagen.web.index import write_index
from datagen.web.manifest import (
    SnapshotManifest,
    SourceReport,
    load_manifest,
    load_report,
    make_manifest,
    redirect_files,
    save_manifest,
    save_report,
    source_key,
)
from datagen.web.prose import Mode, extractor_version
from datagen.web.reading_sources import SourceReader, write_shard
from datagen.web.sources.raw import Source
from datagen.web.store import Hashes, PageStoreWriter, address_hash, resolve_aliases

log = logging.getLogger(__name__)
_READ_ROWS = 500


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """`mode` chooses the prose extractor; neither `workers` nor `on_progress` can change a byte."""

    mode: Mode = "trafilatura"
    workers: int = os.cpu_count() or 1
    on_progress: Callable[[int], None] | None = None
    """Called with the number of pages that were just added."""


def build_snapshot(
    sources: Iterable[Source], out_dir: str | Path, options: BuildOptions | None = None
) -> SnapshotManifest:
    """Add `sources` to the snapshot at `out_dir`, which is made if it is not there."""
    options = options or BuildOptions()
    folder = storage.local_path(out_dir)
    extractor = extractor_version(options.mode)
    held = _held_sources(folder, extractor)
    manifest_path = folder / storage.MANIFEST_NAME
    folder.mkdir(parents=True, exist_ok=True)
    reports = {report.key: report for report in held}
    with SourceReader(options.mode, options.workers, options.on_progress) as reader:
        for source in sources:
            fingerprint = source.fingerprint()
            key = source_key(fingerprint, extractor)
            report = reports.get(key) or load_report(folder, key)
            if report is None:
                # From the first new shard on, the folder is not what its manifest says.
                _set_aside(manifest_path)
                report = reader.read(source, fingerprint, folder)
                save_report(folder, report)
            reports[key] = report
    if not any(report.pages for report in reports.values()):
        counts = {report.name: dict(report.skipped) for report in reports.values()}
        raise SnapshotError(f"no page could be read from {counts}; check the sources and run the same command again.")
    settled = _settle_repeats(folder, tuple(reports.values()), manifest_path)
    aliases, lost = _index(folder, settled)
    manifest = make_manifest(settled, extractor, aliases, lost)
    save_manifest(folder, manifest)
    manifest_path.with_name(_PREVIOUS).unlink(missing_ok=True)
    log.info("snapshot %s: %d pages, skipped %s", manifest.digest, manifest.pages, dict(manifest.skipped))
    return manifest


_PREVIOUS = ".previous-manifest.json"


def _set_aside(manifest_path: Path) -> None:
    if manifest_path.exists():
        manifest_path.replace(manifest_path.with_name(_PREVIOUS))


def _held_sources(folder: Path, extractor: str) -> tuple[SourceReport, ...]:
    """Sources of the snapshot that is there, or of the one that an interrupted build was adding to."""
    previous = folder / _PREVIOUS
    if not (folder / storage.MANIFEST_NAME).exists():
        if not previous.exists():
            return ()
        previous.replace(folder / storage.MANIFEST_NAME)
    manifest = load_manifest(folder)
    if manifest.extractor != extractor:
        raise SnapshotError(
            f"{folder} was made by extractor {manifest.extractor}, this is {extractor}, and pages of the two do not mix; "
            f"build into a new folder, or delete this one first: rm -r {folder}"
        )
    reports = []
    for source in manifest.sources:
        report = load_report(folder, source.key)
        if report is None:
            raise SnapshotError(
                f"{folder}: shards of {source.name} are missing or changed; delete the folder and build it again: "
                f"rm -r {folder} && datagen snapshot build {folder} SOURCE"
            )
        reports.append(report)
    return tuple(reports)


# -- addresses that occur more than once ------------------------------------------------------------------------------


def _settle_repeats(folder: Path, reports: tuple[SourceReport, ...], manifest: Path) -> tuple[SourceReport, ...]:
    """Keep one page per address: of equal pages the first, of different ones the newest, else the first."""
    losers = _find_losers(folder, [shard for report in reports for shard in report.shards])
    if not losers:
        return reports
    _set_aside(manifest)
    settled = []
    for report in reports:
        touched = [shard.name for shard in report.shards if shard.name in losers]
        if touched:
            shards, skipped, examples = [], dict(report.skipped), dict(report.examples)
            for shard in report.shards:
                dropped = losers.get(shard.name, {})
                shards.append(_rewrite(folder, shard, set(dropped)) if dropped else shard)
                for reason, url in dropped.values():
                    skipped[reason] = skipped.get(reason, 0) + 1
                    examples.setdefault(reason, url)
            pages = sum(shard.rows or 0 for shard in shards)
            report = replace(  # noqa: PLW2901
                report, pages=pages, skipped=skipped, examples=examples, shards=tuple(shards)
            )
            save_report(folder, report)
        settled.append(report)
    return tuple(settled)


def _find_losers(folder: Path, shards: list[FileEntry]) -> dict[str, dict[int, tuple[str, str]]]:
    """Shard name -> row -> (reason, url) of the pages that give way."""
    # Eight bytes a page are held; whole addresses only of shards in which one repeats.
    hashes = [_address_hashes(folder / shard.name) for shard in shards]
    names, counts = np.unique(np.concatenate(hashes), return_counts=True)
    repeated = names[counts > 1]
    groups: dict[str, list[_Place]] = {}
    for shard, own in zip(shards, hashes, strict=True):
        rows = np.flatnonzero(np.isin(own, repeated))
        if len(rows):
            table = storage.read_parquet(folder / shard.name, ["url", "sha256", "published_at"]).take(rows.tolist())
            for row, fields in zip(rows.tolist(), table.to_pylist(), strict=True):
                place = _Place(shard.name, row, fields["sha256"], fields["published_at"] or "")
                groups.setdefault(fields["url"], []).append(place)
    losers: dict[str, dict[int, tuple[str, str]]] = {}
    for url, group in groups.items():
        # max keeps the first of equals, and an undated page counts as older than any dated one.
        winner = max(group, key=lambda place: place.published_at)
        for place in group:
            if place is not winner:
                reason = "duplicate" if place.sha256 == winner.sha256 else "superseded"
                losers.setdefault(place.shard, {})[place.row] = (reason, url)
    return losers


@dataclass(frozen=True, slots=True)
class _Place:
    shard: str
    row: int
    sha256: str
    published_at: str


def _address_hashes(shard: Path) -> Hashes:
    urls = storage.read_parquet(shard, ["url"]).column("url").to_pylist()
    return np.fromiter((address_hash(str(url)) for url in urls), dtype=np.uint64, count=len(urls))


def _rewrite(folder: Path, shard: FileEntry, dropped: set[int]) -> FileEntry:
    table = storage.read_parquet(folder / shard.name)
    kept = [row for row in range(table.num_rows) if row not in dropped]
    return write_shard(folder, shard.name, table.take(pa.array(kept, pa.int64())))


# -- derived files ----------------------------------------------------------------------------------------------------


def _index(folder: Path, reports: tuple[SourceReport, ...]) -> tuple[int, dict[str, int]]:
    """Bring store and text index up to date; returns the number of aliases and the redirects that led nowhere."""
    target = folder / "index"
    target.mkdir(exist_ok=True)
    shards = [shard for report in reports for shard in report.shards]
    wanted = [[shard.name, shard.sha256] for shard in shards]
    state = target / "state.json"
    done = storage.read_json(state)["shards"] if state.exists() else []
    append = bool(done) and wanted[: len(done)] == done
    state.unlink(missing_ok=True)
    store = PageStoreWriter(target, append=append)
    fresh = shards[len(done) :] if append else shards
    write_index(target / "text", _numbered(folder, fresh, store), append=append)
    redirects = (
        (row["url"], row["target"])
        for report in reports
        for path in redirect_files(folder, report.key)
        for batch in pq.ParquetFile(path).iter_batches()
        for row in batch.to_pylist()
    )
    hashes, rows, lost = resolve_aliases(redirects, store.hashes)
    store.finish(hashes, rows)
    storage.write_json(state, {"shards": wanted})
    return len(hashes), lost


def _numbered(folder: Path, shards: list[FileEntry], store: PageStoreWriter) -> Iterator[tuple[int, Row]]:
    number = len(store.hashes)
    for shard in shards:
        with pq.ParquetFile(folder / shard.name) as file:
            for batch in file.iter_batches(batch_size=_READ_ROWS):
                for row in batch.to_pylist():
                    store.add(row)
                    yield number, row
                    number += 1
