"""How much better than its siblings an attempt did.

    rewards      1.0  0.1  0.1  0.1  0.1      one group: five attempts at one question
    - mean .28   .72 -.18 -.18 -.18 -.18
    / std  .36   2.0  -.5  -.5  -.5  -.5      population standard deviation, as RAPO's paper writes it

Four published rules are settings of one function:

    rule             baseline        scale    ddof   eps     read in
    GRPO             group_mean      group    1      1e-4    TRL `scale_rewards="group"`; verl and slime: eps 1e-6
    Dr.GRPO          group_mean      none     -      -       TRL "none"; verl `norm_adv_by_std_in_grpo=False`
    batch-scaled     group_mean      batch    1      1e-4    TRL "batch" (Lite PPO, ScaleRL)
    RLOO             leave_one_out   none     -      -       verl `rloo`
    RAPO, M-GRPO     group_mean      group    0      0       their papers

Groups that carry no signal are made safe and counted, never divided by: a reward of None (nobody could tell) stays out
of mean and deviation; an attempt without siblings gets 0, not its bare reward; so does every attempt of a tied group.
Whether a group is tied is decided by comparing rewards, because the deviation of three times 0.1 is not 0 in floats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from datagen.errors import ConfigError, TrainingError

Baseline = Literal["group_mean", "leave_one_out"]
Scale = Literal["group", "batch", "none"]


@dataclass(frozen=True, slots=True)
class AdvantageSettings:
    """`ddof` and `eps` belong to the standard deviation; `eps` is added to it, not to the variance."""

    baseline: Baseline = "group_mean"
    scale: Scale = "group"
    ddof: int = 1
    eps: float = 1e-6

    def __post_init__(self) -> None:
        if self.baseline not in ("group_mean", "leave_one_out"):
            raise ConfigError(f"advantage.baseline is {self.baseline!r}; choose group_mean or leave_one_out")
        if self.scale not in ("group", "batch", "none"):
            raise ConfigError(f"advantage.scale is {self.scale!r}; choose group, batch or none")
        if self.ddof not in (0, 1) or self.eps < 0:
            raise ConfigError(f"advantage.ddof is 0 or 1 and eps at least 0, not {self.ddof} and {self.eps}")


@dataclass(frozen=True, slots=True)
class GroupAdvantages:
    """What a batch of groups comes to."""

    values: list[list[float]]
    """Like the rewards; 0.0 where a reward is None, and throughout singletons and tied groups."""
    good: list[bool]
    """Per group: at least two rewards differ, so that some attempt carries a gradient."""
    singletons: int
    """Groups with one reward."""
    tied: int
    """Groups of at least two rewards that are all equal."""
    empty: int
    """Groups without any reward."""
    missing: int
    """Rewards that are None, over all groups."""


def group_advantages(rewards: Sequence[Sequence[float | None]], settings: AdvantageSettings) -> GroupAdvantages:
    """Advantages of all attempts of a batch, one inner sequence per group (spec rl_algorithms §1.1).

    Raises `TrainingError` for a reward that is not finite.
    """
    present = [_present(group, place) for place, group in enumerate(rewards)]
    good = [len(group) > 1 and bool((group != group[0]).any()) for group in present]
    everything = np.concatenate(present) if present else np.zeros(0)
    # With at least one good group there are two rewards that differ, so the deviation of the batch is not 0 either.
    batch = deviation(everything, settings.ddof) if any(good) and settings.scale == "batch" else 0.0
    values = []
    for group, found, signal in zip(rewards, present, good, strict=True):
        scores = iter(_scores(found, settings, batch).tolist() if signal else [0.0] * len(found))
        values.append([0.0 if reward is None else next(scores) for reward in group])
    return GroupAdvantages(
        values=values,
        good=good,
        singletons=sum(len(group) == 1 for group in present),
        tied=sum(len(group) > 1 and not signal for group, signal in zip(present, good, strict=True)),
        empty=sum(len(group) == 0 for group in present),
        missing=sum(reward is None for group in rewards for reward in group),
    )


def deviation(values: NDArray[np.float64], ddof: int) -> float:
    """Standard deviation of at least two values; 0 only where all are equal, however close together they are."""
    centred = values - values.mean()
    largest = float(np.abs(centred).max())
    if largest == 0.0:
        return 0.0
    return largest * math.sqrt(float(np.square(centred / largest).sum()) / (len(values) - ddof))


def batch_scale(
    good: Sequence[bool], *, max_scale: float | None = None, literal_group_size: int | None = None
) -> float | None:
    """RAPO's factor on all advantages of a batch: groups / good groups; None where no group is good: skip the update.

    `max_scale` caps it; the paper has no cap, and one good group of 32 gives 32. The paper writes G above the fraction,
    which elsewhere in it is the number of attempts per question; `literal_group_size` puts that number there (spec
    fathom §2.3).
    """
    if max_scale is not None and max_scale < 1:
        raise ConfigError(f"max_scale is {max_scale}, but groups are never fewer than good groups; take at least 1")
    signal = sum(good)
    if signal == 0:
        return None
    scale = (len(good) if literal_group_size is None else literal_group_size) / signal
    return scale if max_scale is None else min(scale, max_scale)


def overlong_penalty(length: int, *, cap: int, buffer: int, factor: float = 1.0) -> float:
    """DAPO's soft penalty, to add to the reward: 0 up to cap - buffer tokens, then straight down to -factor at the cap.

    cap 20, buffer 8:    length   10   12    14     16    18    20
                         penalty   0    0   -.25   -.5   -.75   -1
    """
    if not 0 < buffer <= cap:
        raise ConfigError(f"the buffer of the length penalty is {buffer} tokens; it must lie in 1 to the cap of {cap}")
    over = (length - (cap - buffer)) / buffer
    return 0.0 if over <= 0 else -min(over, 1.0) * factor


def _present(group: Sequence[float | None], place: int) -> NDArray[np.float64]:
    found = np.array([reward for reward in group if reward is not None], dtype=np.float64)
    if not np.isfinite(found).all():
        raise TrainingError(
            f"group {place} has rewards {list(group)}: a reward is a finite number, or None where nobody could tell; "
            "mend the reward function that gave it"
        )
    return found


def _scores(found: NDArray[np.float64], settings: AdvantageSettings, batch: float) -> NDArray[np.float64]:
    centred: NDArray[np.float64] = found - found.mean()
    if settings.baseline == "leave_one_out":
        # Reward minus the mean of the others: the centred reward, n / (n - 1) times.
        centred *= len(found) / (len(found) - 1)
    if settings.scale == "none":
        return centred
    scale = batch if settings.scale == "batch" else deviation(found, settings.ddof)
    centred /= scale + settings.eps
    return centred
