"""Causal attention of rows that stand one after the other, each row for itself.

    tokens      a1 a2 a3 b1 b2 c1 c2 c3 c4         lengths (3, 2, 4)
    b2 sees           b1 b2                        never a, never what follows

A function is registered with transformers under `NAME` and told the lengths with the call, so every layer of any causal
model that has exchangeable attention uses it. Packed position ids alone would do as well, but transformers ignores them without
a word once a cache is made, and on a CPU it then builds the dense mask: of 12 rows of 170 tokens, 10 times slower than row
by row (7 ms beside 67 ms for 3 heads of 32, one thread). Two ways, by device:

    rows        one call per row, causal, without a mask: any device and precision
    varlen      torch.nn.attention.varlen: one call for all, on CUDA in half precision (flash)

Called without lengths, the function is what transformers calls "sdpa", masks and caches included.
"""

from __future__ import annotations

from functools import cache, lru_cache
from importlib.util import find_spec
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from datagen.errors import ConfigError

NAME = "datagen_rows"


def use_row_attention(model: Any) -> None:
    """Let the layers of a transformers model attend by `attend_rows`. Weights and results of generation are as before.

    Raises `ConfigError` for a model that mixes tokens in other ways than by attention, or attends in a way of its own.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

    kind = type(model).__name__
    config: Any = model.config
    if not getattr(model, "_supports_attention_backend", False):
        raise ConfigError(
            f"the attention of {kind} cannot be exchanged, so its rows cannot be packed; use layout 'padded'"
        )
    odd = set(getattr(config.get_text_config(), "layer_types", None) or ()) - {"full_attention", "sliding_attention"}
    if odd:
        raise ConfigError(
            f"{kind} has layers of {', '.join(sorted(odd))}, through which packed rows would leak; use 'padded'"
        )
    AttentionInterface.register(NAME, attend_rows)
    AttentionMaskInterface.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    model.set_attn_implementation(NAME)


def call_arguments(lengths: tuple[int, ...], like: Tensor) -> dict[str, Any]:
    """What to pass to the model beside tokens and positions.

    A mask of four dimensions is taken by transformers as it is, so it makes none of its own; `attend_rows` needs none.
    """
    mask = torch.empty((1, 1, 1, 1), dtype=torch.bool, device=like.device)
    return {"attention_mask": mask, "row_lengths": lengths}


def attend_rows(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    row_lengths: tuple[int, ...] | None = None,
    sliding_window: int | None = None,
    **arguments: Any,
) -> tuple[Tensor, None]:
    """(B, H, T, D) queries, (B, K, T, D) keys and values to (B, T, H, D).

    `row_lengths`: of the rows in the one line (B = 1); None for "sdpa" of transformers.
    """
    if row_lengths is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        whole: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **arguments
        )
        return whole
    unknown = [name for name in ("softcap", "s_aux", "position_bias") if arguments.get(name) is not None]
    if unknown:
        raise ConfigError(
            f"{type(module).__name__} attends with {', '.join(unknown)}, which row attention does not do; use 'padded'"
        )
    if not dropout and varlen_is_used(query.device.type, query.dtype):
        return _varlen(query, key, value, row_lengths, scale=scaling, window=sliding_window), None
    lines = []
    for part in zip(*(torch.split(tensor, list(row_lengths), dim=2) for tensor in (query, key, value)), strict=True):
        lines.append(_causal(*part, window=sliding_window, dropout_p=dropout, scale=scaling).transpose(1, 2))
    return torch.cat(lines, dim=1), None


def _causal(query: Tensor, key: Tensor, value: Tensor, *, window: int | None, **options: Any) -> Tensor:
    length = query.shape[2]
    band = None
    if window is not None and length > window:
        place = torch.arange(length, device=query.device)
        back = place[:, None] - place
        band = (back >= 0) & (back < window)
    return scaled_dot_product_attention(
        query, key, value, attn_mask=band, is_causal=band is None, enable_gqa=query.shape[1] != key.shape[1], **options
    )


@cache
def varlen_is_used(device: str, dtype: torch.dtype) -> bool:
    """Whether all rows are attended in one call; otherwise one after the other."""
    half = dtype in (torch.bfloat16, torch.float16)
    return device == "cuda" and half and find_spec("torch.nn.attention.varlen") is not None


def describe_attention(device: str, dtype: torch.dtype) -> str:
    """Which way is taken for packed rows: rows or varlen."""
    return "varlen" if varlen_is_used(device, dtype) else "rows"


@lru_cache(maxsize=4)
def _ends(lengths: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device)


def _varlen(
    query: Tensor, key: Tensor, value: Tensor, lengths: tuple[int, ...], *, scale: float | None, window: int | None
) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    ends = _ends(lengths, query.device)
    longest = max(lengths)
    lines = [tensor[0].transpose(0, 1) for tensor in (query, key, value)]  # each (T, heads, D)
    out = varlen_attn(
        lines[0],
        lines[1],
        lines[2],
        ends,
        ends,
        longest,
        longest,
        scale=scale,
        # (-1, 0) is torch's way to say causal; a window of transformers counts the token itself.
        window_size=(-1 if window is None else window - 1, 0),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    assert isinstance(out, Tensor)
    return out[None]
