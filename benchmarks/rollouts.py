"""How many attempts the programs make in a second, whole: solved, narrated, graded, labelled, rewarded, paired, written.

    python -m benchmarks rollouts --run out/demo/run --questions 300

The solvers alone (no log, no thoughts, no grading) run over the same questions in the same process just before: what the
data costs beside what the answers cost. Rates are per process; two processes on two cores share nothing but the snapshot.
"""

from __future__ import annotations

import argparse
import cProfile
import datetime as dt
import pstats
import tempfile
import time
from pathlib import Path

from datagen.agents.symbolic.bottomup import BottomUpSolver
from datagen.agents.symbolic.page_memory import Competence
from datagen.agents.symbolic.topdown import TopDownSolver
from datagen.knowledge.graph import FactGraph
from datagen.language.parse import Parser
from datagen.pipeline.casting import READINGS_KEPT
from datagen.pipeline.corpus import graph_folder
from datagen.pipeline.rolling import carry_on_rollouts
from datagen.pipeline.rollout_plan import RolloutPlan, plan_rollouts
from datagen.runs.directory import open_run
from datagen.runs.workers import process_pool, serial
from datagen.storage import read_parquet
from datagen.web.snapshot import Snapshot
from datagen.web.snapshot_web import SnapshotWeb

SOLVERS = {"topdown": TopDownSolver, "bottomup": BottomUpSolver}


def planned(run: Path, folder: Path, policy: str, questions: int, workers: int) -> RolloutPlan:
    config = open_run(str(run)).config
    wanted = {"policies": (policy,), "questions": questions, "attempts": 1}
    section = (config.rollouts or type(config).model_fields["rollouts"].annotation.__args__[0]()).model_copy(
        update=wanted
    )
    config = config.model_copy(update={"rollouts": section, "run": config.run.model_copy(update={"workers": workers})})
    return plan_rollouts(str(run), config, str(folder / f"{policy}-{workers}"))


def solving_alone(run: Path, policy: str, questions: int) -> float:
    """Seconds of the bare solver for the same questions, its readings empty at first as a worker's are."""
    config = open_run(str(run)).config
    snapshot = Snapshot.open(Path(config.web.snapshot))
    catalogue = FactGraph.load(graph_folder(snapshot, config.knowledge)).catalogue
    solver = SOLVERS[policy](Competence.of(catalogue, Parser(catalogue), READINGS_KEPT))
    web = SnapshotWeb(snapshot)
    texts = read_parquet(run / "questions.parquet", ["question"])["question"].to_pylist()[:questions]
    started = time.perf_counter()
    for text in texts:
        solver.solve(text, web)
    return time.perf_counter() - started


def whole(plan: RolloutPlan, workers: int) -> float:
    started = time.perf_counter()
    if workers == 1:
        carry_on_rollouts(plan, pool=serial)
    else:
        with process_pool(workers) as pool:
            carry_on_rollouts(plan, pool=pool)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("out/demo/run"))
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--profile", action="store_true", help="Where one process spends its time.")
    arguments = parser.parse_args()
    if not (arguments.run / "questions.parquet").exists():
        print(f"skipped: {arguments.run} holds no finished run; `make dataset` makes one.")
        return
    print(
        "| day | policy | processes | attempts | attempts/s | bare solver, one process: solves/s | ratio per process |"
    )
    print("|---|---|---|---|---|---|---|")
    for policy in ("topdown", "bottomup", "hasty"):
        bare = solving_alone(arguments.run, policy, arguments.questions) if policy in SOLVERS else None
        for workers in (1, arguments.workers):
            with tempfile.TemporaryDirectory() as folder:
                plan = planned(arguments.run, Path(folder), policy, arguments.questions, workers)
                profiler = cProfile.Profile() if arguments.profile and workers == 1 else None
                if profiler:
                    profiler.enable()
                seconds = whole(plan, workers)
                if profiler:
                    profiler.disable()
                    pstats.Stats(profiler).sort_stats("cumulative").print_stats(45)
            rate = plan.attempts / seconds
            beside = f"{plan.attempts / bare:.1f} | {rate / workers * bare / plan.attempts:.2f}" if bare else "- | -"
            print(f"| {dt.date.today()} | {policy} | {workers} | {plan.attempts} | {rate:.1f} | {beside} |", flush=True)


if __name__ == "__main__":
    main()
