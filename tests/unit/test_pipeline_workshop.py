"""A workshop keeps a run going past a candidate that breaks, and stops it for what the user can mend."""

from __future__ import annotations

import pytest

from datagen.config import DatagenConfig, GatesConfig
from datagen.errors import ConfigError, PageNotFoundError
from datagen.pipeline import workshop
from datagen.pipeline.workshop import Workshop, gate_settings
from datagen.verification.gate import GateSettings

LINEAGE = {"seed": 7, "snapshot": "snap1-x", "config": "cfg1-x", "models": [], "prompts": []}


@pytest.fixture
def shop() -> Workshop:
    return Workshop(DatagenConfig(), bench=None, gates=(), context=None, lineage=LINEAGE)


def breaking_with(fault: Exception):
    def make(*_arguments):
        raise fault

    return make


@pytest.mark.parametrize("fault", [KeyError("x"), PageNotFoundError("no page"), ZeroDivisionError("by zero")])
def test_a_candidate_that_breaks_is_counted_and_logged_with_its_traceback(shop, monkeypatch, caplog, fault):
    monkeypatch.setattr(workshop, "make_infoseek", breaking_with(fault))

    outcome = shop.make(3, "infoseek")

    assert outcome.question is None
    assert (outcome.reject["gate"], outcome.reject["reason"]) == ("error", type(fault).__name__)
    assert outcome.reject["lineage"]["candidate"] == 3
    assert "candidate 3 of infoseek broke" in caplog.text
    assert "Traceback" in caplog.text


def test_a_fault_of_the_config_ends_the_run(shop, monkeypatch):
    monkeypatch.setattr(workshop, "make_duetqa", breaking_with(ConfigError("name a cast")))

    with pytest.raises(ConfigError, match="name a cast"):
        shop.make(3, "duetqa")


def test_the_config_turns_every_threshold_of_the_gates_and_has_the_same_defaults():
    told, built_in = gate_settings(GatesConfig(), None), GateSettings()

    differing = {n for n in GateSettings.__dataclass_fields__ if getattr(told, n) != getattr(built_in, n)}
    assert differing <= {"sources"}


@pytest.mark.parametrize("recipe", ["infoseek", "duetqa"])
def test_the_config_turns_every_setting_of_a_recipe_and_has_the_same_defaults(recipe):
    from datagen.synthesis.settings import DuetqaSettings, InfoseekSettings

    section = getattr(DatagenConfig().recipes, recipe).model_dump()
    settings = {"infoseek": InfoseekSettings, "duetqa": DuetqaSettings}[recipe]

    assert settings(**section) == settings()
