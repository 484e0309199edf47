"""The command line over a small fictional web: every verb, every exit code, data on stdout and the rest on stderr."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from datagen import storage

pytestmark = pytest.mark.pipeline


@pytest.fixture(scope="module")
def finished(small_run, tmp_path_factory) -> Path:
    """A folder with `run/` and `release/`, made by the installed command in a process of its own."""
    folder = tmp_path_factory.mktemp("finished")
    command = [sys.executable, "-m", "datagen.cli", "run", "demo", *small_run(folder, "run.workers=2")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "Funnel" in done.stdout
    assert "accepted after" in done.stderr
    assert "Traceback" not in done.stderr
    return folder


def test_a_run_prints_its_funnel_and_leaves_exactly_its_target(finished):
    questions = storage.read_parquet(finished / "run" / "questions.parquet", ["recipe"]).to_pylist()

    recipes = [row["recipe"] for row in questions]
    assert (recipes.count("infoseek"), recipes.count("duetqa")) == (8, 4)
    assert (finished / "release" / "README.md").exists()


def test_no_candidate_breaks_the_program(finished):
    gates = storage.read_parquet(finished / "run" / "rejects.parquet", ["gate"])["gate"].to_pylist()

    assert "error" not in gates


def test_rows_name_what_made_them_and_unmeasured_spend_is_null(finished):
    config = storage.read_json(finished / "run" / "config.json")

    for row in storage.read_parquet(finished / "run" / "questions.parquet").to_pylist():
        assert row["lineage"]["config"] == config["digest"]
        assert row["lineage"]["snapshot"] == config["snapshot"]
        assert (row["lineage"]["seed"], row["lineage"]["cast"], row["lineage"]["models"]) == (7, "symbolic", [])
        assert row["spend"]["cost_usd"] is None
        assert row["spend"]["input_tokens"] is None


def test_report_tells_a_finished_run_again_to_people_and_to_machines(datagen, finished):
    code, text, _ = datagen("report", finished / "run")
    assert code == 0
    assert "accepted  4 of 4 duetqa, 8 of 8 infoseek" in text

    code, text, _ = datagen("report", finished / "run", "--json")
    told = json.loads(text)
    assert code == 0
    assert told["accepted"] == {"infoseek": 8, "duetqa": 4}
    assert len(told["samples"]) == 3
    ends = sum(step["stopped"] for step in told["funnel"])
    assert ends + 12 == sum(told["candidates"].values())


def test_report_measures_a_release_beside_published_sets(datagen, finished, small_web):
    release = finished / "release"
    code, text, _ = datagen("report", release)
    assert code == 0
    assert "12 questions." in text
    assert "pass the snapshot with --snapshot" in text

    code, text, _ = datagen("report", release, "--snapshot", small_web, "--json")
    told = {metric["key"]: metric for metric in json.loads(text)["metrics"]}
    assert code == 0
    assert told["kept"]["value"] == pytest.approx(100 * 12 / told["kept"]["n"], abs=0.01)
    assert 0 < told["recall_5"]["value"] <= told["recall_100"]["value"] <= told["recall_1000"]["value"] <= 100
    assert told["low_width"]["published"][1] == {"of": "FORT", "value": "40.2", "source": "FORT"}
    assert told["cost"]["value"] is None

    code, text, _ = datagen("report", release, "--markdown")
    assert code == 0
    assert "| metric | here | n | published (source) |" in text

    code, _, errors = datagen("report", finished / "run", "--markdown")
    assert code == 2
    assert "is no release" in errors


def test_a_used_run_directory_is_refused_with_the_two_commands(datagen, small_run, finished):
    code, text, errors = datagen("run", "demo", *small_run(finished))

    assert (code, text) == (1, "")
    assert f"`datagen resume {finished}/run` continues it" in errors
    assert "`datagen run CONFIG --run-dir NEW` starts another" in errors
    assert "Traceback" not in errors


def test_a_resume_under_another_config_is_refused_naming_the_keys(datagen, finished, tmp_path):
    changed = tmp_path / "changed.toml"
    changed.write_text("[run]\nseed = 99\n")
    code, _, errors = datagen("resume", finished / "run", "--config", changed)

    assert code == 1
    assert "run.seed" in errors
    assert f"`datagen resume {finished}/run`" in errors


def test_resuming_a_finished_run_makes_nothing_anew(datagen, finished):
    shards = sorted((finished / "run" / "shards").iterdir())
    stamps = [path.stat().st_mtime_ns for path in shards]
    tables = (finished / "run" / "questions.parquet").read_bytes()
    code, text, _ = datagen("resume", finished / "run", "--json")

    assert code == 0
    assert json.loads(text)["release"] == str(finished / "release")
    assert stamps == [path.stat().st_mtime_ns for path in sorted((finished / "run" / "shards").iterdir())]
    assert tables == (finished / "run" / "questions.parquet").read_bytes()


def test_a_target_out_of_reach_ends_with_exit_code_3_and_says_what_is_missing(datagen, small_run, tmp_path):
    short = ("run.max_candidates_per_question=1", "run.workers=1", "run.target={infoseek=40}")
    code, text, errors = datagen("run", "demo", *small_run(tmp_path, *short))

    assert code == 3
    assert "Funnel" in text
    assert "infoseek short of its target" in errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "demo", "--set", "run.sede=1"), "did you mean `seed`?"),
        (("run", "demo", "--set", "run.runner=ray"), "is a task runner of the flows"),
        (("run", "nosuchpreset"), "data/presets/nosuchpreset.toml is missing"),
        (("run", "no/such/file.toml"), "cannot be read"),
        (("run",), "Missing argument"),
        (("resume", "no/such/run"), "holds no run"),
        (("report", "no/such/run"), "not a finished run"),
        (("search", "no/such/snapshot", "words"), "datagen snapshot build"),
        (("snapshot", "build", "x", "gopher:hole"), "unknown source kind"),
    ],
)
def test_a_fault_is_one_sentence_with_the_right_exit_code(datagen, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, text, errors = datagen(*arguments)

    assert code == (2 if arguments[0] in {"run", "snapshot"} else 1)
    assert text == ""
    assert message in " ".join(errors.split())
    assert "Traceback" not in errors


def test_an_assumption_about_an_unknown_class_is_refused_with_the_closest_one(datagen, small_run, tmp_path):
    code, _, errors = datagen("run", "demo", *small_run(tmp_path, 'knowledge.closed_types=["countri"]'))

    assert code == 2
    assert "did you mean `country`?" in errors
    assert not (tmp_path / "run").exists()


def test_check_lists_what_a_run_would_open_and_fails_on_what_is_missing(datagen, small_run, tmp_path):
    code, text, _ = datagen("check", "demo", *small_run(tmp_path), "--json")
    assert code == 0
    assert all(finding["ok"] for finding in json.loads(text))

    missing = "gates.benchmarks=['no/such/file.jsonl']"
    code, text, errors = datagen("check", "demo", *small_run(tmp_path, missing))
    assert code == 2
    assert "no/such/file.jsonl" in text
    assert "cannot run as it is" in errors


def test_preview_makes_candidates_of_each_recipe_and_a_page_to_read(datagen, small_run, tmp_path):
    page = tmp_path / "preview.html"
    code, text, _ = datagen("preview", "demo", "-n", 8, "--browser", page, *small_run(tmp_path), "--json")

    told = json.loads(text)
    assert code == 0
    assert told["candidates"] == 16
    assert {step["recipe"] for step in told["funnel"]} == {"infoseek", "duetqa"}
    assert page.read_text().startswith("<!doctype html>")
    assert not (tmp_path / "run").exists()


def test_search_and_visit_give_what_a_solver_sees(datagen, small_web):
    code, text, _ = datagen("search", small_web, "football club stadium", "-k", 3, "--json")
    hits = json.loads(text)
    assert code == 0
    assert len(hits) == 3

    code, text, _ = datagen("visit", small_web, hits[0]["url"], "--json")
    assert code == 0
    assert json.loads(text)["url"] == hits[0]["url"]
    code, _, errors = datagen("visit", small_web, "https://nowhere.example/")
    assert code == 1
    assert "no page at" in errors


def test_a_snapshot_is_built_described_and_not_read_twice(datagen, tmp_path):
    arguments = ("snapshot", "build", tmp_path / "web", "synthetic:seed=1,pages=300", "--extraction", "fast", "--json")
    code, text, _ = datagen(*arguments)
    assert code == 0
    assert json.loads(text)["pages"] >= 300

    assert json.loads(datagen(*arguments)[1]) == json.loads(text)
    assert json.loads(datagen("snapshot", "info", tmp_path / "web", "--json")[1]) == json.loads(text)


def test_the_fictional_web_lists_its_addresses_and_renders_each(datagen):
    code, text, _ = datagen("world", "render", "--seed", 1, "--pages", 300)
    addresses = text.split()
    assert code == 0
    assert len(addresses) >= 300

    program = [sys.executable, "-m", "datagen.cli", "world", "render", addresses[3], "--seed", "1", "--pages", "300"]
    html = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    assert "<html" in html


def test_schemas_are_exported_as_they_are_published(datagen, tmp_path):
    published = Path(__file__).parents[2] / "schemas"
    code, _, _ = datagen("schemas", "export", tmp_path)

    assert code == 0
    for path in published.glob("*.json"):
        assert json.loads((tmp_path / path.name).read_text()) == json.loads(path.read_text())
