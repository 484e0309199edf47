"""From hidden states to log-probabilities, at trained tokens alone and never with all logits in memory.

    hidden (P, H) --chunk by chunk-->  logits (c, V) --log_softmax-->  log-probability of the target, entropy
                                           dropped; the backward pass makes them again

Of a search trajectory most tokens are results of tools, which no loss looks at: only the P places that predict a trained token
are multiplied with the vocabulary. A chunk holds `elements` logits at most; what fits into one chunk keeps its
probabilities instead of making them twice. The gradient of the weight is added up in float32 over the chunks, because a
rounding to bfloat16 at every chunk is a bias.

With z = W h / temperature and p = softmax(z):

    log p(y) = z_y - logsumexp(z)             d/dz = 1[y] - p
    H        = -sum p log p                   d/dz = -p (log p + H)
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

Entropy = Literal["none", "measured", "trained"]
"""Not computed; computed without a gradient; with one."""
CHUNK = {"cpu": 1 << 22, "cuda": 1 << 27}
"""Logits of a chunk: 16 MB in float32 on a CPU, about what its caches hold; 512 MB on a GPU, 880 tokens of 152 k words."""


def token_logprobs(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    bias: Tensor | None = None,
    temperature: float = 1.0,
    entropy: Entropy = "none",
    elements: int | None = None,
) -> tuple[Tensor, Tensor | None]:
    """(P,) float32 log-probabilities of `targets` (P,), and the entropies (P,) in nats where asked for.

    `hidden` (P, H), `weight` (V, H), `bias` (V,). Products are taken in the precision of `hidden` and summed in float32.
    `temperature` divides the logits: these are the probabilities of the
    distribution that tokens were drawn from. Entropy has a gradient only when `entropy` is "trained".
    """
    limit = elements or CHUNK.get(hidden.device.type, CHUNK["cuda"])
    chunk = max(1, limit // weight.shape[0])
    out: tuple[Tensor, Tensor | None] = _Head.apply(  # type: ignore[no-untyped-call]
        hidden, weight, bias, targets, 1.0 / temperature, entropy, chunk
    )
    return out


class _Head(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917  autograd passes by position
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        scale: float,
        entropy: Entropy,
        chunk: int,
    ) -> tuple[Tensor, Tensor | None]:
        count = len(targets)
        logprobs = torch.empty(count, dtype=torch.float32, device=hidden.device)
        entropies = None if entropy == "none" else torch.empty_like(logprobs)
        words = weight.to(hidden.dtype)
        log_all = None
        for start in range(0, count, chunk):
            part = slice(start, start + chunk)
            log_all = torch.log_softmax(_logits(hidden[part], words, bias, scale), dim=-1)
            logprobs[part] = log_all.gather(1, targets[part, None])[:, 0]
            if entropies is not None:
                entropies[part] = torch.linalg.vecdot(log_all.exp(), log_all).neg_()
        kept = log_all if count <= chunk and any(ctx.needs_input_grad) else None
        ctx.save_for_backward(hidden, weight, bias, targets, kept, entropies if entropy == "trained" else None)
        ctx.settings = (scale, chunk)
        if entropies is not None and entropy == "measured":
            ctx.mark_non_differentiable(entropies)
        return logprobs, entropies

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, towards_logprobs: Tensor, towards_entropies: Tensor | None) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, targets, kept, entropies = ctx.saved_tensors
        scale, chunk = ctx.settings
        for_hidden, for_weight, for_bias = _room(ctx, hidden, weight, bias)
        words = weight.to(hidden.dtype)
        for start in range(0, len(targets), chunk):
            part = slice(start, start + chunk)
            states = hidden[part]
            log_all = kept if kept is not None else torch.log_softmax(_logits(states, words, bias, scale), dim=-1)
            slope = _slope(log_all, targets[part], towards_logprobs[part])
            if entropies is not None and towards_entropies is not None:
                slope -= log_all.exp() * (log_all + entropies[part, None]) * towards_entropies[part, None]
            slope *= scale
            if for_bias is not None:
                for_bias += slope.sum(0)
            rounded = slope.to(hidden.dtype)
            if for_hidden is not None:
                for_hidden[part] = rounded @ words
            if for_weight is not None:
                _add_product(for_weight, rounded, states)
        return (
            for_hidden,
            None if for_weight is None else for_weight.to(weight.dtype),
            None if for_bias is None else for_bias.to(bias.dtype),
            *(None,) * 4,
        )


def _room(
    ctx: FunctionCtx, hidden: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Where gradients are put, of what needs one: that of the states in their precision, the others in float32."""
    needs = ctx.needs_input_grad  # type: ignore[attr-defined]
    return (
        torch.empty_like(hidden) if needs[0] else None,
        torch.zeros_like(weight, dtype=torch.float32) if needs[1] else None,
        torch.zeros_like(bias, dtype=torch.float32) if bias is not None and needs[2] else None,
    )


def _logits(states: Tensor, words: Tensor, bias: Tensor | None, scale: float) -> Tensor:
    """(c, V) in float32; not rounded to a half precision in between."""
    if states.dtype == torch.float32:
        logits = states @ words.T
    elif states.device.type == "cuda":
        logits = torch.mm(states, words.T, out_dtype=torch.float32)
    else:
        logits = states.float() @ words.float().T
    if bias is not None:
        logits += bias
    return logits if scale == 1.0 else logits.mul_(scale)


def _slope(log_all: Tensor, targets: Tensor, towards: Tensor) -> Tensor:
    """(c, V): gradient of the log-probabilities of the targets, times what flows into them."""
    slope = log_all.exp().mul_(-towards[:, None])
    return slope.scatter_add_(1, targets[:, None], towards[:, None].to(slope.dtype))


def _add_product(total: Tensor, slope: Tensor, states: Tensor) -> None:
    """Add to `total` (V, H): slopeᵀ (V, c) · states (c, H), in float32."""
    if slope.dtype == torch.float32:
        total.addmm_(slope.T, states)
    elif slope.device.type == "cuda":
        total += torch.mm(slope.T, states, out_dtype=torch.float32)
    else:
        total.addmm_(slope.float().T, states.float())
