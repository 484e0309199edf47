"""The tensors that verl and TRL are asked about, and how their answers are written down."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

SEED = 20260917
LENGTHS = (10, 7, 1, 0, 9, 4, 10, 8)
TOKENS = 10
# How far the policy has moved from what sampled: inside all clips, around GSPO's, far outside of everything.
DISTANCE = {"gentle": 0.08, "tiny": 4e-4, "wild": 1.3}
ROW_ADVANTAGES = (-1.0, 0.75, 0.5, -1.25, -0.4, 0.0, -0.6, 1.1)

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)


def batch(name: str) -> dict[str, torch.Tensor]:
    """(8, 10) arrays with rows of all lengths, one of them empty, and gaps where a tool spoke."""
    rng = np.random.default_rng([SEED, sorted(DISTANCE).index(name)])
    shape = (len(LENGTHS), TOKENS)
    mask = (np.arange(TOKENS) < np.array(LENGTHS)[:, None]).astype(float)
    mask[0, 3:5] = 0
    mask[4, 2] = 0
    logprobs = -np.abs(rng.normal(0, 1.2, shape))
    arrays = {
        "logprobs": logprobs,
        "old": logprobs - rng.normal(0, DISTANCE[name], shape),
        "ref": logprobs - rng.normal(0, 0.5, shape),
        "entropy": rng.uniform(0.05, 2.5, shape),
        "mask": mask,
        "advantages": np.array(ROW_ADVANTAGES),
    }
    arrays["sampler"] = arrays["old"] - rng.normal(0, 0.15, shape)
    return {key: torch.tensor(np.round(value, 6)) for key, value in arrays.items()}


def listed(tensor: torch.Tensor) -> Any:
    """Nested lists with twelve digits; null for what is no number."""
    if tensor.dim():
        return [listed(inner) for inner in tensor.detach()]
    value = float(tensor.detach())
    return float(f"{value:.12g}") if math.isfinite(value) else None


def with_gradient(loss: Callable[[torch.Tensor], torch.Tensor], at: torch.Tensor) -> dict[str, Any]:
    leaf = at.clone().requires_grad_()
    value = loss(leaf)
    (gradient,) = torch.autograd.grad(value.sum(), leaf)
    return {"value": listed(value), "gradient": listed(gradient)}


def groups() -> list[list[float]]:
    """Rewards of groups of four: mixed, tied, nearly solved, and spread."""
    rng = np.random.default_rng([SEED, 99])
    return [[1, 0, 0, 1], [0.2, 0.9, 0.4, 0.5], [0.1] * 4, [1, 1, 1, 0.1], np.round(rng.normal(0, 2, 4), 3).tolist()]
