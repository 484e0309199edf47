"""Numbers that are none must not reach an update."""

from __future__ import annotations

import torch
from torch import Tensor

from datagen.errors import TrainingError


def require_finite(**arrays: Tensor) -> None:
    """Raises `TrainingError` that names the arrays with numbers that are not finite. One wait for the device."""
    broken = torch.stack([(~torch.isfinite(array)).sum() for array in arrays.values()])
    if broken.any():
        counts = dict(zip(arrays, broken.tolist(), strict=True))
        named = ", ".join(f"{name} ({count} of {arrays[name].numel()})" for name, count in counts.items() if count)
        raise TrainingError(
            f"numbers that are not finite in {named}: no update was made; resume from the last checkpoint, "
            "with a lower learning rate if logprobs are among them"
        )
