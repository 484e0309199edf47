"""Attempts as the record browser shows them: every turn, with results cut to what a reader needs to follow them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from datagen.storage import read_batches

Row = Mapping[str, Any]
View = dict[str, Any]
QUESTIONS_WITH_ATTEMPTS = 80
"""The first questions of the browser show theirs; an attempt of thirty calls takes ten kilobytes."""
PER_QUESTION = 2
"""Attempts of one question that are shown: a verified one first, then one that went wrong."""
HITS_SHOWN = 5
TEXT_SHOWN = 200
COLUMNS = [
    "id", "question_id", "policy", "attempt", "answer", "correct", "verified", "shortcut", "termination", "clue_turns",
    "seen_turn", "said_turn", "step_labels", "reward", "events",
]  # fmt: skip


def views_of(url: str, question_ids: Sequence[str]) -> dict[str, list[View]]:
    """Question id -> its attempts to show, from the trajectories table."""
    wanted = pa.array(question_ids, pa.string())
    best: dict[str, dict[bool, Row]] = {}
    for row in _rows(url, wanted):
        kinds = best.setdefault(row["question_id"], {})
        good = bool(row["verified"])
        kept = kinds.get(good)
        if kept is None or (not good and kept["correct"] and row["correct"] is False):
            kinds[good] = row
    return {
        q: [view_of(kinds[good]) for good in (True, False) if good in kinds][:PER_QUESTION] for q, kinds in best.items()
    }


def _rows(url: str, wanted: pa.Array[Any]) -> Iterator[Row]:
    for batch in read_batches(url, COLUMNS, rows=200):
        yield from batch.filter(pc.is_in(batch.column("question_id"), value_set=wanted)).to_pylist()


def view_of(row: Row) -> View:
    """One attempt, its results shortened."""
    labels = {label["call"]: label["label"] for label in row["step_labels"]}
    events, call = [], 0
    for event in row["events"]:
        shown = event_view(event)
        if event["kind"] == "call":
            shown["label"] = labels.get(call)
            call += 1
        events.append(shown)
    kept = (
        "id",
        "policy",
        "attempt",
        "answer",
        "correct",
        "verified",
        "shortcut",
        "termination",
        "clue_turns",
        "reward",
    )
    return {name: row[name] for name in kept} | {"events": events}


def event_view(event: Row) -> View:
    """One event in a few words."""
    view: View = {"turn": event["turn"], "kind": event["kind"]}
    if event["kind"] == "call":
        return view | {"tool": event["tool"], "text": _arguments(event["arguments"])}
    if event["kind"] == "result":
        return view | {"tool": event["tool"], "text": _result(event)}
    return view | {"text": event["text"]}


def _arguments(text: str | None) -> str:
    """What was asked for: `late medieval bridges` instead of {"query": "late medieval bridges", "top_k": 8}."""
    try:
        given = orjson.loads(text or "")
    except orjson.JSONDecodeError:
        return text or ""
    if not isinstance(given, dict):
        return text or ""
    first = str(given.get("query") or given.get("url") or "")
    rest = {k: v for k, v in given.items() if k in ("offset", "goal") and v}
    return first + "".join(f"  {name}: {value}" for name, value in rest.items())


def _result(event: Row) -> str:
    try:
        raw = orjson.loads(event["text"])
    except orjson.JSONDecodeError:
        return _cut(event["text"])
    if "results" in raw:
        hits = raw["results"]
        more = f"\n… and {len(hits) - HITS_SHOWN} more" if len(hits) > HITS_SHOWN else ""
        lines = [f"{hit['title']} — {hit['host']}: {_cut(hit['snippet'], 120)}" for hit in hits[:HITS_SHOWN]]
        return "\n".join(lines) + more if lines else "no results"
    if "error" in raw:
        return f"{raw['error']}: {raw.get('message', '')}"
    return f"{raw.get('title', '')} — {raw.get('host', '')}\n{_cut(raw.get('text', ''))}"


def _cut(text: str, limit: int = TEXT_SHOWN) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= limit else plain[: plain.rfind(" ", 0, limit)] + " …"
