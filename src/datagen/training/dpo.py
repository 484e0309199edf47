"""Preference between attempts, on the tokens that the policy wrote: what tools returned is read and never learned.

    pairs ──► two sequences each ──► log-probabilities under the weights of the beginning ──► DPO loss ──► one update

The reference is what the stage began with: the model without its adapters where it has some that are new, else a frozen
copy.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from datagen.config.training import DpoConfig
from datagen.training.demonstrations import Preferences
from datagen.training.learner import Learner
from datagen.training.models import TokenScorer
from datagen.training.objectives.preference import PreferenceLoss
from datagen.training.packing import bins, to_batch
from datagen.training.rows import Floats, TrainRow, with_streams
from datagen.training.sft import Count, step_measures
from datagen.training.sft_rows import preference_rows
from datagen.training.state import Stateful


class Reference:
    """A frozen copy of a model, whose log-probabilities others are compared with; a part of a checkpoint."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._model: nn.Module = copy.deepcopy(learner.model).requires_grad_(False).eval()
        self._scorer = TokenScorer(self._model, layout=learner.layout, temperature=learner.scorer.temperature)

    def take(self) -> None:
        """From now on the reference is the model as it is."""
        with torch.no_grad():
            for mine, theirs in zip(self._model.parameters(), self._learner.model.parameters(), strict=True):
                mine.copy_(theirs)

    @torch.no_grad()
    def logprobs(self, rows: Sequence[TrainRow]) -> list[Floats]:
        """Of the trained tokens of each row; 0 at other tokens."""
        found = [np.zeros(len(row), dtype=np.float32) for row in rows]
        for part in bins(rows, tokens=self._learner.tokens_per_bin, layout=self._learner.layout):
            flat = self._scorer(to_batch(part, self._learner.device))[0].cpu().numpy()
            start = 0
            for place, row in zip(part.places, part.rows, strict=True):
                mask = row.trained
                found[place][mask] = flat[start : start + int(mask.sum())]
                start += int(mask.sum())
        return found

    def state_dict(self) -> dict[str, torch.Tensor]:
        trained = {name for name, one in self._learner.model.named_parameters() if one.requires_grad}
        return {name: one.detach() for name, one in self._model.named_parameters() if name in trained}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        parameters = dict(self._model.named_parameters())
        with torch.no_grad():
            for name, value in state.items():
                parameters[name].copy_(value)


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
