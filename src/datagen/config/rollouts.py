"""The section on attempts at the questions: who makes them, how often, and what they may spend."""

from __future__ import annotations

from pydantic import Field

from datagen.config.section import Section


class StepRewardConfig(Section):
    """Constants of Fathom's step-level reward (spec fathom §3.2)."""

    format_weight: float = 0.1
    """Worth of an attempt whose turns are all well formed."""
    c1: float = 0.2
    """Credit of a wrong answer for new searches."""
    c2: float = 0.2
    """Credit of a wrong answer for new pages."""
    search_cap: int = Field(default=8, ge=1)
    """C_S: net new searches that still earn."""
    query_cap: int = Field(default=16, ge=1)
    """C_Q: net new pages that still earn."""
    verifications: int = Field(default=1, ge=0)
    """B_v: checks of one claim on further pages that count as verification."""


class RolloutsConfig(Section):
    """Attempts at the questions of a run."""

    policies: tuple[str, ...] = ("topdown", "bottomup", "hasty")
    """Who attempts: programs by name, or models of the cast."""
    attempts: int = Field(default=1, ge=1)
    """Tries of every policy at every question."""
    questions: int | None = Field(default=None, ge=1)
    """Only so many questions, the first of the table; all where unset."""
    searches: int = Field(default=40, ge=1)
    """Searches of one attempt, at most."""
    visits: int = Field(default=120, ge=1)
    """Windows of pages of one attempt, at most."""
    turns: int | None = Field(default=None, ge=1)
    """Assistant turns of one attempt, at most; as many as the budget has calls where unset."""
    tokens: int | None = Field(default=None, ge=1)
    """Tokens that a model may write in one attempt."""
    context_chars: int | None = Field(default=None, ge=1_000)
    """Characters of a conversation after which a model has to conclude."""
    seconds: float | None = Field(default=None, gt=0)
    """A limit by the clock; attempts that have one cannot be made again to the byte."""
    conciseness: float = Field(default=1.5, gt=1)
    """Gamma of WebThinker's third rule: the longer of two equal attempts loses beyond this ratio of lengths."""
    labeller: str = "rules"
    """Who labels the calls: "rules", or a model of the cast."""
    step_reward: StepRewardConfig = StepRewardConfig()
    shard_size: int = Field(default=128, ge=1)
    """Attempts of one task."""
