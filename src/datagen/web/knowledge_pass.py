"""Read the pages of a snapshot into facts: the table that certificates are computed on.

Two passes over pages, none over HTML. Workers read slices of pages and leave what they found in spool files, in page
order; the parent learns names and addresses from them; then facts are linked to entities and written, again in page
order. So the tables are the same for any number of workers, and what grows in memory is the table of names only.

    build_knowledge("out/web", load_ontology())     a catalogue that somebody wrote
    build_knowledge("out/factbook", None)           one induced from the labels that the pages use
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path

import pyarrow as pa

from datagen import storage
from datagen.knowledge.catalogue import Catalogue, load_catalogue, save_catalogue
from datagen.knowledge.entities import EntityResolver
from datagen.knowledge.reading import Reader, Reading
from datagen.records.rows import Row, closure_to_row, entity_to_row, fact_to_row
from datagen.records.schema import arrow_schema
from datagen.storage import FileEntry
from datagen.web.knowledge_files import FORMAT_VERSION, KIND
from datagen.web.snapshot import Snapshot

log = logging.getLogger(__name__)
SLICE_PAGES = 1_000
SHARD_FACTS = 200_000
_WRITE_ROWS = 5_000
_GROUP_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class KnowledgeCounts:
    """What a pass found. `unread` and `dropped` count by reason what could not be read or linked soundly."""

    catalogue: str
    facts: int
    closures: int
    entities: int
    unread: dict[str, int]
    dropped: dict[str, int]


def build_knowledge(
    snapshot_dir: str | Path,
    catalogue: Catalogue | None,
    workers: int = os.cpu_count() or 1,
    on_progress: Callable[[int], None] | None = None,
) -> KnowledgeCounts:
    """Write `knowledge/` beside the pages, replacing what was there. With no catalogue, induce one."""
    snapshot = Snapshot.open(snapshot_dir)
    target = snapshot.folder / "knowledge"
    shutil.rmtree(target, ignore_errors=True)
    spool = target / "spool"
    spool.mkdir(parents=True)
    if catalogue is None:
        from datagen.knowledge.induction import induce_catalogue

        catalogue = induce_catalogue(snapshot.pages())
    save_catalogue(catalogue, target / "catalogue.json")
    resolver = EntityResolver(catalogue)
    unread: Counter[str] = Counter()
    starts = range(0, len(snapshot), SLICE_PAGES)
    identity = (snapshot.digest, catalogue.digest)
    for done in _read_slices(snapshot.folder, identity, starts, workers):
        readings = _load(done)
        for reading in readings:
            resolver.add(reading)
            unread.update(reading.skipped)
        if on_progress is not None:
            on_progress(len(readings))
    counts = _write_tables(target, resolver, [_spool_path(snapshot.folder, start) for start in starts])
    shutil.rmtree(spool)
    found = KnowledgeCounts(
        catalogue.digest,
        counts["facts"],
        counts["closures"],
        counts["entities"],
        dict(sorted(unread.items())),
        dict(sorted(resolver.dropped.items())),
    )
    _finish(target, snapshot.digest, found)
    log.info("knowledge of %s: %s", snapshot.digest, counts)
    return found


# -- reading ----------------------------------------------------------------------------------------------------------


def _read_slices(folder: Path, identity: tuple[str, str], starts: Iterable[int], workers: int) -> Iterator[Path]:
    """Spool files in page order, each as soon as it and all before it are there."""
    if workers <= 1:
        for start in starts:
            yield read_slice(folder, identity, start)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        flying = [pool.submit(read_slice, folder, identity, start) for start in starts]
        for future in flying:
            yield future.result()


def read_slice(folder: Path, identity: tuple[str, str], start: int) -> Path:
    """Read `SLICE_PAGES` pages into a spool file."""
    snapshot, reader = _tools_of(folder, identity)
    readings = [reader.read(page) for page in snapshot.pages(start, start + SLICE_PAGES)]
    path = _spool_path(folder, start)
    path.write_bytes(pickle.dumps(readings, protocol=pickle.HIGHEST_PROTOCOL))
    return path


@lru_cache(maxsize=1)
def _tools_of(folder: Path, _identity: tuple[str, str]) -> tuple[Snapshot, Reader]:
    """One reader per process and (pages, catalogue): compiling a catalogue costs more than reading many pages."""
    return Snapshot.open(folder), Reader(load_catalogue(folder / "knowledge" / "catalogue.json"))


def _spool_path(folder: Path, start: int) -> Path:
    return folder / "knowledge" / "spool" / f"{start:010d}.pickle"


def _load(path: Path) -> list[Reading]:
    readings: list[Reading] = pickle.loads(path.read_bytes())  # noqa: S301  this process's own spool
    return readings


# -- writing ----------------------------------------------------------------------------------------------------------


def _write_tables(target: Path, resolver: EntityResolver, spool: list[Path]) -> dict[str, int]:
    closures: list[Row] = []
    counts = {"facts": _write_shards(target, "facts", _link(resolver, spool, closures))}
    counts["closures"] = _write(target / "closures.parquet", closures, "closures")
    # Entities come last: linking facts and closures is what finds the ones that have no page.
    counts["entities"] = _write(target / "entities.parquet", map(entity_to_row, resolver.entities()), "entities")
    return counts


def _link(resolver: EntityResolver, spool: list[Path], closures: list[Row]) -> Iterator[Row]:
    """Rows of facts, streamed; those of closures, of which there are few, are put in the list."""
    for path in spool:
        for reading in _load(path):
            for fact in reading.facts:
                linked = resolver.fact(fact)
                if linked is not None:
                    yield fact_to_row(linked)
            kept = map(resolver.closure, reading.closures)
            closures += [closure_to_row(closure) for closure in kept if closure is not None]


def _write_shards(target: Path, table: str, rows: Iterator[Row]) -> int:
    total, shard = 0, 0
    while (first := next(rows, None)) is not None:
        part = chain([first], islice(rows, SHARD_FACTS - 1))
        total += _write(target / f"{table}-{shard:05d}.parquet", part, table)
        shard += 1
    return total


def _write(path: Path, rows: Iterable[Row], table: str) -> int:
    schema = arrow_schema(table)
    return storage.write_parquet(path, _batches(rows, schema), schema=schema, row_group_rows=_GROUP_ROWS).rows or 0


def _batches(rows: Iterable[Row], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    iterator = iter(rows)
    while part := list(islice(iterator, _WRITE_ROWS)):
        yield pa.RecordBatch.from_pylist(part, schema=schema)


def _finish(target: Path, digest: str, found: KnowledgeCounts) -> None:
    files: list[FileEntry] = [
        storage.describe_file(target / name) for name in storage.list_names(target) if name != storage.MANIFEST_NAME
    ]
    fields = {
        "snapshot": digest,
        "catalogue": found.catalogue,
        "facts": found.facts,
        "closures": found.closures,
        "entities": found.entities,
        "unread": found.unread,
        "dropped": found.dropped,
    }
    storage.write_manifest(target, storage.Manifest(KIND, FORMAT_VERSION, tuple(files), fields))
