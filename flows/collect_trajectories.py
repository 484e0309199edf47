"""Attempts at the questions of a run: `python -m flows.local collect_trajectories CONFIG`.

One task is one shard of whole questions. Attempts that are on disk are not made again, so a flow that failed may simply
be run again.
"""

from __future__ import annotations

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from datagen.cli.rolling import print_rollouts
from datagen.pipeline.rolling import carry_on_rollouts, run_attempts
from datagen.pipeline.rollout_plan import RolloutPlan, plan_rollouts, rollouts_of
from datagen.pipeline.rollout_report import RolloutReport, report_rollouts
from datagen.runs.workers import ShardReport
from flows.requests import RunRequest
from flows.running import run_from_command_line, task_runner
from flows.shards import is_worth_retrying, submit_shards


@task(
    task_run_name="attempts-{first}-{stop}",
    retries=2,
    retry_delay_seconds=[2, 30],
    retry_condition_fn=is_worth_retrying,
    cache_policy=NO_CACHE,
)
def make_attempts(directory: str, first: int, stop: int) -> ShardReport:
    return run_attempts(directory, first, stop)


@flow(name="make-attempts")
def make_all_attempts(plan: RolloutPlan) -> None:
    """Every shard that is missing; the task runner comes from the run's config."""
    carry_on_rollouts(plan, pool=submit_shards, work=make_attempts)


@flow(name="collect-trajectories")
def collect_trajectories(request: RunRequest) -> str:
    """Attempt the questions of the config's run; returns the rollout directory."""
    config = request.load()
    plan = plan_rollouts(config.run.directory, config, rollouts_of(config))
    make_all_attempts.with_options(task_runner=task_runner(config.run))(plan)
    found = report_rollouts(plan.directory)
    publish_rollouts(found)
    print_rollouts(found)
    return plan.directory


def publish_rollouts(report: RolloutReport) -> None:
    """One row for each policy."""
    rows = [
        {
            "policy": p.policy,
            "attempts": p.attempts,
            "errored": p.errored,
            "correct": p.correct,
            "verified": p.verified,
            "shortcuts": p.shortcuts,
            "calls": p.calls,
            "calls per success": p.calls_per_success,
        }
        for p in report.policies
    ]
    create_table_artifact(table=rows, key="attempts", description=f"Attempts in {report.directory}, by policy")


if __name__ == "__main__":
    run_from_command_line(collect_trajectories)
