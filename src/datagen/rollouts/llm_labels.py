"""What each tool call was worth, by a model: the same labels as `rollouts.labels`, from the same log.

The model sees the question and, for every call, its arguments and the beginning of what it brought. It says one label for
each call; a reply that leaves one out, or gives a search the label of a visit, is corrected. Where no usable reply comes,
`UnusableReplyError` is raised: labels are never made up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from typing import Literal as OneOf

import orjson
from pydantic import BaseModel, Field

from datagen.agents.llm.voice import Voice, draw
from datagen.records.trajectory import Event, StepLabel

SHOWN_CHARS = 500
"""Characters of each result that the model sees."""
HITS_SHOWN = 6
OF_SEARCHES = frozenset({"UNIQUESEARCH", "REDUNDANTSEARCH"})


class CallLabel(BaseModel):
    call: int = Field(ge=0)
    reason: str = Field(max_length=300)
    label: OneOf["UNIQUESEARCH", "REDUNDANTSEARCH", "EXPLORATION", "VERIFICATION", "REDUNDANTQUERY"]


class CallLabels(BaseModel):
    labels: tuple[CallLabel, ...]


class LlmLabeller:
    """Labels whole attempts, one request each."""

    def __init__(self, voice: Voice, *, verifications: int = 1) -> None:
        self.name = voice.model.name
        self._voice = voice
        self._verifications = verifications

    def label(self, question: str, events: Sequence[Event]) -> tuple[StepLabel, ...]:
        """One label for each call, in order; calls of other tools have none."""
        calls = [event for event in events if event.kind == "call"]
        shown = calls_shown(events)
        if not shown:
            return tuple(_unlabelled(number, call) for number, call in enumerate(calls))
        asked = self._voice.ask(
            "step_labels",
            CallLabels,
            seed=draw("step_labels", question, *(call["text"] for call in shown)),
            problems=lambda reply: problems_of(reply, shown),
            question=question,
            calls=shown,
            verifications=self._verifications,
        )
        by_call = {label.call: label for label in asked.value.labels}
        return tuple(
            StepLabel(number, call.turn, by_call[number].label, (), by_call[number].reason)
            if number in by_call
            else _unlabelled(number, call)
            for number, call in enumerate(calls)
        )


def _unlabelled(number: int, call: Event) -> StepLabel:
    return StepLabel(number, call.turn, None, (), "other_tool")


def calls_shown(events: Sequence[Event]) -> list[dict[str, Any]]:
    """What the model is shown of every search and visit."""
    results = {event.call_id: event for event in events if event.kind == "result"}
    calls = [event for event in events if event.kind == "call"]
    return [
        {"number": number, "turn": call.turn, "tool": call.tool, "text": _shown(call, results.get(call.call_id))}
        for number, call in enumerate(calls)
        if call.tool in ("search", "visit")
    ]


def _shown(call: Event, result: Event | None) -> str:
    return f"{call.arguments or ''}\n-> {_digest(result) if result is not None else 'no result'}"


def _digest(result: Event) -> str:
    try:
        raw = orjson.loads(result.text)
    except orjson.JSONDecodeError:
        return result.text[:SHOWN_CHARS]
    if not isinstance(raw, dict):
        return result.text[:SHOWN_CHARS]
    if "error" in raw:
        return f"error {raw['error']}: {raw.get('message', '')}"
    if "results" in raw:
        lines = [f"{hit['title']} <{hit['url']}> {hit['snippet'][:120]}" for hit in raw["results"][:HITS_SHOWN]]
        return "\n".join(lines) or "no pages"
    return f"{raw.get('title', '')} <{raw.get('url', '')}>\n{str(raw.get('text', ''))[:SHOWN_CHARS]}"


def problems_of(reply: CallLabels, shown: Sequence[dict[str, Any]]) -> list[str]:
    """What is wrong with a reply that fits the schema."""
    wanted = {call["number"]: call["tool"] for call in shown}
    numbers = [label.call for label in reply.labels]
    found = []
    missing = [str(number) for number in wanted if number not in numbers]
    if missing:
        found.append(f"These calls have no label: {', '.join(missing)}.")
    if len(set(numbers)) < len(numbers) or not set(numbers) <= set(wanted):
        found.append("Every call has exactly one label, under its own number.")
    wrong = [
        str(n.call)
        for n in reply.labels
        if n.call in wanted and (n.label in OF_SEARCHES) != (wanted[n.call] == "search")
    ]
    if wrong:
        found.append(f"These calls have a label of the other tool: {', '.join(wrong)}.")
    return found
