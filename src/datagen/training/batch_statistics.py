"""What a batch of groups was like: sums that ranks can add, and the shares and means that they come to.

    groups           as sampled                     what the policy does: rewards, lengths, calls, tied groups
    mended           with replayed successes        what learning gets
    compared         without thrown-away groups     good_groups: those whose rewards differ

A mean over nothing is not there, rather than 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from datagen.training.resampling import carries_signal
from datagen.training.rollout import Group, Rollout

CUT_OFF = frozenset({"budget", "turns", "tokens", "context", "time"})
"""Endings that a limit brought about."""
COUNTS = (
    "groups", "compared_groups", "good_groups", "singletons", "rollouts", "missing", "replayed", "unmended",
    "gradient_rollouts",
)  # fmt: skip
"""Sums that are told as they are."""
PER_ROLLOUT = {
    "reward": "reward",
    "answer_success": "right",
    "tokens_per_rollout": "tokens",
    "truncated": "truncated",
    "tool_calls": "tool_calls",
    "searches": "searches",
    "visits": "visits",
    "turns": "turns",
    "parse_failures": "parse_failures",
    "staleness": "staleness",
    "gradient_share": "gradient_rollouts",
}
"""Mean over graded attempts: of which sum."""
PER_GROUP = {"zero_variance": "tied", "tied_right": "tied_right", "tied_wrong": "tied_wrong"}
"""Share of the groups that have two graded attempts at least: of which sum."""


def sums_of(
    groups: Sequence[Group], mended: Sequence[Group], compared: Sequence[Group], *, now: int
) -> dict[str, float]:
    """Over one rank's groups. `now`: updates that the weights have seen."""
    graded = [[one for one in group.rollouts if one.reward is not None] for group in groups]
    attempts = [one for group in graded for one in group]
    several = [group for group in graded if len(group) > 1]
    tied = [group for group in several if len({one.reward for one in group}) == 1]
    sums = {
        "groups": len(groups),
        "compared_groups": len(compared),
        "good_groups": sum(map(carries_signal, compared)),
        "replayed": sum(one.replayed for group in mended for one in group.rollouts),
        "rollouts": len(attempts),
        "missing": sum(len(group.rollouts) for group in groups) - len(attempts),
        "singletons": sum(len(group) == 1 for group in graded),
        "several": len(several),
        "tied": len(tied),
        "tied_right": sum(all(one.correct for one in group) for group in tied),
        "tied_wrong": sum(not any(one.correct for one in group) for group in tied),
    }
    return {name: float(total) for name, total in sums.items()} | _attempt_sums(attempts, now)


def _attempt_sums(attempts: Sequence[Rollout], now: int) -> dict[str, float]:
    sums = {
        "reward": sum(one.reward or 0.0 for one in attempts),
        "right": sum(bool(one.correct) for one in attempts),
        "tokens": sum(one.tokens for one in attempts),
        "truncated": sum(one.termination in CUT_OFF for one in attempts),
        "tool_calls": sum(one.searches + one.visits for one in attempts),
        "searches": sum(one.searches for one in attempts),
        "visits": sum(one.visits for one in attempts),
        "turns": sum(one.turns for one in attempts),
        "parse_failures": sum(one.parse_failures for one in attempts),
        "staleness": sum(now - one.version for one in attempts),
    }
    return {name: float(total) for name, total in sums.items()}


def measures_of(sums: Mapping[str, float]) -> dict[str, float]:
    """From sums over all ranks."""
    measures = {name: sums[name] for name in COUNTS}
    if sums["rollouts"]:
        measures |= {name: sums[total] / sums["rollouts"] for name, total in PER_ROLLOUT.items()}
    if sums["several"]:
        measures |= {name: sums[total] / sums["several"] for name, total in PER_GROUP.items()}
    return measures
