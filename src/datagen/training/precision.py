"""Weights in half precision for the passes, and in single precision for the optimiser.

    working   bfloat16   forward and backward; what an engine in this process samples with
    masters   float32    what the optimiser changes, and what a checkpoint holds

An update smaller than half a step of bfloat16, about 1/512 of a weight, would be lost on the working weights; on the masters it
adds up. The gradient of a bin is made in bfloat16 and added up over bins in float32. Samplers commonly compute in the
same half precision, so the log-probabilities of both are near each other.
"""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn


def to_float32(model: nn.Module) -> None:
    """Make what is trained float32, in place."""
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype != torch.float32:
            parameter.data = parameter.data.float()


def masters_of(model: nn.Module) -> Masters:
    """The model's masters, made when first asked for: a later learner goes on with what an earlier one added up."""
    if model not in _MASTERS:
        _MASTERS[model] = Masters(model)
    return _MASTERS[model]


class Masters(nn.Module):
    """Float32 copies of what a model trains, under the same names; the model itself becomes bfloat16.

    A model has one of them (`masters_of`): gradients go to the masters that were made first.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._pairs: list[tuple[nn.Parameter, nn.Parameter]] = []
        for name, parameter in list(model.named_parameters()):
            if parameter.requires_grad:
                master = nn.Parameter(parameter.detach().float().clone())
                self._place(name, master)
                self._pairs.append((parameter, master))
            # Buffers stay as they are: angles of positions need float32.
            if parameter.is_floating_point():
                parameter.data = parameter.data.bfloat16()
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(_hand_over(master))  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def publish(self) -> None:
        """Round the masters into the working weights."""
        for working, master in self._pairs:
            working.copy_(master)

    def master_of(self, parameter: nn.Parameter) -> nn.Parameter:
        """The float32 copy of a working weight."""
        return next(master for working, master in self._pairs if working is parameter)

    def _place(self, name: str, master: nn.Parameter) -> None:
        *path, last = name.split(".")
        home: nn.Module = self
        for part in path:
            if not hasattr(home, part):
                home.add_module(part, nn.Module())
            home = home.get_submodule(part)
        home.register_parameter(last, master)


def _hand_over(master: nn.Parameter) -> Callable[[Tensor], None]:
    """Move a gradient to the master as soon as a backward pass has made it, so that it is not kept twice."""

    def move(working: Tensor) -> None:
        if working.grad is None:
            return
        if master.grad is None:
            master.grad = working.grad.float()
        else:
            master.grad += working.grad
        working.grad = None

    return move


_MASTERS: WeakKeyDictionary[nn.Module, Masters] = WeakKeyDictionary()
