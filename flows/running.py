"""How flows run: which task runner a config asks for, and flows as commands."""

from __future__ import annotations

import argparse
from typing import Any

from prefect import Flow
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner
from pydantic import ValidationError

from datagen.cli.console import fail
from datagen.config import RunSection
from datagen.errors import ConfigError, DatagenError
from datagen.runs.workers import end_with_parent
from flows.requests import RunRequest


def task_runner(config: RunSection) -> TaskRunner[Any]:
    """The runner that `run.runner` names, with `run.workers` shards in flight."""
    match config.runner:
        case "serial":
            return ThreadPoolTaskRunner(max_workers=1)
        case "thread":
            return ThreadPoolTaskRunner(max_workers=config.workers)
        case "process":
            return ProcessPoolTaskRunner(max_workers=config.workers, initializer=end_with_parent)
        case "ray":
            return _ray(config.workers)
        case "dask":
            return _dask(config.workers)


def _ray(workers: int) -> TaskRunner[Any]:
    try:
        from prefect_ray.task_runners import RayTaskRunner
    except ImportError as exc:
        raise ImportError('run.runner = "ray" needs prefect-ray: pip install "datagen[ray]"') from exc
    runner: TaskRunner[Any] = RayTaskRunner(init_kwargs={"num_cpus": workers})
    return runner


def _dask(workers: int) -> TaskRunner[Any]:
    try:
        from prefect_dask.task_runners import DaskTaskRunner
    except ImportError as exc:
        raise ImportError('run.runner = "dask" needs prefect-dask: pip install "datagen[dask]"') from exc
    runner: TaskRunner[Any] = DaskTaskRunner(cluster_kwargs={"n_workers": workers, "threads_per_worker": 1})
    return runner


def run_from_command_line(run: Flow[[RunRequest], str]) -> None:
    """`CONFIG [--set section.key=value]...`; exit codes as those of `datagen`."""
    parser = argparse.ArgumentParser(description=run.description or run.name)
    parser.add_argument("config", help="a TOML file, or the name of a preset")
    parser.add_argument("--set", dest="overlays", action="append", default=[], metavar="section.key=value")
    given = parser.parse_args()
    try:
        run(RunRequest(config=given.config, overlays=tuple(given.overlays)))
    except ValidationError as exc:
        raise SystemExit(
            fail(ConfigError("; ".join(error["msg"] for error in exc.errors())), ConfigError.exit_code)
        ) from exc
    except DatagenError as exc:
        raise SystemExit(fail(exc, exc.exit_code)) from exc
