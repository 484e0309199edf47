"""What the policy was when a stage began, to hold it against."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from datagen.training.learner import Learner
from datagen.training.models import TokenScorer
from datagen.training.packing import bins, to_batch
from datagen.training.rows import Floats, TrainRow


class Reference:
    """A frozen copy of a model, whose log-probabilities others are compared with; a part of a checkpoint."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._model: nn.Module = copy.deepcopy(learner.model).requires_grad_(False).eval()
        self._scorer = TokenScorer(self._model, layout=learner.layout, temperature=learner.scorer.temperature)

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
