"""Estimates of the divergence from a reference model, one token at a time, on tokens that the policy sampled.

    d = log pi(t) - log ref(t)
    k1 = d                       unbiased, of either sign
    k2 = d^2 / 2                 biased, never negative; the gradient of its mean is that of the divergence
    k3 = exp(-d) - 1 + d         unbiased and never negative; its gradient is that of the other divergence, KL(ref, pi)

A kind with + has the value of the kind and the gradient of k2 ("straight through", as in verl). J. Schulman,
"Approximating KL divergence" (2020); spec rl_algorithms §1.2.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

KLKind = Literal["k1", "k2", "k3", "k1+", "k3+"]

VERL_INPUT_CLAMP = 20.0
"""verl bounds the log-ratio of k3 by this..."""
VERL_OUTPUT_CLAMP = 10.0
"""...and the estimate by this."""


def kl_estimate(
    logprobs: Tensor,
    ref_logprobs: Tensor,
    kind: KLKind,
    *,
    input_clamp: float | None = None,
    output_clamp: float | None = None,
) -> Tensor:
    """Per token. The clamps bound the log-ratio and the value of k3; beyond them the gradient is 0."""
    gap = logprobs - ref_logprobs
    if kind.startswith("k1"):
        value = gap
    elif kind == "k2":
        value = 0.5 * gap.square()
    else:
        bounded = gap if input_clamp is None else gap.clamp(-input_clamp, input_clamp)
        value = torch.expm1(-bounded) + bounded
        if output_clamp is not None:
            value = value.clamp(-output_clamp, output_clamp)
    if not kind.endswith("+"):
        return value
    straight = 0.5 * gap.square()
    return straight - straight.detach() + value.detach()
