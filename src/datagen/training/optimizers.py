r"""Optimisers and schedules, as settings that can be saved with a run.

    settings = OptimizerSettings(kind="muon", schedule="cosine", warmup=60, total=1600)
    optimizer = Optimizer(model.parameters(), settings, outer=outer_parameters(model))
    optimizer.step(version)                 the rates are those of update `version`, counted from 0

    rate  1 |   ____            rises from 1/warmup, falls from the end of the warm-up to `floor` at update `total`
            |  /    \__
            | /        \___     floor
            +---------------- updates

Muon (K. Jordan, "Muon: An optimizer for hidden layers in neural networks", 2024) orthogonalises the update of a matrix. It
is for the matrices inside the blocks; embeddings, head, norms and biases have AdamW. Decay is decoupled and of matrices
inside the blocks alone. The state is that of torch's optimisers: saved and loaded, the next update is the same to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from datagen.errors import CheckpointError, ConfigError, TrainingError

Kind = Literal["adamw", "muon"]
Schedule = Literal["constant", "linear", "cosine"]


@dataclass(frozen=True, slots=True)
class OptimizerSettings:
    """Which optimiser, how fast, and when."""

    kind: Kind = "adamw"
    learning_rate: float = 1e-4
    """Of AdamW."""
    muon_learning_rate: float = 1.5e-2
    """Of Muon."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Decays of AdamW's two moments."""
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum: float = 0.95
    """Of Muon, Nesterov's form."""
    match_adamw: bool = False
    """Scale Muon's updates to the size of AdamW's, 0.2 * sqrt(longer side) (arXiv 2502.16982), so that one rate serves
    both; otherwise sqrt(rows / columns), at least 1."""
    schedule: Schedule = "constant"
    warmup: int = 0
    """Updates over which the rate rises."""
    total: int | None = None
    """Updates at whose end a falling rate reaches its floor."""
    floor: float = 0.05
    """Share of the rate that is left then."""

    def __post_init__(self) -> None:
        for name, choices in (("kind", get_args(Kind)), ("schedule", get_args(Schedule))):
            if getattr(self, name) not in choices:
                raise ConfigError(f"optimizer.{name} is {getattr(self, name)!r}; choose one of {', '.join(choices)}")
        if self.learning_rate < 0 or self.muon_learning_rate < 0 or self.weight_decay < 0 or self.warmup < 0:
            raise ConfigError(f"rates, decay and warm-up of the optimiser are at least 0: {self}")
        if not 0 <= self.floor <= 1:
            raise ConfigError(f"optimizer.floor is a share of the rate, so between 0 and 1, not {self.floor}")
        if self.schedule != "constant" and (self.total is None or self.total <= self.warmup):
            raise ConfigError(
                f"a {self.schedule} schedule falls between the warm-up ({self.warmup} updates) and the last update; "
                f"total is {self.total}: give more updates than the warm-up has"
            )

    def factor(self, update: int) -> float:
        """What the rates are multiplied with in this update, counted from 0."""
        if update < self.warmup:
            return (update + 1) / self.warmup
        if self.schedule == "constant" or self.total is None:
            return 1.0
        done = min(1.0, (update - self.warmup) / (self.total - self.warmup))
        left = 1 - done if self.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
        return self.floor + (1 - self.floor) * left


class Optimizer:
    """One or two of torch's optimisers behind one schedule. Parameters that need no gradient are left alone.

    `outer`: those that stand before or behind the blocks, which Muon and decay spare.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], settings: OptimizerSettings, *, outer: Iterable[nn.Parameter] = ()
    ) -> None:
        self.settings = settings
        inner, outside, vectors = _sorted(parameters, {id(parameter) for parameter in outer})
        self.parameters: list[nn.Parameter] = [*inner, *outside, *vectors]
        if not self.parameters:
            raise TrainingError("no parameter of the model needs a gradient, so there is nothing to train")
        rest = ([] if settings.kind == "muon" else inner, [*outside, *vectors])
        self._parts: list[tuple[torch.optim.Optimizer, float]] = []
        if settings.kind == "muon" and inner:
            self._parts.append((_muon(inner, settings), settings.muon_learning_rate))
        if any(rest):
            self._parts.append((_adamw(*rest, settings), settings.learning_rate))

    @property
    def parts(self) -> tuple[torch.optim.Optimizer, ...]:
        """Torch's optimisers: Muon, where there is one, and AdamW."""
        return tuple(part for part, _ in self._parts)

    def rate(self, update: int) -> float:
        """Of the first optimiser in this update, counted from 0: Muon's where there is one."""
        return self._parts[0][1] * self.settings.factor(update)

    def step(self, update: int) -> None:
        """Change the weights by their gradients, at the rates of this update, counted from 0."""
        factor = self.settings.factor(update)
        for part, rate in self._parts:
            for group in part.param_groups:
                group["lr"] = rate * factor
            part.step()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Of each of torch's optimisers, by position."""
        return {"kind": self.settings.kind, "parts": [part.state_dict() for part, _ in self._parts]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken. Raises `CheckpointError` for the state of another optimiser."""
        if state["kind"] != self.settings.kind or len(state["parts"]) != len(self._parts):
            raise CheckpointError(
                f"the checkpoint holds the state of {state['kind']}, but the optimiser is {self.settings.kind}; "
                "resume with the optimiser of the run, or begin anew from its weights"
            )
        for (part, _), saved in zip(self._parts, state["parts"], strict=True):
            try:
                part.load_state_dict(saved)
            except ValueError as exc:
                raise CheckpointError(
                    f"the checkpoint's optimiser belongs to another model ({exc}); resume with the model of the run"
                ) from exc


def _sorted(
    parameters: Iterable[nn.Parameter], outer: Set[int]
) -> tuple[list[nn.Parameter], list[nn.Parameter], list[nn.Parameter]]:
    """Matrices inside the blocks, other matrices, vectors."""
    inner: list[nn.Parameter] = []
    outside: list[nn.Parameter] = []
    vectors: list[nn.Parameter] = []
    for parameter in parameters:
        if parameter.requires_grad:
            kind = vectors if parameter.ndim != 2 else outside if id(parameter) in outer else inner
            kind.append(parameter)
    return inner, outside, vectors


def _muon(inner: list[nn.Parameter], settings: OptimizerSettings) -> torch.optim.Optimizer:
    if not hasattr(torch.optim, "Muon"):
        raise ConfigError(f"torch {torch.__version__} has no Muon; install torch 2.9 or newer, or choose adamw")
    return torch.optim.Muon(
        inner,
        lr=settings.muon_learning_rate,
        weight_decay=settings.weight_decay,
        momentum=settings.momentum,
        adjust_lr_fn="match_rms_adamw" if settings.match_adamw else "original",
    )


def _adamw(inner: list[nn.Parameter], rest: list[nn.Parameter], settings: OptimizerSettings) -> torch.optim.Optimizer:
    groups = [
        {"params": inner, "weight_decay": settings.weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=settings.learning_rate,
        betas=settings.betas,
        eps=settings.eps,
        fused=all(_plain(parameter) for parameter in (*inner, *rest)),
    )


def _plain(parameter: Tensor) -> bool:
    """Whether torch's one kernel for all of AdamW takes it: 0.3 ms instead of 1 ms for 36 small tensors on a CPU."""
    return type(parameter) is nn.Parameter and parameter.device.type in ("cpu", "cuda")
