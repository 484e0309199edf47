"""Which attempts there are: the questions of a run or a release, every policy, so many tries each.

A rollout directory is a run directory of its own kind:

    rollouts/
      plan.json                     config, snapshot, the questions and their digest; written first
      shards/shard-0000-0064.parquet   all attempts at questions 0 to 63, with the pairs made of them
      trajectories.parquet  preferences.parquet
      manifest.json                 last: the rest is whole

A shard holds whole questions, so siblings are compared where they were made and a resume repeats nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datagen import storage
from datagen.config import DatagenConfig
from datagen.config.rollouts import RolloutsConfig
from datagen.errors import ConfigError, RunDirectoryError, boundary
from datagen.pipeline.casting import prompt_book
from datagen.pipeline.trained import with_checkpoint_digests
from datagen.records.ids import content_id
from datagen.records.question_rows import ANSWER_COLUMNS
from datagen.runs.directory import CONFIG_NAME
from datagen.runs.shards import Row
from datagen.runs.workers import Block
from datagen.web.snapshot import Snapshot

PLAN_NAME = "plan.json"
PLAN_VERSION = 1
LIVE_HINT = "rollouts need a frozen snapshot; point web.snapshot at the one that the run sealed."
QUESTION_COLUMNS = ["id", "question", *ANSWER_COLUMNS, "recipe", "certificate", "evidence", "hops", "tree"]
RULES = "rules"
"""The labeller that is no model."""
TIMING_ONLY = ("shard_size",)
"""Keys of the section that change no row."""


@dataclass(frozen=True, slots=True)
class RolloutPlan:
    """An open rollout directory."""

    directory: str
    config: DatagenConfig
    snapshot: str
    """Digest of the snapshot that is searched."""
    questions: tuple[str, ...]
    """Parquet files of the questions table, in order."""
    total: int
    """Questions that are attempted."""
    digest: str
    """Identity of the attempts: equal digests give equal rows."""

    @property
    def settings(self) -> RolloutsConfig:
        return self.config.rollouts or RolloutsConfig()

    @property
    def attempts(self) -> int:
        return self.total * len(self.settings.policies) * self.settings.attempts

    def blocks(self) -> list[Block]:
        """Shards as ranges of questions; they depend on the plan alone."""
        size = max(1, self.settings.shard_size // (len(self.settings.policies) * self.settings.attempts))
        return [Block(first, min(first + size, self.total)) for first in range(0, self.total, size)]


def plan_rollouts(source: str, config: DatagenConfig, directory: str) -> RolloutPlan:
    """Plan attempts at the questions of a run directory or a release folder, or go on with those that were planned.

    Raises `RunDirectoryError` where the directory holds attempts that another config would make, naming what differs.
    """
    config = with_policies(config)
    snapshot = Snapshot.open(Path(config.web.snapshot)).digest
    files = question_files(source)
    ids = [str(row) for file in files for row in storage.read_parquet(file, ["id"])["id"].to_pylist()]
    settings = config.rollouts or RolloutsConfig()
    total = min(len(ids), settings.questions or len(ids))
    if not total:
        raise RunDirectoryError(
            f"{source} has no questions to attempt; `datagen report {source}` shows what became of them."
        )
    identity = _identity(config, snapshot, ids[:total])
    plan = RolloutPlan(directory, config, snapshot, files, total, content_id("ro1", identity))
    url = storage.join(directory, PLAN_NAME)
    if storage.exists(url):
        _refuse_another(directory, storage.read_json(url), identity)
    storage.write_json(url, {"version": PLAN_VERSION, "identity": identity} | _saved(plan))
    return plan


def open_plan(directory: str) -> RolloutPlan:
    """The plan of a rollout directory."""
    url = storage.join(directory, PLAN_NAME)
    if not storage.exists(url):
        raise RunDirectoryError(
            f"{directory} holds no attempts. Make some with `datagen rollout RUN --out {directory}`."
        )
    raw = storage.read_json(url)
    if raw.get("version") != PLAN_VERSION:
        raise RunDirectoryError(
            f"{directory} was made by another version of this program; choose another folder with --out."
        )
    with boundary(RunDirectoryError, f"{url} is not a plan of this program; choose another folder with --out"):
        config = DatagenConfig.model_validate(raw["config"])
    return RolloutPlan(directory, config, raw["snapshot"], tuple(raw["questions"]), raw["total"], raw["digest"])


def rollouts_of(config: DatagenConfig) -> str:
    """Where the attempts at the questions of a config's own run lie."""
    return storage.join(config.run.directory, "rollouts")


def question_files(source: str) -> tuple[str, ...]:
    """The files with the questions of a finished run, or of a release, in order."""
    table = storage.join(source, "questions.parquet")
    if storage.exists(table):
        return (table,)
    folder = storage.join(source, "data", "qa")
    names = storage.list_names(folder, ".parquet") if storage.exists(folder) else []
    if not names:
        what = "has not finished" if storage.exists(storage.join(source, CONFIG_NAME)) else "is no run and no release"
        raise RunDirectoryError(f"{source} {what}; give a run directory that is done, or a release folder.")
    return tuple(storage.join(folder, name) for name in names)


def read_questions(plan: RolloutPlan, first: int, stop: int) -> list[Row]:
    """Rows of the questions table by number, over all files, with what grading needs."""
    rows: list[Row] = []
    position = 0
    for file in plan.questions:
        table = storage.read_parquet(file, QUESTION_COLUMNS)
        low, high = max(first, position), min(stop, position + table.num_rows)
        if low < high:
            rows += table.slice(low - position, high - low).to_pylist()
        position += table.num_rows
    return rows


def with_policies(config: DatagenConfig) -> DatagenConfig:
    """The config with models and checkpoints among the policies as players of the role "policy", and with the digests of
    prompts and weights as they are.
    """
    from datagen.agents.symbolic.policies import SYMBOLIC_POLICIES

    if config.web.live is not None:
        raise ConfigError(LIVE_HINT)
    cast, settings = config.cast, config.rollouts or RolloutsConfig()
    models = tuple(name for name in settings.policies if name not in SYMBOLIC_POLICIES)
    labellers = () if settings.labeller == RULES else (settings.labeller,)
    unknown = [name for name in models if name not in cast.models and name not in cast.checkpoints]
    if unknown or not settings.policies:
        known = ", ".join((*SYMBOLIC_POLICIES, *cast.models, *cast.checkpoints))
        raise ConfigError(f"rollouts.policies names {', '.join(unknown) or 'nobody'}; there are {known}.")
    if any(name not in cast.models for name in labellers):
        known = ", ".join((RULES, *cast.models))
        raise ConfigError(f"rollouts.labeller names {settings.labeller}; there are {known}.")
    played = {role: names for role, names in (("policy", models), ("labeller", labellers)) if names}
    if not played:
        return config
    cast = with_checkpoint_digests(cast.model_copy(update={"kind": "llm", "roles": cast.roles | played}))
    config = config.model_copy(update={"cast": cast})
    cast = cast.model_copy(update={"prompt_digests": prompt_book(config).digests()})
    return config.model_copy(update={"cast": cast})


def _identity(config: DatagenConfig, snapshot: str, ids: list[str]) -> dict[str, Any]:
    """What decides the rows, by names that a refusal can give."""
    settings = (config.rollouts or RolloutsConfig()).model_dump(mode="json")
    cast = config.cast
    played = {
        name: cast.models[name].model_dump(mode="json")
        for name in sorted({*cast.players("policy"), *cast.players("labeller"), *cast.players("judge")})
    }
    trained = {name: cast.checkpoints[name].model_dump(mode="json") for name in cast.trained("policy")}
    return {
        "questions": content_id("ids", {"ids": ids}),
        "snapshot": snapshot,
        "models": played,
        **({"checkpoints": trained} if trained else {}),
        "prompts": {name: cast.prompt_digests.get(name, "") for name in ("rollout", "step_labels", "same_answer")}
        if played
        else {},
        **{f"rollouts.{key}": value for key, value in settings.items() if key not in TIMING_ONLY},
    }


def _saved(plan: RolloutPlan) -> dict[str, Any]:
    return {
        "config": plan.config.model_dump(mode="json"),
        "snapshot": plan.snapshot,
        "questions": list(plan.questions),
        "total": plan.total,
        "digest": plan.digest,
    }


def _refuse_another(directory: str, saved: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    before = saved.get("identity", {})
    changed = sorted(key for key in before.keys() | identity.keys() if before.get(key) != identity.get(key))
    if changed:
        raise RunDirectoryError(
            f"{directory} holds attempts of another plan (changed: {', '.join(changed)}). Choose another folder with --out, "
            f"or remove it with `rm -r {directory}`."
        )
