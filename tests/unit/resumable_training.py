"""A small training with every kind of state; as a program it goes on from a checkpoint: `FOLDER KIND STEPS OUT`."""

from __future__ import annotations

import hashlib
import itertools
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

torch.set_num_threads(1)
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


if __name__ == "__main__":
    folder, kinds, steps = Path(sys.argv[1]), sys.argv[2].split(","), int(sys.argv[3])
    for one in kinds:
        training = Training(folder / one, one)
        training.checkpoints.load(training.state)
        training.run(steps)
        sys.stdout.write(f"{training.digest()}\n")
