"""A policy measured by itself: what `datagen evaluate` does, and what a flow calls.

examine("out/train/demo/model", ExamPlan(snapshot="out/demo/snapshot", questions=("out/demo/release",)))
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from transformers.utils.logging import disable_progress_bar

from datagen.config import DatagenConfig
from datagen.config.reinforcement import SamplingConfig
from datagen.config.training import EngineConfig
from datagen.training.course import MODEL_NAME
from datagen.training.engine_room import EngineRoom
from datagen.training.episodes import Episodes
from datagen.training.evaluating import evaluate_policy
from datagen.training.grading import Grader, assessor_of, reward_form
from datagen.training.policy_folder import is_policy, open_policy
from datagen.training.questions import open_questions
from datagen.training.recording.evaluations import EvaluationRecord, Mode
from datagen.training.reinforce import episode_limits
from datagen.training.running import training_of
from datagen.training.stages import sampling_of


@dataclass(frozen=True, slots=True)
class ExamPlan:
    """On what a policy is measured, and what it may spend."""

    snapshot: str
    questions: tuple[str, ...]
    """Release folders or files with a questions table, each a set of its own."""
    split: str = "test"
    count: int | None = None
    """Only so many questions of each, the first."""
    modes: tuple[Mode, ...] = ("greedy", "sampled", "no_search")
    attempts: int = 1
    """At each question, when sampled."""
    seed: int = 7
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    device: str = "auto"
    max_batch: int = 64


def policy_folder(path: str | Path) -> Path:
    """The policy itself, or the one that a training left in its directory."""
    inner = Path(path, MODEL_NAME)
    return inner if is_policy(inner) and not is_policy(path) else Path(path)


def examine(path: str | Path, plan: ExamPlan) -> list[EvaluationRecord]:
    """One record for each set of questions and each mode."""
    disable_progress_bar()  # type: ignore[no-untyped-call]
    folder = policy_folder(path)
    policy = open_policy(folder, plan.device)
    grader = Grader(assessor_of(), reward_form("vanilla"))
    room = EngineRoom.of(EngineConfig(max_batch=plan.max_batch), policy, folder)
    records = []
    try:
        for source in plan.questions:
            questions = open_questions((source,), split=plan.split, snapshot=plan.snapshot, count=plan.count)
            episodes = Episodes(
                questions.web, policy.framing, episode_limits(plan.sampling), grader.grade, grader.worth
            )
            for mode in plan.modes:
                work = evaluate_policy(
                    room.engine,
                    episodes,
                    questions.tasks.values(),
                    mode=mode,
                    seed=plan.seed,
                    attempts=plan.attempts,
                    at_once=plan.sampling.in_flight,
                    policy=str(path),
                    set_name=source,
                )
                records.append(room.wait(work))
    finally:
        room.close()
    return records


def examine_set(config: DatagenConfig, name: str, set_name: str) -> list[EvaluationRecord]:
    """A checkpoint of the cast on one set of [training.evaluation]: one record for each mode."""
    section = training_of(config)
    chosen = next(one for one in section.evaluation.sets if one.name == set_name)
    checkpoint = config.cast.checkpoints[name]
    plan = ExamPlan(
        snapshot=chosen.snapshot or config.web.snapshot,
        questions=(chosen.questions,),
        split=chosen.split,
        count=chosen.count,
        modes=section.evaluation.final_modes,
        attempts=section.evaluation.attempts,
        seed=section.seed,
        sampling=sampling_of(section),
        device=checkpoint.device,
        max_batch=checkpoint.max_batch,
    )
    return [replace(record, policy=name, set=set_name) for record in examine(checkpoint.path, plan)]
