"""The same curves for TensorBoard, where tensorboardX is installed: one run per phase, one tag per metric.

An event file cannot be cut. A resume begins another one whose first event tells TensorBoard to hide what came after the
checkpoint (`purge_step`); since that holds for a whole run of TensorBoard, every phase, which counts its own updates, is one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


class EventWriter:
    """Event files below one folder; without tensorboardX it says so once and does nothing."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._writers: dict[str, Any] = {}
        self._purge: dict[str, int] = {}
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            self._open: Any = None
            say(
                "tensorboardX is not installed, so there are no TensorBoard events; metrics.jsonl has every figure. "
                'For both: pip install "datagen[train]".'
            )
        else:
            self._open = SummaryWriter

    def write(self, phase: str, step: int, values: Mapping[str, float | None]) -> None:
        """Add one point per finite value, and flush."""
        if self._open is None:
            return
        writer = self._writer(phase)
        for name, value in values.items():
            if value is not None and math.isfinite(value):
                writer.add_scalar(name, value, step)
        writer.flush()

    def rewind(self, steps: Mapping[str, int]) -> None:
        """Hide what comes after these steps, by phase."""
        self.close()
        self._purge = {phase: step + 1 for phase, step in steps.items()}
        if self._open is not None:
            for phase in steps:
                if (self._folder / phase).is_dir():
                    self._writer(phase)

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def _writer(self, phase: str) -> Any:
        if phase not in self._writers:
            # A suffix of its own: two files that begin in one second of one process would otherwise be one.
            folder = self._folder / phase
            number = len(list(folder.glob("events.*"))) if folder.is_dir() else 0
            self._writers[phase] = self._open(
                logdir=str(folder), purge_step=self._purge.pop(phase, None), filename_suffix=f".{number}"
            )
        return self._writers[phase]
