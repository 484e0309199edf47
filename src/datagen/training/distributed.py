"""Several processes that train one model: who they are, what each is given, and how gradients become one.

    torchrun --nproc-per-node 4 train.py           # or plain python: then a world of one, and the same code runs

    with distributed() as world:
        learner = Learner(model, optimizer=settings, **sharding(world))
        learner.step(rows, objective)                all rows on every rank; the learner takes the share of its own

Weights, gradients and optimisers lie in shards (FSDP2, `torch.distributed.fsdp.fully_shard`): one group of parameters for
each layer of the decoder, one for what is around them. A rank gathers a group when it computes with it and lets it go.
Weights of rows carry the denominators of the whole step, so gradients of ranks are summed, where FSDP by itself takes the
mean. Every rank begins from the same weights: each keeps its own part of what it loaded.

Every rank makes the same calls in the same order, and as many forward passes as any other: what waits for all ranks hangs
where one does not come.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from datagen.errors import TrainingError, boundary
from datagen.training.packing import bundles
from datagen.training.rows import Floats, TrainRow

if TYPE_CHECKING:
    from datagen.training.models import Precision, TokenScorer

T = TypeVar("T")

MINUTES_TO_WAIT = 120
"""After which a rank gives up on the others; the longest wait is for one that evaluates or writes alone."""


SECONDS_TO_LET_GO = 0.2


@dataclass(frozen=True, slots=True)
class World:
    """The processes of one training. A world of one needs no torchrun and waits for nobody."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"
    """Where this rank computes: "cpu", or "cuda:0"."""

    @property
    def leads(self) -> bool:
        """Whether this is the rank that writes what is written once."""
        return self.rank == 0

    def gather(self, value: T) -> list[T]:
        """The value of every rank, in the order of ranks, on every rank. Values are pickled."""
        if self.size == 1:
            return [value]
        values: list[T | None] = [None] * self.size
        dist.all_gather_object(values, value)
        return values  # type: ignore[return-value]  # every place was filled

    def total(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Sums over ranks, added in the order of ranks; a name that a rank lacks counts 0 there."""
        totals: dict[str, float] = {}
        for part in self.gather(dict(sums)):
            for name, value in part.items():
                totals[name] = totals.get(name, 0.0) + value
        return totals

    def together(self, work: Callable[[], T]) -> T:
        """Do `work` on every rank; where it fails on one, all raise, so that none waits for what never comes.

        A rank that failed raises its own error, the others a `TrainingError` that repeats the first one's message.
        """
        failure: Exception | None = None
        result: T | None = None
        try:
            result = work()
        except Exception as exc:  # noqa: BLE001  it is raised below, on every rank
            failure = exc
        if self.size > 1:
            words = self.gather(None if failure is None else f"{failure}")
            told = [(rank, word) for rank, word in enumerate(words) if word is not None]
            if told and failure is None:
                rank, word = told[0]
                raise TrainingError(f"rank {rank} failed: {word}")
        if failure is not None:
            raise failure
        return result  # type: ignore[return-value]  # set where nothing failed

    def lead(self, work: Callable[[], T]) -> T:
        """Do `work` on rank 0 alone, and give every rank its result: for what is sampled, measured or drawn only once."""
        return self.gather(self.together(lambda: work() if self.leads else None))[0]  # type: ignore[return-value]


@contextlib.contextmanager
def distributed() -> Iterator[World]:
    """The world that torchrun describes in the environment, joined until the block ends; a world of one without torchrun.

    GPUs talk by NCCL and CPUs by gloo. Raises `TrainingError` where the other ranks cannot be reached.
    """
    cuda = torch.cuda.is_available()
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield World(device="cuda:0" if cuda else "cpu")
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if cuda:
        torch.cuda.set_device(local)
    with boundary(TrainingError, "the ranks did not find each other; start all of them with one torchrun command"):
        dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=timedelta(minutes=MINUTES_TO_WAIT))
    try:
        yield World(dist.get_rank(), dist.get_world_size(), f"cuda:{local}" if cuda else "cpu")
        dist.barrier()  # a rank that leaves early takes the addresses of the others with it
    finally:
        dist.destroy_process_group()
        # A thread of gloo that still drops its last tensor while Python ends aborts the process (torch 2.13; 5 of 24
        # processes that ended at once, none of 24 that slept).
        time.sleep(SECONDS_TO_LET_GO)


def sharding(world: World, precision: Precision = "float32") -> dict[str, Any]:
    """The arguments of `Learner` that make it one of several ranks; none in a world of one."""
    if world.size == 1:
        return {}
    return {"shard": lambda scorer: shard_scorer(scorer, world, precision), "reduction": Ranks(world)}


def shard_scorer(scorer: TokenScorer, world: World, precision: Precision = "float32") -> None:
    """Cut the parameters in place into one part for each rank; a model that is cut already stays as it is.

    Under "bfloat16" they are gathered in it and computed with in it; parts, gradients and their sums stay float32. A model
    on the CPU moves to GPUs layer by layer, so it need not fit on one of them.
    """
    from torch.distributed.fsdp import FSDPModule, register_fsdp_forward_method

    from datagen.training.models import causal_lm

    inner: Any = causal_lm(scorer.model)
    if not isinstance(inner, FSDPModule):
        _cut(scorer.model, inner, world, half=precision == "bfloat16")
    # The parts belong to the model, which outlives a stage and its scorer; the scorer computes inside of it.
    inner.score_tokens = scorer.forward
    register_fsdp_forward_method(inner, "score_tokens")
    scorer.forward = inner.score_tokens  # type: ignore[method-assign]


def _cut(model: nn.Module, inner: nn.Module, world: World, *, half: bool) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

    from datagen.training.models import decoder_of

    mesh = init_device_mesh(torch.device(world.device).type, (world.size,))
    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if half else None, reduce_dtype=torch.float32 if half else None
    )
    layers: Any = decoder_of(model).layers
    for layer in (*layers, inner):
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    for module in inner.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(enable=True)


class Ranks:
    """What the learner's ranks agree on (`learner.Reduction`). Numbers are added in the order of ranks, alike on all."""

    scale = 1.0

    def __init__(self, world: World) -> None:
        self._world = world

    def share(self, rows: Sequence[TrainRow]) -> list[int]:
        """Places of the rows that this rank computes."""
        return share_of_rows(rows, self._world.rank, self._world.size)

    def join(self, found: Mapping[int, Floats]) -> dict[int, Floats]:
        """What all ranks found, by the place of the row."""
        return {place: values for part in self._world.gather(dict(found)) for place, values in part.items()}

    def most(self, count: int) -> int:
        """The largest count of any rank."""
        return max(self._world.gather(count))

    def sums(self, values: Mapping[str, float]) -> dict[str, float]:
        """Sums over ranks, name by name."""
        return self._world.total(values)

    def peaks(self, values: Mapping[str, float]) -> dict[str, float]:
        """The largest over ranks, name by name."""
        parts = self._world.gather(dict(values))
        return {name: max(part[name] for part in parts if name in part) for part in parts for name in part}

    def norm(self, gradients: Sequence[Tensor]) -> Tensor:
        """The euclidean length of the whole gradient: squares of all parts, added in double precision."""
        parts = [_own_part(gradient) for gradient in gradients]
        here = float(nn.utils.get_total_norm(parts)) if parts else 0.0
        squares = sum(length * length for length in self._world.gather(here))
        return torch.tensor(squares**0.5, device=self._world.device)


def _own_part(gradient: Tensor) -> Tensor:
    from torch.distributed.tensor import DTensor

    if not isinstance(gradient, DTensor):
        raise TypeError("a gradient lies whole on its rank, so it was not summed; wrap its module with shard_scorer")
    return gradient.to_local()


def share_of_rows(rows: Sequence[TrainRow], rank: int, world: int) -> list[int]:
    """Places, in their order, of the rows of one rank. Every rank calls it with the same rows; each row goes to one rank.

    Ranks get about as many tokens each: the longest row first, each to the rank that has the fewest so far, so no rank has
    more than the mean and one bundle. Rows of one bundle stay together.
    """
    units = bundles(rows)
    sizes = [sum(len(rows[place]) for place in unit) for unit in units]
    loads = [0] * world
    mine: list[int] = []
    for number in sorted(range(len(units)), key=lambda one: (-sizes[one], one)):
        lightest = min(range(world), key=lambda one: (loads[one], one))
        loads[lightest] += sizes[number]
        if lightest == rank:
            mine += units[number]
    return sorted(mine)
