"""Accepted, verified questions per second from a synthetic snapshot, against the number of pages.

    python benchmarks/generation.py --pages 1000 10000 100000 --questions 500
    python benchmarks/generation.py --pages 100000 --questions 52138        InfoSeek's whole set

One run of the `large` preset each, with worker processes as `datagen run` starts them; building the snapshot is timed
apart. `audited` holds every accepted question against the complete truth of its world: it must be 100 %.
"""

from __future__ import annotations

import argparse
import datetime as dt
import resource
import tempfile
import threading
import time
from pathlib import Path

from datagen import storage
from datagen.config import load_config
from datagen.dataset.audit import audit
from datagen.pipeline.corpus import build_corpus
from datagen.pipeline.making import carry_on, prepare
from datagen.runs.workers import process_pool
from datagen.web.synthetic.pages import SyntheticWeb
from datagen.web.synthetic.truth import build_truth

SEED = 11


def resident_mb() -> float:
    """Memory that this process and its children hold, shared pages counted once (proportional set size)."""
    children = {0: [str(Path("/proc/self").resolve().name)]}
    parents: dict[str, list[str]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            except (OSError, IndexError):
                continue
            parents.setdefault(fields[1], []).append(folder.name)
    found = todo = children[0]
    while todo:
        todo = [child for pid in todo for child in parents.get(pid, [])]
        found = found + todo
    total = 0
    for pid in found:
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += int(next(line for line in rollup.splitlines() if line.startswith("Pss:")).split()[1])
    return total / 1024


class MemoryWatch(threading.Thread):
    """Samples `resident_mb` twice a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak, self._ended = 0.0, threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.5):
            self.peak = max(self.peak, resident_mb())

    def finish(self) -> float:
        self._ended.set()
        self.join()
        return self.peak


def measure(pages: int, questions: int, workers: int, folder: Path) -> str:
    duetqa = questions // 10
    overlays = [
        f'web.snapshot="{folder / f"snapshot-{pages}"}"',
        f'web.sources=["synthetic:seed={SEED},pages={pages}"]',
        f'run.directory="{folder / f"run-{pages}-{questions}"}"',
        f"run.target={{infoseek={questions - duetqa},duetqa={duetqa}}}",
        f"run.workers={workers}",
        f"run.wave_size={max(400, min(20_000, questions))}",
        f"run.shard_size={max(25, min(250, questions // 8))}",
    ]
    config = load_config("large", overlays)
    started = time.perf_counter()
    build_corpus(config)
    built = time.perf_counter() - started
    watch = MemoryWatch()
    watch.start()
    started, cpu = time.perf_counter(), _cpu_s()
    run = prepare(config)
    with process_pool(workers) as pool:
        settlement = carry_on(run, pool=pool)
    wall = time.perf_counter() - started
    peak = watch.finish()
    cpu = _cpu_s() - cpu
    accepted = sum(settlement.accepted.values())
    rows = storage.read_parquet(storage.join(run.directory, "questions.parquet")).to_pylist()
    checked = audit(rows, build_truth(SyntheticWeb(SEED, pages).addresses))
    for fault in checked.faults[:5]:
        print(f"  {fault}")
    return (
        f"| {dt.date.today()} | {pages:,} | {built:.0f} | {accepted:,} of {settlement.settled:,} | {wall:.0f} | {accepted / wall:.1f} "
        f"| {1000 * cpu / settlement.settled:.1f} | {peak:,.0f} | {checked.precision:.2%} |"
    )


def _cpu_s() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--questions", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="Keeps snapshots and runs here; a temporary folder otherwise.")
    arguments = parser.parse_args()
    print(
        "| date | pages | snapshot s | accepted of candidates | wall s | accepted/s | CPU ms per candidate | peak MB | audited |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for pages in arguments.pages:
            print(measure(pages, arguments.questions, arguments.workers, folder), flush=True)


if __name__ == "__main__":
    main()
