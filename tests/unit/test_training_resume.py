"""A training that is stopped and taken up again ends with the bits of one that never stopped."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.unit.resumable_training import Training, seed_everything, write_rows

torch.set_num_threads(1)
PROGRAM = Path(__file__).with_name("resumable_training.py")
KINDS = ("adamw", "muon", "lora", "half")
STEPS = 4
"""Of five rows out of seventeen: the stop falls into the second epoch."""


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """A folder with a checkpoint of each kind after `STEPS` steps, and the digests of trainings that went on."""
    folder, digests = tmp_path_factory.mktemp("resume"), {}
    for kind in KINDS:
        write_rows(folder / kind)
        seed_everything(11)
        training = Training(folder / kind, kind)
        training.run(STEPS)
        training.checkpoints.save(STEPS, training.state)
        training.run(STEPS)
        digests[kind] = training.digest()
    return folder, digests


def test_another_process_that_goes_on_ends_with_the_same_bits(stopped):
    folder, digests = stopped

    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(folder), ",".join(KINDS), str(STEPS)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == list(digests.values())


@pytest.mark.parametrize("kind", KINDS)
def test_the_objects_of_another_training_go_on_with_the_same_bits(stopped, kind):
    folder, digests = stopped
    seed_everything(99)
    training = Training(folder / kind, kind)
    training.run(1)

    assert training.checkpoints.load(training.state) == STEPS
    training.run(STEPS)

    assert training.digest() == digests[kind]


@pytest.mark.parametrize("lost", ["loader", "progress"])
def test_the_digest_notices_a_part_that_is_not_taken_up(stopped, lost):
    folder, digests = stopped
    training = Training(folder / "adamw", "adamw")
    state = training.state
    kept = state.parts[lost].state_dict()
    training.checkpoints.load(state)
    state.parts[lost].load_state_dict(kept)
    training.run(STEPS)

    assert training.digest() != digests["adamw"]


def test_the_digest_notices_generators_that_are_not_taken_up(stopped):
    folder, digests = stopped
    training = Training(folder / "adamw", "adamw")
    training.checkpoints.load(training.state)
    seed_everything(99)
    training.run(STEPS)

    assert training.digest() != digests["adamw"]
