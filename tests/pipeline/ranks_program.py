"""What two ranks do in `test_training_distributed`: `torchrun ranks_program.py FOLDER`. Rank r leaves its findings in FOLDER."""

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


def refusal(work) -> str:
    try:
        work()
    except TrainingError as exc:
        return str(exc)
    return "nothing was refused"


def train(folder: Path, kind: str, world: World) -> dict[str, object]:
    seed_everything(11)
    training = Training(folder / kind, kind, world)
    grads = {count: gradients(training, count) for count in (1, 6)}
    seed_everything(11)
    training.run(STEPS)
    training.checkpoints.save(STEPS, training.state)
    weights = whole_weights(training.learner.model, world)
    export_model(folder / kind / "exported", training.learner.model, world=world)
    training.run(STEPS)
    digest = training.digest()

    again = Training(folder / kind, kind, world)
    seed_everything(5)
    step = again.checkpoints.load(again.state)
    again.run(STEPS)
    if world.leads:
        torch.save(
            {"gradients": grads, "weights": weights, "losses": training.history.losses}, folder / kind / "two.pt"
        )
    return {"digest": digest, "again": again.digest(), "step": step}


def of_one_rank(folder: Path, world: World) -> list[float]:
    """Go on from what one rank left."""
    training = Training(folder / "one", "adamw", world)
    training.checkpoints.load(training.state)
    training.run(STEPS)
    return training.history.losses


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


def main(folder: Path) -> None:
    with distributed() as world:
        found: dict[str, object] = {kind: train(folder, kind, world) for kind in KINDS}
        found["of one"] = of_one_rank(folder, world)
        found["second stage"] = second_stage(folder, world)
        found["faults"] = faults(folder, world)
        (folder / f"found-{world.rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
