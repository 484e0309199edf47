"""Check the attempts of a release from outside: every tool result is the snapshot's own, every grade follows from the text.

Each call of a trajectory is made again on the snapshot and must bring what the log says it brought. So nobody has to
believe that a trajectory was not written by hand: whatever a policy is shown to have seen, the frozen web really shows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from datagen.agents.budget import Budget
from datagen.agents.desk import Desk
from datagen.clients.chat import ToolCall
from datagen.errors import ReleaseError
from datagen.knowledge.answer_forms import is_correct
from datagen.records.question_rows import ANSWER_COLUMNS, answer_of
from datagen.records.schema import arrow_schema
from datagen.records.trajectory import MODEL_KINDS
from datagen.storage import read_batches, read_parquet
from datagen.web.snapshot import Snapshot
from datagen.web.snapshot_web import SnapshotWeb
from datagen.web.tools import Web

Row = Mapping[str, Any]
Watch = Callable[[int, int], None]
UNSPENT = Budget(searches=1 << 30, visits=1 << 30)
REFUSED = frozenset({"budget_spent", "unknown_tool", "bad_arguments", "too_many_calls"})
"""Errors that say something of the attempt, not of the web."""
ADDED = ("notice",)
"""Keys that the program puts into a result beside what the web said."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that does not hold; `row` is the id of a row, or a file name."""

    row: str
    sentence: str


@dataclass(frozen=True, slots=True)
class AttemptVerification:
    """What was checked, and what did not hold."""

    trajectories: int
    calls: int
    faults: tuple[Fault, ...]


def verify_attempts(
    folder: Path, snapshot_dir: Path, watch: Watch | None = None, *, at_most: int | None = None
) -> AttemptVerification:
    """Check trajectories and pairs of a release; `at_most` so many of them, spread evenly over the table."""
    paths = sorted((folder / "data" / "trajectories").glob("*.parquet"))
    total = sum(read_parquet(path, ["id"]).num_rows for path in paths)
    every = max(1, -(-total // at_most)) if at_most else 1
    web = SnapshotWeb(Snapshot.open(snapshot_dir))
    questions = _questions(folder)
    faults: list[Fault] = []
    checked = calls = 0
    for number, (split, row) in enumerate(_rows(paths)):
        if number % every:
            continue
        place = questions.get(row["question_id"])
        faults += [Fault(row["id"], said) for said in _faults(split, row, place, web)]
        calls += sum(event["kind"] == "call" for event in row["events"])
        checked += 1
        if watch is not None:
            watch(checked, -(-total // every))
    faults += [Fault(pair, said) for pair, said in _pair_faults(folder)]
    return AttemptVerification(checked, calls, tuple(faults))


def _questions(folder: Path) -> dict[str, tuple[str, Row]]:
    columns = ["id", "question", *ANSWER_COLUMNS]
    return {
        row["id"]: (path.name.split("-")[0], row)
        for path in sorted((folder / "data" / "qa").glob("*.parquet"))
        for row in read_parquet(path, columns).to_pylist()
    }


def _rows(paths: Sequence[Path]) -> Iterator[tuple[str, Row]]:
    for path in paths:
        for batch in read_batches(path, rows=100):
            if not batch.schema.equals(arrow_schema("trajectories")):
                raise ReleaseError(
                    f"{path} does not have the schema of trajectories; it was written by another version."
                )
            yield from ((path.name.split("-")[0], row) for row in batch.to_pylist())


def _faults(split: str, row: Row, place: tuple[str, Row] | None, web: Web) -> Iterator[str]:
    if place is None:
        yield f"its question {row['question_id']} is not in the release."
        return
    if place[0] != split:
        yield f"it lies in {split}, and its question in {place[0]}."
    if row["question"] != place[1]["question"]:
        yield "its question has other words than the one it names."
    yield from _grade_faults(row, place[1])
    yield from _log_faults(row["events"], web)


def _grade_faults(row: Row, question: Row) -> Iterator[str]:
    """A grade that words or values decide is decided again; what a judge said is left to the judge."""
    if row["answer_check"] in ("judge", "errored"):
        return
    right = is_correct(answer_of(question), row["answer"], row["answer_key"])
    if row["correct"] is not right:
        yield f"it is graded {row['correct']}, and {row['answer']!r} for {question['answer']!r} is {right}."
    if row["verified"] and (not right or not row["clue_turns"] or None in row["clue_turns"]):
        yield "it is called verified without a right answer and a turn for every clue."


def _log_faults(events: Sequence[Row], web: Web) -> Iterator[str]:
    """Turns in order, a result for a call, and every result as the snapshot gives it."""
    calls: dict[str, Row] = {}
    last = 0
    for event in events:
        if event["turn"] < last:
            yield f"turn {event['turn']} stands after turn {last}."
        last = event["turn"]
        if event["kind"] == "call":
            calls[event["call_id"]] = event
        elif event["kind"] == "result":
            call = calls.pop(event["call_id"], None)
            if call is None:
                yield f"a result of turn {event['turn']} answers no call."
            elif event["error"] not in REFUSED and not _is_what_the_web_says(call, event, web):
                yield f"turn {event['turn']}: {call['tool']} {call['arguments']} brings something else on this snapshot."
        elif event["kind"] not in MODEL_KINDS and event["kind"] != "note":
            yield f"there is no event of the kind {event['kind']!r}."


def _is_what_the_web_says(call: Row, result: Row, web: Web) -> bool:
    desk = Desk(web, UNSPENT, "answer")
    told = desk.answer(ToolCall(call["call_id"], call["tool"] or "", call["arguments"] or ""))
    if told.text == result["text"]:
        return True
    try:
        logged = orjson.loads(result["text"])
    except json.JSONDecodeError:
        return False
    said = {key: value for key, value in logged.items() if key not in ADDED}
    return bool(said == orjson.loads(told.text))


def _pair_faults(folder: Path) -> Iterator[tuple[str, str]]:
    """Both sides of a pair are attempts at its question, and the rejected one is never the only right one."""
    attempts: dict[str, Row] = {}
    for path in sorted((folder / "data" / "trajectories").glob("*.parquet")):
        for row in read_parquet(path, ["id", "question_id", "correct"]).to_pylist():
            attempts[row["id"]] = row
    for path in sorted((folder / "data" / "preferences").glob("*.parquet")):
        for pair in read_parquet(path, ["id", "question_id", "chosen_id", "rejected_id"]).to_pylist():
            sides = [attempts.get(pair[name]) for name in ("chosen_id", "rejected_id")]
            if any(side is None or side["question_id"] != pair["question_id"] for side in sides):
                yield pair["id"], "one of its sides is no attempt at its question."
            elif sides[1] and sides[0] and sides[1]["correct"] and not sides[0]["correct"]:
                yield pair["id"], "it prefers a wrong attempt to a right one."
