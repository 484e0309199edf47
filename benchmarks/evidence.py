"""How many attempts a second are looked through for evidence and for their answer, and paired.

    python -m benchmarks evidence --rollouts out/demo/rollouts --run out/demo/run --snapshot out/demo/snapshot

Beside it stands the physical limit of reading what the attempts were shown: parsing the JSON of every result, and nothing
else. One process; attempts are in memory before the clock starts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import orjson

from datagen.records.trajectory_rows import row_to_trajectory
from datagen.rollouts.evidence import answer_turns, clue_sources, clue_turns
from datagen.rollouts.pairs import preference_pairs
from datagen.rollouts.restatements import Restatements
from datagen.storage import read_parquet


def rate(count: int, work: Callable[[], object]) -> float:
    """Attempts per second, the better of two passes."""
    passes = []
    for _ in range(2):
        started = time.perf_counter()
        work()
        passes.append(time.perf_counter() - started)
    return count / min(passes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rollouts", type=Path, default=Path("out/demo/rollouts"))
    parser.add_argument("--run", type=Path, default=Path("out/demo/run"))
    parser.add_argument("--snapshot", type=Path, default=Path("out/demo/snapshot"))
    parser.add_argument("--attempts", type=int, default=900)
    arguments = parser.parse_args()
    table = arguments.rollouts / "trajectories.parquet"
    if not table.exists():
        print(f"skipped: {arguments.rollouts} holds no attempts; `datagen rollout {arguments.run}` makes some.")
        return
    attempts = list(map(row_to_trajectory, read_parquet(table).slice(0, arguments.attempts).to_pylist()))
    rows = read_parquet(arguments.run / "questions.parquet").to_pylist()
    facts = Restatements.read(arguments.snapshot, rows)
    listed = {row["id"]: clue_sources(row) for row in rows}
    every = {row["id"]: clue_sources(row, facts) for row in rows}
    about = {row["id"]: facts.answer_names(row) for row in rows}
    shown = [e.text for a in attempts for e in a.transcript.events if e.kind == "result"]
    chars = sum(map(len, shown))
    count = len(attempts)
    print(f"{count:,} attempts, {len(shown) / count:.1f} results and {chars / count:,.0f} characters of them each\n")
    rates = {
        "limit: JSON of the results": rate(count, lambda: [orjson.loads(text) for text in shown]),
        "clue turns, listed places": rate(
            count, lambda: [clue_turns(a.transcript.events, listed[a.question_id]) for a in attempts]
        ),
        "clue turns, every place": rate(
            count, lambda: [clue_turns(a.transcript.events, every[a.question_id]) for a in attempts]
        ),
        "answer turns": rate(
            count,
            lambda: [
                answer_turns(a.transcript.events, (a.expected,), a.question, about=about[a.question_id])
                for a in attempts
            ],
        ),
        "pairs": rate(count, lambda: preference_pairs(attempts)),
    }
    limit = rates["limit: JSON of the results"]
    for name, value in rates.items():
        print(f"{name:<30}{value:>10,.0f} attempts/s{value / limit:>8.2f} of the limit")


if __name__ == "__main__":
    main()
