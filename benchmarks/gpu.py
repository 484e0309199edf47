"""The learner's update on a GPU: Qwen3 shapes of 0.6 B and 1.7 B with random weights, bfloat16, beside TRL's GRPO step.

    python -m benchmarks gpu                              without a GPU it says so and ends
    python -m benchmarks gpu --tokens 8192 32768          tokens of one update; bins hold 8192

    pip install torch transformers && python benchmarks/gpu.py          on a bare machine, from the root of a checkout

TRL is timed where `.venv-trl` is (requirements-trl.lock, with a torch for the GPU), in micro-batches of 8 and of 1. Both keep
float32 weights for the optimiser, AdamW: ours beside bfloat16 copies, TRL under autocast. Rollouts are those of
`benchmarks/learner.py`: skewed lengths, about a quarter of the tokens trained. A step is forward, backward, clipping and
optimiser; seconds are the median of `--steps` steps behind three that warm up, each way in a process of its own. Memory is
the most that tensors took. Nothing is computed twice in the backward pass but the head (`datagen.training.head`).

    MFU = (6 N_layers T + 6 V H P + 6 L A sum(l^2)) / seconds / peak

N_layers: weights of the L layers' matrices; T: tokens; V H: the head, which only the P trained tokens need; A: heads times
width of a head, l: lengths of rows, so that the last term is causal attention, half of each square: 2 A l^2 forward, twice
that backward. What a way computes beyond this (padding, logits of other tokens) does not count as use. Peak: dense bfloat16
of the maker's data sheets, or `--peak-tflops`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import itertools
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(
    0, str(Path(__file__).parent / "learner_peers")
)  # scripts that also run where this package is not installed
from shapes import SHAPES, flops

from learner import PEERS, TRL, Way, measured
from rollouts import rollouts

PEAKS = {"H100 PCIe": 756, "H100 NVL": 835, "H200 NVL": 835, "H100": 989, "H200": 989, "A100": 312}
"""Dense bfloat16 TFLOP/s by a part of the device's name; the first that fits."""
BIN = 8192
VOCABULARY = 2000  # ids that rollouts use; the head has all of the shape's


def ways(shape: str, device: str) -> list[Way]:
    found = [Way("ours", (sys.executable, PEERS / "ours_gpu.py", "FOLDER", "STEPS", shape, device, str(BIN)))]
    if TRL.exists():
        for micro in ("8", "1"):
            command = (TRL, PEERS / "trl_step.py", "FOLDER", "STEPS", micro, shape, device)
            found.append(Way(f"TRL, micro-batch {micro}", command))
    return found


def filled(tokens: int) -> list[dict[str, Any]]:
    """Groups of 8 rollouts of together at most `tokens` tokens, and at least 95 % of them."""
    count = 8 * max(1, round(tokens / 400 / 8))
    for seed in itertools.count():
        drawn = rollouts(count, VOCABULARY, seed)
        if 0.95 * tokens <= sum(lengths(drawn)) <= tokens:
            return drawn
    raise AssertionError


def lengths(frozen: list[dict[str, Any]]) -> list[int]:
    return [len(one["prompt"]) + len(one["completion"]) for one in frozen]


def compare(shape: str, tokens: int, *, device: str, name: str, peak: float | None, steps: int) -> bool:
    """Print a line for each way; whether all came through. Raises `RuntimeError` if ours does not."""
    frozen = filled(tokens)
    trained = sum(sum(one["written"]) for one in frozen)
    work, whole = flops(SHAPES[shape], lengths(frozen), trained), True
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "rollouts.json").write_text(json.dumps(frozen))
        ours = 0.0
        for way in ways(shape, device):
            begin = f"| {dt.date.today()} | {name} | {shape} | {sum(lengths(frozen)):,} ({trained:,}) | {way.name} |"
            try:
                found = measured(way, folder, steps)
            except RuntimeError as exc:
                if way.name == "ours":
                    raise
                print(f"{begin} failed: {str(exc).strip().splitlines()[-1]} |", flush=True)
                whole = False
                continue
            seconds = statistics.median(found["seconds"])
            ours = ours or seconds
            use = f"{100 * work / seconds / peak / 1e12:.1f}" if peak else "–"
            print(
                f"{begin} {1000 * seconds:,.1f} | {seconds / ours:.2f} | {sum(lengths(frozen)) / seconds:,.0f} | "
                f"{trained / seconds:,.0f} | {use} | {found['peak_mb'] / 1024:.1f} |",
                flush=True,
            )
    return whole


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="+", default=[BIN], help="Of one update.")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--peak-tflops", type=float, help="Of the device in dense bfloat16, where the table lacks it.")
    parser.add_argument("--shape", nargs="+", default=["0.6B", "1.7B"], choices=list(SHAPES), help=argparse.SUPPRESS)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    import torch

    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("There is no GPU that torch can use here, so nothing was measured.")
        return 0
    name = torch.cuda.get_device_name() if arguments.device == "cuda" else "CPU"
    peak = arguments.peak_tflops or next((value for part, value in PEAKS.items() if part in name), None)
    if not TRL.exists():
        print(f"{TRL} is not there, so TRL is left out; `make test` builds it, and it needs a torch for the GPU.")
    if peak is None:
        print(f"The peak of {name} is not known, so its use is not given; say it by --peak-tflops.")
    print(
        "| day | device | shape | tokens (trained) | way | ms | times ours | tokens/s | trained tokens/s | MFU % | GB |"
    )
    print("|---|---|---|---|---|---:|---:|---:|---:|---:|---:|")
    whole = True
    for shape, tokens in itertools.product(arguments.shape, arguments.tokens):
        whole &= compare(shape, tokens, device=arguments.device, name=name, peak=peak, steps=arguments.steps)
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
