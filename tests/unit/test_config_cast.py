"""A cast stands in the config or in a file of its own, names what exists, and holds no keys."""

from __future__ import annotations

import re

import pytest

from datagen.config import changed_keys, load_config
from datagen.errors import ConfigError
from datagen.records.shipped import shipped_file

LOCAL = f"cast.file={shipped_file('casts/local.toml')}"


@pytest.mark.parametrize("name", sorted(path.name for path in shipped_file("casts").glob("*.toml")))
def test_every_shipped_cast_loads_under_the_demo(name):
    config = load_config("demo", [f"cast.file={shipped_file('casts')}/{name}"])

    assert len(config.cast.players("solver")) == 2


def test_what_the_config_says_goes_before_what_the_cast_file_says():
    config = load_config("demo", [LOCAL, "cast.models.m1.temperature=0.1", "cast.roles.judge=m1"])

    assert (config.cast.models["m1"].temperature, config.cast.models["m1"].endpoint) == (0.1, "local")
    assert (config.cast.roles["judge"], config.cast.roles["writer"]) == (("m1",), ("m3",))


def test_a_symbolic_player_is_not_a_model():
    config = load_config("demo", [LOCAL, 'cast.roles.solver=["symbolic"]'])

    assert config.cast.players("solver") == ()


@pytest.mark.parametrize(
    ("overlay", "sentence"),
    [
        ("cast.roles.judge=m9", "roles.judge names 'm9', and there is only m1, m2, m3"),
        ('cast.roles.judge=["m1", "m2"]', "roles.judge needs one player"),
        ("cast.roles.solver=[]", "roles.solver needs at least one player"),
        ("cast.models.m1.endpoint=elsewhere", "models.m1 is at the endpoint 'elsewhere', and there is only local"),
        ('cast.endpoints.local.base_url=""', "endpoints.local needs a base_url"),
        ("cast.endpoints.local.api_key_env=sk-12345", "cast.endpoints.local.api_key_env"),
        ("cast.endpoints.local.api_key=sk-12345", "unknown key `api_key`"),
        ("cast.budget_usd=-1", "cast.budget_usd"),
    ],
)
def test_a_cast_that_cannot_play_is_refused_with_a_sentence(overlay, sentence):
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        load_config("demo", [LOCAL, overlay])


def test_a_shipped_cast_goes_by_its_name():
    assert load_config("demo", ["cast.file=practice"]).cast.players("judge") == ("m3",)


def test_the_live_web_needs_models_and_no_research_trees():
    with pytest.raises(ConfigError, match="run.target to duetqa alone".replace(".", r"\.")):
        load_config("live", ["run.target={infoseek=1}"])
    with pytest.raises(ConfigError, match="needs models to play writer"):
        load_config("live", ["cast.roles.writer=symbolic"])


def test_a_missing_cast_file_is_named():
    with pytest.raises(ConfigError, match=r"nowhere\.toml cannot be read"):
        load_config("demo", ["cast.file=nowhere.toml"])


def test_where_a_model_is_served_is_not_identity_and_how_it_is_sampled_is():
    base = load_config("demo", [LOCAL])
    moved = load_config("demo", [LOCAL, "cast.endpoints.local.base_url=http://elsewhere/v1", "cast.budget_usd=5"])
    warmer = load_config("demo", [LOCAL, "cast.models.m1.temperature=0.9"])

    assert changed_keys(base, moved) == []
    assert changed_keys(base, warmer) == ["cast.models.m1.temperature"]


def test_how_far_models_may_go_is_part_of_what_makes_the_rows():
    limits = {"solver_turns": 12, "solver_context_chars": 90_000, "proposer_searches": 9, "proposer_visits": 30}
    before = load_config("demo", [LOCAL])

    for key, value in limits.items():
        after = load_config("demo", [LOCAL, f"cast.{key}={value}"])
        assert getattr(after.cast, key) == value
        assert [changed.split(":")[0].split(" ")[0] for changed in changed_keys(before, after)] == [f"cast.{key}"]
