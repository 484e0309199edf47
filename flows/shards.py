"""Shards as tasks: which are worth another try, and a pool over the flow's task runner."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from prefect.client.schemas.objects import State, TaskRun
from prefect.futures import as_completed
from prefect.tasks import Task

from datagen.errors import DatagenError
from datagen.runs.workers import Block, ShardReport, Work


def is_worth_retrying(_task: Task[..., ShardReport], _run: TaskRun, state: State[ShardReport]) -> bool:
    """A worker that died is; a refusal of ours says what to change, and the same again would not."""
    return not isinstance(state.result(raise_on_failure=False), DatagenError)


def submit_shards(work: Work, directory: str, blocks: Sequence[Block]) -> Iterator[ShardReport]:
    """`runs.workers.Pool` over the flow's task runner."""
    shard = cast("Task[[str, int, int], ShardReport]", work)
    futures = [shard.submit(directory, block.first, block.stop) for block in blocks]
    for future in as_completed(futures):
        yield future.result()
