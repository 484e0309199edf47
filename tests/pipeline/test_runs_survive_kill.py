"""Runs as processes: killed anywhere, resumed, and cut into any shards over any workers, they give the same bytes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from datagen import storage
from datagen.runs.tables import read_run_manifest

pytestmark = pytest.mark.pipeline
SCRIPT = Path(__file__).with_name("fake_run.py")
TABLES = ("questions.parquet", "rejects.parquet", "manifest.json")


def launch(directory: Path, *, shard_size: int = 16, workers: int = 1, verb: str = "start") -> subprocess.Popen[bytes]:
    arguments = [str(directory), str(shard_size), str(workers), verb]
    return subprocess.Popen([sys.executable, str(SCRIPT), *arguments], stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors.decode()


def table_bytes(directory: Path) -> dict[str, bytes]:
    return {name: (directory / name).read_bytes() for name in TABLES}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, bytes]:
    directory = tmp_path_factory.mktemp("runs") / "undisturbed"
    finish(launch(directory))
    return table_bytes(directory)


def test_a_run_ends_with_exactly_its_target_and_every_candidate_in_one_table(tmp_path):
    finish(launch(tmp_path / "run"))

    questions = storage.read_parquet(tmp_path / "run" / "questions.parquet").to_pylist()
    rejects = storage.read_parquet(tmp_path / "run" / "rejects.parquet").to_pylist()
    recipes = [row["recipe"] for row in questions]
    assert (recipes.count("infoseek"), recipes.count("duetqa")) == (60, 30)
    candidates = sorted([row["lineage"]["candidate"] for row in questions] + [row["candidate"] for row in rejects])
    assert candidates == list(range(len(candidates)))
    assert {row["gate"] for row in rejects} == {"unique", "duplicates", "target"}
    assert [row["candidate"] for row in rejects] == sorted(row["candidate"] for row in rejects)
    assert sum(read_run_manifest(str(tmp_path / "run")).fields["candidates"].values()) == len(candidates)


@pytest.mark.parametrize(("shard_size", "workers"), [(1000, 1), (15, 1), (16, 4), (7, 2)])
def test_shards_and_workers_leave_no_trace_in_the_tables(tmp_path, undisturbed, shard_size, workers):
    finish(launch(tmp_path / "run", shard_size=shard_size, workers=workers))

    assert table_bytes(tmp_path / "run") == undisturbed


def test_killed_at_ten_random_moments_and_resumed_a_run_gives_the_same_bytes(tmp_path, undisturbed):
    directory, rng = tmp_path / "run", random.Random(4)
    for attempt in range(10):
        verb = "resume" if (directory / "config.json").exists() else "start"
        process = launch(directory, shard_size=rng.choice((4, 8, 16)), workers=1 + attempt % 2, verb=verb)
        wait_for_shards(directory, process, more=rng.randrange(3))
        time.sleep(rng.random() * 0.05)
        process.kill()
        process.communicate()
    finish(launch(directory, shard_size=5, verb="resume"))

    assert table_bytes(directory) == undisturbed


def wait_for_shards(directory: Path, process: subprocess.Popen[bytes], *, more: int) -> None:
    """Until so many shards were added, so that the kill falls into the work and not into the start of Python."""
    before = len(list(directory.glob("shards/*")))
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        if len(list(directory.glob("shards/*"))) >= before + more and (directory / "config.json").exists():
            return
        time.sleep(0.005)


def test_workers_end_when_the_process_that_started_them_is_killed(tmp_path):
    process = launch(tmp_path / "run", shard_size=1, workers=2)
    wait_for_shards(tmp_path / "run", process, more=2)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    process.communicate()

    deadline = time.monotonic() + 20
    while any(is_alive(int(pid)) for pid in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert children
    assert [pid for pid in children if is_alive(int(pid))] == []


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def test_a_second_process_on_the_same_run_is_refused_while_the_first_lives(tmp_path):
    first = launch(tmp_path / "run", shard_size=1)
    wait_for_shards(tmp_path / "run", first, more=1)
    first.send_signal(signal.SIGSTOP)
    second = launch(tmp_path / "run", shard_size=1, verb="resume")
    _, errors = second.communicate(timeout=60)
    first.send_signal(signal.SIGCONT)
    finish(first)

    assert second.returncode != 0
    assert b"another process is working in" in errors
