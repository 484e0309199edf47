"""A trained policy in the cast of the next run: what changes in the config, and what comes out of its tries.

The policy guesses, beside the corpus's own prior, so that the no-search check is made with a real model; and it solves,
several times per accepted question, which stops nothing: the share that succeeds is how hard the question is for it. The
programs go on deciding what is accepted.
"""

from __future__ import annotations

from typing import Any

from datagen import storage
from datagen.config import DatagenConfig
from datagen.pipeline.rollout_plan import question_files

PLAYER = "trained"
"""The policy's name in the cast."""
TRIES = 4
SUFFIX = "played"


def played_overlays(config: DatagenConfig, model: str) -> tuple[str, ...]:
    """What to lay over the config that the policy was trained under: small, in folders of its own, another seed.

    A checkpoint of the name `trained` that the config has already keeps its other settings, such as its tries.
    """
    given = config.cast.checkpoints.get(PLAYER)
    tries = TRIES if given is None or not given.tries else given.tries
    target = ", ".join(f"{recipe} = {min(count, 10)}" for recipe, count in config.run.target.items())
    return (
        "cast.kind=llm",
        f'cast.checkpoints.{PLAYER}.path="{model}"',
        f"cast.checkpoints.{PLAYER}.tries={tries}",
        f'cast.roles.solver=["symbolic", "{PLAYER}"]',
        f'cast.roles.guesser=["symbolic", "{PLAYER}"]',
        f'run.directory="{config.run.directory}-{SUFFIX}"',
        f'release.directory="{config.release.directory}-{SUFFIX}"',
        f"run.seed={config.run.seed + 1}",
        f"run.target={{{target}}}",
        "rollouts=none",
    )


def difficulty_rows(source: str, name: str = PLAYER) -> list[dict[str, Any]]:
    """(question, tries, success rate) of every question of a run or a release that a solver of this name tried."""
    rows = []
    for file in question_files(source):
        for row in storage.read_parquet(file, ["id", "question", "attempts"]).to_pylist():
            tries = [attempt for attempt in row["attempts"] or () if attempt["solver"] == name]
            graded = [attempt["correct"] for attempt in tries if attempt["correct"] is not None]
            if graded:
                rate = sum(graded) / len(graded)
                rows.append({"id": row["id"], "question": row["question"], "tries": len(graded), "success_rate": rate})
    return rows
