"""Every reward form of an attempt at once, by the name of its column."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from datagen.records.trajectory import StepLabel
from datagen.rollouts.rewards.forms import arpo, clues, fathom, infoseek, webexplorer
from datagen.rollouts.rewards.steps import PAPER, StepReward, fathom_steps

_SEARCHES = frozenset({"UNIQUESEARCH", "REDUNDANTSEARCH"})


@dataclass(frozen=True, slots=True)
class RewardInputs:
    """All that rewards look at."""

    correct: bool | None
    """None where nobody could grade the attempt."""
    format_ok: bool
    labels: Sequence[StepLabel] | None = ()
    """None where a labeller failed: there is no step-level reward then."""
    clue_turns: Sequence[int | None] = ()

    @property
    def tools_used(self) -> frozenset[str]:
        """Tools that the labelled calls used."""
        names = (label.label for label in self.labels or () if label.label is not None)
        return frozenset("search" if name in _SEARCHES else "visit" for name in names)


def score_all(inputs: RewardInputs, knobs: StepReward = PAPER) -> dict[str, float | None]:
    """One value for each column of `reward`."""
    correct, format_ok = inputs.correct, inputs.format_ok
    return {
        "fathom": fathom(correct, format_ok),
        "fathom_steps": None if inputs.labels is None else fathom_steps(correct, format_ok, inputs.labels, knobs),
        "webexplorer": webexplorer(correct, format_ok),
        "infoseek": infoseek(correct, format_ok),
        "arpo": arpo(correct, format_ok, inputs.tools_used),
        "clues": clues(correct, inputs.clue_turns),
    }


def score_batch(batch: Iterable[RewardInputs], knobs: StepReward = PAPER) -> list[dict[str, float | None]]:
    """`score_all` for many attempts."""
    return [score_all(inputs, knobs) for inputs in batch]
