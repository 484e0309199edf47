"""Two ranks train what one rank trains: the same gradient, checkpoints that pass between them, and faults heard by both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.pipeline.ranks_program import COUNTS, KINDS, KINDS_OF_GRADIENTS, STEPS, TOKENS_PER_BIN
from tests.unit.resumable_training import write_rows

from datagen.training.checkpoints import Checkpoints

pytestmark = pytest.mark.pipeline
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory) -> Path:
    """The folder in which one rank alone, and two together, did everything once; none of them in this process."""
    folder = tmp_path_factory.mktemp("ranks")
    for place in [*(f"{world}/{kind}" for world in ("alone", "together") for kind in KINDS), "together/faults"]:
        write_rows(folder / place)
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("ranks_program.py")), str(folder)],
        capture_output=True, text=True, timeout=180, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def found(ranks: Path, world: str) -> list[dict[str, Any]]:
    """What each rank of "alone" or "together" found."""
    return [json.loads((ranks / world / f"found-{n}.json").read_text()) for n in range(1 if world == "alone" else 2)]


def tensors(ranks: Path, world: str, kind: str, name: str) -> dict:
    return torch.load(ranks / world / kind / f"{name}.pt", weights_only=True)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("tokens_per_bin", TOKENS_PER_BIN)
@pytest.mark.parametrize("kind", KINDS_OF_GRADIENTS)
def test_one_rank_two_ranks_and_accumulation_have_the_same_gradient(ranks, kind, tokens_per_bin, count):
    alone = tensors(ranks, "alone", kind, "gradients")[tokens_per_bin][count]

    together = tensors(ranks, "together", kind, "gradients")[TOKENS_PER_BIN[1]][count]

    assert together.keys() == alone.keys()
    assert max(float(gradient.abs().max()) for gradient in alone.values()) > 1e-3
    for name, gradient in alone.items():
        torch.testing.assert_close(together[name], gradient, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("kind", "tolerance"), [("adamw", 1e-6), ("lora", 1e-6), ("muon", 1e-3), ("half", 1e-2)])
def test_updates_of_two_ranks_lead_to_the_weights_of_one(ranks, kind, tolerance):
    # Muon orthogonalises in bfloat16, so that one bit of a gradient is a thousandth of an update; "half" computes in it, and
    # an element of AdamW's first updates is about the sign of its gradient.
    alone = tensors(ranks, "alone", kind, "trained")
    before, after = alone["begun"], alone["weights"]
    losses = found(ranks, "alone")[0][kind]["losses"][:STEPS]

    together = tensors(ranks, "together", kind, "trained")["weights"]

    assert together.keys() == after.keys()
    for name, weight in after.items():
        torch.testing.assert_close(together[name], weight, atol=tolerance, rtol=0)
    assert max(float((after[name] - before[name]).abs().max()) for name in after) > 5e-3
    for rank in found(ranks, "together"):
        assert rank[kind]["losses"][:STEPS] == pytest.approx(losses, abs=tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_two_ranks_that_resume_end_with_the_bits_of_two_that_never_stopped(ranks, kind):
    together = [rank[kind] for rank in found(ranks, "together")]

    for rank in together:
        assert rank["step"] == STEPS
        assert rank["again"] == rank["digest"]
    assert len({rank["digest"] for rank in together}) == 2  # each rank has parts of its own


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("left", "taken"), [("together", "alone"), ("alone", "together")])
def test_one_rank_takes_up_the_checkpoint_of_two_and_two_that_of_one(ranks, left, taken, kind):
    weights, taken_up = tensors(ranks, left, kind, "trained")["weights"], tensors(ranks, left, kind, "taken_up")
    losses = found(ranks, left)[0][kind]["losses"]
    tolerance = {"muon": 1e-3, "half": 2e-2}.get(kind, 1e-5)

    assert taken_up.keys() == weights.keys()
    for name, weight in taken_up.items():
        assert torch.equal(weight, weights[name])
    for rank in found(ranks, taken):
        assert rank["taken up"][kind]["step"] == STEPS
        assert rank["taken up"][kind]["losses"] == pytest.approx(losses, abs=tolerance)


@pytest.mark.parametrize("kind", ["adamw", "lora"])
def test_the_folder_that_two_ranks_write_is_a_model_of_transformers(ranks, kind):
    read = {name: torch.tensor(one) for name, one in found(ranks, "alone")[0]["logits"][kind].items()}

    torch.testing.assert_close(read["exported"], read["kept"], atol=1e-5, rtol=1e-5)


def test_the_learner_of_a_second_stage_goes_on_with_a_model_that_is_cut(ranks):
    alone = found(ranks, "alone")[0]["second stage"]

    for rank in found(ranks, "together"):
        told = rank["second stage"]
        assert told["losses"] == pytest.approx(alone["losses"], abs=1e-5)
        for here, there in zip(told["logprobs"], alone["logprobs"], strict=True):
            assert here == pytest.approx(there, abs=1e-5)


def test_what_the_first_rank_does_for_all_reaches_all_and_so_does_its_failure(ranks):
    one, other = (rank["second stage"] for rank in found(ranks, "together"))

    assert one["drawn"] == other["drawn"] == one["logprobs"]
    assert one["refused"] == "rank 0 cannot"
    assert other["refused"] == "rank 0 failed: rank 0 cannot"


def test_a_fault_of_one_rank_is_heard_by_all_and_the_last_good_checkpoint_stays(ranks):
    for number, rank in enumerate(found(ranks, "together")):
        told = rank["faults"]
        assert "has no room for the checkpoint of step 2: it needs" in told["full disk"], number
        assert "The checkpoint of step 1 is whole." in told["full disk"]
        assert "is damaged: weights/__1_0.distcp missing or changed" in told["damage"]
        assert told["steps"] == "[1, 3]"
    assert [one.step for one in Checkpoints(ranks / "together" / "faults" / "checkpoints").whole()] == [1, 3]
