"""Small models with random weights, and prompts for them, that tests of the sampler and its forward passes share."""

from typing import Any

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel, Qwen3Config, Qwen3ForCausalLM

VOCABULARY = 120
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
    "max_position_embeddings": 1024,
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": None,
}


def qwen3(**other: Any) -> Any:
    return made(Qwen3ForCausalLM, Qwen3Config(**(SHAPE | {"head_dim": 16} | other)))


def gpt2() -> Any:
    sizes = {"n_positions": 512, "n_embd": 32, "n_layer": 2, "n_head": 2, "initializer_range": 0.2}
    return made(GPT2LMHeadModel, GPT2Config(vocab_size=VOCABULARY, bos_token_id=None, eos_token_id=None, **sizes))


def made(kind: Any, config: Any) -> Any:
    torch.manual_seed(0)
    model = kind(config).eval()
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data.add_(torch.randn_like(parameter) * 0.2)  # norms and biases that do something
    return model


def prompt_of(length: int, number: int = 0) -> list[int]:
    return np.random.default_rng(number).integers(0, VOCABULARY, length).tolist()
