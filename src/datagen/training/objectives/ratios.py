"""How much likelier the policy makes what was sampled: pi(token) / pi_old(token), per token or per sequence.

Arrays are flat over the trained tokens of R rows; `rows` says which row a token stands in (`training.tokens`).

    level         value at token t of row i            gradient to log pi(t)     published as
    token         exp(log r_t)                         r_t                       PPO, GRPO
    sequence      s_i = exp(mean of log r over i)      s_i / n_i, to all of i    GSPO; TRL "sequence"
    gspo_token    s_i, its value held fixed,           s_i, to t alone           GSPO-token; verl `gspo`
                  times exp(log pi_t - held log pi_t)

With one advantage and one coefficient along the row, the last two give the same loss and the same gradient.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

RatioLevel = Literal["token", "sequence", "gspo_token"]

VERL_LOG_RATIO_CLAMP = 20.0
"""verl bounds log-ratios by this before exp; TRL does not bound them."""


def row_sums(values: Tensor, rows: Tensor, n_rows: int) -> Tensor:
    """(R,) sums over the tokens of each row."""
    return torch.zeros(n_rows, dtype=values.dtype, device=values.device).index_add(0, rows, values)


def row_means(values: Tensor, mask: Tensor, rows: Tensor, n_rows: int) -> Tensor:
    """(R,) means over the tokens of each row that `mask` (P,) bool keeps; 0 for a row that keeps none."""
    kept = mask.to(values.dtype)
    return row_sums(values * kept, rows, n_rows) / row_sums(kept, rows, n_rows).clamp(min=1)


def log_ratios(
    logprobs: Tensor,
    old_logprobs: Tensor,
    *,
    level: RatioLevel,
    mask: Tensor,
    rows: Tensor,
    n_rows: int,
    clamp: float | None = None,
) -> Tensor:
    """(P,) logarithm of the ratio at each token; carries the gradient of `logprobs`.

    `mask` (P,) bool: tokens that a sequence's mean is taken over. `clamp` bounds the result on both sides; beyond it the
    gradient is 0.
    """
    plain = logprobs - old_logprobs
    if level == "token":
        result = plain
    else:
        result = row_means(plain, mask, rows, n_rows)[rows]
        if level == "gspo_token":
            result = result.detach() + (logprobs - logprobs.detach())
    return result if clamp is None else result.clamp(-clamp, clamp)
