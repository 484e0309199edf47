"""A state as two files: JSON for what can be read, safetensors for the numbers. Nothing is pickled.

    {"position": 17, "seen": (3, 5), "scores": tensor}
    replay.json           {"position": 17, "seen": {"$tuple": [3, 5]}, "scores": {"$tensor": "0"}}
    replay.safetensors    0: f32 (4,)

What is read equals what was written, to the bit and to the type: tuples stay tuples, keys that are no strings stay what
they are, arrays of numpy stay arrays.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from datagen import storage

TUPLE, PAIRS, TENSOR, ARRAY, SCALAR, BYTES = "$tuple", "$pairs", "$tensor", "$array", "$scalar", "$bytes"
"""One-key objects that stand for what JSON lacks."""

_MARKS = frozenset({TUPLE, PAIRS, TENSOR, ARRAY, SCALAR, BYTES})


def write_state(folder: Path, name: str, state: object) -> None:
    """Write `name.json` and, where there are numbers to keep, `name.safetensors`.

    Raises `TypeError` for a value that is none of those in the module's picture, and says where in the state it stands.
    """
    tensors: dict[str, Tensor] = {}
    tree = _encoded(state, tensors, name)
    if tensors:
        storage.write_atomic(folder / f"{name}.safetensors", safetensors_bytes(tensors))
    storage.write_atomic(folder / f"{name}.json", json.dumps(tree, ensure_ascii=False).encode())


def read_state(folder: Path, name: str) -> Any:
    """What `write_state` was given. Tensors are on the CPU."""
    tree = storage.read_json(folder / f"{name}.json")
    numbers = folder / f"{name}.safetensors"
    tensors: dict[str, Tensor] = {}
    if numbers.exists():
        with safe_open(numbers, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  it is no mapping
    return _decoded(tree, tensors)


def _encoded(value: object, tensors: dict[str, Tensor], where: str) -> Any:
    if isinstance(value, Tensor):
        return {TENSOR: _put(value, tensors)}
    if isinstance(value, np.ndarray | np.generic):
        mark = ARRAY if isinstance(value, np.ndarray) else SCALAR
        return {mark: _put(torch.from_numpy(np.array(value)), tensors)}  # a copy: one that torch may own
    if isinstance(value, bytes):
        return {BYTES: base64.b64encode(value).decode()}
    if isinstance(value, tuple):
        return {TUPLE: [_encoded(part, tensors, f"{where}[{i}]") for i, part in enumerate(value)]}
    if isinstance(value, list):
        return [_encoded(part, tensors, f"{where}[{i}]") for i, part in enumerate(value)]
    if isinstance(value, Mapping):
        return _encoded_mapping(value, tensors, where)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        f"{where} is a {type(value).__name__}, which a checkpoint cannot keep; state_dict() may give dicts, lists, "
        "tuples, strings, numbers, None, bytes, arrays, and tensors"
    )


def _encoded_mapping(value: Mapping[Any, Any], tensors: dict[str, Tensor], where: str) -> dict[str, Any]:
    encoded = {key: _encoded(part, tensors, f"{where}.{key}") for key, part in value.items()}
    if all(isinstance(key, str) for key in encoded) and not _MARKS & encoded.keys():
        return encoded
    return {PAIRS: [[_encoded(key, tensors, f"{where} key"), part] for key, part in encoded.items()]}


def _put(tensor: Tensor, tensors: dict[str, Tensor]) -> str:
    name = str(len(tensors))
    tensors[name] = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)  # views may share memory
    return name


def _decoded(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(tree, list):
        return [_decoded(part, tensors) for part in tree]
    if not isinstance(tree, dict):
        return tree
    if len(tree) != 1 or not _MARKS & tree.keys():
        return {key: _decoded(part, tensors) for key, part in tree.items()}
    ((mark, content),) = tree.items()
    if mark == TENSOR:
        return tensors[content]
    if mark == ARRAY:
        return tensors[content].numpy()
    if mark == SCALAR:
        return tensors[content].numpy()[()]
    if mark == BYTES:
        return base64.b64decode(content)
    if mark == TUPLE:
        return tuple(_decoded(part, tensors) for part in content)
    return {_decoded(key, tensors): _decoded(part, tensors) for key, part in content}
