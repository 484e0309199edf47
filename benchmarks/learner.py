"""The learner's update beside TRL's, on the same frozen rollouts: its synchronous GRPO step, and its packed SFT step.

    python -m benchmarks learner                TRL in .venv-trl, which `make test` builds (requirements-trl.lock)
    python -m benchmarks learner --only sft     one of the two; `grpo` also runs a plain padded loop

Trained tokens are those that the policy wrote; what tools returned is read by all. Every way runs in a process of its own, with one thread, in turn and several times. Seconds are those that the processor spent on the process, so that what
else the machine does counts less; the best of each way is compared, and the ratio is also taken within rounds. TRL's
GRPO is timed without sampling, decoding and rewards, in micro-batches of 8 (its default) and of 1 (no padding); its SFT
without packing and collating, which ours includes, in lines of 4096 tokens, like our bins, and in lines as short as the
longest rollout allows, where its dense mask costs least. In SFT the losses of the first update have to agree, so that all
do the same work. Memory is by how much the process grew over its steps.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(
    0, str(Path(__file__).parent / "learner_peers")
)  # scripts that also run where this package is not installed
from rollouts import rollouts

ROOT = Path(__file__).parents[1]
PEERS = Path(__file__).parent / "learner_peers"
TRL = ROOT / ".venv-trl" / "bin" / "python"
VOCABULARY = 2000
SIZES: dict[str, dict[str, int]] = {
    "3 x 96": {"layers": 3, "hidden": 96, "heads": 3, "ffn": 256},
    "4 x 256": {"layers": 4, "hidden": 256, "heads": 4, "ffn": 768},
}


@dataclass(frozen=True, slots=True)
class Way:
    name: str
    command: tuple[str | Path, ...]


OURS = (sys.executable, PEERS / "ours.py", "FOLDER", "STEPS")
WAYS = {
    "grpo": (
        Way("ours", (*OURS, "ours")),
        # The longest rollout just fits, as into a micro-batch of 1.
        Way("ours, bins of 1,536", (*OURS, "ours", "1536")),
        Way("padded loop", (*OURS, "padded")),
        Way("TRL, micro-batch 8", (TRL, PEERS / "trl_step.py", "FOLDER", "STEPS", "8")),
        Way("TRL, micro-batch 1", (TRL, PEERS / "trl_step.py", "FOLDER", "STEPS", "1")),
    ),
    "sft": (
        Way("ours", (*OURS, "sft")),
        Way("ours, bins of 1,536", (*OURS, "sft", "1536")),
        Way("TRL, lines of 4096", (TRL, PEERS / "trl_sft.py", "FOLDER", "STEPS", "4096")),
        Way("TRL, shortest lines", (TRL, PEERS / "trl_sft.py", "FOLDER", "STEPS", "1")),
    ),
}


def measured(way: Way, folder: Path, steps: int) -> dict[str, Any]:
    """Seconds of its steps and growth of its process. Raises `RuntimeError` with its last words where it fails."""
    command = [str(folder) if one == "FOLDER" else str(steps) if one == "STEPS" else str(one) for one in way.command]
    alone = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=alone)
    if done.returncode:
        raise RuntimeError(f"{way.name} failed: {done.stderr[-500:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def compare(task: str, size: str, ways: tuple[Way, ...], *, count: int, rounds: int, steps: int) -> None:
    from datagen.training.models import save_model, tiny_qwen3

    frozen = rollouts(count, VOCABULARY, seed=3)
    trained = sum(sum(one["written"]) for one in frozen)
    tokens = sum(len(one["prompt"]) + len(one["completion"]) for one in frozen)
    seconds: dict[str, list[float]] = {way.name: [] for way in ways}
    grew: dict[str, float] = {}
    losses: list[float] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "rollouts.json").write_text(json.dumps(frozen))
        save_model(tiny_qwen3(VOCABULARY, **SIZES[size]), folder / "model")
        for _ in range(rounds):
            for way in ways:
                found = measured(way, folder, steps)
                seconds[way.name].append(min(found["seconds"]))
                grew[way.name] = max(grew.get(way.name, 0.0), found["grew_mb"])
                losses += [found["loss"]] if task == "sft" else []
    if losses and max(losses) - min(losses) > 1e-3:
        raise RuntimeError(f"the ways do not do the same work: losses of the first update are {losses}")
    for way in ways:
        best = min(seconds[way.name])
        ratios = [theirs / mine for mine, theirs in zip(seconds["ours"], seconds[way.name], strict=True)]
        print(
            f"| {dt.date.today()} | {task} | {size} | {count} of {tokens:,} tokens, {trained:,} trained | {way.name} | "
            f"{trained / best:,.0f} | {best / min(seconds['ours']):.2f} | {statistics.median(ratios):.2f} | "
            f"{grew[way.name]:,.0f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rollouts", type=int, default=16, help="A multiple of 8, which is the size of a group.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--only", choices=list(WAYS))
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    arguments = parser.parse_args()
    if not TRL.exists():
        print(f"{TRL} is not there, so TRL is left out; `make test` builds it.")
    print("| day | step | model | rollouts | way | trained tokens/s | times our seconds | median | MB grown |")
    print("|---|---|---|---|---|---:|---:|---:|---:|")
    for task in [arguments.only] if arguments.only else WAYS:
        ways = tuple(way for way in WAYS[task] if Path(way.command[0]).exists())
        for size in arguments.sizes:
            compare(task, size, ways, count=arguments.rollouts, rounds=arguments.rounds, steps=arguments.steps)


if __name__ == "__main__":
    main()
