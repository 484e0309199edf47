"""Causal attention of rows that stand one after the other, each row for itself.

    tokens      a1 a2 a3 b1 b2 c1 c2 c3 c4         lengths (3, 2, 4)
    b2 sees           b1 b2                        never a, never what follows

A function is registered with transformers under `NAME` and told the lengths with the call, so every layer of any causal model
that has exchangeable attention uses it. Packed position ids alone would do as well, but transformers ignores them without
a word once a cache is made, and on a CPU it then builds the dense mask: of 12 rows of 170 tokens, 10 times slower than row
by row (7 ms beside 67 ms for 3 heads of 32, one thread). Three ways, by device:

    rows        one call per row, causal, without a mask: any device and precision
    varlen      torch.nn.attention.varlen: one call for all, on CUDA in half precision (flash)
    flash       the same from the package flash_attn, where torch has no varlen

Called without lengths, the function is what transformers calls "sdpa", masks and caches included.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from datagen.errors import ConfigError

NAME = "datagen_rows"
Varlen = Callable[..., Tensor]


def use_row_attention(model: nn.Module) -> None:
    """Let the layers of a transformers model attend by `attend_rows`. Weights and results of generation are as before.

    Raises `ConfigError` for a model that mixes tokens in other ways than by attention, or attends in a way of its own.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

    kind = type(model).__name__
    config = model.config.get_text_config()
    if not getattr(model, "_supports_attention_backend", False):
        raise ConfigError(
            f"the attention of {kind} cannot be exchanged, so its rows cannot be packed; use layout 'padded'"
        )
    odd = set(getattr(config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}
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
    options = {"dropout_p": dropout, "scale": scaling}
    way = varlen_of(query.device.type, query.dtype)
    if way is not None and not dropout:
        return _varlen(way, query, key, value, row_lengths, scaling, sliding_window), None
    parts = zip(*(tensor.split(row_lengths, dim=2) for tensor in (query, key, value)), strict=True)
    return torch.cat([_causal(*part, sliding_window, options).transpose(1, 2) for part in parts], dim=1), None


def _causal(query: Tensor, key: Tensor, value: Tensor, window: int | None, options: dict[str, Any]) -> Tensor:
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
def _varlen_function() -> tuple[str, Varlen] | None:
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        try:
            from flash_attn import flash_attn_varlen_func
        except ImportError:
            return None
        return "flash", flash_attn_varlen_func
    return "varlen", varlen_attn


def varlen_of(device: str, dtype: torch.dtype) -> tuple[str, Varlen] | None:
    """The one-call way for tensors of this kind, None where rows are attended one by one."""
    return _varlen_function() if device == "cuda" and dtype in (torch.bfloat16, torch.float16) else None


def describe_attention(device: str, dtype: torch.dtype) -> str:
    """Which of the three ways is taken for packed rows: rows, varlen or flash."""
    way = varlen_of(device, dtype)
    return "rows" if way is None else way[0]


@lru_cache(maxsize=4)
def _ends(lengths: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device)


def _varlen(
    way: tuple[str, Varlen],
    query: Tensor,
    key: Tensor,
    value: Tensor,
    lengths: tuple[int, ...],
    scaling: float | None,
    window: int | None,
) -> Tensor:
    name, function = way
    ends = _ends(lengths, query.device)
    longest = max(lengths)
    lines = [tensor[0].transpose(0, 1) for tensor in (query, key, value)]  # (T, H, D)
    if name == "varlen":
        # A window of (-1, 0) is torch's way to say causal; ours counts the token itself, as transformers does.
        sees = (-1 if window is None else window - 1, 0)
        grouped = query.shape[1] != key.shape[1]
        out = function(*lines, ends, ends, longest, longest, scale=scaling, window_size=sees, enable_gqa=grouped)
    else:
        sees = (-1, -1) if window is None else (window - 1, 0)
        out = function(*lines, ends, ends, longest, longest, softmax_scale=scaling, causal=True, window_size=sees)
    return out[None]
