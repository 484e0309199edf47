"""Runs made up for the tests of reports: figures of the shape that real runs have, drawn from a seed."""

from __future__ import annotations

import math
import random
from pathlib import Path

from datagen.records.trajectory import Event, Transcript
from datagen.training.monitors import Monitors
from datagen.training.recording import EvaluationRecord, Recorder
from datagen.training.report import Sample


def write_run(
    folder: Path,
    *,
    sft: int = 300,
    rl: int = 120,
    gain: float = 0.45,
    questions: int = 400,
    seed: int = 0,
    every: int = 20,
) -> Path:
    """A run of imitation and reinforcement, with alarms and measurements in three modes."""
    rng = random.Random(seed)
    with Recorder(folder, watchers=[Monitors()], tensorboard=False) as recorder:
        for step in range(1, sft + 1):
            recorder.record("sft", step, _sft_figures(step, sft, rng))
        for step in range(rl + 1):
            if step:
                recorder.record("rl", step, _rl_figures(step, rl, gain, rng))
            if step % every == 0:
                for record in _measured(step, rl, gain, questions, rng):
                    recorder.evaluation(record)
    return folder


def _sft_figures(step: int, steps: int, rng: random.Random) -> dict[str, float | None]:
    nll = 4.2 * math.exp(-5 * step / steps) + 0.15 + rng.gauss(0, 0.05)
    return {
        "loss": nll, "nll": nll, "likely": 1 - 0.9 * math.exp(-4 * step / steps), "grad_norm": 0.9 + abs(rng.gauss(0, 0.2)),
        "learning_rate": 3e-3 * min(1, step / 20) * (0.5 + 0.5 * math.cos(math.pi * step / steps)),
        "trained_tokens": 560.0, "forwarded_tokens": 2700.0, "tokens_per_s": 9800 + rng.gauss(0, 300), "learning_s": 0.28,
    }  # fmt: skip


def _rl_figures(step: int, steps: int, gain: float, rng: random.Random) -> dict[str, float | None]:
    rise = 1 / (1 + math.exp(-8 * (step / steps - 0.4)))
    right = min(0.97, 0.18 + gain * rise + rng.gauss(0, 0.04))
    return {
        "loss": rng.gauss(0, 0.02), "reward": 0.1 + 0.9 * right, "success": right, "entropy": 0.85 - 0.45 * rise + rng.gauss(0, 0.02),
        "grad_norm": 0.5 + abs(rng.gauss(0, 0.15)) + (9 if step == 71 else 0), "learning_rate": 1e-4,
        "kl_old_new": abs(rng.gauss(0.002, 0.001)), "kl_ref": 0.2 * rise + abs(rng.gauss(0, 0.005)),
        "logprob_gap": abs(rng.gauss(2e-5, 5e-6)), "logprob_gap_max": abs(rng.gauss(4e-4, 1e-4)), "ratio": 1.0,
        "clip_low": abs(rng.gauss(0.01, 0.004)), "clip_high": abs(rng.gauss(0.02, 0.006)),
        "logprob_positive": -0.4 + 0.2 * rise, "logprob_negative": -0.6 - 0.7 * rise + rng.gauss(0, 0.03),
        "zero_variance": 0.45 - 0.25 * rise + 0.35 * (step / steps) ** 3, "solved_groups": 0.05 + 0.4 * rise, "failed_groups": 0.4 - 0.35 * rise,
        "carrying": 150 + 60 * rise + rng.gauss(0, 8), "replayed": float(rng.randint(0, 6)), "replay_age": 3.0,
        "pool/active": 384 - 90.0 * (step // 40), "pool/pruned": 90.0 * (step // 40), "advantage_scale": 1.5,
        "tool_calls": 3.1 + 2 * rise, "searches": 1.9 + rise + rng.gauss(0, 0.05), "visits": 1.2 + rise + rng.gauss(0, 0.05), "turns": 4.0 + 2 * rise,
        "parse_failures": max(0.0, 0.12 * (1 - rise) + rng.gauss(0, 0.01)), "truncated": 0.36 - 0.3 * rise if step > 3 else 0.34,
        "infrastructure_failures": 0.0 if step % 30 else 0.02, "answered": 0.64 + 0.3 * rise, "tokens_per_rollout": 60 + 30 * rise + rng.gauss(0, 2),
        "staleness": 0.0, "staleness_max": 0.0, "waiting": 0.31 + rng.gauss(0, 0.02), "sampling_s": 2.2 + rng.gauss(0, 0.1), "learning_s": 1.3,
        "sync_s": 0.01, "trained_tokens": 15000.0, "forwarded_tokens": 52000.0, "sampled_tokens": 15400.0, "tokens_per_s": 40000 + rng.gauss(0, 900),
        "sampled_tokens_per_s": 7000 + rng.gauss(0, 200), "memory_mb": 812.0,
    }  # fmt: skip


def _measured(step: int, steps: int, gain: float, questions: int, rng: random.Random) -> list[EvaluationRecord]:
    rise = 1 / (1 + math.exp(-8 * (step / steps - 0.4)))
    rng = rng if step else random.Random(0)  # all runs have one start
    gain = gain if step else 0.45
    shares = {"greedy": 0.22 + gain * rise, "sampled": 0.16 + 0.9 * gain * rise, "no_search": 0.008}
    records = []
    for mode, share in shares.items():
        ids = range(questions)
        ease = [random.Random(number).random() for number in ids]  # of a question, the same for every policy
        outcomes = {
            f"q{n:04d}": [ease[n] + rng.gauss(0, 0.12) < share if share > 0.1 else rng.random() < share] for n in ids
        }
        if mode == "greedy":
            outcomes["q0000"] = [None]
        halves = {"2 hops": range(0, questions, 2), "3 hops": range(1, questions, 2)}
        groups = {name: (sum(bool(outcomes[f"q{n:04d}"][0]) for n in part), len(part)) for name, part in halves.items()}
        records.append(
            EvaluationRecord.of(
                "rl" if step else "sft", "held-out world", mode, outcomes, phase="rl", step=step, seconds=12.0,
                searches=0.0 if mode == "no_search" else 2 + rise, visits=0.0 if mode == "no_search" else 1 + rise, turns=3.0,
                tokens=64.0 + 20 * rise, by_group=groups,
            )
        )  # fmt: skip
    return records


def samples() -> list[Sample]:
    """Three right and three wrong attempts; one holds markup."""
    found = '{"results": [{"title": "Aljur", "host": "ledger.example", "url": "https://ledger.example/a", "snippet": "A lake fed by the Orrin <b>river</b>."}]}'
    page = '{"title": "Orrin", "host": "ledger.example", "text": "The Orrin is a river of 212 km. It flows into Lake Aljur. Towns on its banks: Veltrin, Sabbad."}'
    made = []
    for number in range(6):
        right = number % 2 == 0
        answer = "Lake Aljur" if right else "<script>alert(1)</script> Lake Orrin"
        events = (
            Event(0, "thought", "Which river flows past Veltrin?"),
            Event(0, "call", tool="search", call_id="c0", arguments='{"query": "river Veltrin banks"}'),
            Event(0, "result", found, tool="search", call_id="c0"),
            Event(1, "call", tool="visit", call_id="c1", arguments='{"url": "https://ledger.example/orrin"}'),
            Event(1, "result", page, tool="visit", call_id="c1"),
            *(
                ()
                if right
                else (Event(2, "malformed", "<visit> Orrin"), Event(2, "note", "That was no call and no answer."))
            ),
            Event(3, "answer", answer),
        )
        question = f"Name the lake that receives the waters of a river on whose banks Veltrin stands. ({number + 1})"
        made.append(
            Sample(question, "Lake Aljur", right, Transcript(events, answer, "answered"), "rl", 1.0 if right else 0.1)
        )
    return made
