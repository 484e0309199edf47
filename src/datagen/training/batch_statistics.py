"""What a batch of groups was like: sums that ranks can add, and the figures that they come to.

    groups           as sampled                     what the policy does: rewards, lengths, calls, tied groups
    mended           with replayed successes        what learning gets
    compared         without thrown-away groups     good_groups: those whose rewards differ

Names and meanings are those of `recording.METRICS`. Behaviour is that of attempts that the infrastructure did not break, success and reward those of graded ones. A mean over nothing is
not there, rather than 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from datagen.training.resampling import carries_signal
from datagen.training.rollout import Group, Rollout

CUT_OFF = frozenset({"budget", "turns", "tokens", "context", "time"})
"""Endings that a limit brought about."""
TOTALS = (
    "groups", "compared_groups", "good_groups", "singletons", "missing", "replayed", "unmended", "carrying",
    "sampled_tokens",
)  # fmt: skip
"""Sums that are told as they are."""
MEANS = {
    "rewarded": {"reward": "rewards"},
    "graded": {"success": "right"},
    "attempts": {"infrastructure_failures": "missing"},
    "sound": {
        "tokens_per_rollout": "sound_tokens",
        "tool_calls": "calls",
        "searches": "searched",
        "visits": "visited",
        "turns": "turned",
        "parse_failures": "misread",
        "answered": "answers",
        "truncated": "cut_off",
        "staleness": "behind",
    },
    "several": {"zero_variance": "tied", "tied_right": "tied_right", "tied_wrong": "tied_wrong"},
    "graded_groups": {"solved_groups": "solved", "failed_groups": "failed"},
    "replayed": {"replay_age": "replay_ages"},
}
"""By count: the figures that are divided by it, each with its sum. `several`: groups of two rewards at least."""


def sums_of(
    groups: Sequence[Group], mended: Sequence[Group], compared: Sequence[Group], *, now: int
) -> dict[str, float]:
    """Over one rank's groups. `now`: updates that the weights have seen."""
    replayed = [one for group in mended for one in group.rollouts if one.replayed]
    sums = {
        "compared_groups": len(compared),
        "good_groups": sum(map(carries_signal, compared)),
        "replayed": len(replayed),
        "replay_ages": sum(now - one.version for one in replayed),
    }
    return {name: float(total) for name, total in sums.items()} | _group_sums(groups) | _attempt_sums(groups, now)


def peaks_of(groups: Sequence[Group], *, now: int) -> dict[str, float]:
    """Over one rank's groups: figures of which the largest of all ranks is told."""
    ages = [now - one.version for group in groups for one in group.rollouts if one.termination != "error"]
    return {"staleness_max": float(max(ages))} if ages else {}


def _group_sums(groups: Sequence[Group]) -> dict[str, float]:
    rewarded = [[one for one in group.rollouts if one.reward is not None] for group in groups]
    tied = [group for group in rewarded if len(group) > 1 and len({one.reward for one in group}) == 1]
    grades = [[one.correct for one in group.rollouts if one.correct is not None] for group in groups]
    sums = {
        "groups": len(groups),
        "singletons": sum(len(group) == 1 for group in rewarded),
        "several": sum(len(group) > 1 for group in rewarded),
        "tied": len(tied),
        "tied_right": sum(all(one.correct for one in group) for group in tied),
        "tied_wrong": sum(not any(one.correct for one in group) for group in tied),
        "graded_groups": sum(bool(found) for found in grades),
        "solved": sum(all(found) for found in grades if found),
        "failed": sum(not any(found) for found in grades if found),
    }
    return {name: float(total) for name, total in sums.items()}


def _attempt_sums(groups: Sequence[Group], now: int) -> dict[str, float]:
    made: list[Rollout] = [one for group in groups for one in group.rollouts]
    sound = [one for one in made if one.termination != "error"]
    sums = {
        "attempts": len(made),
        "missing": sum(one.reward is None for one in made),
        "rewarded": sum(one.reward is not None for one in made),
        "rewards": sum(one.reward or 0.0 for one in made),
        "graded": sum(one.correct is not None for one in made),
        "right": sum(bool(one.correct) for one in made),
        "sampled_tokens": sum(one.tokens for one in made),
        "sound": len(sound),
        "sound_tokens": sum(one.tokens for one in sound),
        "calls": sum(one.searches + one.visits for one in sound),
        "searched": sum(one.searches for one in sound),
        "visited": sum(one.visits for one in sound),
        "turned": sum(one.turns for one in sound),
        "misread": sum(one.parse_failures for one in sound),
        "answers": sum(one.termination == "answered" for one in sound),
        "cut_off": sum(one.termination in CUT_OFF for one in sound),
        "behind": sum(now - one.version for one in sound),
    }
    return {name: float(total) for name, total in sums.items()}


def measures_of(sums: Mapping[str, float]) -> dict[str, float]:
    """From sums over all ranks."""
    means = {
        name: sums[total] / sums[count]
        for count, figures in MEANS.items()
        if sums[count]
        for name, total in figures.items()
    }
    return {name: sums[name] for name in TOTALS} | means
