"""Frozen rollouts of a search agent, and how a process measures itself; imported in every environment."""

from __future__ import annotations

import json
import random
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROMPT = 40
WARM = 3  # steps on a GPU that are not counted


def rollouts(count: int, vocabulary: int, seed: int) -> list[dict[str, Any]]:
    """Few have many turns: a turn writes 20 to 60 tokens and reads 60 to 240. `written` is 1 where the policy wrote."""
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        ids, written = [], []
        for turn in range(min(8, 1 + int(draw.expovariate(0.45)))):
            parts = [(draw.randint(60, 240), 0)] if turn else []
            for length, mine in [*parts, (draw.randint(20, 60), 1)]:
                ids += [draw.randrange(3, vocabulary) for _ in range(length)]
                written += [mine] * length
        prompt = [draw.randrange(3, vocabulary) for _ in range(PROMPT)]
        made.append({"prompt": prompt, "completion": ids, "written": written})
    return made


def read(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "rollouts.json").read_text())
    return found


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def report(step: Callable[[], float], rounds: int) -> None:
    """Print seconds of each step but the first, by how much memory grew, and the first loss, which a step gives back."""
    before = resident_mb()
    seconds, losses = [], []
    for _ in range(rounds + 1):
        began = time.process_time()
        losses.append(step())
        seconds.append(time.process_time() - began)
    tell(seconds[1:], before, loss=losses[0])


def tell(seconds: list[float], before_mb: float, *, loss: float | None = None, peak_mb: float | None = None) -> None:
    """`peak_mb` is that of a GPU; left out, that of the process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = {"seconds": seconds, "grew_mb": peak - before_mb, "loss": loss, "peak_mb": peak_mb or peak}
    sys.stdout.write("\n" + json.dumps(found) + "\n")
