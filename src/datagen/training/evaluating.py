"""How often a policy is right, on questions that it does not learn from.

    record = await evaluate_policy(engine, episodes, tasks, mode="greedy", policy="rl", set_name="held-out")
    record.success, record.interval()        0.83, 0.83 [0.80, 0.86]

    greedy      the likeliest token, one attempt
    sampled     a temperature of 1, `attempts` at each question
    no_search   an answer at once, without tools: what can be guessed, so that the rest can be credited to searching

Attempts that the infrastructure broke are counted apart and never as wrong.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from statistics import mean

from datagen.records.ids import seed_for
from datagen.rollouts.collect import Task
from datagen.training.engines.base import Engine, Sampling
from datagen.training.episodes import Episodes
from datagen.training.recording.evaluations import EvaluationRecord, Mode
from datagen.training.rollout import Rollout

AT_ONCE = 256
"""Attempts under way at once."""


async def evaluate_policy(
    engine: Engine,
    episodes: Episodes,
    tasks: Iterable[Task],
    *,
    mode: Mode = "greedy",
    seed: int = 0,
    attempts: int = 1,
    at_once: int = AT_ONCE,
    policy: str = "policy",
    set_name: str = "questions",
    phase: str = "",
    step: int = 0,
) -> EvaluationRecord:
    """Attempt every question and count. Equal seeds and weights give equal records, timing aside.

    `attempts` at each question are made only where they can differ: when sampled.
    """
    begun = time.perf_counter()
    tries = attempts if mode == "sampled" else 1
    places = [(task, number) for task in tasks for number in range(tries)]
    slots = asyncio.Semaphore(at_once)

    async def attempt(task: Task, number: int) -> Rollout:
        drawn = seed_for(seed, "evaluation", mode, task.id, number) >> 1
        sampling = Sampling(temperature=1.0 if mode == "sampled" else 0.0, seed=drawn)
        async with slots:
            name = f"{phase or policy}-{step}-{mode}-{task.id}-{number}"
            return await episodes.attempt(
                engine, task, number=number, sampling=sampling, tools=mode != "no_search", name=name
            )

    made = await asyncio.gather(*(attempt(task, number) for task, number in places))
    recipes = {task.id: task.recipe for task, _ in places}
    return EvaluationRecord.of(
        policy,
        set_name,
        mode,
        _outcomes(made),
        phase=phase,
        step=step,
        seconds=time.perf_counter() - begun,
        by_group=_by_group(made, recipes),
        **_means([rollout for rollout in made if rollout.correct is not None]),
    )


def _outcomes(made: Sequence[Rollout]) -> dict[str, list[bool | None]]:
    outcomes: dict[str, list[bool | None]] = {}
    for rollout in made:
        outcomes.setdefault(rollout.question_id, []).append(rollout.correct)
    return outcomes


def _by_group(made: Sequence[Rollout], recipes: Mapping[str, str]) -> dict[str, tuple[int, int]]:
    groups: dict[str, tuple[int, int]] = {}
    for rollout in made:
        if rollout.correct is not None:
            right, n = groups.get(recipes[rollout.question_id], (0, 0))
            groups[recipes[rollout.question_id]] = (right + rollout.correct, n + 1)
    return groups


def _means(graded: Sequence[Rollout]) -> dict[str, float | None]:
    names = ("searches", "visits", "turns", "tokens")
    return {name: mean(getattr(rollout, name) for rollout in graded) if graded else None for name in names}


def comparison_rows(records: Sequence[EvaluationRecord]) -> list[tuple[str, ...]]:
    """A line for each record: policy, set, mode, success with its 95 % interval, attempts, failures, calls, tokens."""
    return [
        (
            record.policy,
            record.set,
            record.mode_name,
            _success(record),
            f"{record.right:,} of {record.n:,}",
            f"{record.failures:,}",
            _number(record.searches),
            _number(record.visits),
            _number(record.tokens),
        )
        for record in records
    ]


COLUMNS = ("policy", "questions", "mode", "success (95 %)", "right", "failed", "searches", "visits", "tokens")
"""Heads of `comparison_rows`."""


def _success(record: EvaluationRecord) -> str:
    interval = record.interval()
    if interval is None:
        return "not measured"
    return f"{interval.value:.1%} [{interval.low:.1%}, {interval.high:.1%}]"


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.1f}"
