"""Training and measuring from the command line, after a real kill, and the trained policy in the pipeline's cast."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datagen.agents.budget import Budget, Limits
from datagen.config import load_config
from datagen.pipeline.casting import with_prompts
from datagen.pipeline.playing_back import difficulty_rows, played_overlays
from datagen.pipeline.rolling import carry_on_rollouts
from datagen.pipeline.rollout_plan import plan_rollouts
from datagen.pipeline.trained import open_trained
from datagen.pipeline.trying import preview_candidates
from datagen.records.schema import arrow_schema
from datagen.runs.workers import serial
from datagen.storage import read_parquet
from datagen.training.recording.stream import read_metrics
from datagen.training.running import train
from datagen.web.snapshot import Snapshot
from datagen.web.snapshot_web import SnapshotWeb

pytestmark = pytest.mark.pipeline
HERE = Path(__file__).parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}


def arguments(practice: Path, run: Path, *more: str) -> list[str]:
    overlays = (
        f'web.snapshot="{practice}/snapshot"',
        f'training.directory="{run}"',
        f'training.data.releases=["{practice}/questions"]',
        "training.sft.updates=12",
        "training.rl.updates=1",
        "training.evaluation.every=0",
        "training.evaluation.final_modes=[]",
        *more,
    )
    return [str(HERE / "tiny_training.toml"), *(part for overlay in overlays for part in ("--set", overlay))]


def started(*command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "datagen.cli", *command],
        env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def lines_of(run: Path) -> int:
    file = run / "metrics.jsonl"
    return len(file.read_text().splitlines()) if file.exists() else 0


def test_a_training_that_was_killed_goes_on(practice, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    run = tmp_path / "run"
    killed = started("train", *arguments(practice, run), "--quiet")
    deadline = time.monotonic() + 60
    while lines_of(run) < 3 and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    _, said = killed.communicate()
    assert killed.returncode == -signal.SIGKILL, said

    overlays = arguments(practice, run)[2::2]
    done = train(load_config(HERE / "tiny_training.toml", overlays), resume=True, quiet=True, report=False)

    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [(line["phase"], line["step"]) for line in steps] == [
        *(("sft", step) for step in range(1, 13)),
        ("rl.rl", 1),
    ]
    assert done.model == run / "model"


def test_a_config_that_trains_nothing_is_a_usage_error(datagen):
    code, _, said = datagen("train", "pages")

    assert code == 2
    assert "train_demo.toml is an example" in " ".join(said.split())


@pytest.fixture(scope="module")
def model(practice, tmp_path_factory) -> Path:
    """A policy that imitated for two updates: it plays badly, and always in the same way."""
    run = tmp_path_factory.mktemp("trained")
    overlays = arguments(practice, run, "training.rl=none", "training.sft.updates=2", "training.model.device=cpu")[2::2]
    train(load_config(HERE / "tiny_training.toml", overlays), quiet=True, report=False)
    return run / "model"


def test_an_evaluation_prints_a_line_with_an_interval_for_each_mode(datagen, practice, model):
    where = ("--on", practice / "snapshot", "--questions", practice / "questions", "--split", "train", "-n", 3)

    code, told, said = datagen("evaluate", model, *where, "--set", "turns=2", "--set", "turn_tokens=8")

    assert code == 0, said
    assert [line.split("%")[0].split()[2:-1] for line in told.splitlines()[1:]] == [
        ["greedy"],
        ["T", "=", "1"],
        ["no", "search"],
    ]
    assert told.count("[") == 3


def test_an_evaluation_of_what_is_no_policy_says_what_to_give(datagen, practice, tmp_path):
    code, _, said = datagen("evaluate", tmp_path, "--on", practice / "snapshot", "--questions", practice / "questions")

    assert code == 2
    assert "Give the `model` folder" in " ".join(said.split())


def test_an_unknown_limit_is_a_usage_error(datagen, practice, model):
    where = ("--on", practice / "snapshot", "--questions", practice / "questions")

    code, _, said = datagen("evaluate", model, *where, "--set", "turnz=2")

    assert code == 2
    assert "turnz" in said


def cast_of(model: Path, practice: Path, *more: str):
    return load_config(
        "demo",
        [
            f'web.snapshot="{practice}/snapshot"', f'cast.checkpoints.searcher.path="{model}"',
            "cast.checkpoints.searcher.turn_tokens=12", "cast.checkpoints.searcher.context_tokens=600",
            "cast.checkpoints.searcher.device=cpu", "cast.kind=llm", "cast.roles.solver=searcher",
            "cast.roles.guesser=searcher", *more,
        ],
    )  # fmt: skip


def test_a_checkpoint_solves_guesses_and_attempts_and_says_the_same_when_asked_again(model, practice):
    config = with_prompts(cast_of(model, practice))
    player = open_trained(config.cast, "searcher")
    web = SnapshotWeb(Snapshot.open(practice / "snapshot"))
    question = "Which river flows through Port Taoktoa?"

    solved = [player.solver(Budget(4, 4)).solve(question, web) for _ in range(2)]
    guessed = [player.guesser().samples(question, 3) for _ in range(2)]
    attempts = [player.policy().roll_out(question, web, attempt=n, limits=Limits(Budget(4, 4))) for n in (0, 0, 1)]

    assert solved[0] == solved[1]
    assert solved[0].answer or solved[0].failure
    assert guessed[0] == guessed[1]
    assert [name for name, _ in guessed[0]] == ["searcher"] * 3
    assert attempts[0] == attempts[1]
    assert attempts[0].generations != attempts[2].generations
    assert sum(len(generation.token_ids) for generation in attempts[0].generations) == attempts[0].output_tokens


def test_a_checkpoint_attempts_the_questions_of_a_release_with_its_tokens_kept(model, practice, tmp_path):
    config = cast_of(
        model, practice, 'rollouts.policies=["searcher"]', "rollouts.attempts=2", "rollouts.questions=2",
        "rollouts.shard_size=4",
    )  # fmt: skip

    plan = plan_rollouts(str(practice / "questions"), config, str(tmp_path / "rollouts"))
    carry_on_rollouts(plan, pool=serial)

    rows = read_parquet(str(tmp_path / "rollouts" / "trajectories.parquet")).to_pylist()
    assert [(row["policy"], row["attempt"]) for row in rows] == [("searcher", 0), ("searcher", 1)] * 2
    assert all(row["generations"][0]["token_ids"] for row in rows)
    assert all(row["correct"] is not None for row in rows)
    assert isinstance(plan.config.cast.checkpoints["searcher"].digest, str)


def test_a_checkpoint_on_trial_stops_nothing_and_leaves_its_tries_on_the_row(model, practice, tmp_path):
    config = cast_of(
        model, practice, "cast.checkpoints.searcher.tries=3", "cast.roles.solver=['symbolic', 'searcher']",
        "cast.roles.guesser=['symbolic', 'searcher']", "run.target={infoseek=1}",
    )  # fmt: skip

    accepted = preview_candidates(config, 12).accepted

    assert accepted
    for row in accepted:
        names = [attempt["solver"] for attempt in row["attempts"]]
        assert names[-3:] == ["searcher"] * 3
        assert set(names[:-3]) == set(row["verifiers"])
        assert "searcher" not in row["verifiers"]
        assert "searcher" in {record["guesser"] for record in row["closed_book"]}
    schema = arrow_schema("questions")
    pq.write_table(pa.Table.from_pylist(accepted, schema=schema), tmp_path / "questions.parquet")
    rates = difficulty_rows(str(tmp_path), "searcher")
    assert [(row["tries"], row["success_rate"]) for row in rates] == [(3, 0.0)] * len(accepted)


def test_the_run_after_a_training_has_the_policy_in_its_cast_and_folders_of_its_own(model):
    before = load_config("demo")

    after = load_config("demo", played_overlays(before, str(model)))

    assert after.cast.trained("solver") == after.cast.trained("guesser") == ("trained",)
    assert after.cast.checkpoints["trained"].tries == 4
    assert after.run.directory != before.run.directory
    assert after.release.directory != before.release.directory
    assert after.run.seed != before.run.seed


def test_two_ranks_imitate_as_one_does(practice, tmp_path):
    def command(ranks: int) -> list[str]:
        run = arguments(practice, tmp_path / str(ranks), "training.rl=none", "training.sft.updates=2")
        launch = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks), "-m"] if ranks > 1 else []
        return [
            sys.executable,
            "-m",
            *launch,
            "datagen.cli",
            "train",
            *run,
            "--set",
            "training.model.device=cpu",
            "--json",
            "--no-report",
        ]

    done = subprocess.run(command(2), env=ENVIRONMENT, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    alone = load_config(
        HERE / "tiny_training.toml",
        arguments(practice, tmp_path / "1", "training.rl=none", "training.sft.updates=2", "training.model.device=cpu")[
            2::2
        ],
    )
    train(alone, quiet=True, report=False)

    assert json.loads(done.stdout)["model"] == str(tmp_path / "2" / "model")
    two, one = (read_metrics(tmp_path / name) for name in ("2", "1"))
    assert [line.step for line in two] == [line.step for line in one] == [1, 2]
    for here, there in zip(two, one, strict=True):
        assert here.values["loss"] == pytest.approx(there.values["loss"], rel=1e-5)
        assert here.values["grad_norm"] == pytest.approx(there.values["grad_norm"], rel=1e-4)
