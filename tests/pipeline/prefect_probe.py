"""Flows of the smoke test, run as a program against the server that PREFECT_API_URL names: `prefect_probe.py VERB`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from prefect import flow, task
from prefect.artifacts import Artifact, create_table_artifact
from prefect.futures import as_completed
from prefect.task_runners import ProcessPoolTaskRunner

from datagen.runs.directory import open_run, start_run
from datagen.runs.settlement import Settlement, Unwatched, carry_out
from datagen.runs.tables import assemble
from datagen.runs.workers import Block, ShardReport

sys.path.insert(0, str(Path(__file__).parent))
from fake_run import Repeats, fake_config, run_fake_shard

shard = task(run_fake_shard, task_run_name="shard-{first}-{stop}")


def submit(work: object, directory: str, blocks: Sequence[Block]) -> Iterator[ShardReport]:
    for future in as_completed([shard.submit(directory, block.first, block.stop) for block in blocks]):
        yield future.result()


@flow(task_runner=ProcessPoolTaskRunner(max_workers=2))
def fake_dataset(directory: str) -> int:
    run = open_run(directory)
    settlement = Settlement(run.config.run.target, Repeats())
    carry_out(run, settlement, pool=submit, work=run_fake_shard, watch=Unwatched())
    assemble(run, settlement)
    create_table_artifact(key="accepted", table=[{"recipe": r, "accepted": n} for r, n in settlement.accepted.items()])
    return settlement.settled


@flow
def tick() -> None:
    create_table_artifact(key="tick", table=[{"ticked": True}])


if __name__ == "__main__":
    if sys.argv[1] == "run":
        start_run(fake_config(sys.argv[2], shard_size=8), "snap1-test")
        fake_dataset(sys.argv[2])
        found = Artifact.get("accepted")
        assert found is not None
        sys.stdout.write(found.data)
    else:
        tick.serve(name="every-ten-seconds", interval=10, limit=1)
