"""How flows run: which task runner a config asks for, and flows as commands."""

from __future__ import annotations

from typing import Any

from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner

from datagen.config import RunSection
from datagen.runs.workers import end_with_parent


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
        from prefect_ray import RayTaskRunner
    except ImportError as exc:
        raise ImportError('run.runner = "ray" needs prefect-ray: pip install "datagen[ray]"') from exc
    return RayTaskRunner(init_kwargs={"num_cpus": workers})


def _dask(workers: int) -> TaskRunner[Any]:
    try:
        from prefect_dask import DaskTaskRunner
    except ImportError as exc:
        raise ImportError('run.runner = "dask" needs prefect-dask: pip install "datagen[dask]"') from exc
    return DaskTaskRunner(cluster_kwargs={"n_workers": workers, "threads_per_worker": 1})
