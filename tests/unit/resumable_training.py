"""A small training with every kind of state, and what `test_training_resume` compares of it.

As a program: `resumable_training.py FOLDER stop` trains, leaves a checkpoint of each kind in FOLDER and goes on in several ways;
`resumable_training.py FOLDER go-on` goes on from those checkpoints. Both print what they ended with. It is a program because its
draws come from the global generators, from which any thread of a process may draw: in the process of the tests, a thread
that an earlier file left behind can change what is trained.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from datagen.dataset.streaming import stream
from datagen.training.checkpoints import Checkpoints
from datagen.training.distributed import World, sharding
from datagen.training.learner import Learner
from datagen.training.models import tiny_qwen3, with_lora
from datagen.training.optimizers import OptimizerSettings
from datagen.training.rows import TrainRow
from datagen.training.state import TrainingState
from datagen.training.tokens import Loss, TokenBatch

torch.set_num_threads(1)  # another count adds up in another order, which changes bits
KINDS = ("adamw", "muon", "lora", "half")
STEPS = 4
"""Of five rows out of seventeen: the stop falls into the second epoch."""
ROWS_PER_STEP = 5
VOCABULARY = 61


class Likelihood:
    needs_entropy = False

    def __call__(self, tokens: TokenBatch) -> Loss:
        return Loss(-(tokens.ce_weight * tokens.logprobs).sum(), {})


class History:
    """A part whose state grows, with numbers of every kind."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def state_dict(self):
        return {"losses": np.array(self.losses), "last": self.losses[-1:]}

    def load_state_dict(self, state):
        self.losses = state["losses"].tolist()


def write_rows(folder: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [{"id": f"r{n}", "ids": rng.integers(0, VOCABULARY, rng.integers(4, 24)).tolist()} for n in range(17)]
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "train-00000.parquet", row_group_size=4)


class Training:
    """Updates on rows of a stream, a few at a time; draws from every global generator decide what is trained."""

    def __init__(
        self, folder: Path, kind: str, world: World | None = None, *, tokens_per_bin: int = 48, model=None
    ) -> None:
        self.world = world or World()
        model = model or tiny_qwen3(VOCABULARY, layers=2, hidden=32, heads=2, ffn=48, seed=3)
        if kind == "lora":
            model = with_lora(model, rank=4, alpha=8, seed=1)
        precision = "bfloat16" if kind == "half" else "float32"
        settings = OptimizerSettings(
            kind="muon" if kind == "muon" else "adamw", learning_rate=1e-2, eps=1e-4, weight_decay=0.1,
            schedule="cosine", warmup=2, total=40,
        )  # fmt: skip
        self.learner = Learner(
            model,
            optimizer=settings,
            tokens_per_bin=tokens_per_bin,
            clip_norm=0.5,
            precision=precision,
            **sharding(self.world, precision),
        )
        self.rows = stream([str(folder / "train-00000.parquet")], seed=5, window=2)
        self.history = History()
        parts = {"loader": self.rows, "progress": self.learner.progress, "history": self.history}
        self.state = TrainingState(self.learner.weights, self.learner.optimizer.parts, parts)
        self.checkpoints = Checkpoints(folder / "checkpoints", identity={"kind": kind}, world=self.world)

    def run(self, steps: int) -> None:
        endless = itertools.chain.from_iterable(itertools.repeat(self.rows))
        for _ in range(steps):
            read = [next(endless) for _ in range(ROWS_PER_STEP)]
            rows = [self._row(one["ids"]) for one in read]
            self.history.losses.append(self.learner.step(rows, Likelihood()).loss)

    def _row(self, ids: list[int]) -> TrainRow:
        drawn = random.random() + np.random.rand() + torch.rand(1).item()  # noqa: NPY002
        weight = np.full(len(ids), drawn / 100, dtype=np.float32)
        weight[0] = 0
        return TrainRow(np.array(ids), ce_weight=weight)

    def digest(self) -> str:
        """Of the bits of everything on this rank."""
        digest = hashlib.sha256(repr((self.history.losses, self.rows.state_dict(), random.random())).encode())
        values = [value for _, value in self.learner.weights.named_parameters()]
        for optimizer in self.learner.optimizer.parts:
            values += [kept[key] for kept in optimizer.state.values() for key in sorted(kept)]
        for value in values:
            local = value.to_local() if hasattr(value, "to_local") else value
            digest.update(local.detach().numpy().tobytes())
        digest.update(torch.rand(1).numpy().tobytes() + np.random.rand(1).tobytes())  # noqa: NPY002
        return digest.hexdigest()


def seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)


def stop(folder: Path) -> dict[str, dict[str, str]]:
    """Digests of trainings that never stopped, and of those that go on in this process from the checkpoints left here."""
    for kind in KINDS:
        write_rows(folder / kind)
    return {
        "never stopped": {kind: _never_stopped(folder / kind, kind) for kind in KINDS},
        "other objects": {kind: _other_objects(folder / kind, kind) for kind in KINDS},
        "lost": {part: _without(folder / "adamw", part) for part in ("loader", "progress", "generators")},
    }


def go_on(folder: Path) -> dict[str, str]:
    return {kind: _taken_up(Training(folder / kind, kind)) for kind in KINDS}


def _never_stopped(folder: Path, kind: str) -> str:
    seed_everything(11)
    training = Training(folder, kind)
    training.run(STEPS)
    training.checkpoints.save(STEPS, training.state)
    training.run(STEPS)
    return training.digest()


def _other_objects(folder: Path, kind: str) -> str:
    seed_everything(99)
    training = Training(folder, kind)
    training.run(1)
    return _taken_up(training)


def _taken_up(training: Training) -> str:
    step = training.checkpoints.load(training.state)
    if step != STEPS:
        raise RuntimeError(f"the checkpoint of step {STEPS} says that it is of step {step}")
    training.run(STEPS)
    return training.digest()


def _without(folder: Path, lost: str) -> str:
    """Go on with one part of the state as it is in a new training."""
    training = Training(folder, "adamw")
    parts = training.state.parts
    kept = None if lost == "generators" else parts[lost].state_dict()
    training.checkpoints.load(training.state)
    if kept is None:
        seed_everything(99)
    else:
        parts[lost].load_state_dict(kept)
    training.run(STEPS)
    return training.digest()


if __name__ == "__main__":
    work = {"stop": stop, "go-on": go_on}[sys.argv[2]]
    sys.stdout.write(json.dumps(work(Path(sys.argv[1]))))
