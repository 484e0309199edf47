"""Configs: closed to unknown keys, with a digest that knows what can change a row."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from datagen.config import NOT_IDENTITY, DatagenConfig, Section, changed_keys, load_config, parse_config
from datagen.errors import ConfigError

PRESETS = sorted((Path(__file__).parents[2] / "data" / "presets").glob("*.toml"))


def parse(text: str, *overlays: str) -> DatagenConfig:
    return parse_config(text, "test.toml", overlays)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[run]\nsede = 1", r"test.toml: unknown key `sede` in \[run\]; did you mean `seed`\?"),
        ("[runn]\nseed = 1", r"unknown key `runn` in the top level; did you mean `run`\?"),
        ("[run]\nzzz = 1", r"unknown key `zzz` in \[run\]; valid keys are directory, "),
        ("[gates.sources.duetqa]\nmin_host = 2", r"in \[gates.sources.duetqa\]; did you mean `min_hosts`\?"),
        ("[recipes.infoseek]\naskshare = 1", r"in \[recipes.infoseek\]; did you mean `ask_share`\?"),
        ("[run]\nworkers = 0", "run.workers: Input should be greater than or equal to 1"),
        ("[run]\ntarget = {infoseek = 0}", "run.target: at least one recipe must have a target above 0"),
        ("[run]\ntarget = {trivia = 5}", "run.target.trivia"),
        ('[recipes.duetqa]\ncutoff = "May 2025"', "recipes.duetqa.cutoff"),
        ("run = 3", "run: Input should be"),
        ("[run", "test.toml is not TOML"),
    ],
)
def test_a_fault_names_the_file_the_section_the_key_and_the_closest_valid_key(text, message):
    with pytest.raises(ConfigError, match=message):
        parse(text)


def test_a_missing_or_binary_file_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")

    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(tmp_path / "binary.toml")


def test_a_preset_is_found_by_its_name_even_beside_a_folder_of_that_name(tmp_path, monkeypatch):
    (tmp_path / "pages").mkdir()
    monkeypatch.chdir(tmp_path)

    assert load_config("pages").release.directory == "out/pages/release"
    (tmp_path / "mine.toml").write_text("[run]\nseed = 3\n")
    assert load_config("mine.toml").run.seed == 3


def test_flags_overlay_the_file():
    config = parse(
        "[run]\nseed = 1\nworkers = 1", "run.seed=5", "run.runner=serial", "run.target.duetqa=3", 'release.name="A b"'
    )

    assert (config.run.seed, config.run.runner, config.run.workers) == (5, "serial", 1)
    assert config.run.target == {"duetqa": 3}
    assert config.release.name == "A b"


def test_a_section_that_may_be_missing_is_begun_by_a_key_and_left_out_by_none():
    config = parse("", "rollouts.attempts=3")
    assert config.rollouts is not None
    assert config.rollouts.attempts == 3
    assert parse("[rollouts]\nattempts = 2", "rollouts=none").rollouts is None


@pytest.mark.parametrize("overlay", ["seed", "=3", "run.seed.deep=3"])
def test_an_overlay_of_another_form_is_refused(overlay):
    with pytest.raises(ConfigError, match="--set"):
        parse("[run]\nseed = 1", overlay)


def test_the_digest_is_the_same_in_every_process_and_for_every_order_of_keys():
    program = "from datagen.config import DatagenConfig; print(DatagenConfig().digest)"
    seen = {
        subprocess.check_output([sys.executable, "-c", program], env=os.environ | {"PYTHONHASHSEED": seed}, text=True)
        for seed in ("1", "2")
    }

    assert seen == {f"{DatagenConfig().digest}\n"}
    assert parse("[run]\nseed = 1\nwave_size = 9").digest == parse("[run]\nwave_size = 9\nseed = 1").digest


@pytest.mark.parametrize(
    "overlay",
    ["run.workers=4", "run.shard_size=5", "run.runner=serial", "run.directory=x", "web.snapshot=y", "release.name=z"],
)
def test_what_cannot_change_a_row_is_not_identity(overlay):
    assert parse("").digest == parse("", overlay).digest
    assert changed_keys(parse(""), parse("", overlay)) == []


@pytest.mark.parametrize(
    "overlay",
    ["run.seed=8", "run.wave_size=100", "run.target.duetqa=3", "recipes.infoseek.depth.2=0.5", "gates.min_documents=3"],
)
def test_what_can_change_a_row_is_identity_and_is_named(overlay):
    assert parse("").digest != parse("", overlay).digest
    assert overlay.partition("=")[0] in changed_keys(parse(""), parse("", overlay))


def test_a_config_survives_being_saved_as_json():
    config = parse("", "run.seed=8", "recipes.infoseek.depth.4=1.0", 'web.sources=["a.zim"]')

    assert DatagenConfig.model_validate(config.model_dump(mode="json")) == config
    assert DatagenConfig.model_validate_json(config.model_dump_json()) == config


def every_key(model: type[BaseModel], prefix: str = "") -> set[str]:
    keys: set[str] = set()
    for name, field in model.model_fields.items():
        keys.add(f"{prefix}{name}")
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys |= every_key(field.annotation, f"{prefix}{name}.")
    return keys


def test_every_key_left_out_of_identity_exists_and_has_a_reason():
    assert set(NOT_IDENTITY) <= every_key(DatagenConfig)
    assert all(NOT_IDENTITY.values())


def test_every_field_is_described_under_the_field():
    def sections(model: type[BaseModel]) -> list[type[BaseModel]]:
        inner = [f.annotation for f in model.model_fields.values()]
        found = [a for a in inner if isinstance(a, type) and issubclass(a, Section)]
        return [*found, *(s for f in found for s in sections(f))]

    bare = [
        f"{section.__name__}.{name}"
        for section in sections(DatagenConfig)
        for name, field in section.model_fields.items()
        if not field.description and not (isinstance(field.annotation, type) and issubclass(field.annotation, Section))
    ]

    assert bare == []


@pytest.mark.parametrize("path", PRESETS, ids=lambda p: p.stem)
def test_every_preset_is_a_valid_config(path):
    assert load_config(path).run.target
