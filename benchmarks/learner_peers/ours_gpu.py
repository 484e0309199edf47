"""Our update on frozen rollouts, in bfloat16 on a GPU: `python ours_gpu.py FOLDER STEPS SHAPE DEVICE TOKENS_PER_BIN`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[2] / "src"))  # where the package is not installed
from ours import to_rows
from shapes import build

from datagen.training.learner import Learner
from datagen.training.objectives.policy import PolicyLoss
from datagen.training.optimizers import OptimizerSettings
from rollouts import WARM, read, resident_mb, tell


def main() -> None:
    folder, steps, shape, device, tokens = Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:5], int(sys.argv[5])
    rows = to_rows(read(folder))
    learner = Learner(
        build(shape, device),
        optimizer=OptimizerSettings(learning_rate=1e-6),
        tokens_per_bin=tokens,
        precision="bfloat16",
    )
    print(learner.describe(), file=sys.stderr)
    before, seconds = resident_mb(), []
    cuda = device == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    for _ in range(WARM + steps):
        if cuda:
            torch.cuda.synchronize()
        began = time.perf_counter()
        learner.step(rows, PolicyLoss())
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    tell(seconds[WARM:], before, peak_mb=torch.cuda.max_memory_allocated() / 2**20 if cuda else None)


if __name__ == "__main__":
    main()
