"""Preference between attempts, on the tokens that the policy wrote: what tools returned is read and never learned.

    pairs ──► two sequences each ──► log-probabilities under the weights of the beginning ──► DPO loss ──► one update

The reference is a frozen copy of what the stage began with.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from datagen.config.training import DpoConfig
from datagen.training.demonstrations import Preferences
from datagen.training.learner import Learner
from datagen.training.objectives.preference import PreferenceLoss
from datagen.training.reference import Reference
from datagen.training.rows import with_streams
from datagen.training.sft import Count, step_measures
from datagen.training.sft_rows import preference_rows
from datagen.training.state import Stateful


class PreferenceLearning:
    """Implements `course.Loop`."""

    name = "dpo"

    def __init__(self, section: DpoConfig, learner: Learner, preferences: Preferences) -> None:
        self.learner = learner
        self._section = section
        self._preferences = preferences
        self._count = Count()
        self._reference = Reference(learner)
        self._loss = PreferenceLoss(beta=section.beta, per_token=section.per_token)

    @property
    def updates(self) -> int:
        return self._count.updates

    @property
    def done(self) -> bool:
        return self.updates >= self._section.updates

    @property
    def parts(self) -> Mapping[str, Stateful]:
        return {"count": self._count, "preferences": self._preferences, "reference": self._reference}

    def begin(self) -> None:
        """Nothing to prepare: the reference was taken when the stage was opened, or came with the checkpoint."""

    def update(self) -> Mapping[str, float | None]:
        pairs = self._preferences.draw(self._section.pairs_per_update)
        rows = preference_rows([(one, other) for _, one, other in pairs], names=[name for name, _, _ in pairs])
        weight = np.float32(1 / len(pairs))
        rows = [
            with_streams(
                row, ref_logprobs=reference, ce_weight=None if row.ce_weight is None else row.ce_weight * weight
            )
            for row, reference in zip(rows, self._reference.logprobs(rows), strict=True)
        ]
        report = self.learner.step(rows, self._loss)
        self._count.add(report.forwarded_tokens)
        passed_over = {f"data/{name}": float(n) for name, n in sorted(self._preferences.passed_over.items())}
        return step_measures(report) | passed_over
