"""From groups of graded attempts to the rows of one step, in RAPO's order (arXiv 2509.24107; fathom.md §2.4).

    1  count      successes of every question, for pruning                        as they were sampled
    2  replay     a group that failed gets the stored success                     Algorithm.replay
    3  select     groups without a signal are thrown away                         Algorithm.dynamic_sampling
    4  compare    advantages within each group                                    Algorithm.advantage
    5  scale      times groups / groups with a signal                             Algorithm.scale
    6  weigh      1 / denominators of the whole step at every written token       Algorithm.aggregation
    7  keep       the newest success of every question                            as they were sampled

    rewards 1 .1 .1 .1 .1 in 4 of 32 groups, all others tied:   advantages 2 -.5 -.5 -.5 -.5, times 8: 16 -4 -4 -4 -4

    done = assemble(groups, algorithm, store=store, epoch=pool.epoch, now=learner.version)
    pool.tally(done.tallies)
    for rows in done.minibatches:
        learner.step(rows, algorithm.loss)

Attempts that nobody could grade have no row and are in no baseline and no denominator. Rows whose gradient is 0 in
advance are left out of the pass (`drop_zero`); denominators count them all the same. An attempt whose context was
rewritten has several rows under one rollout id, and weighs as much as any other.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from datagen.errors import ConfigError, TrainingError
from datagen.training.batch_statistics import measures_of, peaks_of, sums_of
from datagen.training.curriculum import PoolSettings, count_successes
from datagen.training.objectives.advantages import batch_scale, group_advantages
from datagen.training.objectives.aggregation import Totals, coefficients, step_totals
from datagen.training.objectives.presets import Algorithm
from datagen.training.replay import MAX_BYTES, ReplaySettings, ReplayStore
from datagen.training.resampling import carries_signal
from datagen.training.rollout import Group, Rollout, Sampled
from datagen.training.rows import Floats, TrainRow, with_streams
from datagen.training.sft_rows import mask_of, written_tokens

Gather = Callable[[Any], list[Any]]
"""The value of every rank, in the order of ranks, on every rank (`distributed.World.gather`)."""
OldLogprobs = Literal["recompute", "behaviour"]
OVERLONG = frozenset({"tokens", "context"})
"""Endings of attempts that were cut off at their last token."""


@dataclass(frozen=True, slots=True)
class AssemblySettings:
    """What does not belong to the algorithm."""

    minibatches: int = 1
    """Updates from one batch; each has denominators of its own, all have the scale of the batch."""
    old_logprobs: OldLogprobs = "behaviour"
    """What ratios are taken to: what the engine gave, or what the learner says before the first update."""
    drop_zero: bool = True
    """Leave rows out of the pass whose gradient is 0 in advance."""
    wanted: int | None = None
    """Dynamic sampling: groups with a signal that a batch has, the first of them on each rank; None for all."""
    token_cap: int | None = None
    """Tokens that an attempt may write: where the penalty for overlong attempts ends."""

    def __post_init__(self) -> None:
        if self.old_logprobs not in get_args(OldLogprobs):
            raise ConfigError(f"old_logprobs is {self.old_logprobs!r}; choose recompute or behaviour")
        if self.minibatches < 1:
            raise ConfigError(f"a batch makes {self.minibatches} updates; take at least 1")


@dataclass(frozen=True, slots=True, eq=False)
class Assembled:
    """One batch, ready for the learner."""

    minibatches: tuple[tuple[TrainRow, ...], ...]
    """Rows of each update of this rank; updates that carry no gradient on any rank are left out."""
    statistics: dict[str, float]
    """Of the batch on all ranks, by the names of `recording.METRICS`; what was not measured is not there."""
    skipped: bool
    """Whether no rank has anything to learn from the batch: no update then."""
    tallies: dict[str, tuple[int, int]]
    """For `QuestionPool.tally`, of all ranks."""
    groups: tuple[Group, ...]
    """Of this rank: what was compared, with replayed successes."""
    advantages: dict[str, float]
    """Of the attempts in `groups` that have a reward, by rollout id; scaled."""
    needs_reference: bool = False
    """Whether rows have a `kl_weight` and `ref_logprobs` are to be filled in."""

    @property
    def rows(self) -> tuple[TrainRow, ...]:
        return tuple(row for part in self.minibatches for row in part)

    @property
    def pending(self) -> tuple[int, ...]:
        """Places in `rows` of those without `old_logprobs`.

        The learner takes the ratio of such a row to itself. That is the same thing in the first update of a batch, and
        another in later ones and under a correction, for which `filled` puts them in.
        """
        return tuple(place for place, row in enumerate(self.rows) if row.old_logprobs is None)

    def filled(self, old_logprobs: Sequence[Floats]) -> Assembled:
        """With these for the rows of `pending`, in their order: what `Learner.logprobs` gave before the first one."""
        return self._filled("old_logprobs", dict(zip(self.pending, old_logprobs, strict=True)))

    def with_reference(self, ref_logprobs: Sequence[Floats]) -> Assembled:
        """With the reference's log-probabilities of all `rows`."""
        return self._filled("ref_logprobs", dict(zip(range(len(self.rows)), ref_logprobs, strict=True)))

    def _filled(self, stream: str, found: Mapping[int, Floats]) -> Assembled:
        rows = iter(
            [
                with_streams(row, **{stream: found.get(place, getattr(row, stream))})
                for place, row in enumerate(self.rows)
            ]
        )
        parts = tuple(tuple(next(rows) for _ in part) for part in self.minibatches)
        return dataclasses.replace(self, minibatches=parts)


def pool_settings(algorithm: Algorithm, *, batch: int, seed: int, min_pool: int = 1) -> PoolSettings:
    """What the algorithm says about drawing questions."""
    plain = PoolSettings(batch=batch, seed=seed, min_pool=min_pool, prune=algorithm.prune is not None)
    if algorithm.prune is None:
        return plain
    return dataclasses.replace(plain, threshold=algorithm.prune.threshold, recycle_after=algorithm.prune.recycle_after)


def replay_store(algorithm: Algorithm, *, seed: int, max_bytes: int = MAX_BYTES) -> ReplayStore | None:
    """An empty store for what the algorithm replays; None where it does not."""
    if algorithm.replay is None:
        return None
    return ReplayStore(ReplaySettings(algorithm.success, algorithm.replay.max_age, max_bytes), seed=seed)


def assemble(
    groups: Sequence[Group],
    algorithm: Algorithm,
    *,
    store: ReplayStore | None = None,
    epoch: int = 0,
    now: int = 0,
    settings: AssemblySettings | None = None,
    gather: Gather | None = None,
) -> Assembled:
    """Rows of one batch. `now`: updates that the weights have seen; `epoch`: pass over the questions, for replay.

    `store` has to be there if the algorithm replays, and is brought up to date. On several ranks each hands in its own
    groups and `gather`: rows are those that one rank would make of all groups, where the batch is one update.

    Raises `ConfigError` for settings that lack each other, and `TrainingError` for groups that are not what they say.
    """
    settings, gather = settings or AssemblySettings(), gather or (lambda mine: [mine])
    if algorithm.replay is None:
        store = None
    elif store is None:
        raise ConfigError(f"{algorithm.name} replays successes but has no store; hand one in, or set replay to none")
    _check_questions(groups)
    if store is not None:
        store.expire(now)
    mended = [group if store is None else store.replace(group, epoch=epoch, now=now) for group in groups]
    compared = _selected(mended, algorithm, settings)
    advantages, scale = _advantages(compared, algorithm, settings, gather)
    parts = [_Part.of(part, advantages, algorithm) for part in _shared_out(compared, settings.minibatches)]
    ours = _Findings(
        tallies=count_successes(groups, algorithm.success),
        successes=[] if store is None else store.successes(groups),
        totals=[part.totals for part in parts],
        alive=[len(part.alive) for part in parts],
        sums=sums_of(groups, mended, compared, now=now)
        | {
            "unmended": 0.0 if store is None else sum(map(store.failed, mended)),
            "carrying": float(sum(part.signals for part in parts)),
        },
        peaks=peaks_of(groups, now=now),
    )
    whole = _Findings.together(gather(ours))
    rows = [
        tuple(part.rows(totals, scale, algorithm, settings))
        for part, totals, alive in zip(parts, whole.totals, whole.alive, strict=True)
        if alive and scale is not None
    ]
    if store is not None:
        store.keep(whole.successes)
        store.count(replayed=int(whole.sums["replayed"]), unmended=int(whole.sums["unmended"]))
    factor = 0.0 if scale is None else scale
    return Assembled(
        minibatches=tuple(rows),
        statistics=measures_of(whole.sums) | whole.peaks | ({} if scale is None else {"advantage_scale": scale}),
        skipped=not rows,
        tallies=whole.tallies,
        groups=tuple(compared),
        advantages={name: factor * value for name, value in advantages.items()},
        needs_reference=algorithm.kl_coef != 0,
    )


@dataclass(slots=True)
class _Findings:
    """What ranks tell each other about a batch."""

    tallies: dict[str, tuple[int, int]]
    successes: list[Rollout]
    totals: list[Totals]
    alive: list[int]
    sums: dict[str, float]
    peaks: dict[str, float]

    @classmethod
    def together(cls, ranks: Sequence[_Findings]) -> _Findings:
        tallies: dict[str, tuple[int, int]] = {}
        for question, (successes, attempts) in (item for rank in ranks for item in rank.tallies.items()):
            before = tallies.get(question, (0, 0))
            tallies[question] = (before[0] + successes, before[1] + attempts)
        return cls(
            tallies=tallies,
            successes=[success for rank in ranks for success in rank.successes],
            totals=[sum(each, Totals(0, 0)) for each in zip(*(rank.totals for rank in ranks), strict=True)],
            alive=[sum(each) for each in zip(*(rank.alive for rank in ranks), strict=True)],
            sums={name: sum(rank.sums[name] for rank in ranks) for name in ranks[0].sums},
            peaks={
                name: max(rank.peaks.get(name, value) for rank in ranks)
                for one in ranks
                for name, value in one.peaks.items()
            },
        )


@dataclass(frozen=True, slots=True)
class _Part:
    """The graded attempts of one update, on this rank."""

    attempts: list[tuple[Rollout, float]]
    """With their advantages, which are not scaled yet."""
    lengths: list[int]
    """Trained tokens of each sequence of each attempt, one behind the other."""
    owners: list[int]
    """The attempt of each sequence."""
    totals: Totals
    signals: int
    """Attempts with an advantage that their tokens feel."""
    alive: frozenset[int]
    """Attempts whose gradient is not 0 in advance: without a divergence and without entropy, those with a signal."""

    @classmethod
    def of(
        cls,
        groups: Sequence[Group],
        advantages: Mapping[str, float],
        algorithm: Algorithm,
    ) -> _Part:
        graded = [rollout for group in groups for rollout in group.rollouts if rollout.reward is not None]
        attempts = [(rollout, advantages[rollout.rollout_id]) for rollout in graded]
        lengths = [
            0 if algorithm.filter_overlong and rollout.termination in OVERLONG else written_tokens(part)
            for rollout in graded
            for part in rollout.sequences
        ]
        owners = [place for place, rollout in enumerate(graded) for _ in rollout.sequences]
        trained = frozenset(owner for owner, length in zip(owners, lengths, strict=True) if length)
        signals = frozenset(owner for owner in trained if attempts[owner][1] != 0)
        everywhere = algorithm.kl_coef != 0 or algorithm.loss.entropy_coef != 0
        totals = step_totals(_whole(lengths), sequence=_whole(owners), count_empty=algorithm.count_empty)
        return cls(attempts, lengths, owners, totals, len(signals), trained if everywhere else signals)

    def rows(self, totals: Totals, scale: float, algorithm: Algorithm, settings: AssemblySettings) -> list[TrainRow]:
        """`totals` of all ranks."""
        weights = coefficients(
            _whole(self.lengths),
            algorithm.aggregation,
            totals=totals,
            max_length=algorithm.max_length,
            sequence=_whole(self.owners),
        )
        sequences = (part for rollout, _ in self.attempts for part in rollout.sequences)
        rows = []
        for part, owner, length, weight in zip(sequences, self.owners, self.lengths, weights, strict=True):
            if length and (owner in self.alive or not settings.drop_zero):
                rollout, value = self.attempts[owner]
                row = _row(
                    rollout,
                    part,
                    advantage=scale * value,
                    weight=float(weight),
                    algorithm=algorithm,
                    old=settings.old_logprobs,
                )
                rows.append(row)
        return rows


def _row(
    rollout: Rollout, part: Sampled, *, advantage: float, weight: float, algorithm: Algorithm, old: OldLogprobs
) -> TrainRow:
    mask = mask_of(part)
    if rollout.replayed:
        # Written by weights of long ago: that the engine saw other numbers than the learner does now is no mismatch.
        behaviour = algorithm.replay is not None and algorithm.replay.ratio == "behaviour"
        compared, sampler = part.logprobs if behaviour else None, None
    elif old == "behaviour":
        compared, sampler = part.logprobs, None
    else:
        compared, sampler = None, part.logprobs
    return TrainRow(
        part.input_ids,
        rl_weight=mask * np.float32(weight),
        kl_weight=mask * np.float32(algorithm.kl_coef * weight) if algorithm.kl_coef else None,
        advantage=mask * np.float32(advantage),
        old_logprobs=compared,
        sampler_logprobs=sampler,
        group_id=rollout.question_id,
        rollout_id=rollout.rollout_id,
        model_version=rollout.version,
    )


def _advantages(
    groups: Sequence[Group], algorithm: Algorithm, settings: AssemblySettings, gather: Gather
) -> tuple[dict[str, float], float | None]:
    """Advantages of this rank's graded attempts by rollout id, and what to scale them with; None to skip the update.

    Groups and attempts are compared in the order of their ids, so that no order that they came in moves a bit of a sum.
    """
    ours = [[(one.rollout_id, _shaped(one, algorithm, settings)) for one in group.rollouts] for group in groups]
    everyone = sorted(sorted(group) for rank in gather(ours) for group in rank)
    _check_names([name for group in everyone for name, _ in group])
    found = group_advantages([[reward for _, reward in group] for group in everyone], algorithm.advantage)
    named = {
        name: value
        for group, values in zip(everyone, found.values, strict=True)
        for (name, reward), value in zip(group, values, strict=True)
        if reward is not None
    }
    mine = {name: named[name] for group in ours for name, reward in group if reward is not None}
    if not algorithm.scale:
        return mine, 1.0
    size = max(map(len, everyone), default=0) if algorithm.scale_by == "attempts" else None
    return mine, batch_scale(found.good, max_scale=algorithm.max_scale, literal_group_size=size)


def _shaped(rollout: Rollout, algorithm: Algorithm, settings: AssemblySettings) -> float | None:
    """The reward that is compared: less the penalty for overlong attempts, where the algorithm has one."""
    if rollout.reward is None or algorithm.overlong is None:
        return rollout.reward
    if settings.token_cap is None:
        raise ConfigError(
            f"{algorithm.name} charges overlong attempts, for which it has to know how many tokens one may write: set "
            "token_cap, or overlong to none"
        )
    return rollout.reward + algorithm.overlong.penalty(rollout.tokens, settings.token_cap)


def _selected(groups: list[Group], algorithm: Algorithm, settings: AssemblySettings) -> list[Group]:
    """Judged by rewards as they were graded: attempts that differ in length alone carry no signal."""
    return [*filter(carries_signal, groups)][: settings.wanted] if algorithm.dynamic_sampling else groups


def _shared_out(groups: Sequence[Group], minibatches: int) -> list[Sequence[Group]]:
    """Neighbours stay together; parts differ by one group at most."""
    ends = [len(groups) * part // minibatches for part in range(minibatches + 1)]
    return [groups[first:end] for first, end in itertools.pairwise(ends)]


def _whole(values: Sequence[int]) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.array(values, np.int64)


def _check_questions(groups: Sequence[Group]) -> None:
    """Attempts under a wrong question are compared with strangers, and nothing looks wrong but the result."""
    for group in groups:
        for rollout in group.rollouts:
            if rollout.question_id != group.question_id:
                raise TrainingError(
                    f"attempt {rollout.rollout_id} at {rollout.question_id} stands in the group of {group.question_id}: mend "
                    "what made the group"
                )


def _check_names(names: Sequence[str]) -> None:
    """Rows find their attempt by its name."""
    if len(set(names)) < len(names):
        twice = next(name for name, following in itertools.pairwise(sorted(names)) if name == following)
        raise TrainingError(f"two attempts of a batch are called {twice}: give every attempt a name of its own")
