"""Reward functions that the configs of these tests name."""

from __future__ import annotations

from datagen.records.trajectory import Trajectory


def by_length(trajectory: Trajectory) -> float:
    """What an untrained model can be told apart by: how many tokens it wrote, and which."""
    tokens = [token for generation in trajectory.transcript.generations for token in generation.token_ids]
    return len(tokens) / 100 + (sum(tokens) % 7) / 10


def now_and_then(trajectory: Trajectory) -> float:
    """Breaks on some attempts."""
    if sum(token for generation in trajectory.transcript.generations for token in generation.token_ids) % 3 == 0:
        raise RuntimeError("the judge is not at home")
    return by_length(trajectory)


def never(trajectory: Trajectory) -> float:
    """Breaks on all attempts."""
    raise RuntimeError(f"no opinion on attempts by {len(trajectory.policy)} letters")


def not_a_number(trajectory: Trajectory) -> float:
    """Lets advantages become no numbers."""
    return float("nan") if by_length(trajectory) > 0.2 else 1.0
