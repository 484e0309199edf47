"""Fathom's steerable step-level reward: what an attempt is worth by the labels of its calls.

    T = labelled calls         rho = (redundant searches + redundant queries) / T, 0 for T = 0
    dS = unique - redundant searches                         dQ = explorations + verifications - redundant queries

    right    0.1 * format + max(1 - rho, 0.5)
    wrong    0.1 * format + c1 * min(1, dS / C_S) + c2 * min(1, dQ / C_Q)

Fathom-DeepResearch (arXiv 2509.24107), §3; spec fathom §3.2. One number for the whole attempt: the labels are steps, the
reward is not. `search_cap` and `query_cap` are C_S and C_Q: raise them and longer research keeps earning.

>>> count = Counts(unique_searches=4, explorations=8)
>>> round(step_reward(False, True, count), 3)
0.3
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from datagen.errors import ConfigError
from datagen.records.trajectory import StepLabel

_FIELD_OF = {
    "UNIQUESEARCH": "unique_searches",
    "REDUNDANTSEARCH": "redundant_searches",
    "EXPLORATION": "explorations",
    "VERIFICATION": "verifications",
    "REDUNDANTQUERY": "redundant_queries",
}


@dataclass(frozen=True, slots=True)
class StepReward:
    """The constants. The defaults are the paper's; B_v, the depth of verification, belongs to the labelling."""

    format_weight: float = 0.1
    c1: float = 0.2
    c2: float = 0.2
    search_cap: int = 8
    query_cap: int = 16
    least_if_right: float = 0.5
    """A right answer never earns less, however redundant its calls."""
    floor: float | None = None
    """A lower bound of the whole reward; the paper has none, so redundancy may make a wrong answer negative."""
    require_tool_use: bool = False
    """Treat a right answer without any labelled call as a wrong one: a guess earns the top reward otherwise."""

    def __post_init__(self) -> None:
        for name, cap in (("search_cap", self.search_cap), ("query_cap", self.query_cap)):
            if cap < 1:
                raise ConfigError(
                    f"{name} is {cap}, but steps are divided by it. Give 1 or more; c1 or c2 = 0 pays none."
                )


@dataclass(frozen=True, slots=True)
class Counts:
    """How many calls of an attempt got each label."""

    unique_searches: int = 0
    redundant_searches: int = 0
    explorations: int = 0
    verifications: int = 0
    redundant_queries: int = 0

    @property
    def steps(self) -> int:
        return (
            self.unique_searches
            + self.redundant_searches
            + self.explorations
            + self.verifications
            + self.redundant_queries
        )


def count_labels(labels: Iterable[StepLabel]) -> Counts:
    """Counts of the labels; calls without one are left out of everything."""
    found = dict.fromkeys(_FIELD_OF.values(), 0)
    for label in labels:
        if label.label is not None:
            found[_FIELD_OF[label.label]] += 1
    return Counts(**found)


PAPER = StepReward()


def step_reward(correct: bool | None, format_ok: bool, counts: Counts, knobs: StepReward = PAPER) -> float | None:
    """The reward of counted labels; None for an attempt that was not graded."""
    if correct is None:
        return None
    steps = counts.steps
    if correct and knobs.require_tool_use and not steps:
        correct = False
    reward = knobs.format_weight * format_ok
    if correct:
        redundant = (counts.redundant_searches + counts.redundant_queries) / steps if steps else 0.0
        reward += max(1 - redundant, knobs.least_if_right)
    else:
        searches = counts.unique_searches - counts.redundant_searches
        queries = counts.explorations + counts.verifications - counts.redundant_queries
        reward += knobs.c1 * min(1.0, searches / knobs.search_cap) + knobs.c2 * min(1.0, queries / knobs.query_cap)
    return reward if knobs.floor is None else max(reward, knobs.floor)


def fathom_steps(
    correct: bool | None, format_ok: bool, labels: Iterable[StepLabel], knobs: StepReward = PAPER
) -> float | None:
    """The step-level reward of a labelled attempt."""
    return step_reward(correct, format_ok, count_labels(labels), knobs)
