"""Our update on frozen rollouts, and a plain padded loop: `python ours.py FOLDER ROUNDS WAY [TOKENS]`.

WAY is "ours" or "padded", which reinforce, or "sft", which imitates what was written. A bin holds TOKENS, 4096 if not given.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
from datagen.training.learner import Learner
from datagen.training.models import load_model
from datagen.training.objectives.policy import PolicyLoss
from datagen.training.objectives.supervised import SupervisedLoss
from datagen.training.optimizers import OptimizerSettings
from datagen.training.rows import TrainRow
from rollouts import read, report

torch.set_num_threads(1)


def to_rows(frozen: list[dict[str, Any]]) -> list[TrainRow]:
    trained = sum(sum(one["written"]) for one in frozen)
    rows = []
    for number, one in enumerate(frozen):
        ids = np.array(one["prompt"] + one["completion"])
        mask = np.array([0] * len(one["prompt"]) + one["written"], dtype=np.float32)
        advantage = np.full(len(ids), 1.0 if number % 2 else -1.0, dtype=np.float32)
        rows.append(TrainRow(ids, rl_weight=mask / trained, advantage=advantage, rollout_id=str(number)))
    return rows


def imitated(frozen: list[dict[str, Any]]) -> list[TrainRow]:
    # These need more than torch and transformers, with which `ours_gpu.py` does.
    from datagen.training.rollout import Sampled
    from datagen.training.sft_rows import sft_rows

    sequences = []
    for one in frozen:
        ids = np.array(one["prompt"] + one["completion"])
        written = np.array([0] * len(one["prompt"]) + one["written"], dtype=bool)
        sequences.append(Sampled(ids, written, np.zeros(len(ids), dtype=np.float32)))
    return sft_rows(sequences)


def ours(model: nn.Module, frozen: list[dict[str, Any]], tokens: int) -> Callable[[], float]:
    learner = Learner(model, optimizer=OptimizerSettings(learning_rate=1e-4), tokens_per_bin=tokens)
    rows = to_rows(frozen)
    return lambda: learner.step(rows, PolicyLoss()).loss


def sft(model: nn.Module, frozen: list[dict[str, Any]], tokens: int) -> Callable[[], float]:
    """Rows are made in every step, as they are in training."""
    learner = Learner(model, optimizer=OptimizerSettings(learning_rate=1e-4), tokens_per_bin=tokens)
    return lambda: learner.step(imitated(frozen), SupervisedLoss()).loss


def padded(model: nn.Module, frozen: list[dict[str, Any]], _tokens: int) -> Callable[[], float]:
    """One rectangle with a mask, all logits, and the clipped loss: what one writes first."""
    rows = to_rows(frozen)
    width = max(map(len, rows))
    ids, mask, weight, advantage = (torch.zeros(len(rows), width) for _ in range(4))
    for line, row in enumerate(rows):
        ids[line, : len(row)] = torch.from_numpy(row.input_ids)
        mask[line, : len(row)] = 1
        weight[line, : len(row)] = torch.from_numpy(row.rl_weight)
        advantage[line, : len(row)] = torch.from_numpy(row.advantage)
    ids, mask = ids.long(), mask.long()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step() -> float:
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
        logprobs = torch.log_softmax(logits, -1).gather(-1, ids[:, 1:, None])[..., 0]
        ratio, gain = (logprobs - logprobs.detach()).exp(), advantage[:, 1:]
        loss = (torch.maximum(-gain * ratio, -gain * ratio.clamp(0.8, 1.2)) * weight[:, 1:]).sum()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    return step


if __name__ == "__main__":
    folder, rounds, way = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    tokens = int(sys.argv[4]) if len(sys.argv) > 4 else 4096
    ways = {"ours": ours, "padded": padded, "sft": sft}
    report(ways[way](load_model(folder / "model"), read(folder), tokens), rounds)
