"""Qwen3 shapes with random weights, and what a step on them has to compute; imported in every environment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Shape:
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocabulary: int = 151936


SHAPES = {
    "0.6B": Shape(layers=28, hidden=1024, heads=16, kv_heads=8, head_dim=128, ffn=3072),
    "1.7B": Shape(layers=28, hidden=2048, heads=16, kv_heads=8, head_dim=128, ffn=6144),
    "tiny": Shape(layers=2, hidden=64, heads=4, kv_heads=2, head_dim=16, ffn=128, vocabulary=2000),
}


def build(name: str, device: str) -> Any:
    """The model in float32 on the device; embeddings are its head too, as in Qwen3 of both sizes."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    shape = SHAPES[name]
    config = Qwen3Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.ffn,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        max_position_embeddings=40960,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    torch.manual_seed(0)
    with torch.device(device):
        return Qwen3ForCausalLM(config)


def flops(shape: Shape, lengths: Iterable[int], trained: int) -> float:
    """Of forward and backward over rows of these lengths, as little as the loss needs; see `benchmarks/gpu.py`."""
    lengths = list(lengths)
    width = shape.heads * shape.head_dim
    layer = 2 * shape.hidden * (width + shape.kv_heads * shape.head_dim) + 3 * shape.hidden * shape.ffn
    dense = 6 * (shape.layers * layer * sum(lengths) + shape.vocabulary * shape.hidden * trained)
    return dense + 6 * shape.layers * width * sum(length**2 for length in lengths)
