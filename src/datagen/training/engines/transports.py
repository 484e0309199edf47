"""How the bytes of weights travel, apart from the protocol that says when.

    FileTransport     one safetensors file per piece, in a folder that trainer and servers share
    WeightTransport   what a collective one (NCCL) has to be: servers are told where to meet the trainer, both connect at
                      once, and while a server answers `update_weights` the trainer sends the tensors that were named

vLLM knows the backends nccl and ipc; "file" is that of the practice server, and can be registered with vLLM's
`WeightTransferEngineFactory` as an engine that reads `path`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from datagen.storage import write_atomic

if TYPE_CHECKING:
    from torch import Tensor

PIECE_BYTES = 1 << 30
"""Of one file, about; servers hold one piece beside the model."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some of the weights."""

    update_info: Mapping[str, Any]
    """What servers are told; `names`, `dtype_names` and `shapes`, and what the transport adds."""
    send: Callable[[], None]
    """Called in a thread of its own while servers are told. Returns when all is sent."""


class WeightTransport(Protocol):
    """Carries weights from the trainer to all servers."""

    def introductions(self, world_sizes: Mapping[str, int]) -> dict[str, dict[str, Any]]:
        """By server: how it finds the trainer (`init_info`). `world_sizes` are the workers of each."""
        ...

    def connect(self) -> None:
        """The trainer's half of the meeting; called in a thread of its own while servers are told where to come."""
        ...

    def pieces(self, version: int, weights: Mapping[str, Tensor]) -> Iterator[Piece]:
        """The weights, in parts that servers can hold."""
        ...


class FileTransport:
    """Weights as files. Slow beside NCCL, and needs nothing but a shared folder. The files of one version stay."""

    def __init__(self, folder: Path, *, piece_bytes: int = PIECE_BYTES) -> None:
        self._folder = folder.resolve()
        self._piece_bytes = piece_bytes

    def introductions(self, world_sizes: Mapping[str, int]) -> dict[str, dict[str, Any]]:
        return {url: {"folder": str(self._folder)} for url in world_sizes}

    def connect(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)

    def pieces(self, version: int, weights: Mapping[str, Tensor]) -> Iterator[Piece]:
        from safetensors.torch import save

        kept = set()
        for number, part in enumerate(self._parts(weights)):
            path = self._folder / f"v{version:06d}-{number:04d}.safetensors"
            write_atomic(path, save({name: tensor.detach().cpu().contiguous() for name, tensor in part.items()}))
            kept.add(path)
            yield Piece({**description(part), "path": str(path)}, _nothing_more)
        for old in self._folder.glob("v*.safetensors"):
            if old not in kept:
                old.unlink(missing_ok=True)

    def _parts(self, weights: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
        part: dict[str, Tensor] = {}
        size = 0
        for name, tensor in weights.items():
            here = tensor.numel() * tensor.element_size()
            if part and size + here > self._piece_bytes:
                yield part
                part, size = {}, 0
            part[name] = tensor
            size += here
        if part:
            yield part


def description(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """The three lists that vLLM's backends take, in one order."""
    return {
        "names": list(weights),
        "dtype_names": [str(tensor.dtype).removeprefix("torch.") for tensor in weights.values()],
        "shapes": [list(tensor.shape) for tensor in weights.values()],
    }


def _nothing_more() -> None:
    """The file is there before servers are told of it."""
