"""A trained policy as a folder: weights as transformers reads them, the tokenizer, and how it talks.

    out/train/demo/model/
      config.json, model.safetensors         or adapters over a base model (adapter_config.json)
      tokenizer.json                         its tokens; of a chat model with all that transformers reads of a tokenizer
      framing.json                           {"version": 1, "framing": "compact", "page_tokens": 320, "hits": 5}; last

Tokens mean something only in the manner of talking that they were learned in, so the three travel together. `framing.json`
is written last: a folder without it is unfinished.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from datagen import storage
from datagen.config.learner import TINY, TrainedModelConfig
from datagen.errors import CheckpointError, ConfigError, boundary
from datagen.training.distributed import World
from datagen.training.export import export_model
from datagen.training.framing.base import Framing
from datagen.training.framing.compact import MARKS, CompactFraming
from datagen.training.models import load_model, save_model, tiny_qwen3, with_lora
from datagen.training.tokenizer import Vocabulary, load_vocabulary

FRAMING_NAME = "framing.json"
TOKENIZER_NAME = "tokenizer.json"
VERSION = 1


@dataclass(frozen=True, slots=True)
class TrainedPolicy:
    """A model, and how it talks."""

    model: nn.Module
    framing: Framing
    described: dict[str, Any]
    """What `framing.json` says of the framing."""


def is_policy(folder: str | Path) -> bool:
    """Whether a finished policy lies there."""
    return Path(folder, FRAMING_NAME).is_file()


def save_policy(policy: TrainedPolicy, folder: str | Path, world: World | None = None) -> None:
    """Write the three; all ranks call it. Raises `CheckpointError` where the disk does not take them."""
    target, world = Path(folder), world or World()
    if world.size > 1:
        export_model(target, policy.model, world=world)
    world.lead(lambda: _write(policy, target, weights=world.size == 1))


def _write(policy: TrainedPolicy, target: Path, *, weights: bool) -> None:
    with boundary(CheckpointError, f"the policy cannot be written to {target}; free space and resume"):
        target.mkdir(parents=True, exist_ok=True)
        (target / FRAMING_NAME).unlink(missing_ok=True)
        if weights:
            save_model(policy.model, target)
        if isinstance(policy.framing, CompactFraming):
            policy.framing.tokenizer.save(target / TOKENIZER_NAME)
        else:
            policy.framing.save(target)  # type: ignore[attr-defined]
        storage.write_json(str(target / FRAMING_NAME), {"version": VERSION} | policy.described)


def open_policy(folder: str | Path, device: str = "auto") -> TrainedPolicy:
    """The policy of a folder that `save_policy` wrote."""
    source = Path(folder)
    if not is_policy(source):
        raise ConfigError(
            f"{source} holds no trained policy: {FRAMING_NAME} is missing. Give the `model` folder of a training that ended "
            "a stage, such as out/train/demo/model."
        )
    described = storage.read_json(str(source / FRAMING_NAME))
    if described.pop("version", None) != VERSION:
        raise ConfigError(f"{source / FRAMING_NAME} was written by another version of this program; train it again.")
    return TrainedPolicy(load_model(source).to(device_of(device)), framing_of(described, source), described)


def new_policy(
    section: TrainedModelConfig, tokenizer: Vocabulary | None, seed: int, *, device: str | None = None
) -> TrainedPolicy:
    """The policy that a training begins with: random weights, weights from elsewhere, or an earlier policy.

    `tokenizer` is that of the compact framing. `device` goes before that of the section.
    """
    device = device or section.device
    if is_policy(section.path):
        begun = open_policy(section.path, device)
        return TrainedPolicy(_adapted(begun.model, section), begun.framing, begun.described)
    described = describe_framing(section)
    if described["framing"] == "compact":
        if tokenizer is None:
            raise ConfigError("the compact framing needs a tokenizer: name one with training.model.tokenizer.")
        framing: Framing = _compact(described, tokenizer)
    else:
        framing = framing_of(described, Path(section.tokenizer or section.path))
    if section.path == TINY:
        tiny = section.tiny
        model = tiny_qwen3(
            framing.vocabulary,
            layers=tiny.layers,
            hidden=tiny.hidden,
            heads=tiny.heads,
            ffn=tiny.feed_forward,
            positions=tiny.positions,
            seed=seed,
        )
    else:
        model = load_model(section.path, dtype="bfloat16" if section.lora is not None else "float32")
    return TrainedPolicy(_adapted(model, section).to(device_of(device)), framing, described)


def describe_framing(section: TrainedModelConfig) -> dict[str, Any]:
    """What `framing.json` is going to say."""
    kind = section.framing if section.framing != "auto" else "compact" if section.path == TINY else "chat"
    if kind == "compact":
        return {"framing": kind, "page_tokens": section.page_tokens, "hits": section.hits}
    return {
        "framing": kind,
        "dialect": section.dialect,
        "variables": dict(section.template_variables),
        "result_tokens": section.result_tokens,
    }


def framing_of(described: dict[str, Any], folder: Path) -> Framing:
    """The framing that a folder's `framing.json` describes, with the tokenizer that lies beside it."""
    if described["framing"] == "compact":
        return _compact(described, load_vocabulary(folder / TOKENIZER_NAME, MARKS))
    from datagen.training.framing.chat import ChatFraming

    return ChatFraming.load(folder, {name: value for name, value in described.items() if name != "framing"})


def _compact(described: dict[str, Any], tokenizer: Vocabulary) -> CompactFraming:
    return CompactFraming(tokenizer, page_tokens=described["page_tokens"], hits=described["hits"])


def _adapted(model: nn.Module, section: TrainedModelConfig) -> nn.Module:
    lora = section.lora
    if lora is None:
        return model
    return with_lora(model, rank=lora.rank, alpha=lora.alpha, targets=lora.targets, dropout=lora.dropout)


def device_of(name: str) -> torch.device:
    """`auto` is a GPU where there is one."""
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
