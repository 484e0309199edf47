"""What one update says of itself: sums over bins and ranks when it was made, and the rollouts to look at when it was not."""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from datagen.training.packing import Bin
from datagen.training.rows import STREAMS, TrainRow
from datagen.training.tokens import Loss

NAMED = 8
"""Rollouts that an error names; the others are counted."""


@dataclass(frozen=True, slots=True)
class StepReport:
    """One update, over all ranks; seconds are of this one."""

    version: int
    """Updates that the weights have seen with this one."""
    loss: float
    grad_norm: float
    """Before clipping."""
    clipped: bool
    learning_rate: float
    measures: dict[str, float]
    """Sum over count of what the objective measured."""
    rows: int
    """That were trained on; rows without a trained token are left out."""
    bins: int
    """Forward passes of this rank."""
    trained_tokens: int
    forwarded_tokens: int
    """Of rows, padding left out."""
    padding_share: float
    """Of the tokens that were computed."""
    seconds: float
    memory_mb: float
    """The most that was in use since the process began: of its GPU, or else of the process."""


def detached(loss: Loss) -> Loss:
    """The numbers without the computation behind them."""
    measures = {name: (total.detach(), count.detach()) for name, (total, count) in loss.measures.items()}
    return Loss(loss.value.detach(), measures, {name: peak.detach() for name, peak in loss.peaks.items()})


def totals(parts: Sequence[Bin], losses: Sequence[Loss]) -> tuple[dict[str, float], dict[str, float]]:
    """What ranks add up, and what they take the largest of. Numbers leave the device in one transfer."""
    added = {
        "loss": 0.0,
        "rows": float(sum(len(part.rows) for part in parts)),
        "tokens": float(sum(part.tokens for part in parts)),
        "area": float(sum(part.area for part in parts)),
        "trained": float(sum(int(row.trained.sum()) for part in parts for row in part.rows)),
    }
    names: list[str] = []
    numbers: list[Tensor] = []
    for loss in losses:
        names.append("loss")
        numbers.append(loss.value)
        for name, (total, count) in loss.measures.items():
            names += [f"sum:{name}", f"count:{name}"]
            numbers += [total, count]
    tops = [(name, peak) for loss in losses for name, peak in loss.peaks.items()]
    numbers += [peak for _, peak in tops]
    values = torch.stack([number.reshape(()).float() for number in numbers]).tolist() if numbers else []
    for name, value in zip(names, values[: len(names)], strict=True):
        added[name] = added.get(name, 0.0) + value
    peaks: dict[str, float] = {}
    for (name, _), value in zip(tops, values[len(names) :], strict=True):
        peaks[name] = max(value, peaks.get(name, -math.inf))
    return added, peaks


def means(sums: Mapping[str, float], peaks: Mapping[str, float]) -> dict[str, float]:
    """By measure; those that nothing was counted for are left out."""
    names = [name.removeprefix("count:") for name, count in sums.items() if name.startswith("count:") and count]
    found = {name: sums[f"sum:{name}"] / sums[f"count:{name}"] for name in names}
    return found | {name: peak for name, peak in peaks.items() if peak > -math.inf}


def peak_memory_mb(device: torch.device) -> float:
    """Of a GPU: what tensors took at most; else what the process took."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1e6 if sys.platform == "darwin" else most * 1024 / 1e6


def what_broke(update: int, parts: Sequence[Bin], losses: Sequence[Loss], loss: float, length: float) -> str:
    """Names rows whose own numbers are not finite, or else all rows of the bins whose loss is not, or else all."""
    broken = [part for part, one in zip(parts, losses, strict=True) if not torch.isfinite(one.value)]
    suspects = [row for part in broken or parts for row in part.rows]
    guilty = [row for row in suspects if _not_finite(row)]
    streams = sorted({name for row in guilty for name in _not_finite(row)})
    why = f"whose {', '.join(streams)} is not finite" if guilty else "whose own numbers are finite"
    return (
        f"update {update} was not made: its loss is {loss:.4g} and its gradient has length {length:.4g}. "
        f"Look at rollouts {listed(guilty or suspects)}, {why}. Weights and optimiser are as they were before; leave these rows out, "
        "or go on from the last checkpoint with a lower learning rate"
    )


def listed(rows: Sequence[TrainRow]) -> str:
    """Names of their rollouts, as many as an error has room for."""
    names = sorted({row.rollout_id or row.group_id or "without a name" for row in rows})
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _not_finite(row: TrainRow) -> list[str]:
    streams = ((name, getattr(row, name)) for name in STREAMS)
    return [name for name, stream in streams if stream is not None and not np.isfinite(stream).all()]
