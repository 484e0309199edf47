"""A tiny model, what it should say, and adapters that are really trained: for tests of sampling from a server."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import Qwen3Config, Qwen3ForCausalLM

from datagen.training.engines.server_wire import Serving
from datagen.training.engines.sync_base import NamedWeights

VOCABULARY = 64
PROMPT = (5, 9, 2, 33, 17)


@cache
def tiny_model(*, tied: bool = False) -> Any:
    """Qwen3's shape, random and opinionated: some tokens are much likelier than others."""
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=512,
        tie_word_embeddings=tied,
        initializer_range=0.3,
    )
    return Qwen3ForCausalLM(config).eval()


def other_model(*, tied: bool = False) -> Any:
    """The same shape with other weights."""
    model = copy.deepcopy(tiny_model(tied=tied))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.2)
    return model


def trained_adapter(token: int, folder: Path, *, steps: int = 30) -> Any:
    """A LoRA adapter under which `token` is likelier, written as peft writes it. Returns the model with it."""
    torch.manual_seed(token)
    layers = ["q_proj", "v_proj", "up_proj", "down_proj"]
    model = get_peft_model(copy.deepcopy(tiny_model()), LoraConfig(r=4, lora_alpha=16, target_modules=layers))
    optimizer = torch.optim.Adam([weight for weight in model.parameters() if weight.requires_grad], lr=0.02)
    contexts = torch.randint(0, VOCABULARY, (8, 12))
    contexts[0, : len(PROMPT)] = torch.tensor(PROMPT)
    for _ in range(steps):
        loss = -torch.log_softmax(model(input_ids=contexts).logits, -1)[..., token].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save_pretrained(folder)
    return model.eval()


class FixedWeights:
    """Implements `WeightSync` for servers whose weights stay what they are."""

    def __init__(self, model: str) -> None:
        self.serving = Serving(0, model)

    @property
    def version(self) -> int:
        return self.serving.version

    async def publish(self, version: int, weights: NamedWeights | Path) -> None:
        raise AssertionError(f"{len(str(weights))} characters of version {version}, for weights that stay")

    async def holds(self, url: str) -> bool | None:
        return url != ""

    async def restore(self, url: str) -> bool:
        return url != ""


def teacher_forced(model: Any, prompt, token_ids, *, temperature: float = 1.0) -> torch.Tensor:
    """Log-probabilities of `token_ids` after `prompt`, in one pass and without a cache."""
    ids = torch.tensor([[*prompt, *token_ids]])
    with torch.no_grad():
        logits = model(input_ids=ids).logits[0, len(prompt) - 1 : -1].float()
    return torch.log_softmax(logits / temperature, -1).gather(1, torch.tensor(token_ids)[:, None])[:, 0]


async def until(condition: Callable[[], bool], *, seconds: float = 5.0) -> None:
    """Wait for something that a server in another thread does."""
    for _ in range(int(seconds / 0.005)):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come to pass")
