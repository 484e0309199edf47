"""A run with models, killed twenty times: no reply is paid for twice, and the tables are those of an undisturbed run."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.pipeline.llm_runs import carried_out, configured, overlays, practice

from datagen.pipeline.calling import open_ledger
from datagen.practice.knobs import Knobs, Latency
from datagen.practice.server import PracticeServer

pytestmark = pytest.mark.pipeline
KILLS = 20
TABLES = ("questions.parquet", "rejects.parquet", "manifest.json")
SLOW = Knobs(latency=Latency("uniform", 0.005, 0.04))


def launch(folder: Path, snapshot: Path, url: str) -> subprocess.Popen[bytes]:
    """`datagen run`, or `datagen resume` where a run was begun."""
    begun = (folder / "run" / "config.json").exists()
    sets = [part for overlay in overlays(folder, snapshot, url) for part in ("--set", overlay)]
    verb = ["resume", str(folder / "run")] if begun else ["run", "demo", *sets]
    command = [sys.executable, "-m", "datagen.cli", *verb]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def wait_for_replies(server: PracticeServer, process: subprocess.Popen[bytes], more: int) -> None:
    """Until so many more requests came in, so that the kill falls into the work and not into the start of Python."""
    wanted = server.ledger()["requests"] + more
    deadline = time.monotonic() + 60
    while server.ledger()["requests"] < wanted and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)


def test_killed_twenty_times_and_resumed_a_run_pays_nothing_twice_and_gives_the_same_bytes(tmp_path, small_web):
    with practice() as server:
        undisturbed = carried_out(configured(tmp_path / "undisturbed", small_web, server.url))
    folder, rng = tmp_path / "killed", random.Random(11)
    folder.mkdir()
    kills = 0
    with practice(SLOW) as server:
        while kills < KILLS:
            process = launch(folder, small_web, server.url)
            wait_for_replies(server, process, rng.randrange(1, 40))
            time.sleep(rng.random() * 0.03)
            if process.poll() is not None:
                break  # it ended before it could be killed
            process.kill()
            process.communicate()
            kills += 1
        process = launch(folder, small_web, server.url)
        _, said = process.communicate(timeout=300)
        billed = server.ledger()

    assert process.returncode in (0, 3), said.decode()
    assert kills == KILLS, "the run was over before it could be killed so often; make it longer"
    assert billed["answered_twice"] == 0
    paid = open_ledger(str(folder / "run")).totals()
    assert paid.calls + paid.judge_calls == billed["totals"]["replies"]
    assert (paid.input_tokens or 0) + (paid.judge_input_tokens or 0) == billed["totals"]["input_tokens"]
    for name in TABLES:
        mine, theirs = folder / "run" / name, Path(undisturbed.directory) / name
        assert mine.read_bytes() == theirs.read_bytes(), name
