"""Rows, small models and objectives that tests of the learner share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from datagen.training.models import tiny_qwen3
from datagen.training.rows import TrainRow
from datagen.training.tokens import Loss, TokenBatch

VOCABULARY = 61


def row(
    length: int, *, seed: int, share: float = 0.4, name: str = "", bundle: str = "", chosen: bool = True
) -> TrainRow:
    """Random tokens; about `share` of them trained by imitation and reinforcement alike, always the last."""
    rng = np.random.default_rng(seed)
    trained = rng.random(length) < share
    trained[0], trained[-1] = False, True
    weight = (trained * rng.uniform(0.001, 0.01, length)).astype(np.float32)
    return TrainRow(
        rng.integers(0, VOCABULARY, length),
        rl_weight=weight,
        ce_weight=weight * np.float32(0.5),
        advantage=rng.normal(size=length).astype(np.float32),
        old_logprobs=rng.normal(-4, 0.2, size=length).astype(np.float32),
        rollout_id=name or f"rollout-{seed}",
        bundle=bundle,
        chosen=chosen,
    )


def rows(lengths: Sequence[int], *, seed: int = 0) -> list[TrainRow]:
    return [row(length, seed=seed + number) for number, length in enumerate(lengths)]


def small_model(seed: int = 0, *, tie: bool = True) -> nn.Module:
    return tiny_qwen3(
        VOCABULARY, layers=2, hidden=32, heads=4, kv_heads=2, head_dim=8, ffn=48, init_std=0.2, tie=tie, seed=seed
    )


def llama(seed: int = 0) -> nn.Module:
    """Another architecture: no norms of queries and keys, a head of its own."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, initializer_range=0.2, tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(seed)
    return LlamaForCausalLM(config)


@dataclass(frozen=True)
class Imitation:
    """Weighted negative log-likelihood."""

    needs_entropy: bool = False

    def __call__(self, tokens: TokenBatch) -> Loss:
        measures = {"nll": ((-tokens.logprobs).sum(), torch.tensor(len(tokens.logprobs)))}
        return Loss(-(tokens.ce_weight * tokens.logprobs).sum(), measures)


@dataclass(frozen=True)
class Surrogate:
    """The ratio to the old policy times the advantage, and an entropy bonus."""

    bonus: float = 0.0

    @property
    def needs_entropy(self) -> bool:
        return self.bonus > 0

    def __call__(self, tokens: TokenBatch) -> Loss:
        ratio = (tokens.logprobs - tokens.old_logprobs).exp()
        loss = -(tokens.rl_weight * ratio * tokens.advantages).sum()
        if self.bonus:
            loss = loss - self.bonus * (tokens.rl_weight * tokens.entropy).sum()
        return Loss(loss, {"ratio": (ratio.sum(), torch.tensor(len(ratio)))})
