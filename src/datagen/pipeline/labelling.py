"""Two labellers over the same attempts: the rules' labels, which the rows carry, beside those of a model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from datagen import storage
from datagen.agents.llm.voice import Voice
from datagen.config import overlay_config
from datagen.errors import ConfigError, RetriesExhaustedError, UnusableReplyError
from datagen.pipeline.calling import model_spec, open_service
from datagen.pipeline.casting import prompt_book
from datagen.pipeline.rolling import read_rollouts_manifest
from datagen.pipeline.rollout_plan import RULES, open_plan
from datagen.records.trajectory import StepLabel
from datagen.records.trajectory_rows import events_of
from datagen.rollouts.agreement import Agreement
from datagen.rollouts.llm_labels import LlmLabeller
from datagen.runs.shards import Row

COLUMNS = ["question", "events", "step_labels"]


@dataclass(frozen=True, slots=True)
class Compared:
    """How far the two agree, over how many attempts; `failed` had no usable labels from the model."""

    agreement: Agreement
    attempts: int
    failed: int


def compare_labellers(directory: str, labeller: str, attempts: int, overlays: Iterable[str] = ()) -> Compared:
    """Label every n-th attempt of a rollout directory anew, by a model of the cast."""
    plan = open_plan(directory)
    read_rollouts_manifest(directory)
    config = overlay_config(plan.config, list(overlays))
    if plan.settings.labeller != RULES:
        raise ConfigError(
            f"{directory} was labelled by {plan.settings.labeller} already; compare with attempts labelled by rules."
        )
    if labeller not in config.cast.models:
        raise ConfigError(f"the cast has no model {labeller!r}; name a cast with --set cast.file=FILE.")
    cast = config.cast.model_copy(update={"kind": "llm", "roles": {"labeller": (labeller,)}})
    config = config.model_copy(update={"cast": cast})
    client = open_service(config, directory)
    voice = Voice(client, model_spec(labeller, cast.models[labeller]), "labeller", prompt_book(config))
    model = LlmLabeller(voice, verifications=plan.settings.step_reward.verifications)
    rows = _spread(storage.read_parquet(storage.join(directory, "trajectories.parquet"), COLUMNS).to_pylist(), attempts)
    with ThreadPoolExecutor(cast.concurrency, thread_name_prefix="labels") as threads:
        labelled = list(threads.map(lambda row: _by_model(model, row), rows))
    pairs = [(_by_rules(row), labels) for row, labels in zip(rows, labelled, strict=True) if labels is not None]
    return Compared(Agreement.of(pairs), len(rows), len(rows) - len(pairs))


def _spread(rows: Sequence[Row], wanted: int) -> Sequence[Row]:
    return rows[:: max(1, len(rows) // max(1, wanted))][:wanted]


def _by_rules(row: Row) -> tuple[StepLabel, ...]:
    return tuple(StepLabel(**{**label, "claims": tuple(label["claims"] or ())}) for label in row["step_labels"])


def _by_model(model: LlmLabeller, row: Row) -> tuple[StepLabel, ...] | None:
    try:
        return model.label(row["question"], events_of(row["events"]))
    except (UnusableReplyError, RetriesExhaustedError):
        return None
