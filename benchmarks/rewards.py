"""How many attempts are labelled and rewarded in a second on one core, and what the steering knobs steer.

    python -m benchmarks rewards --rollouts out/demo/run/rollouts

Rewards take an attempt that is labelled already, which is what a trainer has. The floor beside them decodes the same inputs
from JSON, since nobody gets them for less. Labelling by rules looks into every result and is measured apart.

The sweep lets an agent choose, for each setting of a knob, the number of calls that pays best among attempts of up to 64
steps, each call costing a little. What it settles on is what the knob steers.
"""

from __future__ import annotations

import argparse
import datetime as dt
import time
from dataclasses import asdict
from pathlib import Path

import orjson

from datagen.records.trajectory import StepLabel
from datagen.records.trajectory_rows import row_to_trajectory
from datagen.rollouts.evidence import clue_sources
from datagen.rollouts.format import check_events
from datagen.rollouts.labels import LabelSettings, label_calls
from datagen.rollouts.rewards import Counts, RewardInputs, StepReward, score_batch
from datagen.rollouts.rewards.steps import step_reward
from datagen.storage import read_parquet

REPEATS = 20
EFFORT = 0.002
"""What a call costs the agent of the sweep, in reward."""


def inputs_of(trajectories) -> list[RewardInputs]:
    return [
        RewardInputs(t.correct, check_events(t.transcript.events).valid, t.labels, t.clue_turns) for t in trajectories
    ]


def decoded(texts: list[bytes]) -> int:
    """The same inputs from JSON."""
    for text in texts:
        raw = orjson.loads(text)
        RewardInputs(
            raw["correct"], raw["format_ok"], [StepLabel(**label) for label in raw["labels"]], raw["clue_turns"]
        )
    return len(texts)


def rates(folder: Path) -> None:
    trajectories = [row_to_trajectory(row) for row in read_parquet(folder / "trajectories.parquet").to_pylist()[:1000]]
    inputs = inputs_of(trajectories)
    texts = [
        orjson.dumps(
            {
                "correct": i.correct,
                "format_ok": i.format_ok,
                "labels": [asdict(label) for label in i.labels or ()],
                "clue_turns": list(i.clue_turns),
            }
        )
        for i in inputs
    ]
    steps = sum(len(t.labels) for t in trajectories) / len(trajectories)
    print("| day | work | attempts/s | steps each |")
    print("|---|---|---:|---:|")
    for name, work in (
        ("all six rewards", lambda: score_batch(inputs)),
        ("decoding their inputs from JSON", lambda: decoded(texts)),
        ("the format check", lambda: inputs_of(trajectories)),
    ):
        started = time.perf_counter()
        for _ in range(REPEATS):
            work()
        rate = REPEATS * len(inputs) / (time.perf_counter() - started)
        print(f"| {dt.date.today()} | {name} | {rate:,.0f} | {steps:.1f} |", flush=True)
    run = folder.parent / "questions.parquet"
    if run.exists():
        sources = {row["id"]: clue_sources(row) for row in read_parquet(run).to_pylist()}
        started = time.perf_counter()
        for t in trajectories:
            label_calls(t.transcript.events, sources[t.question_id])
        rate = len(trajectories) / (time.perf_counter() - started)
        print(f"| {dt.date.today()} | labels by rules, evidence included | {rate:,.0f} | {steps:.1f} |")


def best_response(knobs: StepReward, depth: int) -> Counts:
    """The calls that pay best for an agent that cannot find the answer: new searches, new pages, checks of what it read."""

    def pays(counts: Counts) -> float:
        reward = step_reward(False, True, counts, knobs)
        return (reward or 0.0) - EFFORT * counts.steps

    family = [
        Counts(searches, 0, pages, min(checks, depth * pages), max(0, checks - depth * pages))
        for searches in range(0, 33, 1)
        for pages in range(0, 49, 2)
        for checks in range(0, 17, 4)
    ]
    return max(family, key=pays)


def sweep() -> None:
    print("\n| knob | setting | unique searches | explored pages | checks that count |")
    print("|---|---:|---:|---:|---:|")
    for cap in (4, 8, 16, 24):
        best = best_response(StepReward(search_cap=cap), 1)
        print(f"| C_S | {cap} | {best.unique_searches} | {best.explorations} | {best.verifications} |")
    for cap in (8, 16, 24, 32):
        best = best_response(StepReward(query_cap=cap), 1)
        print(f"| C_Q | {cap} | {best.unique_searches} | {best.explorations} | {best.verifications} |")


def relabelled(folder: Path) -> None:
    """Settings of the labelling over real attempts: each moves its own label."""
    rows = read_parquet(folder / "trajectories.parquet").to_pylist()[:300]
    run = folder.parent / "questions.parquet"
    if not run.exists():
        return
    sources = {row["id"]: clue_sources(row) for row in read_parquet(run).to_pylist()}
    trajectories = [row_to_trajectory(row) for row in rows]
    print("\n| labelling | UNIQUESEARCH | REDUNDANTSEARCH | EXPLORATION | VERIFICATION | REDUNDANTQUERY |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, settings in (
        ("default", LabelSettings()),
        ("B_v = 0", LabelSettings(verifications=0)),
        ("B_v = 2", LabelSettings(verifications=2)),
        ("B_v = 4", LabelSettings(verifications=4)),
        ("query overlap 0.5", LabelSettings(query_overlap=0.5)),
        ("result overlap 0.5", LabelSettings(result_overlap=0.5)),
        ("same page redundant", LabelSettings(same_url="redundant")),
    ):
        labels = [
            x.label for t in trajectories for x in label_calls(t.transcript.events, sources[t.question_id], settings)
        ]
        counts = (
            labels.count(n)
            for n in ("UNIQUESEARCH", "REDUNDANTSEARCH", "EXPLORATION", "VERIFICATION", "REDUNDANTQUERY")
        )
        print(f"| {name} | {' | '.join(f'{n:,}' for n in counts)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rollouts", type=Path, default=Path("out/demo/run/rollouts"))
    arguments = parser.parse_args()
    if (arguments.rollouts / "trajectories.parquet").exists():
        rates(arguments.rollouts)
        relabelled(arguments.rollouts)
    else:
        print(f"no rates: {arguments.rollouts} holds no attempts; `make dataset` makes some.")
    sweep()


if __name__ == "__main__":
    main()
