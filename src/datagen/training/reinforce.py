"""Reinforcement: attempts of the policy at questions of a pool, graded, compared, and learned from.

    pool ──► questions ──► attempts under way at once ──► grades ──► advantages ──► one or more updates ──► new weights
      ▲                                                      │                                    to who samples │
      └──── what is solved leaves at the end of an epoch ◄───┴──────────────────────────────────────────────────┘

Part for part: `curriculum` draws and prunes, `asynchronous` attempts, `assembly` compares and replays in RAPO's order,
`learner` updates. One call of `update` is one batch of questions; where no group of it carries a signal, no weight changes
and the batch counts all the same.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np
import torch

from datagen.agents.budget import Budget, Limits
from datagen.config.reinforcement import RlConfig, SamplingConfig
from datagen.records.ids import seed_for
from datagen.rollouts.collect import Task
from datagen.training.assembly import Assembled, AssemblySettings, assemble
from datagen.training.asynchronous import PoolSettings, RolloutPool
from datagen.training.curriculum import QuestionPool
from datagen.training.engine_room import EngineRoom
from datagen.training.engines.base import Sampling
from datagen.training.engines.timing import TimedEngine
from datagen.training.episodes import EpisodeLimits, Episodes
from datagen.training.grading import Grader, refuse_constant_fault
from datagen.training.learner import Learner, StepReport
from datagen.training.objectives.correction import high_entropy_floor
from datagen.training.objectives.policy import PolicyLoss
from datagen.training.objectives.presets import Algorithm
from datagen.training.questions import QuestionSet
from datagen.training.reference import Reference
from datagen.training.replay import ReplayStore
from datagen.training.resampling import Refill
from datagen.training.rollout import Group, Rollout
from datagen.training.rows import TrainRow
from datagen.training.sft import Count, step_measures
from datagen.training.state import Stateful

SUMS = frozenset({"rows", "bins", "trained_tokens", "forwarded_tokens", "learning_s"})
"""Figures of updates that add up over the updates of a batch; the others are averaged."""
PEAKS = frozenset({"logprob_gap_max", "memory_mb"})
"""Those of which the largest counts."""


def episode_limits(section: SamplingConfig) -> EpisodeLimits:
    """What one attempt may spend."""
    return EpisodeLimits(
        Limits(Budget(section.searches, section.visits), turns=section.turns),
        turn_tokens=section.turn_tokens,
        context_tokens=section.context_tokens,
    )


@dataclass(slots=True)
class Draws:
    """Questions that were drawn and not yet learned from, in front of their pool; a part of a checkpoint."""

    pool: QuestionPool
    waiting: deque[list[str]] = field(default_factory=deque)

    def ahead(self, batches: int) -> list[list[str]]:
        """Draw until so many batches wait, as far as the epoch goes; returns those that are new."""
        if not self.waiting and self.pool.epoch_done:
            self.pool.end_epoch()
        new = []
        while len(self.waiting) < batches and not self.pool.epoch_done:
            new.append(self.pool.draw())
            self.waiting.append(new[-1])
        return new

    def state_dict(self) -> dict[str, Any]:
        return self.pool.state_dict(undone=[question for batch in self.waiting for question in batch])

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.waiting.clear()
        self.pool.load_state_dict(state)


@dataclass(frozen=True, slots=True)
class Stage:
    """What one stage of reinforcement works with."""

    name: str
    section: RlConfig
    """As the stage changes it."""
    algorithm: Algorithm
    seed: int
    first_version: int
    """Updates that the weights had seen before the stage."""
    questions: QuestionSet
    grader: Grader
    episodes: Episodes
    room: EngineRoom


class Reinforcement:
    """Implements `course.Loop`."""

    def __init__(self, stage: Stage, learner: Learner, pool: QuestionPool, store: ReplayStore | None) -> None:
        self.name = stage.name
        self.learner = learner
        self._stage = stage
        self._section = stage.section
        self._draws = Draws(pool)
        self._store = store
        self._count = Count()
        self._reference = Reference(learner) if stage.algorithm.kl_coef else None
        self._rollouts: RolloutPool[Task] | None = None

    @property
    def updates(self) -> int:
        """Batches of questions."""
        return self._count.updates

    @property
    def done(self) -> bool:
        asked, most = self._section.stages[0], self._section.total_attempts
        if most is not None and self._count.attempts >= most:
            return True
        if asked.updates is None and asked.epochs is not None:
            pool = self._draws.pool
            over = self._count.updates > 0 and pool.epoch_done and not self._draws.waiting
            return pool.epoch + over >= asked.epochs
        return self.updates >= self._section.updates

    @property
    def parts(self) -> Mapping[str, Stateful]:
        parts: dict[str, Stateful] = {"count": self._count, "pool": self._draws}
        if self._store is not None:
            parts["replay"] = self._store
        if self._reference is not None:
            parts["reference"] = self._reference
        return parts

    @property
    def version(self) -> int:
        """Updates that the weights have seen, those of earlier stages included."""
        return self._stage.first_version + self.learner.version

    def begin(self) -> None:
        """Bring the weights to who samples, and make ready to attempt."""
        self._stage.room.renew(self.version, anew=True)
        settings = PoolSettings(
            groups=self._section.questions,
            attempts=self._section.attempts,
            at_once=self._section.sampling.in_flight,
            max_staleness=self._section.staleness,
        )
        seed = seed_for(self._stage.seed, "rollouts", self.name)
        self._rollouts = RolloutPool(self._attempt, settings, seed=seed, version=self.version)
        self._stage.grader.take_counts()

    async def _attempt(self, task: Task, number: int, seed: int, version: int) -> Rollout:
        sampling = Sampling(temperature=self._section.sampling.temperature, seed=seed)
        name = f"{self.name}-{version}-{task.id}-{number}-{seed}"
        return await self._stage.episodes.attempt(
            TimedEngine(self._stage.room.engine), task, number=number, sampling=sampling, name=name
        )

    # One batch -------------------------------------------------------------------------------------------------------

    def update(self) -> Mapping[str, float | None]:
        begun = time.perf_counter()
        groups, resampling = self._sampled()
        sampled = time.perf_counter()
        faults = self._stage.room.world.lead(self._faults)
        done = self._assembled(groups)
        self._draws.pool.tally(done.tallies)
        reports = self._learned(done)
        synced = time.perf_counter()
        if reports:
            self._renew()
        ended = time.perf_counter()
        tokens = sum(rollout.tokens for group in groups for rollout in group.rollouts)
        self._count.add(tokens, attempts=sum(len(group.rollouts) for group in groups))
        return {
            **done.statistics,
            "skipped": float(done.skipped),
            **_update_measures(reports),
            **resampling,
            **self._attempting(),
            **self._draws.pool.statistics(),
            **({} if self._store is None else self._store.statistics()),
            **self._stage.grader.take_labels(),
            "reward_faults": float(faults),
            "sampling_s": sampled - begun,
            "sampled_tokens_per_s": tokens / (sampled - begun),
            "sync_s": ended - synced,
            "step_s": ended - begun,
        }

    def _sampled(self) -> tuple[list[Group], dict[str, float]]:
        """The groups of one batch; of several draws where the algorithm throws away groups without a signal."""
        algorithm = self._stage.algorithm
        if not algorithm.dynamic_sampling:
            return self._taken(), {}
        filling = Refill(self._section.questions, algorithm.max_resamples)
        while filling.wants_more:
            now = {"epoch": self._draws.pool.epoch, "now": self.version}
            filling.add(self._taken(), store=self._store, **now)
            if self._draws.pool.epoch_done and not self._draws.waiting:
                break  # what is solved is decided between epochs, and a batch belongs to one
        return filling.groups, filling.statistics()

    def _attempting(self) -> dict[str, float]:
        """What attempts did since the last batch; they are made on the first rank."""
        rollouts, room = self._rollouts, self._stage.room
        assert rollouts is not None, "`begin` comes before the first update"
        return room.call(rollouts.stats).figures(asynchronous=self._section.staleness > 0)

    def _faults(self) -> int:
        """Attempts of the batch that the reward function was lost on; not all, or there is nothing to go on with."""
        asked, faults = self._stage.grader.take_counts()
        refuse_constant_fault(asked, faults, self._section.reward)
        return faults.total()

    def _taken(self) -> list[Group]:
        """The next groups: questions are drawn alike on all ranks, attempted on the first, and known to all."""
        new = self._draws.ahead(1 + self._section.staleness)
        groups = self._stage.room.world.lead(lambda: self._attempted(new, len(self._draws.waiting[0])))
        self._draws.waiting.popleft()
        return groups

    def _attempted(self, new: Sequence[Sequence[str]], count: int) -> list[Group]:
        rollouts, room = self._rollouts, self._stage.room
        assert rollouts is not None, "`begin` comes before the first update"
        if not self._section.staleness:
            room.settle()
        for batch in new:
            tasks = [self._stage.questions.tasks[question] for question in batch]
            room.call(partial(rollouts.submit, tasks, epoch=self._draws.pool.epoch))
        return room.wait(rollouts.take(count))

    def _assembled(self, groups: Sequence[Group]) -> Assembled:
        section, algorithm = self._section, self._stage.algorithm
        settings = AssemblySettings(
            minibatches=section.minibatches,
            old_logprobs=section.old_logprobs,
            wanted=section.questions if algorithm.dynamic_sampling else None,
            token_cap=section.sampling.turns * section.sampling.turn_tokens,
        )
        done = assemble(
            groups, algorithm, store=self._store, epoch=self._draws.pool.epoch, now=self.version, settings=settings
        )
        # With one update, the learner takes a row's ratio to itself, which is the same number for one pass less.
        if done.pending and (len(done.minibatches) > 1 or algorithm.loss.correction is not None):
            rows = done.rows
            done = done.filled(self.learner.logprobs([rows[place] for place in done.pending]))
        if done.needs_reference and self._reference is not None:
            done = done.with_reference(self._reference.logprobs(done.rows))
        return done

    def _learned(self, done: Assembled) -> list[StepReport]:
        return [self.learner.step(rows, self._loss(rows)) for rows in done.minibatches]

    def _loss(self, rows: Sequence[TrainRow]) -> PolicyLoss:
        """That of the algorithm; where it learns from tokens of high entropy alone, with the floor of these rows."""
        loss, share = self._stage.algorithm.loss, self._stage.algorithm.high_entropy_share
        if share is None:
            return loss
        found = zip(rows, self.learner.entropies(rows), strict=True)
        reinforced = [entropies[row.rl_weight != 0] for row, entropies in found if row.rl_weight is not None]
        floor = high_entropy_floor(torch.from_numpy(np.concatenate(reinforced)), share)
        return replace(loss, entropy_floor=floor)

    def _renew(self) -> None:
        rollouts, version = self._rollouts, self.version
        assert rollouts is not None, "`begin` comes before the first update"
        self._stage.room.renew(version)
        self._stage.room.call(partial(rollouts.published, version))


def _update_measures(reports: Sequence[StepReport]) -> dict[str, float | None]:
    """Over the updates of one batch."""
    told = [step_measures(report) for report in reports]
    measures: dict[str, float | None] = {"updates": float(len(reports))}
    for name in dict.fromkeys(name for one in told for name in one):
        values = [value for one in told if (value := one.get(name)) is not None]
        over = sum if name in SUMS else max if name in PEAKS else fmean
        measures[name] = over(values) if values else None
    return measures
