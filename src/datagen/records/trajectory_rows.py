"""Trajectories and preference pairs to table rows and back, in the columns of `records.schema`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from datagen.records.rows import Row
from datagen.records.trajectory import Event, Generation, Preference, Shown, StepLabel, Trajectory, Transcript

REWARDS = ("fathom", "fathom_steps", "webexplorer", "infoseek", "arpo", "clues")
"""Columns of the reward struct."""


def event_to_row(event: Event) -> Row:
    return {
        "turn": event.turn,
        "kind": event.kind,
        "text": event.text,
        "call_id": event.call_id,
        "tool": event.tool,
        "arguments": event.arguments,
        "error": event.error,
        "documents": [{"url": d.url, "page_id": d.page_id, "start": d.start, "end": d.end} for d in event.documents],
    }


def row_to_event(row: Mapping[str, Any]) -> Event:
    return Event(**{**row, "documents": tuple(Shown(**d) for d in row["documents"] or ())})


def events_of(rows: Iterable[Mapping[str, Any]] | None) -> tuple[Event, ...]:
    """The events of a row's list column."""
    return tuple(map(row_to_event, rows or ()))


def trajectory_to_row(trajectory: Trajectory) -> Row:
    """One row, without `spend` and `lineage`, which the run adds."""
    script = trajectory.transcript
    calls = [event.tool for event in script.events if event.kind == "call"]
    return {
        "id": trajectory.id,
        "question_id": trajectory.question_id,
        "question": trajectory.question,
        "expected": trajectory.expected,
        "recipe": trajectory.recipe,
        "policy": trajectory.policy,
        "attempt": trajectory.attempt,
        "answer": script.answer,
        "answer_key": script.answer_key,
        "correct": trajectory.correct,
        "answer_check": trajectory.answer_check,
        "verified": trajectory.verified,
        "shortcut": trajectory.shortcut,
        "termination": script.termination,
        "detail": script.detail,
        "clue_turns": list(trajectory.clue_turns),
        "seen_turn": trajectory.seen_turn,
        "said_turn": trajectory.said_turn,
        "n_turns": 1 + max((event.turn for event in script.events), default=-1),
        "n_searches": calls.count("search"),
        "n_visits": calls.count("visit"),
        "reward": {name: trajectory.rewards.get(name) for name in REWARDS},
        "step_labels": [asdict(label) | {"claims": list(label.claims)} for label in trajectory.labels],
        "events": list(map(event_to_row, script.events)),
        "generations": [
            asdict(g) | {"token_ids": list(g.token_ids), "logprobs": list(g.logprobs)} for g in script.generations
        ],
        "input_tokens": script.input_tokens,
        "output_tokens": script.output_tokens,
    }


def row_to_trajectory(row: Mapping[str, Any]) -> Trajectory:
    return Trajectory(
        id=row["id"],
        question_id=row["question_id"],
        question=row["question"],
        expected=row["expected"],
        recipe=row["recipe"],
        policy=row["policy"],
        attempt=row["attempt"],
        transcript=_transcript(row),
        correct=row["correct"],
        answer_check=row["answer_check"],
        clue_turns=tuple(row["clue_turns"] or ()),
        seen_turn=row["seen_turn"],
        said_turn=row["said_turn"],
        labels=tuple(StepLabel(**{**label, "claims": tuple(label["claims"] or ())}) for label in row["step_labels"]),
        rewards=dict(row["reward"]),
    )


def _transcript(row: Mapping[str, Any]) -> Transcript:
    return Transcript(
        events=events_of(row["events"]),
        answer=row["answer"],
        termination=row["termination"],
        answer_key=row["answer_key"],
        generations=tuple(
            Generation(**{**g, "token_ids": tuple(g["token_ids"]), "logprobs": tuple(g["logprobs"] or ())})
            for g in row["generations"] or ()
        ),
        input_tokens=row["input_tokens"],
        output_tokens=row["output_tokens"],
        detail=row["detail"],
    )


def preference_to_row(pair: Preference) -> Row:
    return {
        "id": pair.id,
        "question_id": pair.question_id,
        "question": pair.question,
        "kind": pair.kind,
        "rule": pair.rule,
        "detail": pair.detail,
        "prefix": list(map(event_to_row, pair.prefix)),
        "chosen": list(map(event_to_row, pair.chosen)),
        "rejected": list(map(event_to_row, pair.rejected)),
        "chosen_id": pair.chosen_id,
        "rejected_id": pair.rejected_id,
    }


def row_to_preference(row: Mapping[str, Any]) -> Preference:
    parts = {name: events_of(row[name]) for name in ("prefix", "chosen", "rejected")}
    return Preference(**{**row, **parts})
