"""The loader beside raw pyarrow and the streams of `datasets`, and how long a resume takes at row ten million.

    python -m benchmarks loader --rows 10000000 --attempts out/demo/release/data/trajectories

Narrow rows (an id and two numbers) are the hard case: shuffling costs as much for a small row as for a large one. The raw
loop reads every row group and throws it away. All readers run in this process, in turn over several rounds, on warm files.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import load_dataset

from datagen.dataset.streaming import stream

GROUP = 10_000
FILE = 1_000_000


def synthetic(folder: Path, rows: int) -> list[Path]:
    """Shards of ids, numbers and a short text."""
    made = []
    for first in range(0, rows, FILE):
        count = min(FILE, rows - first)
        numbers = np.arange(first, first + count)
        table = pa.table(
            {
                "id": pa.array([f"qa1-{n:024x}" for n in numbers]),
                "n": numbers,
                "text": pa.array([f"row {n} of many, with a little text to read" for n in numbers]),
            }
        )
        made.append(folder / f"train-{first // FILE:05d}.parquet")
        pq.write_table(table, made[-1], row_group_size=GROUP, compression="zstd")
    return made


def raw(files: list[Path]) -> int:
    rows = 0
    for path in files:
        with pq.ParquetFile(path) as file:
            for number in range(file.num_row_groups):
                rows += file.read_row_group(number).num_rows
    return rows


def counted(tables: Iterable[pa.Table]) -> int:
    return sum(table.num_rows for table in tables)


@dataclass(frozen=True, slots=True)
class Taken:
    """One reading."""

    rows: int
    seconds: float
    cpu: float


def timed(work: Callable[[], int]) -> Taken:
    started, used = time.perf_counter(), time.process_time()
    rows = work()
    return Taken(rows, time.perf_counter() - started, time.process_time() - used)


def peak() -> float:
    """Peak memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def peers(files: list[Path], limit: int) -> dict[str, Callable[[], int]]:
    """`datasets` as a stream of Arrow batches and of rows, in order and shuffled by its buffer."""

    def opened(*, shuffled: bool) -> Any:
        rows = load_dataset("parquet", data_files=[str(f) for f in files], split="train", streaming=True)
        return rows.shuffle(seed=1, buffer_size=10_000) if shuffled else rows

    return {
        "datasets, rows in order": lambda: sum(1 for _ in opened(shuffled=False).take(limit)),
        "datasets, rows shuffled": lambda: sum(1 for _ in opened(shuffled=True).take(limit)),
    }


def compare(name: str, files: list[Path], limit: int, rounds: int) -> None:
    urls = [str(f) for f in files]
    ways: dict[str, Callable[[], int]] = {
        "raw pyarrow": lambda: raw(files),
        "stream, Arrow, in order": lambda: counted(stream(urls, shuffle=False).arrow(GROUP)),
        "stream, Arrow, windows of 8 groups": lambda: counted(stream(urls, seed=1).arrow(GROUP)),
        "stream, Arrow, one of 4 ranks": lambda: counted(stream(urls, seed=1, world_size=4).arrow(GROUP)),
        "stream, rows, windows of 8 groups": lambda: sum(
            1 for _, _ in zip(stream(urls, seed=1), range(limit), strict=False)
        ),
    }
    seen: dict[str, list[Taken]] = {way: [] for way in ways}
    for _ in range(rounds):  # in turn, so that what else the machine does meets all of them
        for way, work in ways.items():
            seen[way].append(timed(work))
    before_peers = peak()
    for way, work in peers(files, limit).items():
        seen[way] = [timed(work)]
    for way, taken in seen.items():
        read = 4 if "ranks" in way else 1
        shares = sorted(
            (t.rows * read / t.seconds) / (r.rows / r.seconds) for t, r in zip(taken, seen["raw pyarrow"], strict=False)
        )
        best = min(taken, key=lambda t: t.seconds / max(1, t.rows))
        cpu = min(t.cpu / max(1, t.rows * read) for t in taken) * 1e6
        told = f"{best.rows / best.seconds:,.0f} | {statistics.median(shares):.0%} | {shares[-1]:.0%} | {cpu:.3f}"
        print(f"| {dt.date.today()} | {name} | {way} | {best.rows:,} | {told} |", flush=True)
    print(
        f"| | | peak memory {before_peers:.0f} MB before the peers, {peak():.0f} MB with them | | | | | |", flush=True
    )


def resume(files: list[Path]) -> None:
    urls = [str(f) for f in files]
    for pruned in (0, 10_000):
        loader = stream(urls, seed=1)
        loader.curriculum.prune([f"qa1-{n * 7:024x}" for n in range(pruned)])
        left = len(loader)
        for position in (left // 2, left - 1):
            state = json.dumps({**loader.state_dict(), "position": position})
            started = time.perf_counter()
            later = stream(urls, seed=1)
            later.load_state_dict(json.loads(state))
            opened = time.perf_counter() - started
            next(iter(later))
            first = time.perf_counter() - started
            print(f"| {dt.date.today()} | {position:,} of {left:,} | {pruned:,} | {opened:.3f} | {first:.3f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--limit", type=int, default=200_000, help="Rows read one by one.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--attempts", type=Path, help="A folder of trajectories, the wide case.")
    arguments = parser.parse_args()
    print("| day | data | reader | rows | rows/s, best | of raw, median | of raw, best | CPU µs per row |")
    print("|---|---|---|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as other:
            files = other.submit(synthetic, Path(folder), arguments.rows).result()  # its memory is not the readers'
        compare(f"{arguments.rows:,} narrow rows", files, arguments.limit, arguments.rounds)
        if arguments.attempts:
            wide = sorted(arguments.attempts.glob("*.parquet"))
            compare("trajectories", wide, arguments.limit, arguments.rounds)
        print("\n| day | resumed at row | pruned | state loaded, s | first row, s |")
        print("|---|---:|---:|---:|---:|")
        resume(files)


if __name__ == "__main__":
    main()
