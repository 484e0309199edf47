"""What `test_training_distributed` compares: one rank alone, and two ranks that do the same together.

`python ranks_program.py FOLDER` is the one: it trains, has torchrun start two of this program, and takes up what they left, as
they take up what it left. Findings are in FOLDER/alone and FOLDER/together, `found-R.json` those of rank R. The one is a
process of its own, for its draws come from the global generators: in the process of the tests, a thread that an earlier
file left behind can draw from them too.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from pathlib import Path

import torch
from tests.unit.resumable_training import Likelihood, Training, seed_everything

from datagen.errors import CheckpointError, TrainingError
from datagen.training.distributed import World, distributed
from datagen.training.export import export_model, whole_weights

KINDS = ("adamw", "muon", "lora", "half")
KINDS_OF_GRADIENTS = ("adamw", "lora")
TOKENS_PER_BIN = (8, 48, 4096)
COUNTS = (1, 6)
"""Rows of a batch whose gradient is compared."""
STEPS = 2


def gradients(training: Training, count: int) -> dict[str, torch.Tensor]:
    """Whole gradients of one batch of `count` rows, as a step makes them."""
    rows = [training._row(list(range(3, 9 + 4 * n))) for n in range(count)]
    learner = training.learner
    parts = learner._bins(rows)
    learner.scorer.train()
    learner._run(parts, learner.reduction.most(len(parts)), Likelihood())
    found = {}
    for name, parameter in learner.model.named_parameters():
        if parameter.requires_grad:
            gradient = parameter.grad
            whole = gradient.full_tensor() if hasattr(gradient, "full_tensor") else gradient
            found[name] = whole.detach().clone()
    learner.optimizer.zero_grad()
    return found


def leave_gradients(folder: Path, kind: str, world: World) -> None:
    """Of bins of every size where one rank is alone, of the middle one where it is not."""
    found = {}
    for tokens in TOKENS_PER_BIN if world.size == 1 else TOKENS_PER_BIN[1:2]:
        seed_everything(11)
        training = Training(folder / kind, kind, world, tokens_per_bin=tokens)
        found[tokens] = {count: gradients(training, count) for count in COUNTS}
    if world.leads:
        torch.save(found, folder / kind / "gradients.pt")


def refusal(work) -> str:
    try:
        work()
    except TrainingError as exc:
        return str(exc)
    return "nothing was refused"


def train(folder: Path, kind: str, world: World) -> dict[str, object]:
    seed_everything(11)
    training = Training(folder / kind, kind, world)
    begun = whole_weights(training.learner.weights, world)
    begun = {name: weight.clone() for name, weight in begun.items()}
    training.run(STEPS)
    training.checkpoints.save(STEPS, training.state)
    weights = whole_weights(training.learner.weights, world)
    if world.leads:
        torch.save({"begun": begun, "weights": weights}, folder / kind / "trained.pt")
    export_model(folder / kind / "exported", training.learner.model, world=world)
    training.run(STEPS)
    digest = training.digest()

    again = Training(folder / kind, kind, world)
    seed_everything(5)
    step = again.checkpoints.load(again.state)
    again.run(STEPS)
    return {"losses": training.history.losses, "digest": digest, "again": again.digest(), "step": step}


def take_up(folder: Path, kind: str, world: World) -> dict[str, object]:
    """Go on from what the other world left in `folder`."""
    training = Training(folder / kind, kind, world)
    step = training.checkpoints.load(training.state)
    weights = whole_weights(training.learner.weights, world)
    if world.leads:
        torch.save(weights, folder / kind / "taken_up.pt")
    training.run(STEPS)
    return {"step": step, "losses": training.history.losses}


def logits(folder: Path, kind: str) -> dict[str, list]:
    """Of the exported folder as transformers reads it, and of the checkpoint."""
    from transformers import AutoModelForCausalLM

    training = Training(folder / kind, kind)
    training.checkpoints.load(training.state)
    exported = AutoModelForCausalLM.from_pretrained(folder / kind / "exported")
    ids = torch.arange(12)[None]
    with torch.no_grad():
        return {
            "exported": exported(input_ids=ids).logits.tolist(),
            "kept": training.learner.model.eval()(input_ids=ids).logits.tolist(),
        }


def second_stage(folder: Path, world: World) -> dict[str, object]:
    """Another learner on a model that the first one cut; and what rank 0 does for all."""
    first = Training(folder / "adamw", "adamw", world)
    first.checkpoints.load(first.state)
    second = Training(folder / "adamw", "adamw", world, model=first.learner.model)
    rows = [second._row([5] * n) for n in (4, 9, 2, 30)]
    before = second.learner.logprobs(rows)
    seed_everything(11)
    second.run(STEPS)
    drawn = world.lead(lambda: [one.tolist() for one in before])
    refused = refusal(lambda: world.lead(_fail))
    return {
        "losses": second.history.losses,
        "logprobs": [one.tolist() for one in before],
        "drawn": drawn,
        "refused": refused,
    }


def _fail() -> None:
    raise CheckpointError("rank 0 cannot")


def faults(folder: Path, world: World) -> dict[str, str]:
    """What each rank hears when something fails on one of them."""
    training = Training(folder / "faults", "adamw", world)
    checkpoints = training.checkpoints
    checkpoints.save(1, training.state)
    told = {}
    if world.rank == 1:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    told["full disk"] = refusal(lambda: checkpoints.save(2, training.state))
    if world.rank == 1:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    newest = checkpoints.save(3, training.state)
    if world.leads:
        (newest.folder / "weights" / "__1_0.distcp").write_bytes(b"damaged")
    world.gather(None)
    told["damage"] = refusal(lambda: checkpoints.load(training.state))
    told["steps"] = str([one.step for one in checkpoints.whole()])
    return told


def start_two_ranks(folder: Path) -> None:
    """What the command torchrun does; from here, because a process of its own takes seconds to begin."""
    from torch.distributed.run import main as torchrun

    torchrun(["--standalone", "--nproc-per-node", "2", __file__, str(folder)])


def main(folder: Path) -> None:
    alone, together = folder / "alone", folder / "together"
    with distributed() as world:
        here, other = (alone, together) if world.size == 1 else (together, alone)
        for kind in KINDS_OF_GRADIENTS:
            leave_gradients(here, kind, world)
        found: dict[str, object] = {kind: train(here, kind, world) for kind in KINDS}
        if world.size == 1:
            start_two_ranks(folder)
            found["logits"] = {kind: logits(together, kind) for kind in ("adamw", "lora")}
        else:
            found["faults"] = faults(together, world)
        found["taken up"] = {kind: take_up(other, kind, world) for kind in KINDS}
        found["second stage"] = second_stage(together, world)
        (here / f"found-{world.rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
