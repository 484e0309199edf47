"""Where bytes reach a disk or a bucket: whole files appear in one step, and a manifest is written after them.

Paths are fsspec URLs (`out/run`, `/data/run`, `s3://bucket/run`, `memory://run`). On a local disk a file is written
under a temporary name in its own folder, flushed to the device, and renamed; elsewhere it is put under a temporary name
and moved. So a reader sees the old bytes or the new ones, never a part of either, and a process that dies leaves only
files whose name begins with `TEMPORARY_PREFIX`, which every listing here skips.

    entry = write_parquet("out/run/shards/shard-000000.parquet", table, schema=SHARD)
    write_manifest("out/run", Manifest(kind="run", version=1, files=(entry,), fields={}))   # last: now it is finished

`write_parquet` is the only Parquet writer of the project. Equal rows give equal bytes: row groups are cut by row count,
never by how the rows happened to arrive.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import posixpath
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from datagen.errors import StorageError

TEMPORARY_PREFIX = ".tmp-"
MANIFEST_NAME = "manifest.json"

# The Hub viewer pages through files that have a page index, and its store deduplicates chunks cut by content. The chunk
# sizes are those that the Hub's own libraries write; with them an insertion near the top of a 20 MB file costs 29 % of
# its bytes again instead of all of them.
HUB_CHUNKS = {"min_chunk_size": 256 * 1024, "max_chunk_size": 1024 * 1024, "norm_level": 0}
ROW_GROUP_ROWS = 2_000
"""Rows of a row group: the viewer reads whole groups and refuses those above 300 MB; ours stay near 20 MB."""

_HASH_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One finished file as a manifest lists it; `name` is relative to the manifest's folder, with forward slashes."""

    name: str
    bytes: int
    sha256: str
    rows: int | None = None
    """None for a file that is not a table."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The last file of a folder: its presence means that everything it lists is complete."""

    kind: str
    version: int
    files: tuple[FileEntry, ...]
    fields: Mapping[str, Any] = field(default_factory=dict)
    """What else the folder wants to say about itself; JSON values only."""


def is_local(url: str | Path) -> bool:
    return isinstance(url, Path) or "://" not in url or url.startswith(("file://", "local://"))


def local_path(url: str | Path) -> Path:
    """The local path of a URL; refuses one that is elsewhere."""
    if not is_local(url):
        raise StorageError(f"{url} is not on a local disk; copy it to one and pass that path.")
    return url if isinstance(url, Path) else Path(url.removeprefix("file://").removeprefix("local://"))


def join(url: str | Path, *parts: str) -> str:
    return posixpath.join(str(url), *parts)


def exists(url: str | Path) -> bool:
    if is_local(url):
        return local_path(url).exists()
    fs, path = _open_filesystem(url)
    return bool(fs.exists(path))


def list_names(url: str | Path, suffix: str = "") -> list[str]:
    """Sorted names of the finished files of a folder (not of folders inside it); empty where there is no folder."""
    if is_local(url):
        folder = local_path(url)
        names = [p.name for p in folder.iterdir() if p.is_file()] if folder.is_dir() else []
    else:
        fs, path = _open_filesystem(url)
        entries = fs.ls(path, detail=True) if fs.isdir(path) else []
        names = [posixpath.basename(entry["name"]) for entry in entries if entry["type"] == "file"]
    return sorted(name for name in names if not name.startswith(TEMPORARY_PREFIX) and name.endswith(suffix))


def matching(pattern: str) -> tuple[str, ...]:
    """Sorted files whose path or URL matches a glob."""
    if is_local(pattern):
        return tuple(sorted(glob.glob(str(local_path(pattern)), recursive=True)))  # noqa: PTH207  may be absolute
    fs, path = _open_filesystem(pattern)
    return tuple(sorted(fs.unstrip_protocol(found) for found in fs.glob(path)))


def read_bytes(url: str | Path) -> bytes:
    with _reading(url):
        if is_local(url):
            return local_path(url).read_bytes()
        fs, path = _open_filesystem(url)
        data: bytes = fs.cat_file(path)
        return data


def read_json(url: str | Path) -> Any:
    data = read_bytes(url)
    try:
        return json.loads(data)
    except ValueError as exc:
        raise StorageError(f"{url} is not JSON ({exc}); it was changed by hand or copied incompletely.") from exc


def write_atomic(url: str | Path, data: bytes) -> None:
    """Replace the file in one step, creating its folder."""
    with _replacing(url) as temporary:
        temporary.write_bytes(data)


def write_json(url: str | Path, value: object) -> None:
    """Readable, sorted, with a final newline: equal values give equal bytes."""
    write_atomic(url, (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())


def write_parquet(
    url: str | Path,
    rows: pa.Table | Iterable[pa.RecordBatch],
    *,
    schema: pa.Schema,
    row_group_rows: int = ROW_GROUP_ROWS,
) -> FileEntry:
    """Write one finished Parquet file with `schema`, its metadata included, and say what was written.

    For a release, `schema` must come from `datasets.Features`, or readers get guessed features.
    """
    count = 0
    with _replacing(url) as temporary:
        with pq.ParquetWriter(
            temporary, schema, compression="zstd", write_page_index=True, use_content_defined_chunking=HUB_CHUNKS
        ) as writer:
            for group in _row_groups(rows, schema, row_group_rows):
                writer.write_table(group, row_group_size=row_group_rows)
                count += group.num_rows
        return _describe(temporary, posixpath.basename(str(url)), count)


def read_parquet(url: str | Path, columns: list[str] | None = None) -> pa.Table:
    """Read one file. `columns` may name parts of structs, as in `question.id`; the rest of the struct is left out."""
    with _reading(url):
        if is_local(url):
            return pq.ParquetFile(local_path(url)).read(columns=columns)
        fs, path = _open_filesystem(url)
        with fs.open(path, "rb") as handle:
            return pq.ParquetFile(handle).read(columns=columns)


def open_parquet(url: str | Path) -> pq.ParquetFile:
    """A Parquet file to read from, here or at an fsspec address; whoever opens it closes it."""
    with _reading(url):
        if is_local(url):
            return pq.ParquetFile(local_path(url))
        fs, path = _open_filesystem(url)
        return pq.ParquetFile(fs.open(path, "rb"))


@contextlib.contextmanager
def opened_parquet(url: str | Path) -> Iterator[pq.ParquetFile]:
    """`open_parquet`, closed at the end."""
    file = open_parquet(url)
    try:
        yield file
    finally:
        file.close()


def read_batches(url: str | Path, columns: list[str] | None = None, *, rows: int = 1_000) -> Iterator[pa.RecordBatch]:
    """Read one file batch by batch, at most `rows` rows each, without ever holding all of it."""
    with _reading(url), contextlib.ExitStack() as stack:
        if is_local(url):
            source: Any = local_path(url)
        else:
            fs, path = _open_filesystem(url)
            source = stack.enter_context(fs.open(path, "rb"))
        file = stack.enter_context(pq.ParquetFile(source))
        yield from file.iter_batches(batch_size=rows, columns=columns)


def describe_file(url: str | Path, *, name: str | None = None) -> FileEntry:
    """The manifest entry of a file that is already there (rows from the footer where it is Parquet)."""
    path = local_path(url)
    with _reading(url):
        rows = pq.read_metadata(path).num_rows if path.suffix == ".parquet" else None
        return _describe(path, name or path.name, rows)


def write_manifest(folder: str | Path, manifest: Manifest) -> None:
    write_json(join(folder, MANIFEST_NAME), asdict(manifest) | {"fields": dict(manifest.fields)})


def read_manifest(folder: str | Path, *, kind: str, version: int) -> Manifest:
    """Read and check the manifest of a finished folder; the message of a refusal says what the folder is instead."""
    url = join(folder, MANIFEST_NAME)
    if not exists(url):
        raise StorageError(f"{folder} has no {MANIFEST_NAME}: it is not a finished {kind}.")
    raw = read_json(url)
    if not isinstance(raw, dict) or raw.get("kind") != kind:
        found = raw.get("kind") if isinstance(raw, dict) else type(raw).__name__
        raise StorageError(f"{folder} holds a {found!r}, not a {kind}; pass the folder of a {kind}.")
    if raw.get("version") != version:
        raise StorageError(
            f"{folder} is a {kind} of format {raw.get('version')}; this program reads format {version}. Build it again."
        )
    files = tuple(FileEntry(**entry) for entry in raw["files"])
    return Manifest(kind=kind, version=version, files=files, fields=raw["fields"])


def first_damaged_file(folder: str | Path, manifest: Manifest) -> str | None:
    """Name of the first listed file that is missing or whose bytes changed; None when all are as written."""
    return next((entry.name for entry in manifest.files if _is_damaged(folder, entry)), None)


def damaged_files(folder: str | Path, manifest: Manifest) -> list[str]:
    """Names of all listed files that are missing or whose bytes changed."""
    return [entry.name for entry in manifest.files if _is_damaged(folder, entry)]


def flush(path: Path) -> None:
    """Without fsync of the file and of its folder a rename can survive a power cut that the bytes did not."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _replacing(url: str | Path) -> Iterator[Path]:
    """A temporary local path whose content becomes the file at `url` when the block ends without an error."""
    if is_local(url):
        target = local_path(url)
        with _writing(url):
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=target.parent, prefix=TEMPORARY_PREFIX, suffix=target.suffix)
        os.close(handle)
        temporary = Path(name)
        try:
            with _writing(url):
                yield temporary
                flush(temporary)
                temporary.chmod(0o644)  # mkstemp makes 0600; a finished file follows the ordinary rule
                temporary.replace(target)
                flush(target.parent)
        finally:
            temporary.unlink(missing_ok=True)
        return
    with tempfile.TemporaryDirectory() as scratch:
        temporary = Path(scratch, posixpath.basename(str(url)))
        yield temporary
        with _writing(url):
            _put_then_move(temporary, str(url))


def _put_then_move(temporary: Path, url: str) -> None:
    fs, path = _open_filesystem(url)
    parent, name = posixpath.split(path)
    fs.makedirs(parent, exist_ok=True)
    staged = posixpath.join(parent, TEMPORARY_PREFIX + name)
    fs.put_file(str(temporary), staged)
    fs.mv(staged, path)


def _row_groups(
    rows: pa.Table | Iterable[pa.RecordBatch], schema: pa.Schema, row_group_rows: int
) -> Iterator[pa.Table]:
    """The rows in tables of exactly `row_group_rows`, the last one shorter, however they arrive."""
    batches = rows.to_batches() if isinstance(rows, pa.Table) else rows
    pending: list[pa.Table] = []
    held = 0
    for batch in batches:
        pending.append(pa.Table.from_batches([batch]).cast(schema))
        held += batch.num_rows
        while held >= row_group_rows:
            joined = pa.concat_tables(pending).combine_chunks()
            yield joined.slice(0, row_group_rows)
            held -= row_group_rows
            pending = [joined.slice(row_group_rows)] if held else []
    if held:
        yield pa.concat_tables(pending).combine_chunks()


def _describe(path: Path, name: str, rows: int | None) -> FileEntry:
    return FileEntry(name=name, bytes=path.stat().st_size, sha256=_sha256(path), rows=rows)


def _is_damaged(folder: str | Path, entry: FileEntry) -> bool:
    path = local_path(join(folder, entry.name))
    return not path.is_file() or path.stat().st_size != entry.bytes or _sha256(path) != entry.sha256


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(_HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _open_filesystem(url: str | Path) -> tuple[Any, str]:
    try:
        fs, path = fsspec.core.url_to_fs(str(url))
    except ImportError as exc:
        raise StorageError(f"{url}: {exc}. Install that filesystem's package and try again.") from exc
    except ValueError as exc:
        raise StorageError(f"{url}: {exc}. Use a local path or a URL that fsspec knows, such as s3://.") from exc
    return fs, path


@contextlib.contextmanager
def _reading(url: str | Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as exc:
        raise StorageError(f"{url} does not exist; check the path.") from exc
    except (OSError, pa.ArrowInvalid) as exc:
        raise StorageError(f"{url} cannot be read: {exc}.") from exc


@contextlib.contextmanager
def _writing(url: str | Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise StorageError(f"{url} cannot be written: {exc}. Free space or choose another folder.") from exc
