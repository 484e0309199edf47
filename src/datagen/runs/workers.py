"""Processes that do shards. A pool takes a function of paths and ints, and yields reports in the order they come.

    serial(work, "out/run", blocks)             in this process, one after another
    with process_pool(4) as pool:
        pool(work, "out/run", blocks)           four fresh interpreters, kept between waves
    with thread_pool(4) as pool:
        pool(work, "out/run", blocks)           four shards at once in this process, for work that waits for others

Processes are spawned, not forked: Arrow and tantivy hold threads and locks that do not survive a fork. A worker ends
itself as soon as the process that started it is gone, so that `kill -9` of a run leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import wait

from datagen.errors import ConfigError, WorkerDiedError


@dataclass(frozen=True, slots=True)
class Block:
    """Candidates `first` to `stop - 1`: one shard."""

    first: int
    stop: int


@dataclass(frozen=True, slots=True)
class ShardReport:
    """What a worker says about a shard it finished. Nothing in it reaches a table."""

    first: int
    stop: int
    accepted: int
    rejected: tuple[tuple[str, int], ...]
    """(gate, count), most frequent first."""
    seconds: float


LOCAL_RUNNERS = frozenset({"serial", "process", "thread"})
Work = Callable[[str, int, int], ShardReport]
Pool = Callable[[Work, str, Sequence[Block]], Iterator[ShardReport]]


def serial(work: Work, directory: str, blocks: Sequence[Block]) -> Iterator[ShardReport]:
    for block in blocks:
        yield work(directory, block.first, block.stop)


@contextlib.contextmanager
def process_pool(workers: int) -> Iterator[Pool]:
    """A pool whose processes live until the block ends, so that each loads its heavy resources once."""
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(workers, mp_context=context, initializer=end_with_parent)
    try:

        def run(work: Work, directory: str, blocks: Sequence[Block]) -> Iterator[ShardReport]:
            futures = [executor.submit(work, directory, block.first, block.stop) for block in blocks]
            try:
                for future in as_completed(futures):
                    yield future.result()
            except BrokenProcessPool as exc:
                raise WorkerDiedError(
                    f"a worker process died (out of memory, or killed). Finished shards are kept: "
                    f"`datagen resume {directory}`; fewer `run.workers` need less memory."
                ) from exc

        yield run
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def thread_pool(workers: int) -> Iterator[Pool]:
    """A pool of threads of this process. What fails first is raised; shards that were not begun are not begun then."""
    executor = ThreadPoolExecutor(workers, thread_name_prefix="shard")
    try:

        def run(work: Work, directory: str, blocks: Sequence[Block]) -> Iterator[ShardReport]:
            futures = [executor.submit(work, directory, block.first, block.stop) for block in blocks]
            for future in as_completed(futures):
                yield future.result()

        yield run
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def pool_of(runner: str, workers: int) -> Iterator[Pool]:
    """The pool that a config names. Raises `ConfigError` for runners that only flows have."""
    if runner not in LOCAL_RUNNERS:
        raise ConfigError(
            f'run.runner = "{runner}" is a task runner of the flows: use `python -m flows.local FLOW CONFIG`, or '
            "`--set run.runner=process` here."
        )
    if runner == "serial" or workers == 1:
        yield serial
        return
    with (thread_pool if runner == "thread" else process_pool)(workers) as pool:
        yield pool


def end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)  # nobody is left to read an answer; shards are written whole or not at all

    threading.Thread(target=watch, daemon=True, name="end-with-parent").start()
