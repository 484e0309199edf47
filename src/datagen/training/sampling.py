"""Attempts at a batch of questions, under way at once and put back into their groups.

    groups = await sample_groups(engine, episodes, tasks, plan)

Seeds belong to (run, stage, draw, question, attempt): they are the same whatever else is under way, after a resume as
before, and no two requests share one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from datagen.records.ids import seed_for
from datagen.rollouts.collect import Task
from datagen.training.engines.base import Engine, Sampling
from datagen.training.episodes import Episodes
from datagen.training.rollout import Group, Rollout


@dataclass(frozen=True, slots=True)
class SamplingPlan:
    """How a batch is attempted."""

    address: str
    """Names the draw: run seed, stage, and number of the batch."""
    attempts: int
    temperature: float
    at_once: int = 128


async def sample_groups(engine: Engine, episodes: Episodes, tasks: Sequence[Task], plan: SamplingPlan) -> list[Group]:
    """One group for each question, in the order of the questions."""
    slots = asyncio.Semaphore(plan.at_once)

    async def attempt(task: Task, number: int) -> Rollout:
        seed = seed_for("attempt", plan.address, task.id, number) >> 1
        async with slots:
            return await episodes.attempt(
                engine,
                task,
                number=number,
                sampling=Sampling(temperature=plan.temperature, seed=seed),
                name=f"{plan.address}/{task.id}/{number}",
            )

    places = [(task, number) for task in tasks for number in range(plan.attempts)]
    made = await asyncio.gather(*(attempt(task, number) for task, number in places))
    each = plan.attempts
    return [Group(task.id, tuple(made[n * each : (n + 1) * each])) for n, task in enumerate(tasks)]
