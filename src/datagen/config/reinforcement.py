"""Reinforcement, and its stages: parts of the section on training."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self
from typing import Literal as OneOf

from pydantic import Field, ValidationError, model_validator

from datagen.config.learner import OptimizerConfig
from datagen.config.rollouts import StepRewardConfig
from datagen.config.section import Section, Share
from datagen.errors import ConfigError


class RlOptimizerConfig(OptimizerConfig):
    """The optimiser of reinforcement, which takes small steps."""

    learning_rate: float = Field(default=1e-6, gt=0)
    """Of AdamW."""


class SamplingConfig(Section):
    """How the policy attempts a question while it learns, and what it may spend."""

    temperature: float = Field(default=1.0, gt=0)
    """There is no cut at likely tokens, for that would bias the ratio."""
    turns: int = Field(default=32, ge=1)
    """Turns of one attempt, at most."""
    turn_tokens: int = Field(default=1024, ge=1)
    """Tokens of one turn, at most."""
    context_tokens: int = Field(default=4096, ge=16)
    """Tokens of one attempt, what is read included; an attempt that reaches it ends."""
    searches: int = Field(default=16, ge=0)
    """Searches of one attempt, at most."""
    visits: int = Field(default=32, ge=0)
    """Windows of pages of one attempt, at most."""
    in_flight: int = Field(default=128, ge=1)
    """Attempts under way at once."""


def sampling_from(overlays: Iterable[str]) -> SamplingConfig:
    """Limits with `key=value` laid over the defaults. Raises `ConfigError` for a key that does not exist."""
    given = dict(overlay.partition("=")[::2] for overlay in overlays)
    try:
        return SamplingConfig.model_validate(given)
    except ValidationError as exc:
        told = "; ".join(f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in exc.errors())
        raise ConfigError(f"{told}; the keys are {', '.join(SamplingConfig.model_fields)}.") from exc


class StageConfig(Section):
    """A part of reinforcement with settings of its own; what is unset is as in [training.rl]."""

    name: str
    """Names the stage in curves and in the report."""
    updates: int | None = Field(default=None, ge=0)
    """Batches of questions."""
    epochs: float | None = Field(default=None, gt=0)
    """The same, as passes over the questions at the beginning of the stage; `updates` goes before."""
    algorithm: str | None = None
    """A preset."""
    overrides: dict[str, Any] = {}
    """Settings laid over the preset and over [training.rl.overrides]."""
    reward: str | None = None
    """A form of reward."""
    step_reward: StepRewardConfig | None = None
    """Constants of the step-level reward."""
    releases: tuple[str, ...] = ()
    """Other questions than those of [training.data]."""
    unsolved_below: Share | None = None
    """Keep the questions that the policy answers in a smaller share of its attempts, tried once when the stage begins:
    Fathom filters its second stage against the first stage's weights."""
    carry_replay: bool = False
    """Begin with the successes that the stage before kept for replay; the paper leaves open whether it does."""
    temperature: float | None = Field(default=None, gt=0)
    """Another temperature."""
    learning_rate: float | None = Field(default=None, gt=0)
    """Another rate of AdamW."""


class RlConfig(Section):
    """Improvement by attempts of its own."""

    algorithm: str = "rapo"
    """A preset: grpo, dapo, dr_grpo, gspo, cispo, rapo."""
    overrides: dict[str, Any] = {}
    """Settings laid over the preset, such as {clip_high = 0.28, prune = {threshold = 0.8}}; "none" leaves a part out."""
    updates: int = Field(default=100, ge=0)
    """Batches of questions of a stage that does not say how many."""
    questions: int = Field(default=32, ge=1)
    """Questions of one batch."""
    attempts: int = Field(default=5, ge=2)
    """Attempts at each question: the group that is compared."""
    total_attempts: int | None = Field(default=None, ge=1)
    """Attempts after which a stage ends, even if updates or epochs are left: the same compute for algorithms that sample more
    than one batch for an update."""
    minibatches: int = Field(default=1, ge=1)
    """Updates of the weights from one batch."""
    reward: str = "vanilla"
    """vanilla (0.1 for form, 0.9 for the answer), step (step-level), or another form of `datagen.rollouts.rewards`:
    webexplorer, infoseek, arpo, clues; or `package.module:function`, called with the graded trajectory."""
    step_reward: StepRewardConfig = StepRewardConfig()
    """Constants of the step-level reward; its caps C_S and C_Q steer how much is searched."""
    sampling: SamplingConfig = SamplingConfig()
    """How the policy attempts a question while it learns."""
    tokens_per_bin: int = Field(default=8192, ge=16)
    """Tokens of one forward pass."""
    old_logprobs: OneOf["recompute", "behaviour"] = "recompute"
    """What the ratio is taken to: log-probabilities of the learner before the update, or those that the engine gave."""
    staleness: int = Field(default=0, ge=0)
    """Batches that sampling may run ahead; 0 waits for the update, which alone can be repeated bit for bit."""
    optimizer: RlOptimizerConfig = RlOptimizerConfig()
    """Optimiser and schedule; the schedule is laid over a stage."""
    stages: tuple[StageConfig, ...] = (StageConfig(name="rl"),)
    """Parts, one after the other: [[training.rl.stages]]."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        names = [stage.name for stage in self.stages]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"stages need names, each another one; they are {', '.join(names) or 'none'}")
        if self.minibatches > self.questions:
            raise ValueError(f"{self.minibatches} minibatches cannot be made of {self.questions} questions")
        return self

    def stage(self, number: int) -> RlConfig:
        """The section as stage `number` changes it, with that stage alone."""
        stage = self.stages[number]
        changed: dict[str, Any] = {"stages": (stage,), "overrides": self.overrides | stage.overrides}
        for name in ("updates", "algorithm", "reward", "step_reward"):
            if getattr(stage, name) is not None:
                changed[name] = getattr(stage, name)
        if stage.temperature is not None:
            changed["sampling"] = self.sampling.model_copy(update={"temperature": stage.temperature})
        if stage.learning_rate is not None:
            changed["optimizer"] = self.optimizer.model_copy(update={"learning_rate": stage.learning_rate})
        return self.model_copy(update=changed)
