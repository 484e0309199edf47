"""A sweep from beginning to end with a very small policy: a run that fails costs itself alone, and what is done stays."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

import pytest
import torch

from datagen.training.recording.stream import read_metrics
from datagen.training.running import train
from datagen.training.sweeping import plan_sweep, run_sweep

torch.set_num_threads(1)
SWEEP = """
base = "{base}"
directory = "sweep"
seeds = [1, 2]
attempts = 6
set = [
    'web.snapshot="{practice}/snapshot"', 'training.data.releases=["{practice}/questions"]', "training.sft=none",
    'training.model.path="start/model"', "training.evaluation.every=0", 'training.evaluation.final_modes=["greedy"]',
    'training.evaluation.sets=[{{ name = "seen", questions = "{practice}/questions", split = "train", count = 2 }}]',
]
[arms]
grpo = ["training.rl.algorithm=grpo"]
broken = ["training.rl.reward=training_rewards:never"]
"""


@pytest.fixture
def sweep(practice, tiny_training, tmp_path, monkeypatch) -> Path:
    """The file of a sweep whose runs take one batch, from a policy that imitated for two updates."""
    here = Path(__file__).parent
    monkeypatch.syspath_prepend(str(here))
    monkeypatch.chdir(tmp_path)
    start = (
        'training.directory="start"',
        "training.rl=none",
        "training.sft.updates=2",
        "training.evaluation.final_modes=[]",
    )
    train(tiny_training(*start), quiet=True, report=False)
    file = tmp_path / "tiny.toml"
    file.write_text(SWEEP.format(base=here / "tiny_training.toml", practice=practice))
    return file


def test_a_sweep_trains_what_is_left_and_tells_what_failed(sweep, datagen):
    plan, told = plan_sweep(sweep), []
    held = plan.folder / "grpo" / "seed-2.lock"
    held.parent.mkdir(parents=True)

    with held.open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ends = run_sweep(plan, workers=2, only=[*plan.part(seeds=[1]), *plan.part(["grpo"], [2])], tell=told.append)

    assert [(one.arm, one.seed, one.state) for one in ends] == [
        ("grpo", 1, "finished"), ("broken", 1, "failed"), ("grpo", 2, "missing"),
    ]  # fmt: skip
    assert "raised on all 6 attempts" in ends[1].sentence
    assert any("grpo, seed 2: begun: another process trains it" in line for line in told)
    lines = read_metrics(plan.folder / "grpo" / "seed-1")
    assert [(line.phase, line.step, line.values["groups"]) for line in lines] == [("rl.rl", 1, 2)]

    code, said, _ = datagen("sweep", sweep, "--only", "grpo")

    assert code == 0
    assert "Finished: 2 of 4 runs." in said
    assert "Missing of broken: seed 1 (failed: " in said
    assert "2 (not begun)" in said
    found = json.loads((plan.folder / "table.json").read_text())
    assert found["start"].keys() == {"greedy"}
    assert found["arms"]["grpo"]["attempts"]["seeds"] == {"1": 6, "2": 6}
    assert found["arms"]["grpo"]["area"]["seeds"].keys() == {"1", "2"}
    assert json.loads(datagen("sweep", sweep, "--table", "--json")[1]) == found
