"""One update of the weights from rows and an objective; it knows no algorithm.

    learner = Learner(model, optimizer=OptimizerSettings(learning_rate=1e-4), tokens_per_bin=8192)
    rows = [with_streams(row, old_logprobs=old) for row, old in zip(rows, learner.logprobs(rows))]
    report = learner.step(rows, objective)          one update, however many bins the rows fill

A step runs bin after bin and adds up gradients: weights of rows carry the denominators of the whole step
(`datagen.training.rows`), so bins, and ranks, add. Nothing is changed before the whole gradient is known to be finite.

On several ranks, `shard` wraps the scorer before the optimiser is made, and `reduction` is the only place where ranks talk
beside what the wrapping does: how many bins to run, sums to report, and the length of the gradient.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from datagen.errors import CheckpointError, ConfigError, TrainingError
from datagen.training.attention import describe_attention
from datagen.training.head import Entropy
from datagen.training.models import (
    Precision,
    TokenScorer,
    checkpoint_activations,
    has_adapters,
    outer_parameters,
    train_in_float32,
    without_adapters,
)
from datagen.training.optimizers import Optimizer, OptimizerSettings
from datagen.training.packing import Batch, Bin, Layout, bins, check_streams, to_batch, with_trained_tokens
from datagen.training.rows import STREAMS, Floats, TrainRow
from datagen.training.tokens import Loss, Objective

NAMED = 8
"""Rollouts that an error names; the others are counted."""


class Reduction(Protocol):
    """What ranks have to agree on. Every rank calls the same methods in the same order."""

    @property
    def scale(self) -> float:
        """What a loss is multiplied with so that gradients of ranks add: their number where the wrapping averages."""
        ...

    def most(self, count: int) -> int:
        """The largest count of any rank."""
        ...

    def sums(self, values: Mapping[str, float]) -> dict[str, float]:
        """Sums over ranks, name by name; a rank may lack names that others have."""
        ...

    def norm(self, gradients: Sequence[Tensor]) -> Tensor:
        """The euclidean length of the whole gradient, of all shards."""
        ...


class Alone:
    """The reduction of one process."""

    scale = 1.0

    def most(self, count: int) -> int:
        return count

    def sums(self, values: Mapping[str, float]) -> dict[str, float]:
        return dict(values)

    def norm(self, gradients: Sequence[Tensor]) -> Tensor:
        return nn.utils.get_total_norm(gradients)


@dataclass(frozen=True, slots=True)
class StepReport:
    """One update, over all ranks; seconds are of this one."""

    version: int
    """Updates that the weights have seen with this one."""
    loss: float
    grad_norm: float
    """Before clipping."""
    clipped: bool
    learning_rate: float
    measures: dict[str, float]
    """Sum over count of what the objective measured."""
    rows: int
    """That were trained on; rows without a trained token are left out."""
    bins: int
    """Forward passes of this rank."""
    trained_tokens: int
    forwarded_tokens: int
    """Of rows, padding left out."""
    padding_share: float
    """Of the tokens that were computed."""
    seconds: float


@dataclass(slots=True)
class Progress:
    """How many updates the weights have seen."""

    updates: int = 0

    def state_dict(self) -> dict[str, int]:
        return {"updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.updates = int(state["updates"])


class Learner:
    """A model, its optimiser, and the number of updates they have seen.

    `precision` "bfloat16" runs the model under autocast; what is trained is float32 either way. `clip_norm` None never clips.
    `temperature` is the one that tokens were sampled at. `entropy` measures entropies for objectives that report them.
    `elements` bounds the logits in memory (`datagen.training.head`). `device` None leaves the model where it is.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        optimizer: OptimizerSettings,
        tokens_per_bin: int = 8192,
        layout: Layout = "packed",
        clip_norm: float | None = 1.0,
        precision: Precision = "float32",
        temperature: float = 1.0,
        entropy: bool = True,
        checkpointing: bool = False,
        elements: int | None = None,
        device: str | torch.device | None = None,
        shard: Callable[[TokenScorer], None] | None = None,
        reduction: Reduction | None = None,
    ) -> None:
        if clip_norm is not None and clip_norm <= 0:
            raise ConfigError(f"clip_norm is {clip_norm}; give a length above 0, or None not to clip")
        self.model = model if device is None else model.to(device)
        self.tokens_per_bin = tokens_per_bin
        self.layout = layout
        self.clip_norm = clip_norm
        self.precision = precision
        self.entropy = entropy
        self.progress = Progress()
        self.reduction: Reduction = reduction or Alone()
        train_in_float32(model)
        if checkpointing:
            checkpoint_activations(model)
        self.scorer = TokenScorer(model, layout=layout, temperature=temperature, elements=elements)
        if shard is not None:
            shard(self.scorer)
        self.optimizer = Optimizer(model.parameters(), optimizer, outer=outer_parameters(model))
        self.device = self.optimizer.parameters[0].device

    @property
    def version(self) -> int:
        """Updates that the weights have seen."""
        return self.progress.updates

    def step(self, rows: Sequence[TrainRow], objective: Objective) -> StepReport:
        """One update. Raises `TrainingError`, with weights and optimiser as they were, if its gradient is not finite.

        Rows, or whole bundles of them, without a trained token are left out.
        """
        began = time.perf_counter()
        parts = self._bins(rows)
        passes = self.reduction.most(len(parts))
        if not passes:
            raise TrainingError(
                f"none of {len(rows)} rows has a trained token, so there is no gradient; draw other rows"
            )
        self.scorer.train()
        self.optimizer.zero_grad()
        try:
            losses = self._run(parts, passes, objective)
            sums = self.reduction.sums(_totals(parts, losses))
            gradients = [one.grad for one in self.optimizer.parameters if one.grad is not None]
            norm = self.reduction.norm(gradients)
            length = float(norm)
            if not (np.isfinite(length) and np.isfinite(sums["loss"])):
                raise TrainingError(_what_broke(self.version + 1, parts, losses, sums["loss"], length))
            if self.clip_norm is not None:
                nn.utils.clip_grads_with_norm_(self.optimizer.parameters, self.clip_norm, norm)
            rate = self.optimizer.rate(self.version)
            self.optimizer.step(self.version)
        finally:
            self.optimizer.zero_grad()
        self.progress.updates += 1
        return StepReport(
            version=self.version,
            loss=sums["loss"],
            grad_norm=length,
            clipped=self.clip_norm is not None and length > self.clip_norm,
            learning_rate=rate,
            measures=_means(sums),
            rows=int(sums["rows"]),
            bins=len(parts),
            trained_tokens=int(sums["trained"]),
            forwarded_tokens=int(sums["tokens"]),
            padding_share=1 - sums["tokens"] / sums["area"],
            seconds=time.perf_counter() - began,
        )

    def measure(self, rows: Sequence[TrainRow], objective: Objective) -> dict[str, float]:
        """What the objective measures, and the "loss", without an update: for rows held out."""
        parts = self._bins(rows)
        self.scorer.eval()
        with torch.no_grad():
            losses = self._run(parts, self.reduction.most(len(parts)), objective)
        sums = self.reduction.sums(_totals(parts, losses))
        return _means(sums) | {"loss": sums["loss"]}

    def logprobs(self, rows: Sequence[TrainRow], *, adapters: bool = True) -> list[Floats]:
        """Log-probabilities of the trained tokens of each row under the weights as they are; 0 at other tokens.

        `adapters=False` leaves out low-rank adapters: the reference model.
        """
        found = [np.zeros(len(row), dtype=np.float32) for row in rows]
        places = [place for place, row in enumerate(rows) if row.trained.any()]
        parts = bins([rows[place] for place in places], tokens=self.tokens_per_bin, layout=self.layout)
        self.scorer.eval()
        with torch.no_grad(), contextlib.nullcontext() if adapters else without_adapters(self.model):
            for number in range(self.reduction.most(len(parts))):
                part = parts[number] if number < len(parts) else _idle(self.layout)
                logprobs, _ = self._forward(to_batch(part, self.device), "none")
                if number < len(parts):
                    masks = [(places[place], row.trained) for place, row in zip(part.places, part.rows, strict=True)]
                    ends = np.cumsum([mask.sum() for _, mask in masks])
                    for (place, mask), each in zip(masks, np.split(logprobs.cpu().numpy(), ends[:-1]), strict=True):
                        found[place][mask] = each
        return found

    def state_dict(self) -> dict[str, Any]:
        """Trained weights, optimiser, and number of updates. As in torch, tensors are those in use: copy to keep them."""
        return {
            "model": dict(self._trained()),
            "optimizer": self.optimizer.state_dict(),
            "progress": self.progress.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken. Raises `CheckpointError`, before anything changes, for another model's."""
        trained = dict(self._trained())
        saved = state["model"]
        odd = sorted(trained.keys() ^ saved.keys())
        odd += [name for name in trained.keys() & saved.keys() if trained[name].shape != saved[name].shape]
        if odd:
            raise CheckpointError(
                f"the checkpoint belongs to another model: {', '.join(odd[:NAMED])} differ, {len(odd)} weights in all; "
                "resume with the model and the adapters of the run"
            )
        self.optimizer.load_state_dict(state["optimizer"])
        with torch.no_grad():
            for name, weight in trained.items():
                weight.copy_(saved[name])
        self.progress.load_state_dict(state["progress"])

    def describe(self) -> dict[str, Any]:
        """What is trained and how, for logs and reports."""
        half = self.precision == "bfloat16"
        dtype = torch.bfloat16 if half else torch.float32
        return {
            "model": type(self.model).__name__,
            "parameters": sum(one.numel() for one in self.model.parameters()),
            "trained_parameters": sum(one.numel() for one in self.optimizer.parameters),
            "adapters": has_adapters(self.model),
            "device": str(self.device),
            "precision": self.precision,
            "layout": self.layout,
            "attention": describe_attention(self.device.type, dtype) if self.layout == "packed" else "model's own",
            "tokens_per_bin": self.tokens_per_bin,
            "optimizer": self.optimizer.settings.kind,
        }

    def _bins(self, rows: Sequence[TrainRow]) -> list[Bin]:
        check_streams(rows)
        return bins(with_trained_tokens(rows), tokens=self.tokens_per_bin, layout=self.layout)

    def _run(self, parts: Sequence[Bin], passes: int, objective: Objective) -> list[Loss]:
        """Losses of the bins; adds to the gradients where gradients are on."""
        entropy: Entropy = "trained" if objective.needs_entropy else "measured" if self.entropy else "none"
        losses: list[Loss] = []
        for number in range(passes):
            if number < len(parts):
                batch = to_batch(parts[number], self.device)
                tokens = batch.trained.beside(*self._forward(batch, entropy))
                try:
                    loss = objective(tokens)
                except TrainingError as exc:
                    names = _listed(parts[number].rows)
                    raise TrainingError(f"{exc} Nothing was changed; the rows are of rollouts {names}.") from exc
                losses.append(_detached(loss))
                value = loss.value
            else:
                # Another rank has more bins. Wrapped modules gather weights together, so this one computes along.
                value = self._forward(to_batch(_idle(self.layout), self.device), "none")[0].sum() * 0
            if torch.is_grad_enabled():
                (value * self.reduction.scale).backward()  # type: ignore[no-untyped-call]
        return losses

    def _forward(self, batch: Batch, entropy: Entropy) -> tuple[Tensor, Tensor | None]:
        half = self.precision == "bfloat16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16) if half else contextlib.nullcontext():
            out: tuple[Tensor, Tensor | None] = self.scorer(batch, entropy)
        return out

    def _trained(self) -> Iterator[tuple[str, Tensor]]:
        return ((name, one.detach()) for name, one in self.model.named_parameters() if one.requires_grad)


def _idle(layout: Layout) -> Bin:
    row = TrainRow(np.zeros(2, dtype=np.int64), ce_weight=np.array([0, 1], dtype=np.float32))
    return Bin((row,), (0,), layout)


def _detached(loss: Loss) -> Loss:
    measures = {name: (total.detach(), count.detach()) for name, (total, count) in loss.measures.items()}
    return Loss(loss.value.detach(), measures)


def _totals(parts: Sequence[Bin], losses: Sequence[Loss]) -> dict[str, float]:
    """What ranks add up. Numbers leave the device in one transfer."""
    totals = {
        "loss": 0.0,
        "rows": float(sum(len(part.rows) for part in parts)),
        "tokens": float(sum(part.tokens for part in parts)),
        "area": float(sum(part.area for part in parts)),
        "trained": float(sum(int(row.trained.sum()) for part in parts for row in part.rows)),
    }
    names: list[str] = []
    numbers: list[Tensor] = []
    for loss in losses:
        names.append("loss")
        numbers.append(loss.value)
        for name, (total, count) in loss.measures.items():
            names += [f"sum:{name}", f"count:{name}"]
            numbers += [total, count]
    values = torch.stack([number.reshape(()).float() for number in numbers]).tolist() if numbers else []
    for name, value in zip(names, values, strict=True):
        totals[name] = totals.get(name, 0.0) + value
    return totals


def _means(sums: Mapping[str, float]) -> dict[str, float]:
    """By measure; those that nothing was counted for are left out."""
    names = [name.removeprefix("count:") for name, count in sums.items() if name.startswith("count:") and count]
    return {name: sums[f"sum:{name}"] / sums[f"count:{name}"] for name in names}


def _what_broke(update: int, parts: Sequence[Bin], losses: Sequence[Loss], loss: float, length: float) -> str:
    """Names rows whose own numbers are not finite, or else all rows of the bins whose loss is not, or else all."""
    broken = [part for part, one in zip(parts, losses, strict=True) if not torch.isfinite(one.value)]
    suspects = [row for part in broken or parts for row in part.rows]
    guilty = [row for row in suspects if _not_finite(row)]
    streams = sorted({name for row in guilty for name in _not_finite(row)})
    why = f"whose {', '.join(streams)} is not finite" if guilty else "whose own numbers are finite"
    return (
        f"update {update} was not made: its loss is {loss:.4g} and its gradient has length {length:.4g}. "
        f"Look at rollouts {_listed(guilty or suspects)}, {why}. Weights and optimiser are as they were before; leave these rows out, "
        "or go on from the last checkpoint with a lower learning rate"
    )


def _listed(rows: Sequence[TrainRow]) -> str:
    names = sorted({row.rollout_id or row.group_id or "without a name" for row in rows})
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _not_finite(row: TrainRow) -> list[str]:
    streams = ((name, getattr(row, name)) for name in STREAMS)
    return [name for name, stream in streams if stream is not None and not np.isfinite(stream).all()]
