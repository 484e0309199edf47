"""A model as a folder that transformers and servers read, put in place in one step.

    export_model("out/run/model", model, tokenizer, world=world)
      config.json, generation_config.json, model.safetensors, tokenizer.json, tokenizer_config.json, chat_template.jinja

Shards are put together and low-rank adapters are added to the weights that they belong to (W + scale * B A, computed in
float32), so the folder needs neither this program nor peft. The model itself stays as it is.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from datagen import storage
from datagen.errors import CheckpointError, boundary
from datagen.training.distributed import World
from datagen.training.models import causal_lm

if TYPE_CHECKING:
    from datagen.training.models import Precision

EXPORTED = ("config.json", "adapter_config.json")
"""A folder that has one of these holds a model, and may be replaced by a newer one."""


def export_model(
    folder: str | Path,
    model: nn.Module,
    tokenizer: Any | None = None,
    *,
    world: World | None = None,
    dtype: Precision | None = None,
) -> None:
    """Write config, generation config, weights (safetensors), and the tokenizer where one is given; all ranks call it.

    `dtype` rounds weights on the way out. Raises `CheckpointError`, on every rank, with the folder as it was.
    """
    world = world or World()
    weights = whole_weights(model, world)

    def write() -> None:
        if not world.leads:
            return
        needed = sum(weight.nbytes for weight in weights.values())
        with boundary(CheckpointError, f"the model cannot be written to {folder}"), replaced_folder(folder) as scratch:
            _refuse_full_disk(scratch, needed)
            rounded = {name: _rounded(weight, dtype) for name, weight in weights.items()}
            inner: Any = causal_lm(model)
            inner.save_pretrained(str(scratch), state_dict=rounded)
            if dtype is not None:
                config = storage.read_json(scratch / "config.json")
                storage.write_json(scratch / "config.json", config | {"dtype": dtype})
            if tokenizer is not None:
                tokenizer.save_pretrained(str(scratch))

    world.together(write)


@contextlib.contextmanager
def replaced_folder(folder: str | Path) -> Iterator[Path]:
    """A new folder that takes the place of `folder` when the block ends without an error, and is gone otherwise.

    For a moment between two renames there is no folder of that name; there is never a part of one. Raises
    `CheckpointError` where something else than a model lies there.
    """
    target = storage.local_path(folder)
    _refuse_foreign(target)
    scratch = target.with_name(f"{storage.TEMPORARY_PREFIX}{target.name}")
    old = target.with_name(f"{storage.TEMPORARY_PREFIX}{target.name}-old")
    for leftover in (scratch, old):
        shutil.rmtree(leftover, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield scratch
        for path in sorted(scratch.rglob("*")):
            storage.flush(path)
        storage.flush(scratch)
        if target.exists():
            target.rename(old)
        scratch.rename(target)
        storage.flush(target.parent)
    finally:
        for leftover in (scratch, old):
            shutil.rmtree(leftover, ignore_errors=True)


def whole_weights(model: nn.Module, world: World) -> dict[str, Tensor]:
    """Weights on the CPU under the names of the model without adapters, on rank 0; nothing on other ranks.

    All ranks call it. Tied weights come once.
    """
    inner = causal_lm(model)
    named = dict(inner.named_parameters())
    every = {name for name, _ in inner.named_parameters(remove_duplicate=False)}
    named |= {name: value for name, value in inner.state_dict().items() if name not in every}
    whole: dict[str, Tensor] = {}
    for name, value in named.items():
        gathered = _gathered(value)
        if world.leads:
            whole[name] = gathered.cpu()
    return _with_adapters_added(inner, whole) if world.leads else {}


def _with_adapters_added(inner: nn.Module, whole: dict[str, Tensor]) -> dict[str, Tensor]:
    plain = {name.replace(".base_layer.", "."): value for name, value in whole.items() if ".lora_" not in name}
    for path, module in inner.named_modules():
        if not hasattr(module, "lora_A"):
            continue
        adapted: Any = module
        if len(adapted.lora_magnitude_vector) or adapted.lora_embedding_A:
            raise CheckpointError(f"{path} has adapters that are not W + B A; export them with peft's merge_and_unload")
        for adapter in adapted.active_adapters:
            down, up = (whole[f"{path}.{side}.{adapter}.weight"].float() for side in ("lora_A", "lora_B"))
            weight = plain[f"{path}.weight"]
            plain[f"{path}.weight"] = (weight.float() + adapted.scaling[adapter] * (up @ down)).to(weight.dtype)
    return plain


def _gathered(value: Tensor) -> Tensor:
    from torch.distributed.tensor import DTensor

    detached = value.detach()
    return detached.full_tensor() if isinstance(detached, DTensor) else detached


def _rounded(weight: Tensor, dtype: Precision | None) -> Tensor:
    return weight if dtype is None or not weight.is_floating_point() else weight.to(getattr(torch, dtype))


def _refuse_full_disk(scratch: Path, needed: int) -> None:
    free = shutil.disk_usage(scratch).free
    if free < needed:
        raise CheckpointError(
            f"{scratch.parent} has no room for the model: it needs {needed / 2**20:.0f} MB, and {free / 2**20:.0f} MB are "
            "free. Free some room and export again; what was there before is untouched."
        )


def _refuse_foreign(target: Path) -> None:
    if target.is_dir() and any(target.iterdir()) and not any((target / name).exists() for name in EXPORTED):
        raise CheckpointError(f"{target} holds something that is no model; give another folder, or empty this one.")
    if target.exists() and not target.is_dir():
        raise CheckpointError(f"{target} is a file; give a folder.")
