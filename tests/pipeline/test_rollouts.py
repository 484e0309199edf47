"""Attempts at the questions of a run: the same bytes however they are cut, killed or resumed; models as policies."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest
from datasets import load_dataset
from tests.pipeline.llm_runs import CAST, practice

from datagen import storage
from datagen.config import load_config
from datagen.dataset.release import answer_root, split_of
from datagen.dataset.verify_attempts import verify_attempts
from datagen.errors import ConfigError, RunDirectoryError
from datagen.pipeline.rolling import carry_on_rollouts, missing_blocks
from datagen.pipeline.rollout_plan import open_plan, plan_rollouts
from datagen.pipeline.rollout_report import report_rollouts
from datagen.practice.knobs import Fault, Knobs
from datagen.records.schema import arrow_schema
from datagen.records.trajectory_rows import row_to_preference, row_to_trajectory
from datagen.rollouts.collect import trajectory_id
from datagen.runs.workers import serial

pytestmark = pytest.mark.pipeline
TABLES = ("trajectories.parquet", "preferences.parquet")


@pytest.fixture(scope="module")
def made(tmp_path_factory, small_run) -> Path:
    """A folder with a small run, attempts at its questions, and a release with both."""
    folder = tmp_path_factory.mktemp("rollouts")
    done = subprocess.run(
        [sys.executable, "-m", "datagen.cli", "run", "demo", *small_run(folder)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def rollout(folder: Path, out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "datagen.cli", "rollout", str(folder / "run"), "--out", str(out), *more]


def rows(directory: Path, name: str) -> list[dict]:
    return storage.read_parquet(directory / f"{name}.parquet").to_pylist()


def table_bytes(directory: Path) -> dict[str, bytes]:
    return {name: (directory / name).read_bytes() for name in TABLES}


def test_every_policy_attempts_every_question_and_most_attempts_are_verified(made):
    attempts = rows(made / "run" / "rollouts", "trajectories")
    questions = rows(made / "run", "questions")

    assert len(attempts) == 3 * len(questions)
    assert {row["policy"] for row in attempts} == {"topdown", "bottomup", "hasty"}
    careful = [row for row in attempts if row["policy"] != "hasty"]
    assert sum(row["verified"] for row in careful) > len(careful) / 2
    assert all(row["correct"] for row in attempts if row["verified"])
    assert all(None not in row["clue_turns"] for row in attempts if row["verified"])


def test_a_row_is_its_trajectory_and_its_id_is_its_content(made):
    for row in rows(made / "run" / "rollouts", "trajectories"):
        trajectory = row_to_trajectory(row)
        script = trajectory.transcript
        assert trajectory.id == trajectory_id(trajectory.question_id, trajectory.policy, trajectory.attempt, script)
        assert (trajectory.verified, trajectory.shortcut) == (row["verified"], row["shortcut"])


def test_pairs_prefer_one_of_two_attempts_at_the_same_question(made):
    attempts = {row["id"]: row for row in rows(made / "run" / "rollouts", "trajectories")}
    pairs = [row_to_preference(row) for row in rows(made / "run" / "rollouts", "preferences")]

    assert pairs
    for pair in pairs:
        chosen, rejected = attempts[pair.chosen_id], attempts[pair.rejected_id]
        assert chosen["question_id"] == rejected["question_id"] == pair.question_id
        assert not (rejected["correct"] and not chosen["correct"])


def test_a_release_holds_the_attempts_in_the_split_of_their_question(made):
    folder = str(made / "release")
    questions, attempts, pairs = (load_dataset(folder, name) for name in ("qa", "trajectories", "preferences"))
    place = {row["id"]: split for split in questions for row in questions[split]}

    for table in (attempts, pairs):
        assert sum(len(table[split]) for split in table) > 0
        for split in table:
            assert {place[q] for q in table[split]["question_id"]} == {split}
    for split in questions:
        assert all(split_of(answer_root(row)) == split for row in questions[split])
    assert "verified" in (made / "release" / "README.md").read_text()


def snapshot_of(made: Path) -> Path:
    return Path(open_plan(str(made / "run" / "rollouts")).config.web.snapshot)


def test_every_call_of_every_attempt_brings_the_same_again(made):
    found = verify_attempts(made / "release", snapshot_of(made))

    assert found.faults == ()
    assert found.trajectories == len(rows(made / "run" / "rollouts", "trajectories"))
    assert found.calls > found.trajectories


def forged_result(row):
    event = next(e for e in row["events"] if e["kind"] == "result" and e["error"] is None)
    event["text"] = event["text"].replace("a", "e", 1)


def forged_grade(row):
    row["correct"] = not row["correct"]


def forged_turns(row):
    row["verified"], row["clue_turns"] = True, [None]


def lost_call(row):
    row["events"] = [e for e in row["events"] if e["kind"] != "call"]


@pytest.mark.parametrize(
    ("forge", "sentence"),
    [
        (forged_result, "brings something else"),
        (forged_grade, "it is graded"),
        (forged_turns, "without a right answer"),
        (lost_call, "answers no call"),
    ],
)
def test_a_forged_trajectory_is_named(made, tmp_path, forge, sentence):
    release = tmp_path / "release"
    shutil.copytree(made / "release", release)
    path = next((release / "data" / "trajectories").glob("train-*.parquet"))
    table = storage.read_parquet(path)
    changed = table.to_pylist()
    forge(changed[0])
    schema = arrow_schema("trajectories")
    storage.write_parquet(path, pa.Table.from_pylist(changed, schema=schema), schema=schema)

    faults = verify_attempts(release, snapshot_of(made)).faults

    assert {fault.row for fault in faults if fault.row.startswith("tr1-")} == {changed[0]["id"]}
    assert any(sentence in fault.sentence for fault in faults)


def test_attempts_are_the_same_however_they_are_cut(made, tmp_path):
    subprocess.run(
        rollout(made, tmp_path / "cut", "--set", "rollouts.shard_size=3", "--workers", "2"), check=True, timeout=300
    )

    assert table_bytes(tmp_path / "cut") == table_bytes(made / "run" / "rollouts")


def test_attempts_survive_kills_and_are_made_once(made, tmp_path):
    out, rng = tmp_path / "killed", random.Random(5)
    arguments = rollout(made, out, "--set", "rollouts.shard_size=3", "--workers", "2")
    written: dict[str, float] = {}
    for _ in range(6):
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(1.0, 4.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
        for shard in (out / "shards").glob("*.parquet"):
            written.setdefault(shard.name, shard.stat().st_mtime)
    subprocess.run(arguments, check=True, timeout=300)

    assert table_bytes(out) == table_bytes(made / "run" / "rollouts")
    assert {name: (out / "shards" / name).stat().st_mtime for name in written} == written
    assert missing_blocks(open_plan(str(out))) == []


def test_a_folder_with_other_attempts_is_refused_naming_what_differs(made):
    config = load_config("demo", [f"web.snapshot={open_plan(str(made / 'run' / 'rollouts')).config.web.snapshot}"])
    with pytest.raises(RunDirectoryError, match=r"rollouts\.visits"):
        plan_rollouts(
            str(made / "run"),
            config.model_copy(update={"rollouts": config.rollouts.model_copy(update={"visits": 7})}),
            str(made / "run" / "rollouts"),
        )


def test_an_unknown_policy_is_refused_naming_those_there_are(made, tmp_path):
    done = subprocess.run(rollout(made, tmp_path, "--policy", "bogus"), capture_output=True, text=True, check=False)

    assert done.returncode == ConfigError.exit_code
    assert "bogus" in done.stderr
    assert "topdown" in done.stderr


def test_an_unknown_policy_is_refused_before_any_question_is_made(small_run, tmp_path):
    arguments = [
        sys.executable,
        "-m",
        "datagen.cli",
        "run",
        "demo",
        *small_run(tmp_path, "rollouts.policies=['bogus']"),
    ]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)

    assert done.returncode == ConfigError.exit_code
    assert "bogus" in done.stderr
    assert not (tmp_path / "run" / "shards").exists()


def test_the_report_of_attempts_is_json_for_machines(made, datagen):
    code, printed, _ = datagen("rollout", made / "run", "--json")

    assert code == 0
    report = json.loads(printed)
    assert report["attempts"] == sum(p["attempts"] for p in report["figures"]["policies"])


def models(made: Path, url: str, *more: str):
    """The config of the small run with two models as policies."""
    snapshot = open_plan(str(made / "run" / "rollouts")).config.web.snapshot
    return load_config(
        "demo",
        [
            f"cast.file={CAST}",
            f"cast.endpoints.practice.base_url={url}",
            "cast.retry_seconds=0.02",
            f"web.snapshot={snapshot}",
            "web.sources=[]",
            "run.runner=serial",
            "rollouts.questions=4",
            *more,
        ],
    )


def test_models_attempt_through_the_endpoint_and_every_turn_is_logged(made, tmp_path):
    with practice() as server:
        config = models(made, server.url, f"cast.cache={tmp_path}/cache", "rollouts.policies=['m1','topdown']")
        plan = plan_rollouts(str(made / "run"), config, str(tmp_path / "out"))
        carry_on_rollouts(plan, pool=serial)
        answered = server.ledger()["totals"]["replies"]

    attempts = [row for row in rows(tmp_path / "out", "trajectories") if row["policy"] == "m1"]
    assert len(attempts) == 4
    assert answered == report_rollouts(str(tmp_path / "out")).paid.calls > 0
    for row in attempts:
        assert row["spend"]["calls"] > 0
        assert row["input_tokens"] > 0
        assert row["lineage"]["models"]
        assert any(name.startswith("rollout@") for name in row["lineage"]["prompts"])
        assert {e["kind"] for e in row["events"]} >= {"call", "result"}
    assert any(row["correct"] for row in attempts)
    assert report_rollouts(str(tmp_path / "out")).paid is not None


def test_what_the_endpoint_breaks_is_no_wrong_answer(made, tmp_path):
    with practice(Knobs.each(1.0, Fault.SERVER_ERROR)) as server:
        config = models(
            made,
            server.url,
            f"cast.cache={tmp_path}/cache",
            "rollouts.policies=['m1']",
            "rollouts.questions=1",
            "cast.endpoints.practice.attempts=2",
        )
        carry_on_rollouts(plan_rollouts(str(made / "run"), config, str(tmp_path / "out")), pool=serial)

    (row,) = rows(tmp_path / "out", "trajectories")
    assert (row["correct"], row["answer_check"], row["termination"]) == (None, "errored", "error")
    assert set(row["reward"].values()) == {None}
    assert row["detail"]


def test_a_runner_of_the_flows_is_refused_rather_than_replaced(made, tmp_path):
    done = subprocess.run(
        rollout(made, tmp_path / "out", "--set", "run.runner=ray"), capture_output=True, text=True, check=False
    )

    assert done.returncode == ConfigError.exit_code
    assert "task runner of the flows" in done.stderr
