"""From a config to the stages of a training, each opened when its turn comes.

[training.sft]                            00-sft
[training.dpo]                            01-dpo
[[training.rl.stages]] name = "vanilla"   02-rl.vanilla
[[training.rl.stages]] name = "steps"     03-rl.steps
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from datagen import storage
from datagen.config import DatagenConfig, TrainingConfig
from datagen.config.learner import OptimizerConfig
from datagen.config.reinforcement import RlConfig, SamplingConfig
from datagen.training.assembly import pool_settings, replay_store
from datagen.training.checkpoints import STATE_NAME
from datagen.training.course import DONE_NAME, Loop, StageFolder
from datagen.training.curriculum import QuestionPool
from datagen.training.demonstrations import Demonstrations, Preferences
from datagen.training.distributed import World, sharding
from datagen.training.dpo import PreferenceLearning
from datagen.training.engine_room import EngineRoom
from datagen.training.engines.timing import TimedWeb
from datagen.training.episodes import Episodes
from datagen.training.evaluating import evaluate_policy
from datagen.training.grading import NAMES, Grader, assessor_of, reward_form
from datagen.training.learner import Learner
from datagen.training.models import Precision
from datagen.training.objectives.presets import Algorithm, preset
from datagen.training.optimizers import OptimizerSettings
from datagen.training.policy_folder import TrainedPolicy
from datagen.training.questions import QuestionSet, open_questions
from datagen.training.reinforce import Reinforcement, Stage, episode_limits
from datagen.training.renaming import Renamer
from datagen.training.replay import ReplayStore
from datagen.training.sft import Imitation
from datagen.training.state_files import read_state

QUESTIONS_NAME = "questions.json"
LEFT_OUT = "none"
"""In overrides: a part of the preset that is left out, for TOML has no word for it."""


@dataclass(frozen=True, slots=True)
class Place:
    """What stages are opened with."""

    config: DatagenConfig
    section: TrainingConfig
    policy: TrainedPolicy
    room: EngineRoom
    run: Path
    world: World


@dataclass(frozen=True, slots=True)
class StagePlan:
    """A stage that is not opened yet."""

    name: str
    folder: StageFolder
    open: Callable[[Place, int], Loop]
    """With the updates that the weights have seen before it."""


def plan_stages(section: TrainingConfig) -> list[StagePlan]:
    """The stages in their order."""
    openers: list[tuple[str, Callable[[Place, int], Loop]]] = []
    if section.sft is not None:
        openers.append(("sft", _open_sft))
    if section.dpo is not None:
        openers.append(("dpo", _open_dpo))
    for number, stage in enumerate(section.rl.stages if section.rl is not None else ()):
        openers.append((f"rl.{stage.name}", _RlOpener(number, len(openers))))
    return [
        StagePlan(name, StageFolder.of(section.directory, number, name), opener)
        for number, (name, opener) in enumerate(openers)
    ]


def updates_in(plan: StagePlan) -> int:
    """Updates of the weights that a finished stage made."""
    return int(storage.read_json(str(plan.folder.path / DONE_NAME))["weights"])


def _open_sft(place: Place, _first_version: int) -> Loop:
    section = place.section.sft
    assert section is not None, "planned only where it is there"
    learner = learner_of(place, section.optimizer, section.tokens_per_bin, total=section.updates)
    data, framing, seed = place.section.data, place.policy.framing, place.section.seed
    renamer = Renamer.of(place.config.web.snapshot) if data.rename else None
    return Imitation(section, learner, Demonstrations(data, framing, seed=seed, renamer=renamer), seed=seed)


def _open_dpo(place: Place, _first_version: int) -> Loop:
    section = place.section.dpo
    assert section is not None, "planned only where it is there"
    learner = learner_of(place, section.optimizer, section.tokens_per_bin, total=section.updates)
    seed = place.section.seed
    preferences = Preferences(place.section.data, place.policy.framing, section.rules, seed=seed)
    return PreferenceLearning(section, learner, preferences)


@dataclass(frozen=True, slots=True)
class _RlOpener:
    """Opens one stage of reinforcement."""

    number: int
    """Among the stages of reinforcement."""
    place: int
    """Among all stages."""

    def __call__(self, place: Place, first_version: int) -> Loop:
        assert place.section.rl is not None, "planned only where it is there"
        section = place.section.rl.stage(self.number)
        asked = section.stages[0]
        folder = StageFolder.of(place.section.directory, self.place, f"rl.{asked.name}")
        algorithm = algorithm_of(section)
        grader = Grader(assessor_of(section.step_reward), reward_form(section.reward), policy=place.section.directory)
        questions = self._questions(place, section)
        episodes = Episodes(
            TimedWeb(questions.web), place.policy.framing, episode_limits(section.sampling), grader.grade, grader.worth
        )
        stage = Stage(
            f"rl.{asked.name}", section, algorithm, place.section.seed, first_version, questions, grader, episodes,
            place.room,
        )  # fmt: skip
        chosen = _chosen(stage, folder)
        pool = QuestionPool(
            chosen,
            # A pool that is almost solved goes on in whole batches.
            pool_settings(algorithm, batch=section.questions, seed=place.section.seed, min_pool=section.questions),
        )
        total = max(1, stage_updates(section, len(chosen))) * section.minibatches
        learner = learner_of(
            place, section.optimizer, section.tokens_per_bin, total=total, temperature=section.sampling.temperature
        )
        store = replay_store(algorithm, seed=place.section.seed)
        if store is not None and asked.carry_replay and self.number:
            before = place.section.rl.stage(self.number - 1)
            left = StageFolder.of(place.section.directory, self.place - 1, f"rl.{before.stages[0].name}")
            _carry(store, left, section.reward, before=before.reward)
        return Reinforcement(stage, learner, pool, store)

    def _questions(self, place: Place, section: RlConfig) -> QuestionSet:
        data = place.section.data
        return open_questions(
            section.stages[0].releases or data.releases,
            split=data.split,
            snapshot=place.config.web.snapshot,
            recipes=data.recipes,
        )


def algorithm_of(section: RlConfig) -> Algorithm:
    """The preset with what the config lays over it."""
    return preset(section.algorithm, **{name: _plain(name, value) for name, value in section.overrides.items()})


def _plain(name: str, value: Any) -> Any:
    """An override as the preset takes it, at any depth. How advantages are scaled has a "none" of its own."""
    if isinstance(value, Mapping):
        return {key: _plain(key, inner) for key, inner in value.items()}
    return None if value == LEFT_OUT and name.rpartition(".")[2] != "scale" else value


def stage_updates(section: RlConfig, questions: int) -> int:
    """Batches that a stage makes if nothing is pruned."""
    asked = section.stages[0]
    if asked.updates is None and asked.epochs is not None:
        return math.ceil(asked.epochs * math.ceil(questions / section.questions))
    return section.updates


def learner_of(
    place: Place, optimizer: OptimizerConfig, tokens_per_bin: int, *, total: int, temperature: float = 1.0
) -> Learner:
    """A learner of one stage; its optimiser begins anew."""
    model = place.section.model
    settings = OptimizerSettings(
        kind=optimizer.kind,
        learning_rate=optimizer.learning_rate,
        muon_learning_rate=optimizer.muon_learning_rate,
        betas=optimizer.betas,
        weight_decay=optimizer.weight_decay,
        schedule=optimizer.schedule,
        warmup=optimizer.warmup,
        total=total,
        floor=optimizer.floor,
    )
    return Learner(
        place.policy.model,
        optimizer=settings,
        tokens_per_bin=tokens_per_bin,
        clip_norm=optimizer.clip_norm,
        precision=precision_of(place.section),
        temperature=temperature,
        checkpointing=model.checkpointing,
        **sharding(place.world, precision_of(place.section)),
    )


def precision_of(section: TrainingConfig) -> Precision:
    """Auto is bfloat16 on a GPU."""
    asked = section.model.precision
    if asked != "auto":
        return asked
    on_gpu = section.model.device.startswith("cuda") or (section.model.device == "auto" and torch.cuda.is_available())
    return "bfloat16" if on_gpu else "float32"


def _chosen(stage: Stage, folder: StageFolder) -> Sequence[str]:
    """The questions of the stage: all, or those that the weights it begins with leave open, decided once."""
    below = stage.section.stages[0].unsolved_below
    if below is None:
        return list(stage.questions.tasks)
    file = str(folder.path / QUESTIONS_NAME)
    if not stage.room.world.lead(lambda: storage.exists(file)):
        stage.room.renew(stage.first_version, anew=True)
        stage.room.world.lead(lambda: _choose(stage, below, file))
    return list(storage.read_json(file)["questions"])


def _choose(stage: Stage, below: float, file: str) -> None:
    """Try every question, and write down those that are open."""
    record = stage.room.wait(
        evaluate_policy(
            stage.room.engine,
            stage.episodes,
            stage.questions.tasks.values(),
            mode="sampled",
            seed=stage.seed,
            attempts=stage.section.attempts,
            at_once=stage.section.sampling.in_flight,
            policy=stage.name,
        )
    )
    kept = [name for name in stage.questions.tasks if record.per_question.get(name, 0.0) < below]
    storage.write_json(file, {"below": below, "questions": kept or list(stage.questions.tasks)})


def _carry(store: ReplayStore, folder: StageFolder, reward: str, *, before: str) -> None:
    """Take over what the stage of `folder` kept, each success with its reward under the form of this stage.

    `before` is the form of that stage. A function of one's own is not asked again: under another form than its own, a
    success has no reward, and stays behind.
    """
    done: Mapping[str, Any] = storage.read_json(str(folder.path / DONE_NAME))
    state = read_state(folder.checkpoints / str(done["checkpoint"]), STATE_NAME)["parts"].get("replay")
    if state is None:
        return
    column = NAMES.get(reward, reward)
    store.take_over(state, lambda kept: kept.reward if reward == before else kept.rewards.get(column))


def sampling_of(section: TrainingConfig) -> SamplingConfig:
    """What an attempt may spend while a policy is measured."""
    if section.evaluation.sampling is not None:
        return section.evaluation.sampling
    return section.rl.sampling if section.rl is not None else SamplingConfig()


def in_flight(section: TrainingConfig) -> int:
    """Attempts under way at once, at most: while a policy learns, or while it is measured."""
    learning = 0 if section.rl is None else section.rl.sampling.in_flight
    return max(learning, sampling_of(section).in_flight)
