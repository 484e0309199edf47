"""Money stops a run in time and lets it go on; keys stay in the environment."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.pipeline.llm_runs import carried_on, carried_out, configured, overlays, practice, table

from datagen.config import overlay_config
from datagen.errors import BudgetReachedError, ConfigError, CredentialsError
from datagen.pipeline.calling import open_ledger
from datagen.pipeline.finishing import release
from datagen.pipeline.making import prepare
from datagen.runs.directory import open_run

pytestmark = pytest.mark.pipeline
KEY = "sk-planted-5f2c9e71d0"


def test_a_budget_stops_a_run_before_it_is_passed_and_a_higher_one_lets_it_go_on(tmp_path, small_web):
    with practice() as server:
        undisturbed = carried_out(configured(tmp_path / "free", small_web, server.url))
        whole = open_ledger(undisturbed.directory).totals().known_cost_usd
    with practice() as server:
        config = configured(tmp_path / "poor", small_web, server.url, f"cast.budget_usd={whole / 3:.6f}")
        with pytest.raises(BudgetReachedError, match="resume"):
            carried_out(config)
        spent = open_ledger(config.run.directory).totals().known_cost_usd
        assert 0 < spent <= whole / 3

        richer = overlay_config(open_run(config.run.directory).config, [f"cast.budget_usd={whole * 4:.6f}"])
        run = carried_on(config.run.directory, richer)
        billed = server.ledger()

    paid = open_ledger(run.directory).totals()
    assert paid.calls + paid.judge_calls == billed["totals"]["replies"]
    assert billed["answered_twice"] == 0
    for name in ("questions", "rejects"):
        assert table(run, name) == table(undisturbed, name)


def test_the_command_line_ends_with_4_at_the_budget_and_names_the_command_to_go_on(datagen, tmp_path, small_web):
    with practice() as server:
        sets = [part for o in overlays(tmp_path, small_web, server.url) for part in ("--set", o)]
        code, _, said = datagen("run", "demo", *sets, "--budget-usd", "0.05")

    assert code == 4
    assert f"datagen resume {tmp_path}/run --budget-usd" in said


def test_a_budget_without_prices_is_refused_before_anything_is_paid(tmp_path, small_web):
    prices = tmp_path / "prices.toml"
    prices.write_text('as_of = "2026-01-01"\nsource = "a test"\n\n[models]\n')
    with practice() as server:
        config = configured(tmp_path, small_web, server.url, "cast.budget_usd=1", f"cast.prices={prices}")
        with pytest.raises(ConfigError, match="price"):
            carried_out(config)

        assert server.ledger()["requests"] == 0


def test_a_planted_key_is_nowhere_but_in_the_environment(tmp_path, small_web, monkeypatch, caplog):
    monkeypatch.setenv("PRACTICE_KEY", KEY)
    with practice(require_key="PRACTICE_KEY") as server, caplog.at_level("DEBUG"):
        config = configured(tmp_path, small_web, server.url, "cast.endpoints.practice.api_key_env=PRACTICE_KEY")
        run = carried_out(config)
        release(run)

    assert table(run, "questions")
    assert KEY not in caplog.text
    leaks = [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert leaks == []
    assert KEY not in repr(config)


def test_what_a_flow_is_given_as_parameters_holds_no_key(tmp_path, small_web, monkeypatch):
    from flows.requests import RunRequest

    monkeypatch.setenv("PRACTICE_KEY", KEY)
    sets = overlays(tmp_path, small_web, "http://127.0.0.1:9/v1", "cast.endpoints.practice.api_key_env=PRACTICE_KEY")
    request = RunRequest(config="demo", overlays=tuple(sets))

    assert request.load().cast.endpoints["practice"].api_key_env == "PRACTICE_KEY"
    assert KEY not in request.model_dump_json() + request.load().model_dump_json()
    with pytest.raises(ValueError, match="api_key_env"):  # a key where the name of a variable belongs
        RunRequest(config="demo", overlays=(*sets, f"cast.endpoints.practice.api_key_env={KEY}")).load()


def test_a_wrong_key_ends_the_run_with_a_sentence_that_does_not_repeat_it(tmp_path, small_web, monkeypatch):
    monkeypatch.setenv("PRACTICE_KEY", KEY)
    with practice(require_key="PRACTICE_KEY") as server:
        monkeypatch.setenv("OTHER_KEY", "sk-wrong-1234")
        config = configured(tmp_path, small_web, server.url, "cast.endpoints.practice.api_key_env=OTHER_KEY")
        with pytest.raises(CredentialsError, match="api_key_env") as caught:
            carried_out(config)

    assert "sk-wrong" not in str(caught.value)


def test_a_missing_key_is_named_before_anything_is_asked(tmp_path, small_web, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    config = configured(tmp_path, small_web, "http://127.0.0.1:9/v1", "cast.endpoints.practice.api_key_env=NO_SUCH_KEY")

    with pytest.raises(ConfigError, match=r"export NO_SUCH_KEY="):
        carried_out(config)


def test_prompts_that_were_edited_since_are_refused_on_resume(tmp_path, small_web):
    import shutil

    from datagen.errors import RunDirectoryError
    from datagen.pipeline.making import reopen
    from datagen.records.shipped import shipped_file

    folder = tmp_path / "prompts"
    shutil.copytree(shipped_file("prompts"), folder)
    config = configured(tmp_path, small_web, "http://127.0.0.1:9/v1", f"cast.prompts={folder}")
    prepare(config)
    solver = Path(folder) / "solver.j2"
    solver.write_text(solver.read_text() + "\nBe quick.\n")

    with pytest.raises(RunDirectoryError, match=r"cast\.prompt_digests\.solver"):
        reopen(config.run.directory)
