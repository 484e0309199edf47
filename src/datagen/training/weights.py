"""What is trained, by name: parameters, and what optimisers keep about them; written in shards, read on any number of ranks.

    model/layers.0.mlp.weight                        a parameter
    optimizer/0/exp_avg/layers.0.mlp.weight          what optimiser 0 keeps in the shape of that parameter

Whatever has the shape of its parameter is cut as the parameter is and goes through torch's distributed checkpoint, which
writes every rank's own part and puts parts together anew where the number of ranks changed. The rest of an optimiser's
state (its count of steps, rates, groups) is small and equal on all ranks; it is a plain record.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from datagen.errors import CheckpointError

Record = dict[str, Any]


def trained_weights(model: nn.Module) -> dict[str, Tensor]:
    """Parameters that are trained and buffers that belong to the model's state, live; tied ones once."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()  # after an evaluation the outermost part may still hold whole parameters
    weights = {name: value.detach() for name, value in model.named_parameters() if value.requires_grad}
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    buffers = {name: value for name, value in model.state_dict().items() if name not in parameters}
    return weights | {name: value for name, value in buffers.items() if isinstance(value, Tensor)}


def optimizer_tensors(model: nn.Module, optimizers: Sequence[Optimizer]) -> tuple[list[Record], dict[str, Tensor]]:
    """What the optimisers hold: a record of each, and the tensors that have the shape of their parameter."""
    names = {id(value): name for name, value in model.named_parameters()}
    records: list[Record] = []
    tensors: dict[str, Tensor] = {}
    for number, optimizer in enumerate(optimizers):
        states: dict[str, Record] = {}
        for parameter, state in optimizer.state.items():
            name = names[id(parameter)]
            shaped = {key: value for key, value in state.items() if _has_shape_of(value, parameter)}
            tensors |= {_tensor_name(number, key, name): value.detach() for key, value in shaped.items()}
            states[name] = {
                "shaped": {key: _dtype_name(value) for key, value in shaped.items()},
                "plain": {key: value for key, value in state.items() if key not in shaped},
                "beside": [key for key, value in state.items() if _is_on_device(value)],
            }
        groups = [
            {key: value for key, value in group.items() if key != "params"}
            | {"params": [names[id(parameter)] for parameter in group["params"]]}
            for group in optimizer.param_groups
        ]
        records.append({"kind": type(optimizer).__name__, "groups": groups, "states": states})
    return records, tensors


def refuse_other_optimizers(model: nn.Module, optimizers: Sequence[Optimizer], records: Sequence[Record]) -> None:
    """Raises `CheckpointError` where the optimisers are of another kind or train other parameters."""
    mine, _ = optimizer_tensors(model, optimizers)
    kinds, saved_kinds = [one["kind"] for one in mine], [one["kind"] for one in records]
    if kinds != saved_kinds:
        raise CheckpointError(
            f"the checkpoint was made with the optimisers {', '.join(saved_kinds) or 'none'}, this training has "
            f"{', '.join(kinds) or 'none'}. Resume with the config that it was made with."
        )
    for number, (here, saved) in enumerate(zip(mine, records, strict=True)):
        if [group["params"] for group in here["groups"]] != [group["params"] for group in saved["groups"]]:
            raise CheckpointError(
                f"optimiser {number} ({here['kind']}) trains other parameters, or has them in other groups, than in the "
                "checkpoint. Resume with the config that it was made with."
            )


def optimizer_places(model: nn.Module, records: Sequence[Record]) -> dict[str, Tensor]:
    """Uninitialised tensors, cut as the parameters are here, for everything that `optimizer_tensors` named."""
    parameters = dict(model.named_parameters())
    return {
        _tensor_name(number, key, name): torch.empty_like(parameters[name].detach(), dtype=getattr(torch, dtype))
        for number, record in enumerate(records)
        for name, state in record["states"].items()
        for key, dtype in state["shaped"].items()
    }


def hand_back_optimizers(
    model: nn.Module, optimizers: Sequence[Optimizer], records: Sequence[Record], tensors: Mapping[str, Tensor]
) -> None:
    """Set the optimisers to what the records and the tensors say."""
    parameters = dict(model.named_parameters())
    for number, (optimizer, record) in enumerate(zip(optimizers, records, strict=True)):
        optimizer.state.clear()
        for name, state in record["states"].items():
            parameter = parameters[name]
            shaped = {key: tensors[_tensor_name(number, key, name)] for key in state["shaped"]}
            moved = {key: state["plain"][key].to(parameter.device) for key in state["beside"] if key in state["plain"]}
            optimizer.state[parameter] = shaped | state["plain"] | moved
        for group, saved in zip(optimizer.param_groups, record["groups"], strict=True):
            group.update({key: value for key, value in saved.items() if key != "params"})


def write_tensors(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write this rank's parts of the tensors; all ranks call it with the same names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it says that one process saves alone, which is meant
        writer = FileSystemWriter(folder, single_file_per_rank=True, sync_files=True)
        save(dict(tensors), storage_writer=writer, no_dist=not dist.is_initialized())


def read_tensors(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Fill the tensors in place; all ranks call it with the same names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        load(dict(tensors), storage_reader=FileSystemReader(folder), no_dist=not dist.is_initialized())


def bytes_here(tensors: Mapping[str, Tensor], *, leads: bool) -> int:
    """Bytes that this rank will write of the tensors: its own parts, and what is whole everywhere if it leads."""
    total = 0
    for value in tensors.values():
        if isinstance(value, DTensor):
            total += value.to_local().nbytes
        elif leads:
            total += value.nbytes
    return total


def _has_shape_of(value: object, parameter: Tensor) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0 and value.shape == parameter.shape


def _is_on_device(value: object) -> bool:
    return isinstance(value, Tensor) and value.device.type != "cpu"


def _dtype_name(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _tensor_name(number: int, key: str, name: str) -> str:
    return f"optimizer/{number}/{key}/{name}"
