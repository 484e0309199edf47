"""An alarm: something about the run that a person should look at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Alarm:
    """Raised by a rule of `training.monitors`; the run goes on unless its settings say otherwise."""

    phase: str
    step: int
    """The update after which the rule fired."""
    rule: str
    """Name of the rule, as `stop_on` knows it."""
    sentence: str
    """What is the matter, with the figures, and what it may mean."""
