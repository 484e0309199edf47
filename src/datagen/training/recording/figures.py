"""Figures of the attempts of one batch, under the names of `METRICS`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean

from datagen.training.rollout import Group

Figures = dict[str, float | None]
LIMITS = frozenset({"budget", "turns", "tokens", "context", "time"})
"""Ways to end that a limit decides, not the policy."""


def attempt_figures(groups: Sequence[Group], *, version: int | None = None) -> Figures:
    """What the attempts of one batch were like, as they were sampled: count them before replay replaces any.

    `version` is the number of updates that the weights to be updated have seen; without it there is no staleness.
    Attempts that the infrastructure broke count to nothing but their own share.
    """
    made = [rollout for group in groups for rollout in group.rollouts]
    sound = [rollout for rollout in made if rollout.termination != "error"]
    ages = [] if version is None else [float(version - rollout.version) for rollout in sound]
    return {
        "reward": _mean(rollout.reward for rollout in made),
        "success": _mean(None if rollout.correct is None else float(rollout.correct) for rollout in made),
        "tool_calls": _mean(float(rollout.searches + rollout.visits) for rollout in sound),
        "searches": _mean(float(rollout.searches) for rollout in sound),
        "visits": _mean(float(rollout.visits) for rollout in sound),
        "turns": _mean(float(rollout.turns) for rollout in sound),
        "parse_failures": _mean(float(rollout.parse_failures) for rollout in sound),
        "answered": _mean(float(rollout.termination == "answered") for rollout in sound),
        "truncated": _mean(float(rollout.termination in LIMITS) for rollout in sound),
        "tokens_per_rollout": _mean(float(rollout.tokens) for rollout in sound),
        "sampled_tokens": float(sum(rollout.tokens for rollout in made)),
        "infrastructure_failures": _mean(float(rollout.reward is None) for rollout in made),
        "staleness": _mean(ages),
        "staleness_max": max(ages, default=None),
        **_group_figures(groups),
    }


def _group_figures(groups: Sequence[Group]) -> Figures:
    rewards = [[r.reward for r in group.rollouts if r.reward is not None] for group in groups]
    tied = [len(set(found)) == 1 for found in rewards if len(found) > 1]
    grades = [[r.correct for r in group.rollouts if r.correct is not None] for group in groups]
    return {
        "zero_variance": _mean(map(float, tied)),
        "solved_groups": _mean(float(all(found)) for found in grades if found),
        "failed_groups": _mean(float(not any(found)) for found in grades if found),
        "carrying": float(sum(len(found) for found in rewards if len(set(found)) > 1)),
    }


def _mean(values: Iterable[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return fmean(found) if found else None
