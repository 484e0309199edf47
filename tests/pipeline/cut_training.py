"""A training in a process of its own, which may end in the middle.

As a program: `cut_training.py OVERLAYS [PHASE STEP]` trains what `tiny_training.toml` and a JSON list of overlays say, or goes on
with it, and dies without a word, as a killed process does, once update STEP of PHASE was recorded. It is a program because what
is compared to the bit must not depend on what other tests left in theirs: threads that draw from the global generators,
settings of arithmetic.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch

from datagen.config import load_config
from datagen.training.recording.alarms import Alarm
from datagen.training.recording.evaluations import EvaluationRecord
from datagen.training.recording.recorder import Values
from datagen.training.running import train

CUT = 86
"""The exit code of a training that was cut off."""


class CutsOff:
    """A listener of a run that ends the process after an update was recorded."""

    def __init__(self, phase: str, step: int) -> None:
        self._after = phase, step

    def recorded(self, phase: str, step: int, values: Values) -> None:
        if (phase, step) == self._after:
            os._exit(CUT)

    def evaluated(self, record: EvaluationRecord) -> None:
        """Goes on."""

    def alarmed(self, alarm: Alarm) -> None:
        """Goes on."""


if __name__ == "__main__":
    torch.set_num_threads(1)
    config = load_config(Path(__file__).with_name("tiny_training.toml"), json.loads(sys.argv[1]))
    listeners = [CutsOff(sys.argv[2], int(sys.argv[3]))] if len(sys.argv) > 2 else []
    train(config, resume=True, quiet=True, report=False, listeners=listeners)
