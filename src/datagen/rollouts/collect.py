"""One attempt, from the question to a graded trajectory.

    task = Task.of(row)                                    a row of the questions table
    policy.roll_out(task.question, web, ...)               what was done, as a log
    assessor.assess(task, "topdown", 0, script)            is it right? which turn evidenced which clue? what was each
                                                           call worth? what are the rewards?

Assessing is a pure function of the log, so old logs can be assessed anew with other settings. What the infrastructure
breaks is kept apart from what the policy gets wrong: an attempt that could not be made, or not be graded, has no grade
and no reward, and is never counted as a failure.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from datagen.agents.budget import Limits
from datagen.agents.roles import Judge, Policy
from datagen.errors import DatagenError, RetriesExhaustedError, UnusableReplyError
from datagen.knowledge.answer_forms import accepted_forms
from datagen.records.ids import content_id
from datagen.records.question import Answer
from datagen.records.question_rows import answer_of
from datagen.records.trajectory import StepLabel, Trajectory, Transcript
from datagen.records.trajectory_rows import event_to_row
from datagen.rollouts.evidence import ClueSource, answer_turns, clue_sources, clue_turns
from datagen.rollouts.format import check_events
from datagen.rollouts.labels import LabelSettings, label_calls
from datagen.rollouts.llm_labels import LlmLabeller
from datagen.rollouts.restatements import Restatements
from datagen.rollouts.rewards import RewardInputs, StepReward, check_answer, score_all
from datagen.web.tools import Web

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Task:
    """A question with what is needed to grade attempts at it; the policy sees `question` and nothing else."""

    id: str
    question: str
    recipe: str
    answer: Answer
    sources: tuple[ClueSource, ...]
    about: tuple[str, ...] = ()
    """Names of the thing whose date or number is asked for, where they are known."""

    @classmethod
    def of(cls, row: Mapping[str, Any], facts: Restatements | None = None) -> Task:
        """`facts` add every page that states a clue to the few that the row lists."""
        about = facts.answer_names(row) if facts is not None else ()
        return cls(row["id"], row["question"], row["recipe"], answer_of(row), clue_sources(row, facts), about)


@dataclass(frozen=True, slots=True)
class Assessor:
    """Grades attempts."""

    judge: Judge | None = None
    """Decides where words and values do not; without one such answers are wrong."""
    labels: LabelSettings = field(default_factory=LabelSettings)
    labeller: LlmLabeller | None = None
    """Labels the calls instead of the rules."""
    step_reward: StepReward = field(default_factory=StepReward)

    def assess(self, task: Task, policy: str, attempt: int, script: Transcript) -> Trajectory:
        """Everything that can be said of an attempt from its log."""
        broken = script.termination == "error"
        checked = check_answer(task.answer, script.answer, script.answer_key, self.judge, task.question)
        correct, how = (None, "errored") if broken else (checked.correct, checked.how)
        turns = clue_turns(script.events, task.sources)
        seen, said = answer_turns(script.events, accepted_forms(task.answer), question=task.question, about=task.about)
        labels = self._labels(task, script)
        inputs = RewardInputs(
            correct=correct, format_ok=check_events(script.events).valid, labels=labels, clue_turns=turns
        )
        return Trajectory(
            id=trajectory_id(task.id, policy, attempt, script),
            question_id=task.id,
            question=task.question,
            expected=task.answer.text,
            recipe=task.recipe,
            policy=policy,
            attempt=attempt,
            transcript=script,
            correct=correct,
            answer_check=how,
            clue_turns=turns,
            seen_turn=seen,
            said_turn=said,
            labels=labels or (),
            rewards=score_all(inputs, self.step_reward),
        )

    def _labels(self, task: Task, script: Transcript) -> tuple[StepLabel, ...] | None:
        """One for each call; None where a model was to label them and could not."""
        if self.labeller is None:
            return label_calls(script.events, task.sources, self.labels)
        try:
            return self.labeller.label(task.question, script.events)
        except (UnusableReplyError, RetriesExhaustedError) as exc:
            log.warning("the calls of an attempt at %s have no labels: %s", task.id, exc)
            return None


def trajectory_id(question_id: str, policy: str, attempt: int, script: Transcript) -> str:
    """Equal attempts have equal ids."""
    return content_id(
        "tr1",
        {
            "question": question_id,
            "policy": policy,
            "attempt": attempt,
            "events": list(map(event_to_row, script.events)),
            "answer": script.answer,
            "termination": script.termination,
        },
    )


def roll_out(task: Task, policy: Policy, web: Web, *, attempt: int, limits: Limits) -> Transcript:
    """One attempt. What concerns this attempt alone becomes a transcript that ends in "error"; what ends a run is raised.

    Attempts are reproducible, so one that breaks the program would break every resume of the run as well.
    """
    try:
        return policy.roll_out(task.question, web, attempt=attempt, limits=limits)
    except RetriesExhaustedError as exc:
        return Transcript((), None, "error", detail=str(exc))
    except DatagenError:
        raise
    except Exception as exc:
        log.exception("attempt %d of %s at %s broke", attempt, policy.name, task.id)
        return Transcript((), None, "error", detail=f"{type(exc).__name__}: {exc}")
