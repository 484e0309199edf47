"""Imitation: attempts of a release, read through the resumable loader, one update after the other.

rows ──► sequences with who wrote what ──► mean negative log-likelihood of what was written ──► one update
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from datagen.config.training import SftConfig
from datagen.records.ids import seed_for
from datagen.training.demonstrations import Demonstrations
from datagen.training.learner import Learner, StepReport
from datagen.training.objectives.supervised import SupervisedLoss
from datagen.training.sft_rows import sft_rows
from datagen.training.state import Stateful


class Count:
    """Updates, tokens and attempts so far; a part of a checkpoint."""

    def __init__(self) -> None:
        self.updates = 0
        self.tokens = 0
        self.attempts = 0

    def add(self, tokens: int, attempts: int = 0) -> None:
        self.updates += 1
        self.tokens += tokens
        self.attempts += attempts

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, "tokens": self.tokens, "attempts": self.attempts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.updates, self.tokens = state["updates"], state["tokens"]
        self.attempts = state.get("attempts", 0)  # checkpoints of stages that are measured by them have it


class Imitation:
    """Implements `course.Loop`."""

    name = "sft"

    def __init__(self, section: SftConfig, learner: Learner, demonstrations: Demonstrations, *, seed: int) -> None:
        self.learner = learner
        self._section = section
        self._demonstrations = demonstrations
        self._count = Count()
        self._seed = seed
        self._loss = SupervisedLoss()

    @property
    def updates(self) -> int:
        return self._count.updates

    @property
    def done(self) -> bool:
        spent = self._section.tokens is not None and self._count.tokens >= self._section.tokens
        return spent or self.updates >= self._section.updates

    @property
    def parts(self) -> Mapping[str, Stateful]:
        return {"count": self._count, "demonstrations": self._demonstrations}

    def begin(self) -> None:
        """Nothing to prepare."""

    def update(self) -> Mapping[str, float | None]:
        section = self._section
        sequences = self._demonstrations.draw(section.rows_per_update)
        rows = sft_rows(
            sequences,
            context_weight=section.context_weight,
            context_share=1.0 if self.updates < section.context_whole_until else section.context_share,
            rng=np.random.default_rng(seed_for(self._seed, "context", self.updates)),
        )
        report = self.learner.step(rows, self._loss)
        self._count.add(report.forwarded_tokens)
        passed_over = {f"data/{name}": float(n) for name, n in sorted(self._demonstrations.passed_over.items())}
        return step_measures(report) | {"data/tokens": float(self._count.tokens)} | passed_over


def step_measures(report: StepReport) -> dict[str, float | None]:
    """The figures of one update by the names of `recording.METRICS`."""
    return {
        **report.measures,
        "loss": report.loss,
        "grad_norm": report.grad_norm,
        "clipped": float(report.clipped),
        "learning_rate": report.learning_rate,
        "rows": float(report.rows),
        "bins": float(report.bins),
        "trained_tokens": float(report.trained_tokens),
        "forwarded_tokens": float(report.forwarded_tokens),
        "padding_share": report.padding_share,
        "learning_s": report.seconds,
        "memory_mb": report.memory_mb,
        "tokens_per_s": report.forwarded_tokens / report.seconds if report.seconds > 0 else None,
    }
