"""Storage: whole files in one step, one Parquet writer, manifests last."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen import storage
from datagen.errors import StorageError
from datagen.storage import Manifest

SCHEMA = pa.schema([pa.field("n", pa.int64()), pa.field("s", pa.string())], metadata={"huggingface": "{}"})


def rows(first: int, stop: int) -> pa.Table:
    numbers = range(first, stop)
    return pa.table({"n": list(numbers), "s": [f"row {n}" for n in numbers]}, schema=SCHEMA)


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(1, 99), max_size=6), group=st.integers(1, 60))
def test_equal_rows_give_equal_bytes_however_they_arrive(tmp_path_factory, cuts, group):
    folder = tmp_path_factory.mktemp("parquet")
    edges = sorted({0, 100, *cuts})
    batches = [b for low, high in itertools.pairwise(edges) for b in rows(low, high).to_batches()]

    whole = storage.write_parquet(folder / "a.parquet", rows(0, 100), schema=SCHEMA, row_group_rows=group)
    pieces = storage.write_parquet(folder / "b.parquet", batches, schema=SCHEMA, row_group_rows=group)

    assert (100, whole.sha256) == (pieces.rows, pieces.sha256)
    assert rows(0, 100) == storage.read_parquet(folder / "b.parquet")


def test_a_table_has_zstd_a_page_index_and_its_schema_metadata(tmp_path):
    storage.write_parquet(tmp_path / "t.parquet", rows(0, 10), schema=SCHEMA)

    metadata = pq.read_metadata(tmp_path / "t.parquet")
    column = metadata.row_group(0).column(1)
    assert column.compression == "ZSTD"
    assert column.has_offset_index
    assert pq.read_schema(tmp_path / "t.parquet").metadata[b"huggingface"] == b"{}"


def test_an_empty_table_keeps_its_schema(tmp_path):
    entry = storage.write_parquet(tmp_path / "t.parquet", [], schema=SCHEMA)

    assert entry.rows == 0
    assert storage.read_parquet(tmp_path / "t.parquet").schema.names == ["n", "s"]


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    target = tmp_path / "t.parquet"
    storage.write_parquet(target, rows(0, 5), schema=SCHEMA)

    def broken():
        yield from rows(5, 7).to_batches()
        raise RuntimeError("the producer failed")

    with pytest.raises(RuntimeError, match="the producer failed"):
        storage.write_parquet(target, broken(), schema=SCHEMA)
    assert rows(0, 5) == storage.read_parquet(target)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.parquet"]


def test_a_process_killed_before_the_rename_leaves_the_old_bytes_and_only_a_skipped_name(tmp_path):
    storage.write_atomic(tmp_path / "f.json", b"old")
    program = (
        "import os, sys, pathlib\n"
        "from datagen import storage\n"
        "pathlib.Path.replace = lambda self, target: os.kill(os.getpid(), 9)\n"
        "storage.write_atomic(sys.argv[1], b'new')\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path / "f.json")], env=os.environ, check=False)

    assert killed.returncode == -9
    assert storage.read_bytes(tmp_path / "f.json") == b"old"
    assert storage.list_names(tmp_path) == ["f.json"]


def test_an_object_store_is_written_by_put_and_move(tmp_path):
    entry = storage.write_parquet("memory://put-and-move/run/t.parquet", rows(0, 9), schema=SCHEMA)
    local = storage.write_parquet(tmp_path / "t.parquet", rows(0, 9), schema=SCHEMA)
    storage.write_json("memory://put-and-move/run/x.json", {"b": 1, "a": 2})

    assert entry == local
    assert storage.list_names("memory://put-and-move/run") == ["t.parquet", "x.json"]
    assert rows(0, 9) == storage.read_parquet("memory://put-and-move/run/t.parquet")
    assert storage.read_json("memory://put-and-move/run/x.json") == {"a": 2, "b": 1}
    assert storage.list_names("memory://files/nowhere") == []


def test_a_manifest_comes_back_as_written_and_names_the_first_damaged_file(tmp_path):
    entry = storage.write_parquet(tmp_path / "t.parquet", rows(0, 9), schema=SCHEMA)
    manifest = Manifest(kind="run", version=1, files=(entry,), fields={"target": 5})
    storage.write_manifest(tmp_path, manifest)

    assert manifest == storage.read_manifest(tmp_path, kind="run", version=1)
    assert storage.first_damaged_file(tmp_path, manifest) is None
    (tmp_path / "t.parquet").write_bytes(b"x" * entry.bytes)
    assert storage.first_damaged_file(tmp_path, manifest) == "t.parquet"


@pytest.mark.parametrize(
    ("kind", "version", "message"),
    [("snapshot", 1, "holds a 'run', not a snapshot"), ("run", 2, "of format 1; this program reads format 2")],
)
def test_a_manifest_of_another_kind_or_version_is_refused(tmp_path, kind, version, message):
    storage.write_manifest(tmp_path, Manifest(kind="run", version=1, files=()))

    with pytest.raises(StorageError, match=message):
        storage.read_manifest(tmp_path, kind=kind, version=version)


def test_missing_unreadable_and_unwritable_files_are_refused_in_a_sentence(tmp_path):
    (tmp_path / "broken.parquet").write_bytes(b"not parquet")
    (tmp_path / "broken.json").write_bytes(b"{")
    (tmp_path / "file").write_bytes(b"")

    for action, message in [
        (lambda: storage.read_manifest(tmp_path, kind="run", version=1), "not a finished run"),
        (lambda: storage.read_bytes(tmp_path / "none"), "does not exist"),
        (lambda: storage.read_parquet(tmp_path / "broken.parquet"), "cannot be read"),
        (lambda: storage.read_json(tmp_path / "broken.json"), "is not JSON"),
        (lambda: storage.write_atomic(tmp_path / "file" / "x", b""), "cannot be written"),
        (lambda: storage.write_atomic("nosuch://x/y", b""), "fsspec knows"),
        (lambda: storage.local_path("memory://x"), "not on a local disk"),
    ]:
        with pytest.raises(StorageError, match=message):
            action()


def test_a_local_path_may_be_a_url(tmp_path):
    storage.write_atomic(f"file://{tmp_path}/a.txt", b"x")

    assert Path(tmp_path, "a.txt").read_bytes() == b"x"
    assert storage.exists(f"file://{tmp_path}/a.txt")
