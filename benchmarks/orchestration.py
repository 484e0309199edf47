"""What Prefect costs: the same shards over a plain process pool, and as tasks of a flow against a local server.

    python benchmarks/orchestration.py --shards 8 --shard-size 300

Both variants make equal candidates with two workers, in the order plain, flow, flow, plain; the faster of each counts.
`wall` covers making the shards, not the start of Python or of the server, which are shown apart. `recorded` compares the
task runs that the server has stored with the shards that were made.
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
from datagen.pipeline.corpus import build_corpus
from datagen.pipeline.making import carry_on, prepare
from datagen.runs.workers import process_pool

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # flows/ is a package of the checkout, not of the distribution
WORKERS = 2


def overlays(folder: Path, name: str, shards: int, shard_size: int) -> list[str]:
    total = shards * shard_size
    return [
        'web.sources=["synthetic:seed=7,pages=2000"]',
        f"web.snapshot={folder}/snapshot",
        f"run.directory={folder}/{name}",
        f"release.directory={folder}/{name}-release",
        f"run.target={{infoseek={total}}}",
        "run.max_candidates_per_question=1",  # so that both variants make exactly `total` candidates
        f"run.wave_size={total}",
        f"run.shard_size={shard_size}",
        f"run.workers={WORKERS}",
    ]


def make(variant: str, keys: list[str]) -> None:
    """One variant, in a process of its own; prints its wall seconds."""
    run = prepare(load_config("demo", keys))
    if variant == "plain":
        with process_pool(WORKERS) as pool:
            started = time.perf_counter()
            carry_on(run, pool=pool)
            print(json.dumps(time.perf_counter() - started))
        return
    from flows.build_dataset import make_questions
    from flows.running import task_runner

    flow = make_questions.with_options(task_runner=task_runner(run.config.run))
    started = time.perf_counter()
    flow(run.directory)
    print(json.dumps(time.perf_counter() - started))


def measure(variant: str, keys: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Wall seconds of the work, and CPU seconds of the client with its workers."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, __file__, "--make", variant, *[p for key in keys for p in ("--key", key)]]
    done = subprocess.run(command, env=environment, cwd=ROOT, check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return float(done.stdout.strip().splitlines()[-1]), cpu


def recorded(url: str) -> int:
    body = {"task_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
    request = urllib.request.Request(
        f"{url}/task_runs/count", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        return int(json.load(reply))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--shards", type=int, default=6)
    parser.add_argument("--shard-size", type=int, default=300)
    parser.add_argument("--make", choices=["plain", "flow"])
    parser.add_argument("--key", action="append", default=[])
    given = parser.parse_args()
    if given.make:
        make(given.make, given.key)
        return
    from flows.local import SETTINGS, drain, server

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        build_corpus(load_config("demo", overlays(folder, "none", given.shards, given.shard_size)))
        best: dict[str, tuple[float, float]] = {}
        started = time.perf_counter()
        with server(folder / "prefect") as url:
            server_start = time.perf_counter() - started
            environment = os.environ | SETTINGS | {"PREFECT_API_URL": url, "PREFECT_HOME": str(folder / "prefect")}
            for number, variant in enumerate(("plain", "flow", "flow", "plain")):
                keys = overlays(folder, f"run-{number}", given.shards, given.shard_size)
                best[variant] = min(best.get(variant, (float("inf"), 0.0)), measure(variant, keys, environment))
            started = time.perf_counter()
            drain(url)
            drained, stored = time.perf_counter() - started, recorded(url)
    plain, flow = best["plain"], best["flow"]
    print(f"{dt.date.today()}  {given.shards} shards of {given.shard_size} candidates, {WORKERS} workers")
    print(f"shard          {WORKERS * plain[0] / given.shards:6.1f} s")
    print(f"plain pool     {plain[0]:6.1f} s wall  {plain[1]:6.1f} s CPU")
    print(f"flow           {flow[0]:6.1f} s wall  {flow[1]:6.1f} s CPU")
    print(f"overhead       {100 * (flow[0] / plain[0] - 1):6.1f} % of wall")
    print(f"recorded       {stored} of {2 * given.shards} task runs")
    print(f"server         {server_start:6.1f} s to start, {drained:.1f} s to drain")


if __name__ == "__main__":
    main()
