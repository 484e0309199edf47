"""Causal language models of transformers, and the one way in which the learner runs them.

    model = tiny_qwen3(vocab_size=900, seed=7)         or load_model("Qwen/Qwen3-4B", dtype="bfloat16")
    model = with_lora(model, rank=32, alpha=64)
    scorer = TokenScorer(model, layout="packed")
    logprobs, entropy = scorer(batch)                  decoder, then the head at trained tokens alone

`TokenScorer` never calls the model's own head. It is a module whose forward pass is the whole computation, so that what
wraps modules (FSDP2) sees every parameter used inside the forward pass of the module it wrapped.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from datagen.errors import CheckpointError, ConfigError, boundary
from datagen.training.attention import call_arguments, use_row_attention
from datagen.training.head import Entropy, token_logprobs
from datagen.training.packing import Batch, Layout

Precision = Literal["float32", "bfloat16"]
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""Linear layers of a block, as Qwen, Llama and their kin name them."""
HEAD_CHANGES = {"final_logit_softcapping": None, "logit_scale": None, "logits_scaling": 1.0}
"""What some architectures do to logits behind the head, and the value at which it does nothing."""


def tiny_qwen3(
    vocab_size: int,
    *,
    layers: int = 3,
    hidden: int = 96,
    heads: int = 3,
    kv_heads: int | None = None,
    head_dim: int | None = None,
    ffn: int = 256,
    positions: int = 4096,
    rope_theta: float = 1e4,
    init_std: float = 0.04,
    tie: bool = True,
    seed: int = 0,
) -> nn.Module:
    """A Qwen3-shaped model with random weights in float32; the defaults are those of the smallest that learns to search.

    `kv_heads` is as many as `heads` and `head_dim` is hidden / heads unless given. The same seed gives the same weights and
    leaves torch's generator as it was.
    """
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=vocab_size,
        hidden_size=hidden,
        intermediate_size=ffn,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads or heads,
        head_dim=head_dim or hidden // heads,
        max_position_embeddings=positions,
        rope_parameters={"rope_type": "default", "rope_theta": rope_theta},
        initializer_range=init_std,
        tie_word_embeddings=tie,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: nn.Module = Qwen3ForCausalLM(config)
    return model


def load_model(path: str | Path, *, dtype: Precision = "float32") -> nn.Module:
    """A causal language model from a folder or a name as transformers reads it. Raises `CheckpointError`."""
    from transformers import AutoModelForCausalLM

    what = f"the model {str(path)!r} cannot be read; give a folder with config.json and weights, or a name on the hub"
    with boundary(CheckpointError, what):
        model: nn.Module = AutoModelForCausalLM.from_pretrained(
            str(path), dtype=getattr(torch, dtype), attn_implementation="sdpa"
        )
    return model


def save_model(model: nn.Module, path: str | Path, *, dtype: Precision | None = None) -> None:
    """Write weights (safetensors) and config to a folder that `load_model` and servers read; of adapters, the adapters.

    `dtype`: weights are rounded to it on the way out; as they are where None.
    """
    weights = None
    if dtype is not None and not has_adapters(model):
        weights = {name: tensor.to(getattr(torch, dtype)) for name, tensor in model.state_dict().items()}
    with boundary(
        CheckpointError, f"the model cannot be written to {str(path)!r}; free space or choose another folder"
    ):
        model.save_pretrained(str(path), **({} if weights is None else {"state_dict": weights}))  # type: ignore[operator]


def with_lora(
    model: nn.Module, *, rank: int, alpha: float, targets: Sequence[str] = LINEAR, dropout: float = 0.0, seed: int = 0
) -> nn.Module:
    """The model with low-rank adapters on its linear layers; nothing else is trained (arXiv 2106.09685).

    Adapters are float32, whatever the model is, until a learner takes them over. They begin by changing nothing; what they begin from is drawn from `seed`.
    """
    from peft import LoraConfig, get_peft_model

    missing = [name for name in targets if not any(path.split(".")[-1] == name for path, _ in model.named_modules())]
    if missing:
        raise ConfigError(f"the model has no layers called {', '.join(missing)}; take them out of lora.targets")
    if head_of(model) in {module for path, module in model.named_modules() if path.split(".")[-1] in targets}:
        raise ConfigError(
            "lora.targets names the head of the model, which is trained as a whole or not at all; take it out"
        )
    settings = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]
        lora_dropout=dropout,
        target_modules=list(targets),
        task_type="CAUSAL_LM",
        bias="none",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        adapted: nn.Module = get_peft_model(model, settings, autocast_adapter_dtype=True)
    return adapted


def has_adapters(model: nn.Module) -> bool:
    """Whether the model is one that `with_lora` gave."""
    return hasattr(model, "disable_adapter")


@contextlib.contextmanager
def without_adapters(model: nn.Module) -> Iterator[None]:
    """The model as it was before adapters: a reference model that costs no memory."""
    if not has_adapters(model):
        raise ConfigError("the model has no adapters to leave out; give a reference model of its own")
    with model.disable_adapter():  # type: ignore[operator]
        yield


def causal_lm(model: nn.Module) -> nn.Module:
    """The transformers model inside an adapted one, its layers adapted; any other as it is."""
    inner: nn.Module = model.get_base_model() if has_adapters(model) else model  # type: ignore[operator]
    return inner


def decoder_of(model: nn.Module) -> nn.Module:
    """What turns tokens into hidden states: the model without its head."""
    inner = causal_lm(model)
    decoder: Any = inner.get_decoder() if hasattr(inner, "get_decoder") else inner.base_model  # type: ignore[operator]
    if decoder is inner:
        raise ConfigError(f"{type(inner).__name__} cannot be run without its head; use a causal language model")
    assert isinstance(decoder, nn.Module)
    return decoder


def head_of(model: nn.Module) -> nn.Module:
    """The linear layer onto the vocabulary. Raises `ConfigError` where logits are more than its output."""
    inner = causal_lm(model)
    head: Any = inner.get_output_embeddings()  # type: ignore[operator]
    if not isinstance(head, nn.Linear):
        raise ConfigError(f"the head of {type(inner).__name__} is {type(head).__name__} rather than a linear layer")
    config: Any = inner.config
    changed = [name for name, neutral in HEAD_CHANGES.items() if getattr(config, name, neutral) not in (neutral, None)]
    if changed:
        raise ConfigError(f"{type(inner).__name__} changes its logits by {', '.join(changed)}, which is not supported")
    return head


def outer_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Those of embeddings and of the head."""
    outer = [module for module in model.modules() if isinstance(module, nn.Embedding)] + [head_of(model)]
    return [parameter for module in outer for parameter in module.parameters()]


def checkpoint_activations(model: nn.Module) -> None:
    """Keep only what enters a layer, and compute the rest again in the backward pass."""
    inner: Any = causal_lm(model)
    enable = getattr(inner, "activation_checkpointing_enable", None) or inner.gradient_checkpointing_enable
    enable({"use_reentrant": False})


class TokenScorer(nn.Module):
    """Log-probabilities of the trained tokens of a batch."""

    def __init__(
        self, model: nn.Module, *, layout: Layout, temperature: float = 1.0, elements: int | None = None
    ) -> None:
        super().__init__()
        if temperature <= 0:
            raise ConfigError(f"temperature is {temperature}; log-probabilities need one above 0")
        self.model = model
        self.layout = layout
        self.temperature = temperature
        self.elements = elements
        head_of(model)
        decoder_of(model)
        if layout == "packed":
            use_row_attention(causal_lm(model))

    def forward(self, batch: Batch, entropy: Entropy = "none") -> tuple[Tensor, Tensor | None]:
        """(P,) float32 log-probabilities, and (P,) entropies where asked for."""
        arguments = {}
        if self.layout == "packed":
            arguments = call_arguments(batch.lengths, batch.input_ids) | {"position_ids": batch.position_ids}
        # Without `use_cache=False` transformers makes a cache, and a cache keeps all keys and values alive.
        states = decoder_of(self.model)(input_ids=batch.input_ids, use_cache=False, **arguments).last_hidden_state
        head: Any = head_of(self.model)
        return token_logprobs(
            states.flatten(0, 1).index_select(0, batch.sources),
            head.weight,
            batch.targets,
            bias=head.bias,
            temperature=self.temperature,
            entropy=entropy,
            elements=self.elements,
        )
