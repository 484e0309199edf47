"""The loader beside raw pyarrow and the streams of `datasets`, and how long a resume takes at row ten million.

    python -m benchmarks loader --rows 10000000 --attempts out/demo/release/data/trajectories

Narrow rows (an id and two numbers) are the hard case: shuffling costs as much for a small row as for a large one. The raw
loop reads every row group and throws it away. All readers run in this process, one after the other, on warm files.
"""

from __future__ import annotations

import argparse
import datetime as dt
import resource
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

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


def timed(work: Callable[[], int]) -> tuple[float, int]:
    started = time.perf_counter()
    rows = work()
    return time.perf_counter() - started, rows


def peers(files: list[Path], limit: int) -> dict[str, Callable[[], int]]:
    """`datasets` as a stream of Arrow batches and of rows, in order and shuffled by its buffer."""

    def opened(*, shuffled: bool) -> object:
        rows = load_dataset("parquet", data_files=[str(f) for f in files], split="train", streaming=True)
        return rows.shuffle(seed=1, buffer_size=10_000) if shuffled else rows

    return {
        "datasets, rows in order": lambda: sum(1 for _ in opened(shuffled=False).take(limit)),
        "datasets, rows shuffled": lambda: sum(1 for _ in opened(shuffled=True).take(limit)),
    }


def compare(name: str, files: list[Path], limit: int) -> None:
    urls = [str(f) for f in files]
    floor, rows = timed(lambda: raw(files))
    ways: dict[str, Callable[[], int]] = {
        "raw pyarrow": lambda: raw(files),
        "stream, Arrow, in order": lambda: counted(stream(urls, shuffle=False).arrow(GROUP)),
        "stream, Arrow, windows of 8 groups": lambda: counted(stream(urls, seed=1).arrow(GROUP)),
        "stream, Arrow, one of 4 ranks": lambda: counted(stream(urls, seed=1, world_size=4).arrow(GROUP)),
        "stream, rows, windows of 8 groups": lambda: sum(
            1 for _, _ in zip(stream(urls, seed=1), range(limit), strict=False)
        ),
        **peers(files, limit),
    }
    for way, work in ways.items():
        seconds, done = timed(work)
        read = done * (4 if "ranks" in way else 1)
        share = (read / seconds) / (rows / floor)
        print(f"| {dt.date.today()} | {name} | {way} | {done:,} | {done / seconds:,.0f} | {share:.0%} |", flush=True)


def resume(files: list[Path], rows: int) -> None:
    urls = [str(f) for f in files]
    for position in (rows // 2, rows - 1):
        started = time.perf_counter()
        loader = stream(urls, seed=1)
        loader.load_state_dict(loader.state_at(position))
        opened = time.perf_counter() - started
        next(iter(loader))
        print(
            f"| {dt.date.today()} | row {position:,} of {rows:,} | {opened:.3f} | {time.perf_counter() - started:.3f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--limit", type=int, default=200_000, help="Rows read one by one.")
    parser.add_argument("--attempts", type=Path, help="A folder of trajectories, the wide case.")
    arguments = parser.parse_args()
    print("| day | data | reader | rows | rows/s | of raw pyarrow |")
    print("|---|---|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        files = synthetic(Path(folder), arguments.rows)
        compare(f"{arguments.rows:,} narrow rows", files, arguments.limit)
        if arguments.attempts:
            wide = sorted(arguments.attempts.glob("*.parquet"))
            compare("trajectories", wide, arguments.limit)
        print("\n| day | resumed at | state loaded, s | first row, s |")
        print("|---|---|---:|---:|")
        resume(files, arguments.rows)
    print(f"\npeak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
