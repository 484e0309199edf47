"""What Prefect costs in CPU: equal candidates as few large shards and as many small ones, with and without a flow.

    python benchmarks/orchestration.py --candidates 600 --few 4 --many 100

CPU seconds are compared, not wall time, because on busy cores only they add up:

    per task    ((flow many - flow few) - (plain many - plain few)) / (many - few), plus the server's share
    once        what a flow costs however few shards it has: imports in every process, start and end of three flow runs

`recorded` compares the task runs that the server has stored with the shards that were made.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from datagen.config import load_config
from datagen.pipeline.corpus import build_corpus, derive
from datagen.pipeline.making import carry_on, prepare
from datagen.runs.workers import process_pool
from datagen.web.snapshot import Snapshot

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # flows/ is a package of the checkout, not of the distribution
WORKERS = 2
SHARD_S = 5.0
"""The least work of one shard that the presets aim at."""


def overlays(folder: Path, name: str, candidates: int, shards: int) -> list[str]:
    return [
        'web.sources=["synthetic:seed=7,pages=2000"]',
        f"web.snapshot={folder}/snapshot",
        f"run.directory={folder}/{name}",
        f"release.directory={folder}/{name}-release",
        f"run.target={{infoseek={candidates}}}",
        "run.max_candidates_per_question=1",  # so that every variant makes exactly these candidates
        f"run.wave_size={candidates}",
        f"run.shard_size={candidates // shards}",
        f"run.workers={WORKERS}",
    ]


def make(variant: str, keys: list[str]) -> None:
    """One variant, in a process of its own."""
    run = prepare(load_config("demo", keys))
    if variant == "plain":
        with process_pool(WORKERS) as pool:
            carry_on(run, pool=pool)
        return
    from flows.build_dataset import make_questions
    from flows.running import task_runner

    make_questions.with_options(task_runner=task_runner(run.config.run))(run.directory)


def children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(variant: str, keys: list[str], environment: dict[str, str]) -> float:
    """CPU seconds of the client with its workers."""
    before = children_cpu()
    command = [sys.executable, __file__, "--make", variant, *[part for key in keys for part in ("--key", key)]]
    subprocess.run(command, env=environment, cwd=ROOT, check=True, capture_output=True)
    return children_cpu() - before


def recorded(url: str) -> int:
    body = json.dumps({"task_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}).encode()
    request = urllib.request.Request(f"{url}/task_runs/count", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as reply:
        return int(json.load(reply))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--candidates", type=int, default=600)
    parser.add_argument("--few", type=int, default=4)
    parser.add_argument("--many", type=int, default=100)
    parser.add_argument("--make", choices=["plain", "flow"])
    parser.add_argument("--key", action="append", default=[])
    given = parser.parse_args()
    if given.make:
        make(given.make, given.key)
        return
    from flows.local import SETTINGS, drain, server

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        config = load_config("demo", overlays(folder, "none", given.candidates, given.few))
        build_corpus(config)
        derive(Snapshot.open(folder / "snapshot"), config.knowledge)
        before = children_cpu()
        with server(folder / "idle"):
            pass
        idle = children_cpu() - before
        used: dict[tuple[str, int], float] = {}
        before = children_cpu()
        with server(folder / "prefect") as url:
            environment = os.environ | SETTINGS | {"PREFECT_API_URL": url, "PREFECT_HOME": str(folder / "prefect")}
            for variant in ("plain", "flow"):
                for shards in (given.few, given.many):
                    keys = overlays(folder, f"{variant}-{shards}", given.candidates, shards)
                    used[variant, shards] = measure(variant, keys, environment)
            started = time.perf_counter()
            drain(url)
            drained, stored = time.perf_counter() - started, recorded(url)
        busy = children_cpu() - before - sum(used.values())
    tasks = given.few + given.many
    extra = {shards: used["flow", shards] - used["plain", shards] for shards in (given.few, given.many)}
    client = (extra[given.many] - extra[given.few]) / (given.many - given.few)
    at_server = (busy - idle) / tasks
    print(f"{dt.date.today()}  {given.candidates} candidates, {WORKERS} workers")
    print(f"per task       {1000 * client:6.0f} ms client and worker, {1000 * at_server:.0f} ms server (CPU)")
    print(
        f"once           {extra[given.few] - given.few * client:6.1f} s client and workers, {idle:.1f} s server (CPU)"
    )
    print(f"overhead       {100 * (client + at_server) / SHARD_S:6.1f} % at {SHARD_S:.0f} s of work per shard")
    print(f"recorded       {stored} of {tasks} task runs, {drained:.1f} s to drain")


if __name__ == "__main__":
    main()
