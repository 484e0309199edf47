"""A snapshot into a release of certified questions, with attempts at them where the config wants some.

    python -m flows.local build_dataset CONFIG

One task is one shard. A run that was begun before is continued, so a flow that failed may simply be run again.
"""

from __future__ import annotations

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from datagen.cli.console import print_report
from datagen.pipeline.calling import spent_so_far
from datagen.pipeline.finishing import release, report
from datagen.pipeline.making import carry_on, start_or_continue
from datagen.pipeline.workshop import run_shard
from datagen.runs.directory import open_run
from datagen.runs.workers import ShardReport
from flows.collect_trajectories import collect_trajectories
from flows.requests import RunRequest
from flows.running import run_from_command_line, task_runner
from flows.shards import is_worth_retrying, submit_shards
from flows.watching import ProgressArtifact, publish_card, publish_report


# Shards on disk are the record of what is done; a second one in Prefect's cache could only disagree with it.
@task(
    task_run_name="shard-{first}-{stop}",
    retries=2,
    retry_delay_seconds=[2, 30],
    retry_condition_fn=is_worth_retrying,
    cache_policy=NO_CACHE,
)
def make_shard(directory: str, first: int, stop: int) -> ShardReport:
    return run_shard(directory, first, stop)


@flow(name="make-questions")
def make_questions(directory: str) -> None:
    """All waves of one run; the task runner comes from the run's config."""
    run = open_run(directory)
    carry_on(run, pool=submit_shards, work=make_shard, watch=ProgressArtifact(lambda: spent_so_far(run)))


@flow(name="build-dataset")
def build_dataset(request: RunRequest) -> str:
    """Make questions until the target is met, then write the release; returns its folder."""
    run = start_or_continue(request.load())
    make_questions.with_options(task_runner=task_runner(run.config.run))(run.directory)
    if run.config.rollouts is not None:
        collect_trajectories(request)
    folder = release(run)
    found = report(run.directory, str(folder))
    publish_report(found)
    publish_card(folder)
    print_report(found)
    found.raise_if_short()
    return str(folder)


if __name__ == "__main__":
    run_from_command_line(build_dataset)
