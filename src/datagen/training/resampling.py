"""Sampling on until enough groups of a batch teach something: DAPO's dynamic sampling.

    wanted 4      drawn 4    . x . .      x carries a signal: its rewards differ; the others are thrown away
                  drawn 4    x x . .
                  drawn 4    . x x x      6 of 12: enough, and `assembly` keeps the first 4

    filling = Refill(wanted=32, max_resamples=10)
    while filling.wants_more:
        filling.add(sampled(pool.draw()))
    assemble(filling.groups, algorithm, settings=AssemblySettings(wanted=filling.wanted), ...)

Spec rl_algorithms §1.4. All groups go to `assembly`, thrown away or not: their attempts count to what is pruned, to what
replay keeps, and to statistics. A batch that is still short after its last round is trained on as it is, and counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from datagen.training.replay import ReplayStore
from datagen.training.rollout import Group


@dataclass(slots=True)
class Refill:
    """The draws of one batch."""

    wanted: int
    """Groups with a signal."""
    max_resamples: int = 10
    """Rounds after the first, at most."""
    groups: list[Group] = field(default_factory=list)
    """All that were sampled."""
    good: int = 0
    """Of them with a signal."""
    rounds: int = 0

    def add(self, groups: Iterable[Group], *, store: ReplayStore | None = None, epoch: int = 0, now: int = 0) -> None:
        """Take in one round. With a `store`, a failed group that it can mend has the signal that it will have then."""
        for group in groups:
            self.groups.append(group)
            self.good += carries_signal(group if store is None else store.replace(group, epoch=epoch, now=now))
        self.rounds += 1

    @property
    def wants_more(self) -> bool:
        return self.good < self.wanted and self.rounds <= self.max_resamples

    def statistics(self) -> dict[str, float]:
        return {
            "resampling/rounds": float(max(0, self.rounds - 1)),
            "resampling/groups": float(len(self.groups)),
            "resampling/good_groups": float(self.good),
            "resampling/short": float(max(0, self.wanted - self.good)),
        }


def carries_signal(group: Group) -> bool:
    """Whether two rewards of a group differ, exactly: a deviation of floats is not 0 where they are equal."""
    return len({rollout.reward for rollout in group.rollouts if rollout.reward is not None}) > 1
