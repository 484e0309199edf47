"""Two ranks train what one rank trains: the same gradient, checkpoints that pass between them, and faults heard by both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.pipeline.ranks_program import KINDS, STEPS, gradients
from tests.unit.resumable_training import Training, seed_everything, write_rows

from datagen.training.checkpoints import Checkpoints
from datagen.training.export import whole_weights

pytestmark = pytest.mark.pipeline
torch.set_num_threads(1)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory) -> Path:
    """The folder in which two ranks did everything once."""
    folder = tmp_path_factory.mktemp("ranks")
    for name in (*KINDS, "one", "faults"):
        write_rows(folder / name)
    seed_everything(11)
    one = Training(folder / "one", "adamw")
    one.run(STEPS)
    one.checkpoints.save(STEPS, one.state)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, str(Path(__file__).with_name("ranks_program.py")), str(folder)],
        capture_output=True, text=True, timeout=180, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def found(ranks: Path) -> list[dict]:
    return [json.loads((ranks / f"found-{rank}.json").read_text()) for rank in range(2)]


def two_ranks(ranks: Path, kind: str) -> dict:
    return torch.load(ranks / kind / "two.pt", weights_only=True)


@pytest.mark.parametrize("count", [1, 6])
@pytest.mark.parametrize("tokens_per_bin", [8, 48, 4096])
@pytest.mark.parametrize("kind", ["adamw", "lora"])
def test_one_rank_two_ranks_and_accumulation_have_the_same_gradient(ranks, kind, tokens_per_bin, count):
    seed_everything(11)
    training = Training(ranks / kind, kind, tokens_per_bin=tokens_per_bin)
    alone = [gradients(training, number) for number in (1, 6)][(1, 6).index(count)]

    together = two_ranks(ranks, kind)["gradients"][count]

    assert together.keys() == alone.keys()
    assert max(float(gradient.abs().max()) for gradient in alone.values()) > 1e-3
    for name, gradient in alone.items():
        torch.testing.assert_close(together[name], gradient, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("kind", "tolerance"), [("adamw", 1e-6), ("lora", 1e-6), ("muon", 1e-3), ("half", 1e-2)])
def test_updates_of_two_ranks_lead_to_the_weights_of_one(ranks, kind, tolerance):
    # Muon orthogonalises in bfloat16, so that one bit of a gradient is a thousandth of an update; "half" computes in it, and
    # an element of AdamW's first updates is about the sign of its gradient.
    seed_everything(11)
    training = Training(ranks / kind, kind)
    before = {name: value.clone() for name, value in whole_weights(training.learner.weights, training.world).items()}
    training.run(STEPS)
    alone = whole_weights(training.learner.weights, training.world)

    together = two_ranks(ranks, kind)

    assert together["weights"].keys() == alone.keys()
    for name, weight in alone.items():
        torch.testing.assert_close(together["weights"][name], weight, atol=tolerance, rtol=0)
    assert max(float((alone[name] - before[name]).abs().max()) for name in alone) > 5e-3
    assert together["losses"][:STEPS] == pytest.approx(training.history.losses, abs=tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_two_ranks_that_resume_end_with_the_bits_of_two_that_never_stopped(ranks, kind):
    for rank in found(ranks):
        assert rank[kind]["step"] == STEPS
        assert rank[kind]["again"] == rank[kind]["digest"]
    assert len({rank[kind]["digest"] for rank in found(ranks)}) == 2  # each rank has parts of its own


@pytest.mark.parametrize("kind", KINDS)
def test_one_rank_takes_up_the_checkpoint_of_two(ranks, kind):
    training = Training(ranks / kind, kind)

    assert training.checkpoints.load(training.state) == STEPS

    together = two_ranks(ranks, kind)
    for name, weight in whole_weights(training.learner.weights, training.world).items():
        assert torch.equal(weight, together["weights"][name])
    training.run(STEPS)
    tolerance = {"muon": 1e-3, "half": 2e-2}.get(kind, 1e-5)
    assert training.history.losses == pytest.approx(together["losses"], abs=tolerance)


def test_two_ranks_take_up_the_checkpoint_of_one(ranks):
    seed_everything(11)
    alone = Training(ranks / "adamw", "adamw")
    alone.run(2 * STEPS)

    for rank in found(ranks):
        assert rank["of one"] == pytest.approx(alone.history.losses, abs=1e-5)


@pytest.mark.parametrize("kind", ["adamw", "lora"])
def test_the_folder_that_two_ranks_write_is_a_model_of_transformers(ranks, kind):
    from transformers import AutoModelForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(ranks / kind / "exported")

    training = Training(ranks / kind, kind)
    training.checkpoints.load(training.state)
    ids = torch.arange(12)[None]
    with torch.no_grad():
        torch.testing.assert_close(
            loaded(input_ids=ids).logits, training.learner.model.eval()(input_ids=ids).logits, atol=1e-5, rtol=1e-5
        )


def test_the_learner_of_a_second_stage_goes_on_with_a_model_that_is_cut(ranks):
    first = Training(ranks / "adamw", "adamw")
    first.checkpoints.load(first.state)
    second = Training(ranks / "adamw", "adamw", model=first.learner.model)
    rows = [second._row([5] * n) for n in (4, 9, 2, 30)]
    before = second.learner.logprobs(rows)
    seed_everything(11)
    second.run(STEPS)

    for rank in found(ranks):
        told = rank["second stage"]
        assert told["losses"] == pytest.approx(second.history.losses, abs=1e-5)
        for here, alone in zip(told["logprobs"], before, strict=True):
            assert here == pytest.approx(alone.tolist(), abs=1e-5)


def test_what_the_first_rank_does_for_all_reaches_all_and_so_does_its_failure(ranks):
    one, other = (rank["second stage"] for rank in found(ranks))

    assert one["drawn"] == other["drawn"] == one["logprobs"]
    assert one["refused"] == "rank 0 cannot"
    assert other["refused"] == "rank 0 failed: rank 0 cannot"


def test_a_fault_of_one_rank_is_heard_by_all_and_the_last_good_checkpoint_stays(ranks):
    for number, rank in enumerate(found(ranks)):
        told = rank["faults"]
        assert "has no room for the checkpoint of step 2: it needs" in told["full disk"], number
        assert "The checkpoint of step 1 is whole." in told["full disk"]
        assert "is damaged: weights/__1_0.distcp missing or changed" in told["damage"]
        assert told["steps"] == "[1, 3]"
    assert [one.step for one in Checkpoints(ranks / "faults" / "checkpoints").whole()] == [1, 3]
