"""Padded tensors, as papers and peers write them, brought to the flat tokens of ours, and gradients brought back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datagen.training.objectives.aggregation import Aggregation, Totals, coefficients, step_totals
from datagen.training.tokens import Loss, Objective, TokenBatch

torch.set_num_threads(1)

# Spec rl_algorithms §1.6: ratios and advantages of four rows; in the last, a tool's token stands in the middle.
RATIOS = [[1, 1.3, 0.7, 1.1], [0.5, 1.05, 1.5, 1], [3.5, 0.9, 1, 1], [1.25, 9.0, 0.79, 1.27]]
MASK = [[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 1, 1]]
WORKED = {
    "logprobs": (np.log(RATIOS) - 0.9).tolist(),
    "old": np.full((4, 4), -0.9).tolist(),
    "ref": np.full((4, 4), -1.1).tolist(),
    "mask": MASK,
    "advantages": [1.0, -0.75, -0.5, 0.25],
    "entropy": [[0.2, 1.5, 0.1, 0.9], [2.0, 0.3, 0.7, 0], [1.1, 0.05, 0, 0], [0.4, 9.9, 0.6, 1.3]],
}


def tokens_of(
    arrays: Mapping[str, Any],
    *,
    aggregation: Aggregation = "sequence_mean",
    max_length: int | None = None,
    totals: Totals | None = None,
    count_empty: bool = False,
    kl_coef: float = 0.0,
    ce_coef: float = 0.0,
    sampler: bool = False,
) -> TokenBatch:
    """The trained tokens of (B, T) arrays `logprobs`, `old`, `mask` and, where given, `ref`, `entropy`, `sampler`.

    `advantages` is (B,) or (B, T). `logprobs` is a leaf, so that its gradient can be asked for.
    """
    mask = torch.tensor(arrays["mask"]).bool()
    rows = torch.arange(len(mask))[:, None].expand(mask.shape)[mask]
    lengths = mask.sum(1).numpy().astype(np.int64)
    whole = totals or step_totals(lengths, count_empty=count_empty)
    each = coefficients(lengths, aggregation, totals=whole, max_length=max_length)
    weight = torch.tensor(each)[rows]

    def flat(name: str) -> Tensor:
        array = torch.tensor(arrays[name], dtype=torch.float64)
        return (array[:, None].expand(mask.shape) if array.dim() == 1 else array)[mask].clone()

    zero = torch.zeros(len(rows), dtype=torch.float64)
    return TokenBatch(
        logprobs=flat("logprobs").requires_grad_(),
        rows=rows,
        n_rows=len(mask),
        rl_weight=weight,
        ce_weight=ce_coef * weight,
        kl_weight=kl_coef * weight,
        advantages=flat("advantages"),
        old_logprobs=flat("old"),
        ref_logprobs=flat("ref") if "ref" in arrays else zero,
        entropy=flat("entropy") if "entropy" in arrays else None,
        sampler_logprobs=flat("sampler") if sampler else None,
    )


def gradient_of(objective: Objective, tokens: TokenBatch) -> tuple[Loss, Tensor]:
    """The loss, and its (P,) gradient to the log-probabilities."""
    loss = objective(tokens)
    (gradient,) = torch.autograd.grad(loss.value, tokens.logprobs)
    return loss, gradient


def padded(values: Tensor, arrays: Mapping[str, Any]) -> Tensor:
    """(B, T), with 0 where there is no trained token."""
    mask = torch.tensor(arrays["mask"]).bool()
    out = torch.zeros(mask.shape, dtype=values.dtype)
    out[mask] = values.detach()
    return out


def finite_differences(value: Callable[[Tensor], Tensor], at: Tensor, step: float = 1e-6) -> Tensor:
    """Central differences of a scalar function, one coordinate after the other."""
    found = torch.zeros_like(at)
    for place in range(len(at)):
        move = torch.zeros_like(at)
        move[place] = step
        found[place] = (value(at + move) - value(at - move)) / (2 * step)
    return found


def drawn(seed: int, rows: int = 5, width: int = 6, spread: float = 0.5) -> dict[str, Any]:
    """A batch with gaps, empty rows and ratios on both sides of every bound."""
    rng = np.random.default_rng(seed)
    logprobs = -np.abs(rng.normal(0, 1.5, (rows, width)))
    return {
        "logprobs": logprobs,
        "old": logprobs - rng.normal(0, spread, (rows, width)),
        "ref": logprobs - rng.normal(0, 0.5, (rows, width)),
        "sampler": logprobs - rng.normal(0, 0.5, (rows, width)),
        "entropy": rng.uniform(0, 2, (rows, width)),
        "advantages": np.round(rng.normal(0, 1, rows), 2),
        "mask": rng.random((rows, width)) < 0.7,
    }
