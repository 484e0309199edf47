"""verl's reward function, for `reward.custom_reward_function`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datagen.environment.shims.grading import score


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Mapping[str, Any],
    extra_info: Mapping[str, Any] | None = None,
    **_: Any,
) -> dict[str, Any]:
    """`score` is the reward; verl logs the others. `data_source` and `extra_info` decide nothing."""
    del data_source, extra_info
    found = score(solution_str, ground_truth)
    return {"score": found.score, "acc": found.correct, "answered": found.answer is not None}
