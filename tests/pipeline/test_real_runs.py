"""Both recipes over a small fictional web: equal bytes for any shards, workers and interruptions, on the real gates."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from datagen import storage

pytestmark = pytest.mark.pipeline
TABLES = ("questions.parquet", "rejects.parquet", "manifest.json")


@pytest.fixture
def launch(small_run):
    """Start `datagen run` in `folder`, or go on with `datagen resume` where it was begun."""

    def start(folder: Path, *overlays: str) -> subprocess.Popen[bytes]:
        begun = (folder / "run" / "config.json").exists()
        arguments = ["resume", str(folder / "run")] if begun else ["run", "demo", *small_run(folder, *overlays)]
        command = [sys.executable, "-m", "datagen.cli", *arguments]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    return start


@pytest.fixture
def finish(launch):
    def complete(folder: Path, *overlays: str) -> dict[str, bytes]:
        process = launch(folder, *overlays)
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors.decode()
        return {name: (folder / "run" / name).read_bytes() for name in TABLES}

    return complete


def test_shards_workers_and_ten_kills_leave_no_trace_in_the_tables(tmp_path, launch, finish):
    expected = finish(tmp_path / "one", "run.shard_size=1000", "run.workers=1")

    assert finish(tmp_path / "seven", "run.shard_size=7", "run.workers=4") == expected

    rng, folder = random.Random(1), tmp_path / "killed"
    for _ in range(10):
        process = launch(folder, "run.shard_size=2", "run.workers=2")
        wait_for_more_shards(folder, process, rng.randrange(3))
        time.sleep(rng.random() * 0.3)
        process.kill()
        process.communicate()
    assert finish(folder) == expected


def wait_for_more_shards(folder: Path, process: subprocess.Popen[bytes], more: int) -> None:
    """Kills fall into the work rather than into the start of Python."""
    before = len(list(folder.glob("run/shards/*")))
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if (folder / "run" / "config.json").exists() and len(list(folder.glob("run/shards/*"))) >= before + more:
            return
        time.sleep(0.01)


def test_rows_name_what_made_them_and_no_row_carries_a_clock(tmp_path, finish):
    finish(tmp_path)

    rows = storage.read_parquet(tmp_path / "run" / "questions.parquet").to_pylist()
    config = storage.read_json(tmp_path / "run" / "config.json")
    for row in rows:
        lineage = row["lineage"]
        assert lineage["config"] == config["digest"]
        assert lineage["snapshot"] == config["snapshot"]
        assert lineage["seed"] == 7
        assert lineage["cast"] == "symbolic"
        assert lineage["models"] == []
        assert row["spend"]["cost_usd"] is None
