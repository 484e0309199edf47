"""From logits to tokens, for many requests at once, each with its own noise.

Place t of a completion is drawn with the t-th number of a counter-based generator whose key is the seed of the request, by
looking that number up in the cumulated distribution (in float64). So a token depends on the weights, the prompt and the
sampling alone; that others are in the batch shows only where a batch of another shape rounds logits differently and the
number falls between the two sums, about once in a million tokens in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datagen.training.engines.base import Sampling

Noise = NDArray[np.float64]


def noise(seed: int, count: int) -> Noise:
    """Numbers in [0, 1) for the places of a completion. More of them begin with the same ones."""
    return np.random.Generator(np.random.Philox(key=seed % 2**128)).random(count)


@dataclass(frozen=True, slots=True)
class Rules:
    """How each row of a batch is drawn. Tensors of shape (rows, 1)."""

    temperature: Tensor | None
    """None where all are 1. Greedy rows have 1."""
    greedy: Tensor | None
    top_p: Tensor | None
    """None where all are 1."""


def rules(samplings: Sequence[Sampling], device: torch.device) -> Rules:
    """What the samplings of a batch have to say that is not the usual."""

    def column(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=device)[:, None]

    greedy = [s.temperature == 0 for s in samplings]
    temperatures = [s.temperature or 1.0 for s in samplings]
    return Rules(
        temperature=column(temperatures) if any(t != 1 for t in temperatures) else None,
        greedy=torch.tensor(greedy, device=device)[:, None] if any(greedy) else None,
        top_p=column([s.top_p for s in samplings]) if any(s.top_p < 1 for s in samplings) else None,
    )


def draw(logits: Tensor, chosen_by: Rules, numbers: Noise) -> tuple[Tensor, Tensor]:
    """Tokens (rows,) and their log-probabilities (rows,) under the distribution they were drawn from.

    `logits` (rows, vocabulary) in float32; `numbers` (rows,) of `noise`.
    """
    if chosen_by.temperature is not None:
        logits = logits / chosen_by.temperature
    logprobs = torch.log_softmax(logits, -1)
    if chosen_by.top_p is not None:
        logprobs = torch.log_softmax(_nucleus(logprobs, chosen_by.top_p), -1)
    sums = logprobs.exp().cumsum(-1, dtype=torch.float64)
    wanted = torch.from_numpy(numbers).to(sums.device)[:, None] * sums[:, -1:]
    tokens = torch.searchsorted(sums, wanted, right=True).clamp_(max=logits.shape[-1] - 1)
    if chosen_by.greedy is not None:
        tokens = torch.where(chosen_by.greedy, logprobs.argmax(-1, keepdim=True), tokens)
    return tokens[:, 0], logprobs.gather(-1, tokens)[:, 0]


def _nucleus(logprobs: Tensor, top_p: Tensor) -> Tensor:
    """The likeliest tokens that together reach `top_p`, the others at -inf; rows with 1 keep all."""
    ranked, order = logprobs.sort(-1, descending=True)
    probabilities = ranked.exp()
    before = probabilities.cumsum(-1) - probabilities
    outside = (before >= top_p) & (top_p < 1)
    outside[:, 0] = False
    return logprobs.masked_fill(torch.zeros_like(outside).scatter(-1, order, outside), float("-inf"))
