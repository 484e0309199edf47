"""How often a policy is right: `python -m flows.local evaluate_policy CONFIG --set 'cast.checkpoints.NAME.path="..."'`.

Every checkpoint of the cast is measured on the sets of questions of [training.evaluation], so that policies stand side by
side in one table.
"""

from __future__ import annotations

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from datagen.cli.training import print_evaluations
from datagen.errors import ConfigError
from datagen.training.examining import examine_set
from datagen.training.recording.evaluations import EvaluationRecord
from datagen.training.running import training_of
from flows.requests import RunRequest
from flows.running import run_from_command_line
from flows.train_search_agent import publish_evaluations


@task(task_run_name="measure-{name}-on-{set_name}", cache_policy=NO_CACHE)
def measure(request: RunRequest, name: str, set_name: str) -> list[EvaluationRecord]:
    return examine_set(request.load(), name, set_name)


@flow(name="evaluate-policy")
def evaluate_policy(request: RunRequest) -> str:
    """Measure every checkpoint of the cast on every set of the config; returns how many measurements were made."""
    config = request.load()
    sets = training_of(config).evaluation.sets
    if not config.cast.checkpoints or not sets:
        raise ConfigError(
            "evaluate_policy needs [cast.checkpoints.NAME] and [[training.evaluation.sets]] in the config."
        )
    records = [
        record for name in config.cast.checkpoints for one in sets for record in measure(request, name, one.name)
    ]
    publish_evaluations(records)
    print_evaluations(records)
    return f"{len(records)} measurements"


if __name__ == "__main__":
    run_from_command_line(evaluate_policy)
