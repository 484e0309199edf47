"""What is trained, and with which optimiser: parts of the section on training."""

from __future__ import annotations

from typing import Literal as OneOf

from pydantic import Field, field_validator

from datagen.config.section import Section, Share

TINY = "tiny"
"""The model that is made here, with random weights, instead of being read."""


class TinyConfig(Section):
    """Sizes of a Qwen3-shaped model with random weights."""

    layers: int = Field(default=3, ge=1)
    """Blocks."""
    hidden: int = Field(default=96, ge=8)
    """Width of the residual stream."""
    feed_forward: int = Field(default=256, ge=8)
    """Width inside the feed-forward blocks."""
    heads: int = Field(default=3, ge=1)
    """Attention heads; keys and values have as many."""
    tokens: OneOf["words", "bytes"] = "words"
    """words: the most frequent words, and places for the names and numbers that a conversation brings along, each of them one
    token; bytes: byte pairs."""
    vocabulary: int = Field(default=2000, ge=280)
    """Tokens of the vocabulary that is made from pages and questions, at most."""
    places: int = Field(default=384, ge=1)
    """words: names and numbers that one conversation can hold."""
    positions: int = Field(default=4096, ge=16)
    """Longest sequence, in tokens."""


class LoraConfig(Section):
    """Low-rank adapters that are trained in place of the weights (arXiv 2106.09685)."""

    rank: int = Field(default=32, ge=1)
    """Width of the bottleneck."""
    alpha: float = Field(default=64, gt=0)
    """The adapter is scaled by alpha / rank."""
    dropout: Share = 0.0
    """Share of the adapter's inputs that is dropped; above 0, two passes over the same tokens differ."""
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    """Names of the linear layers that get one."""


class TrainedModelConfig(Section):
    """Weights, tokenizer, adapters."""

    path: str = TINY
    """A folder or a name as `transformers` reads it, a checkpoint of an earlier run, or "tiny"."""
    tokenizer: str = ""
    """A tokenizer file or folder; the model's own where empty. The tiny model has one of its own, made from the pages of
    web.snapshot and the questions."""
    framing: OneOf["auto", "compact", "chat"] = "auto"
    """How questions, calls and results become tokens: compact has one token for each mark, chat is the model's own
    template; auto is compact for the tiny model and chat for every other."""
    page_tokens: int = Field(default=320, ge=1)
    """compact: tokens of a page that a visit shows, from its beginning."""
    hits: int = Field(default=5, ge=1)
    """compact: results that a search shows."""
    dialect: OneOf["function_calling", "fathom", "webexplorer"] = "function_calling"
    """chat: names of the tools, and how an answer is written; those that bring their own form of calls are for models whose
    template takes no tools."""
    template_variables: dict[str, bool | int | str] = {}
    """chat: what the template is told beside messages and tools, such as enable_thinking."""
    result_tokens: int = Field(default=2_048, ge=64)
    """chat: tokens of one result; a longer one is cut in its text, and says so."""
    precision: OneOf["auto", "float32", "bfloat16"] = "auto"
    """Of forward and backward passes; weights and optimiser stay in float32. auto is bfloat16 on a GPU."""
    device: str = "auto"
    """Such as "cpu" or "cuda:0"; auto is a GPU where there is one."""
    checkpointing: bool = False
    """Compute activations anew in the backward pass: less memory, about a third more time."""
    tiny: TinyConfig = TinyConfig()
    lora: LoraConfig | None = None
    """Train adapters; all weights are trained where the section is missing."""


class OptimizerConfig(Section):
    """Optimiser and schedule."""

    kind: OneOf["adamw", "muon"] = "adamw"
    """muon: Muon for the matrices inside the blocks, AdamW for the rest."""
    learning_rate: float = Field(default=1e-4, gt=0)
    """Of AdamW."""
    muon_learning_rate: float = Field(default=1.5e-2, gt=0)
    """Of Muon."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Decays of AdamW's two moments."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled, of matrices alone."""
    clip_norm: float | None = Field(default=1.0, gt=0)
    """Longest gradient; longer ones are scaled down."""
    schedule: OneOf["constant", "linear", "cosine"] = "constant"
    """How the rate falls after the warm-up."""
    warmup: int = Field(default=0, ge=0)
    """Updates over which the rate rises from 0."""
    floor: Share = 0.05
    """Share of the rate that is left at the end of a falling schedule."""

    @field_validator("betas")
    @classmethod
    def _are_decays(cls, betas: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas are at least 0 and below 1, not {betas}")
        return betas
