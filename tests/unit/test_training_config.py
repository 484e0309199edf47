"""The section on training: what it refuses, what a stage changes, and what a resume may change."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import get_args

import pytest
from pydantic import BaseModel

from datagen.config import DatagenConfig, changed_keys, load_config, parse_config
from datagen.config.reinforcement import RlConfig, StageConfig
from datagen.config.training import NOT_TRAINING_IDENTITY, TrainingConfig, changed_training_keys
from datagen.errors import ConfigError
from datagen.pipeline.casting import with_prompts
from datagen.pipeline.trained import open_trained


def training(text: str, *overlays: str) -> TrainingConfig:
    config = parse_config(text, "test.toml", overlays).training
    assert config is not None
    return config


def test_training_is_left_out_by_default_and_changes_no_row():
    assert DatagenConfig().training is None
    assert parse_config("", "a", ["training.sft.updates=3"]).digest == DatagenConfig().digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[training]\nseed = 1", "nothing is trained"),
        ("[training.sft]\nupdate = 1", r"unknown key `update` in \[training.sft\]; did you mean `updates`\?"),
        ("[training.rl]\nattempts = 1", "training.rl.attempts"),
        ("[training.rl]\nquestions = 2\nminibatches = 3", "3 minibatches cannot be made of 2 questions"),
        ("[training.rl]\nstages = []", "stages need names"),
        ("[training.rl]\nstages = [{name = 'a'}, {name = 'a'}]", "stages need names, each another one; they are a, a"),
        ("[training.sft]\n[training.engine]\nkind = 'server'", "needs urls"),
        ("[training.sft.optimizer]\nbetas = [0.9, 1.0]", "betas are at least 0 and below 1"),
        (
            "[training.sft]\n[training.evaluation]\nsets = [{name='a', questions='q'}, {name='a', questions='r'}]",
            "each another one; they are a, a",
        ),
        ("[[training.rl.stages]]\nname = 'a'\nrewards = 'step'", "did you mean `reward`"),
    ],
)
def test_a_faulty_section_is_refused_in_a_sentence(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_config(text, "test.toml")


def test_a_stage_lays_its_settings_over_the_section():
    rl = RlConfig(
        overrides={"clip_high": 0.28},
        stages=(
            StageConfig(name="vanilla"),
            StageConfig(
                name="steps",
                reward="step",
                algorithm="grpo",
                overrides={"kl": 0.1},
                temperature=1.4,
                learning_rate=2e-6,
            ),
        ),
    )

    first, second = rl.stage(0), rl.stage(1)

    assert (first.reward, first.algorithm, first.overrides) == ("vanilla", "rapo", {"clip_high": 0.28})
    assert (second.reward, second.algorithm) == ("step", "grpo")
    assert second.overrides == {"clip_high": 0.28, "kl": 0.1}
    assert (second.sampling.temperature, second.optimizer.learning_rate) == (1.4, 2e-6)
    assert second.sampling.turns == rl.sampling.turns
    assert [stage.name for stage in second.stages] == ["steps"]


@pytest.mark.parametrize(
    "overlay",
    ["training.directory=x", "training.checkpoints.keep=9", "training.evaluation.every=3", "training.threads=2"],
)
def test_what_cannot_change_a_weight_may_change_on_a_resume(overlay):
    base = "[training.sft]"

    assert changed_training_keys(training(base), training(base, overlay)) == []


@pytest.mark.parametrize(
    "overlay",
    ["training.seed=8", "training.sft.optimizer.learning_rate=0.5", "training.rl.reward=step", "training.model.path=x"],
)
def test_what_changes_a_weight_is_named_when_a_resume_is_refused(overlay):
    base = "[training.sft]\n[training.rl]"

    assert changed_training_keys(training(base), training(base, overlay)) == [
        overlay.partition("=")[0].removeprefix("training.")
    ]


def test_setting_one_key_of_an_optimiser_leaves_the_others_as_they_were():
    sft = training("[training.sft]", "training.sft.optimizer.learning_rate=0.5").sft
    rl = training("[training.rl]", "training.rl.optimizer.warmup=3").rl

    assert sft is not None
    assert rl is not None
    assert (sft.optimizer.learning_rate, sft.optimizer.schedule, sft.optimizer.warmup) == (0.5, "cosine", 20)
    assert (rl.optimizer.learning_rate, rl.optimizer.warmup) == (1e-6, 3)


def sections(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for field in model.model_fields.values():
        annotation = field.annotation
        for inner in (annotation, *get_args(annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from sections(inner)


def test_every_key_is_described_under_it():
    bare = [
        f"{section.__name__}.{name}"
        for section in sections(TrainingConfig)
        for name, field in section.model_fields.items()
        if not field.description
        and not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel))
    ]

    assert bare == []


def test_every_key_left_out_of_identity_exists():
    known = {".".join(part) for part in _keys(TrainingConfig)}

    assert set(NOT_TRAINING_IDENTITY) <= known


def _keys(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        yield (name,)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from ((name, *rest) for rest in _keys(field.annotation))


def test_the_shipped_recipe_has_fathoms_two_stages_and_figures():
    config = load_config("train_qwen3_4b").training
    assert config is not None
    assert config.rl is not None

    first, second = config.rl.stage(0), config.rl.stage(1)

    assert (first.reward, first.stages[0].epochs, second.reward, second.stages[0].epochs) == ("vanilla", 10, "step", 2)
    assert (config.rl.questions, config.rl.questions // config.rl.minibatches, config.rl.attempts) == (32, 16, 5)
    assert (config.rl.optimizer.learning_rate, config.rl.optimizer.betas) == (1e-6, (0.9, 0.95))
    assert (first.sampling.temperature, first.sampling.turns, first.sampling.turn_tokens) == (1.4, 32, 8192)
    knobs = second.step_reward
    assert (knobs.c1, knobs.c2, knobs.search_cap, knobs.query_cap, knobs.verifications) == (0.2, 0.2, 8, 16, 1)


CHECKPOINT = 'cast.checkpoints.searcher.path="out/train/demo/model"'


def test_a_checkpoint_plays_beside_models_and_programs():
    roles = ["cast.kind=llm", "cast.roles.solver=searcher", 'cast.roles.guesser=["symbolic", "searcher"]']

    cast = load_config("demo", [CHECKPOINT, *roles]).cast

    assert (cast.trained("solver"), cast.trained("guesser"), cast.players("solver")) == (
        ("searcher",),
        ("searcher",),
        (),
    )


@pytest.mark.parametrize(
    ("overlay", "sentence"),
    [
        ("cast.roles.solver=seeker", "roles.solver names 'seeker', and there is only searcher"),
        ("cast.roles.judge=searcher", "roles.judge names the checkpoint 'searcher', and checkpoints play guesser, pol"),
        ("cast.checkpoints.searcher.opened_by=nothing", "opened_by"),
    ],
)
def test_a_checkpoint_that_cannot_play_is_refused_with_a_sentence(overlay, sentence):
    with pytest.raises(ConfigError, match=sentence):
        load_config("demo", [CHECKPOINT, "cast.kind=llm", overlay])


def test_the_weights_are_part_of_what_makes_the_rows(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"one")
    overlays = [f'cast.checkpoints.searcher.path="{tmp_path}"', "cast.kind=llm", "cast.roles.solver=searcher"]
    before = with_prompts(load_config("demo", overlays))
    (tmp_path / "model.safetensors").write_bytes(b"two")
    after = with_prompts(load_config("demo", overlays))

    assert changed_keys(before, after) == ["cast.checkpoints.searcher.digest"]
    with pytest.raises(ConfigError, match=r"weights in .* are others"):
        open_trained(before.cast, "searcher")


def test_a_folder_without_weights_cannot_play(tmp_path):
    overlays = [f'cast.checkpoints.searcher.path="{tmp_path}"', "cast.kind=llm", "cast.roles.solver=searcher"]

    with pytest.raises(ConfigError, match="holds no"):
        with_prompts(load_config("demo", overlays))


def test_reading_a_config_loads_no_model_runtime():
    code = "import sys, datagen.config; print([m for m in ('torch', 'transformers') if m in sys.modules])"

    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_none_leaves_a_part_out_and_stays_a_word_where_it_is_one():
    from datagen.training.stages import algorithm_of

    def algorithm(**overrides):
        return algorithm_of(RlConfig(algorithm="rapo", overrides=overrides))

    assert algorithm().prune is not None
    assert algorithm(prune="none").prune is None
    assert algorithm(**{"advantage.scale": "none"}).advantage.scale == "none"
    assert algorithm(advantage={"scale": "none"}).advantage.scale == "none"
    assert algorithm(loss={"dual_clip": "none", "clip_high": 0.3}).loss.dual_clip is None
