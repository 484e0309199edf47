"""One update of the weights from rows and an objective; it knows no algorithm.

    learner = Learner(model, optimizer=OptimizerSettings(learning_rate=1e-4), tokens_per_bin=8192)
    rows = [with_streams(row, old_logprobs=old) for row, old in zip(rows, learner.logprobs(rows))]
    report = learner.step(rows, objective)          one update, however many bins the rows fill

A step runs bin after bin and adds up gradients: weights of rows carry the denominators of the whole step
(`datagen.training.rows`), so bins, and ranks, add. Nothing is changed before the whole gradient is known to be finite.

On several ranks every rank is given all rows and computes its share. `shard` wraps the scorer before the optimiser is made,
and `reduction` is the only place where ranks talk beside what the wrapping does: who computes which rows, how many bins to
run, sums to report, and the length of the gradient (`datagen.training.distributed.sharding` gives both).
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
    without_adapters,
)
from datagen.training.optimizers import Optimizer, OptimizerSettings
from datagen.training.packing import Batch, Bin, Layout, bins, check_streams, to_batch, with_trained_tokens
from datagen.training.precision import masters_of, to_float32
from datagen.training.rows import Floats, TrainRow
from datagen.training.step_report import StepReport, detached, listed, means, peak_memory_mb, totals, what_broke
from datagen.training.tokens import Loss, Objective

__all__ = ["Alone", "Learner", "Progress", "Reduction", "StepReport"]


class Reduction(Protocol):
    """What ranks have to agree on. Every rank calls the same methods in the same order."""

    @property
    def scale(self) -> float:
        """What a loss is multiplied with so that gradients of ranks add: their number where the wrapping averages."""
        ...

    def share(self, rows: Sequence[TrainRow]) -> Sequence[int]:
        """Places of the rows that this rank computes; every rank is given all rows."""
        ...

    def join(self, found: Mapping[int, Floats]) -> Mapping[int, Floats]:
        """What all ranks found, by the place of the row."""
        ...

    def most(self, count: int) -> int:
        """The largest count of any rank."""
        ...

    def sums(self, values: Mapping[str, float]) -> dict[str, float]:
        """Sums over ranks, name by name; a rank may lack names that others have."""
        ...

    def peaks(self, values: Mapping[str, float]) -> dict[str, float]:
        """The largest over ranks, name by name; a rank may lack names that others have."""
        ...

    def norm(self, gradients: Sequence[Tensor]) -> Tensor:
        """The euclidean length of the whole gradient, of all shards."""
        ...


class Alone:
    """The reduction of one process."""

    scale = 1.0

    def share(self, rows: Sequence[TrainRow]) -> Sequence[int]:
        return range(len(rows))

    def join(self, found: Mapping[int, Floats]) -> Mapping[int, Floats]:
        return found

    def most(self, count: int) -> int:
        return count

    def sums(self, values: Mapping[str, float]) -> dict[str, float]:
        return dict(values)

    def peaks(self, values: Mapping[str, float]) -> dict[str, float]:
        return dict(values)

    def norm(self, gradients: Sequence[Tensor]) -> Tensor:
        return nn.utils.get_total_norm(gradients)


@dataclass(slots=True)
class Progress:
    """How many updates the weights have seen. Weights are loaded before it."""

    updates: int = 0
    loaded: Callable[[], None] = lambda: None

    def state_dict(self) -> dict[str, int]:
        return {"updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.updates = int(state["updates"])
        self.loaded()


class Learner:
    """A model, its optimiser, and the number of updates they have seen.

    `precision` "bfloat16" makes the model's weights bfloat16 and trains float32 copies (`datagen.training.precision`); with
    `shard`, weights stay float32 and the wrapping casts them. `clip_norm` None never clips.
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
        self.progress = Progress(loaded=self.publish)
        self.reduction: Reduction = reduction or Alone()
        # Wrapped modules keep float32 shards and make the working weights themselves.
        self.masters = masters_of(model) if precision == "bfloat16" and shard is None else None
        if self.masters is None:
            to_float32(model)
        if checkpointing:
            checkpoint_activations(model)
        self.scorer = TokenScorer(model, layout=layout, temperature=temperature, elements=elements)
        if shard is not None:
            shard(self.scorer)
        self.device = next(model.parameters()).device
        outer = [one for one in outer_parameters(model) if one.requires_grad]
        if self.masters is not None:
            outer = [self.masters.master_of(one) for one in outer]
        self.optimizer = Optimizer(self.weights.parameters(), optimizer, outer=outer)

    @property
    def version(self) -> int:
        """Updates that the weights have seen."""
        return self.progress.updates

    @property
    def weights(self) -> nn.Module:
        """What the optimiser changes, by the model's names: the model, or float32 copies beside its working weights.

        Whoever writes into it loads `progress` afterwards, or calls `publish`.
        """
        return self.model if self.masters is None else self.masters

    def publish(self) -> None:
        """Bring the working weights up to date with `weights`."""
        if self.masters is not None:
            self.masters.publish()

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
            losses, sums, peaks = self._run(parts, passes, objective)
            gradients = [one.grad for one in self.optimizer.parameters if one.grad is not None]
            norm = self.reduction.norm(gradients)
            length = float(norm)
            if not (np.isfinite(length) and np.isfinite(sums["loss"])):
                raise TrainingError(what_broke(self.version + 1, parts, losses, sums["loss"], length))
            if self.clip_norm is not None:
                nn.utils.clip_grads_with_norm_(self.optimizer.parameters, self.clip_norm, norm)
            rate = self.optimizer.rate(self.version)
            self.optimizer.step(self.version)
            self.publish()
        finally:
            self.optimizer.zero_grad()
        self.progress.updates += 1
        return StepReport(
            version=self.version,
            loss=sums["loss"],
            grad_norm=length,
            clipped=self.clip_norm is not None and length > self.clip_norm,
            learning_rate=rate,
            measures=means(sums, peaks),
            rows=int(sums["rows"]),
            bins=len(parts),
            trained_tokens=int(sums["trained"]),
            forwarded_tokens=int(sums["tokens"]),
            padding_share=1 - sums["tokens"] / sums["area"],
            seconds=time.perf_counter() - began,
            memory_mb=peak_memory_mb(self.device),
        )

    def measure(self, rows: Sequence[TrainRow], objective: Objective) -> dict[str, float]:
        """What the objective measures, and the "loss", without an update: for rows held out."""
        parts = self._bins(rows)
        self.scorer.eval()
        with torch.no_grad():
            _, sums, peaks = self._run(parts, self.reduction.most(len(parts)), objective)
        return means(sums, peaks) | {"loss": sums["loss"]}

    def logprobs(self, rows: Sequence[TrainRow], *, adapters: bool = True) -> list[Floats]:
        """Log-probabilities of the trained tokens of each row under the weights as they are; 0 at other tokens.

        `adapters=False` leaves out low-rank adapters: the reference model.
        """
        return self._spread(rows, "none", adapters=adapters)

    def entropies(self, rows: Sequence[TrainRow]) -> list[Floats]:
        """In nats, at the trained tokens of each row under the weights as they are; 0 at other tokens."""
        return self._spread(rows, "measured", adapters=True)

    def _spread(self, rows: Sequence[TrainRow], entropy: Entropy, *, adapters: bool) -> list[Floats]:
        """Log-probabilities, or entropies where they are asked for, in the order of rows."""
        found: dict[int, Floats] = {}
        trained = [place for place, row in enumerate(rows) if row.trained.any()]
        places = [trained[one] for one in self.reduction.share([rows[place] for place in trained])]
        parts = bins([rows[place] for place in places], tokens=self.tokens_per_bin, layout=self.layout)
        self.scorer.eval()
        with torch.no_grad(), contextlib.nullcontext() if adapters else without_adapters(self.model):
            for number in range(self.reduction.most(len(parts))):
                part = parts[number] if number < len(parts) else _idle(self.layout)
                logprobs, entropies = self._forward(to_batch(part, self.device), entropy)
                values = logprobs if entropies is None else entropies
                if number < len(parts):
                    masks = [(places[place], row.trained) for place, row in zip(part.places, part.rows, strict=True)]
                    ends = np.cumsum([mask.sum() for _, mask in masks])
                    for (place, mask), each in zip(masks, np.split(values.cpu().numpy(), ends[:-1]), strict=True):
                        found[place] = np.zeros(len(mask), dtype=np.float32)
                        found[place][mask] = each
        found = dict(self.reduction.join(found))
        return [found.get(place, np.zeros(len(row), dtype=np.float32)) for place, row in enumerate(rows)]

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
                f"the checkpoint belongs to another model: {', '.join(odd[:8])} differ, {len(odd)} weights in all; "
                "resume with the model and the adapters of the run"
            )
        self.optimizer.load_state_dict(state["optimizer"])
        with torch.no_grad():
            for name, weight in trained.items():
                weight.copy_(saved[name])
        self.progress.load_state_dict(state["progress"])

    def describe(self) -> dict[str, Any]:
        """What is trained and how, for logs and reports."""
        dtype = torch.bfloat16 if self.precision == "bfloat16" else torch.float32
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
        trained = with_trained_tokens(rows)
        mine = [trained[place] for place in self.reduction.share(trained)]
        return bins(mine, tokens=self.tokens_per_bin, layout=self.layout)

    def _run(
        self, parts: Sequence[Bin], passes: int, objective: Objective
    ) -> tuple[list[Loss], dict[str, float], dict[str, float]]:
        """Losses of the bins, sums and peaks over all ranks; adds to the gradients where gradients are on.

        An objective that refuses its rows ends the update on all ranks, once none of them waits for another.
        """
        entropy: Entropy = "trained" if objective.needs_entropy else "measured" if self.entropy else "none"
        losses: list[Loss] = []
        refusal: TrainingError | None = None
        for number in range(passes):
            # Another rank may have more bins. Wrapped modules gather weights together, so this one computes along.
            part = parts[number] if number < len(parts) else _idle(self.layout)
            batch = to_batch(part, self.device)
            logprobs, entropies = self._forward(batch, entropy)
            value = None
            if number < len(parts) and refusal is None:
                try:
                    loss = objective(batch.trained.beside(logprobs, entropies))
                    losses.append(detached(loss))
                    value = loss.value
                except TrainingError as exc:
                    refusal = TrainingError(f"{exc} Nothing was changed; the rows are of rollouts {listed(part.rows)}.")
                    refusal.__cause__ = exc
            if torch.is_grad_enabled():
                # An objective may find nothing to learn in a bin.
                learned = value if value is not None and value.requires_grad else logprobs.sum() * 0
                (learned * self.reduction.scale).backward()  # type: ignore[no-untyped-call]
        added, tops = totals(parts, losses)
        sums = self.reduction.sums(added | {"refusals": float(refusal is not None)})
        if refusal is not None:
            raise refusal
        if sums["refusals"]:
            raise TrainingError(f"update {self.version + 1} was refused on another rank, whose message says why")
        return losses, sums, self.reduction.peaks(tops)

    def _forward(self, batch: Batch, entropy: Entropy) -> tuple[Tensor, Tensor | None]:
        out: tuple[Tensor, Tensor | None] = self.scorer(batch, entropy)
        return out

    def _trained(self) -> Iterator[tuple[str, Tensor]]:
        return ((name, one.detach()) for name, one in self.weights.named_parameters() if one.requires_grad)


def _idle(layout: Layout) -> Bin:
    row = TrainRow(np.zeros(2, dtype=np.int64), ce_weight=np.array([0, 1], dtype=np.float32))
    return Bin((row,), (0,), layout)
