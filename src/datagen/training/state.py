"""What a training is between two steps: everything that the next step depends on.

    state = TrainingState(
        model=model,
        optimizers=(muon, adamw),
        parts={"schedule": schedule, "loader": rows, "curriculum": curriculum, "replay": store, "monitors": monitors},
    )
    Checkpoints("out/run/checkpoints").save(40, state)

The objects are the live ones: saving asks them for their state, loading hands it back. Random generators of the process
(`RandomState`) are taken along without being named; a generator that belongs to a part is that part's own affair.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class Stateful(Protocol):
    """A part of a training that can be put away and taken up again.

    The state is made of dicts, lists, tuples, strings, numbers, None, bytes, numpy arrays, and tensors
    (`state_files`). Several ranks have to give the same one: only rank 0 is asked, and every rank gets its answer.
    """

    def state_dict(self) -> Mapping[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> object: ...


@dataclass(frozen=True, slots=True, eq=False)
class TrainingState:
    """The live objects of a training that a checkpoint is made of and that it is loaded into."""

    model: nn.Module
    """Frozen parameters are not written: they are where the model came from."""
    optimizers: tuple[Optimizer, ...] = ()
    parts: Mapping[str, Stateful] = field(default_factory=dict)
    """Schedule, loader, curriculum, replay store, monitors: whatever else moves, by name."""


@dataclass(frozen=True, slots=True, eq=False)
class RandomState:
    """The global random generators of this process: `random`, numpy's legacy one, torch on the CPU and on its GPU."""

    python: tuple[Any, ...]
    numpy: dict[str, Any]
    torch: Tensor
    cuda: Tensor | None = None
    """Of the device in use; to ask others would take memory on each of them."""

    @classmethod
    def capture(cls) -> Self:
        return cls(
            python=random.getstate(),
            numpy=dict(np.random.get_state(legacy=False)),  # noqa: NPY002  libraries still draw from it
            torch=torch.get_rng_state(),
            cuda=torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        )

    def restore(self) -> None:
        """Set the generators. A GPU where there was none keeps its own."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)  # noqa: NPY002
        torch.set_rng_state(self.torch)
        if self.cuda is not None and torch.cuda.is_available():
            torch.cuda.set_rng_state(self.cuda)

    def state_dict(self) -> dict[str, Any]:
        return {"python": self.python, "numpy": self.numpy, "torch": self.torch, "cuda": self.cuda}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Self:
        return cls(state["python"], state["numpy"], state["torch"], state["cuda"])
