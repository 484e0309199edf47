"""Trainings from beginning to end with a very small policy: what they leave, how they go on, and how they end in faults."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tests.pipeline.cut_training import CUT

from datagen.config import DatagenConfig
from datagen.dataset.streaming import stream
from datagen.errors import CheckpointError, ConfigError, RunDirectoryError, TrainingError
from datagen.records.schema import arrow_schema
from datagen.records.trajectory import Preference
from datagen.records.trajectory_rows import events_of, preference_to_row
from datagen.training.framing.compact import MARKS
from datagen.training.policy_folder import open_policy
from datagen.training.recording.alarms import Alarm
from datagen.training.recording.evaluations import EvaluationRecord
from datagen.training.recording.recorder import Values
from datagen.training.recording.stream import read_evaluations, read_metrics
from datagen.training.running import Trained, train
from datagen.training.tokenizer import CompactTokenizer

torch.set_num_threads(1)
HERE = Path(__file__).parent
TIMED = ("_s", "_per_s", "memory_mb")
"""Ends of the names of figures that are other in every process: times and memory."""


@pytest.fixture(autouse=True)
def _rewards(monkeypatch):
    """Configs of these tests name functions in `training_rewards`."""
    monkeypatch.syspath_prepend(str(HERE))


def figures(run: Path) -> list[tuple[str, int, dict[str, float | None]]]:
    """What a run recorded, without times."""
    return [
        (line.phase, line.step, {k: v for k, v in line.values.items() if not k.endswith(TIMED)})
        for line in read_metrics(run)
    ]


def weights(run: Path) -> bytes:
    return (run / "model" / "model.safetensors").read_bytes()


def teach(config: DatagenConfig, **options: Any) -> Trained:
    """Train without a word, and without drawing curves."""
    return train(config, **{"quiet": True, "report": False, **options})


def test_imitation_and_reinforcement_leave_curves_measurements_and_a_policy(tiny_training, tmp_path):
    done = teach(tiny_training(), report=True)

    assert [(line.phase, line.step) for line in read_metrics(tmp_path / "run")] == [
        ("sft", 1), ("sft", 2), ("sft", 3), ("rl.rl", 1), ("rl.rl", 2),
    ]  # fmt: skip
    assert {(one.set, one.mode, one.step) for one in done.evaluations} == {
        ("seen", "greedy", 2),
        ("seen", "no_search", 2),
    }
    assert all(one.n + one.failures == 3 for one in read_evaluations(tmp_path / "run"))
    last = read_metrics(tmp_path / "run")[-1].values
    assert last["reward"] is not None
    assert last["updates"] == 2
    assert last["logprob_gap"] is not None
    assert last["logprob_gap"] < 1e-3
    assert last["logprob_gap"] <= last["logprob_gap_max"] < 1e-2
    assert last["staleness_max"] == 0
    assert 0 < last["generation_s"] <= last["attempt_s"]
    assert last["tools_s"] >= 0
    assert 50 < last["memory_mb"] < 100_000
    assert "waiting" not in last
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "rl.rl" in page
    policy = open_policy(done.model, "cpu")
    assert policy.framing.vocabulary == 400


def in_its_own_process(overlays: Sequence[str], *cut: str) -> int:
    """The exit code of `cut_training.py`."""
    command = [sys.executable, str(HERE / "cut_training.py"), json.dumps(overlays), *cut]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(HERE)}, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode in (0, CUT), done.stderr
    return done.returncode


def test_a_training_that_is_cut_off_anywhere_ends_with_the_same_bits(tiny_overlays, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert in_its_own_process(tiny_overlays(f'training.directory="{whole}"')) == 0
    begun = tiny_overlays(f'training.directory="{cut}"', "training.checkpoints.every=1")
    for name, updates in (("sft", 2), ("rl.rl", 1)):
        assert in_its_own_process(begun, name, str(updates)) == CUT
    assert in_its_own_process(begun) == 0

    assert weights(cut) == weights(whole)
    for here, there in zip(figures(cut), figures(whole), strict=True):
        assert here == there


class Cut(Exception):
    """Stands for the death of the process."""


class CutsOff:
    """A listener of a run that ends it after an update was recorded."""

    def __init__(self, phase: str, step: int) -> None:
        self._after = phase, step

    def recorded(self, phase: str, step: int, values: Values) -> None:
        if (phase, step) == self._after:
            raise Cut(f"after {len(values)} figures of update {step}")

    def evaluated(self, record: EvaluationRecord) -> None:
        """Goes on."""

    def alarmed(self, alarm: Alarm) -> None:
        """Goes on."""


def cut_off(config: DatagenConfig, phase: str, step: int) -> None:
    """Train until an update was recorded, and no further."""
    teach(config, resume=True, listeners=[CutsOff(phase, step)])


def test_a_folder_that_holds_a_training_is_only_gone_on_with_when_asked_and_under_its_own_config(tiny_training):
    small = ("training.rl=none", "training.sft.updates=2", "training.evaluation.final_modes=[]")
    teach(tiny_training(*small))

    with pytest.raises(RunDirectoryError, match="--resume"):
        teach(tiny_training(*small))
    with pytest.raises(RunDirectoryError, match=r"changed: sft.rows_per_update"):
        teach(tiny_training(*small, "training.sft.rows_per_update=2"), resume=True)
    with pytest.raises(ConfigError, match=r"no \[training\] section"):
        teach(tiny_training("training=none"))


def test_a_reward_function_that_raises_now_and_then_costs_those_attempts_alone(tiny_training, tmp_path):
    config = tiny_training("training.sft=none", 'training.rl.reward="training_rewards:now_and_then"')

    teach(config)

    lost = [line.values["reward_faults"] for line in read_metrics(tmp_path / "run")]
    missing = [line.values["missing"] for line in read_metrics(tmp_path / "run")]
    assert sum(lost) > 0
    assert lost == missing


def test_a_reward_function_that_always_raises_ends_the_run_with_its_sentence(tiny_training, tmp_path):
    config = tiny_training("training.sft=none", 'training.rl.reward="training_rewards:never"')

    with pytest.raises(
        TrainingError, match=r"raised on all 6 attempts.*no opinion on attempts.*checkpoint of update 0 is whole"
    ):
        teach(config)

    assert read_metrics(tmp_path / "run") == []


def test_a_share_of_tokens_of_high_entropy_is_learned_from_alone(tiny_training, tmp_path):
    teach(
        tiny_training(
            "training.sft=none",
            "training.evaluation.final_modes=[]",
            "training.rl.updates=1",
            "training.rl.overrides={high_entropy_share = 0.2}",
        )
    )

    (line,) = read_metrics(tmp_path / "run")
    assert line.values["kept_weight"] == pytest.approx(0.2, abs=0.05)


def test_an_alarm_that_stop_on_names_ends_the_run_which_goes_on_without_it(tiny_training, tmp_path):
    # A policy of random weights never calls a tool.
    small = (
        "training.sft=none",
        "training.rl.updates=5",
        "training.evaluation.final_modes=[]",
        "training.evaluation.every=0",
    )
    with pytest.raises(TrainingError, match=r"never calls a tool.*stop_on names 'no_calls'.*update 2 is whole"):
        teach(tiny_training(*small, "training.stop_on=['no_calls']"))
    assert len(read_metrics(tmp_path / "run")) == 3

    teach(tiny_training(*small), resume=True)

    assert [line.step for line in read_metrics(tmp_path / "run")] == [1, 2, 3, 4, 5]
    with pytest.raises(ConfigError, match="stop_on names no_call, which is no rule"):
        teach(tiny_training("training.stop_on=['no_call']"), resume=True)


def test_a_loss_that_is_no_number_stops_and_leaves_the_last_checkpoint_whole(tiny_training, tmp_path):
    config = tiny_training("training.sft=none", 'training.rl.reward="training_rewards:not_a_number"')

    with pytest.raises(TrainingError, match=r"rl.rl ended after update 0.*checkpoint of update 0 is whole.*--resume"):
        teach(config)

    kept = sorted((tmp_path / "run" / "stages" / "00-rl.rl" / "checkpoints").iterdir())
    assert [json.loads((folder / "manifest.json").read_text())["kind"] for folder in kept] == ["checkpoint"]


def test_a_damaged_checkpoint_is_named_instead_of_gone_on_with(tiny_training, tmp_path):
    config = tiny_training("training.rl=none")
    with pytest.raises(Cut):
        cut_off(config, "sft", 2)
    newest = max((tmp_path / "run" / "stages" / "00-sft" / "checkpoints").iterdir())
    (newest / "state.json").write_text("{}")

    with pytest.raises(CheckpointError, match=r"state\.json"):
        teach(config, resume=True)


def spelling(folder: Path) -> Path:
    """A tokenizer in a file of its own, as one that a user brings."""
    file = folder / "own-tokenizer.json"
    CompactTokenizer.train(["a river, a town"], size=300, marks=MARKS).save(file)
    return file


def prefer_right_answers(practice: Path, folder: Path) -> Path:
    """A table of pairs: demonstrations, and the same with another answer at their end."""
    schema = arrow_schema("preferences")
    rows = []
    for row in stream(practice / "questions", table="trajectories", split="train", shuffle=False):
        events = events_of(row["events"])
        told = replace(events[-1], text="nobody knows")
        pair = Preference(
            f"pr-{row['id']}", row["question_id"], row["question"], "trajectory", "correctness", "right and wrong",
            (), events, (*events[:-1], told), row["id"], f"{row['id']}-wrong",
        )  # fmt: skip
        rows.append(preference_to_row(pair))
    file = folder / "preferences.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), file)
    return file


def test_preferences_are_learned_from_with_environment_tokens_left_out(tiny_training, practice, tmp_path):
    pairs = prefer_right_answers(practice, tmp_path)
    config = tiny_training(
        "training.sft=none", "training.rl=none", "training.dpo.updates=2", "training.dpo.pairs_per_update=2",
        f'training.data.releases=["{pairs}"]', "training.evaluation.final_modes=[]",
        "training.dpo.optimizer.learning_rate=1e-3", f'training.model.tokenizer="{spelling(tmp_path)}"',
    )  # fmt: skip

    teach(config)

    first, second = (line.values for line in read_metrics(tmp_path / "run"))
    assert first["preference_loss"] == pytest.approx(0.6931, abs=1e-3)
    assert second["margin"] != 0
    assert first["trained_tokens"] < first["forwarded_tokens"] / 2


def test_questions_that_are_solved_already_are_left_out_of_a_later_stage(tiny_training, tmp_path):
    stages = 'training.rl.stages=[{name = "first", updates = 1}, {name = "open", epochs = 1.0, unsolved_below = 0.9}]'
    config = tiny_training(
        "training.sft=none", stages, "training.rl.questions=16", "training.rl.minibatches=1",
        'training.rl.overrides={replay = "none"}', "training.evaluation.final_modes=[]",
    )  # fmt: skip

    teach(config)

    chosen = json.loads((tmp_path / "run" / "stages" / "01-rl.open" / "questions.json").read_text())
    open_end = [line for line in read_metrics(tmp_path / "run") if line.phase == "rl.open"]
    assert chosen["below"] == 0.9
    assert len(open_end) == -(-len(chosen["questions"]) // 16)
    assert all("replay/questions" not in line.values for line in open_end)


def test_a_pool_that_is_solved_goes_on_in_whole_batches(tiny_training, tmp_path):
    solved = 'training.rl.overrides={success = "reward", prune = {threshold = 0.01}}'
    small = ("training.sft=none", "training.evaluation.final_modes=[]", "training.rl.attempts=2")
    teach(tiny_training(*small, solved, "training.rl.questions=16", "training.rl.stages=[{name='rl', epochs=1.5}]"))

    pools = [line.values["pool/active"] for line in read_metrics(tmp_path / "run")]
    assert pools[0] > 16
    assert pools[-1] == 16


def test_nothing_heavy_is_loaded_for_a_config(tiny_training):
    assert "training" in tiny_training().model_dump()
    assert "vllm" not in sys.modules
