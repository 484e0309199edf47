"""The form of a log: every turn is made of calls that can be read, each with its result, or of the answer, and the answer is
the last thing in it. What the web answered does not matter: a page that is not there is no fault of form.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import orjson

from datagen.records.trajectory import Event
from datagen.rollouts.faults import Fault, FormatVerdict

TOOLS = frozenset({"search", "visit"})


def check_events(events: Sequence[Event]) -> FormatVerdict:
    """Check a log."""
    faults = tuple(_faults(events))
    answers = [event for event in events if event.kind == "answer"]
    last = answers[-1].text if answers and answers[-1] is events[-1] else None
    return FormatVerdict(not faults, faults, last if last and last.strip() else None)


def _faults(events: Sequence[Event]) -> Iterator[Fault]:
    if not events:
        yield Fault("empty", 0, "nothing was said")
        return
    yield from _order_faults(events)
    yield from _call_faults(events)
    yield from _answer_faults(events)


def _order_faults(events: Sequence[Event]) -> Iterator[Fault]:
    last = events[0].turn
    for event in events:
        if event.turn < last:
            yield Fault("turn_order", event.turn, f"turn {event.turn} stands after turn {last}")
        last = event.turn
        if event.kind == "malformed":
            yield Fault("malformed_turn", event.turn, "a turn is neither a call nor an answer")
    acted = {event.turn for event in events if event.kind in ("call", "answer", "malformed")}
    for event in events:
        if event.kind == "thought" and event.turn not in acted:
            yield Fault("malformed_turn", event.turn, "a turn has neither a call nor an answer")


def _call_faults(events: Sequence[Event]) -> Iterator[Fault]:
    waiting: dict[str | None, Event] = {}
    for event in events:
        if event.kind == "call":
            waiting[event.call_id] = event
            if event.tool not in TOOLS:
                yield Fault("unknown_tool", event.turn, f"there is no tool {event.tool!r}")
            if not _is_object(event.arguments):
                yield Fault("bad_arguments", event.turn, "the arguments of a call are no JSON object")
        elif event.kind == "result":
            call = waiting.pop(event.call_id, None)
            if call is None or call.turn != event.turn:
                yield Fault("stray_result", event.turn, "a result answers no call of its turn")
            elif event.error == "bad_arguments":
                yield Fault("bad_arguments", event.turn, "the arguments of a call do not fit its tool")
    for call in waiting.values():
        yield Fault("no_result", call.turn, "a call has no result")


def _answer_faults(events: Sequence[Event]) -> Iterator[Fault]:
    answers = [event for event in events if event.kind == "answer"]
    if not answers:
        yield Fault("no_answer", events[-1].turn, "there is no answer")
        return
    if len(answers) > 1:
        yield Fault("two_answers", answers[1].turn, f"there are {len(answers)} answers")
    if answers[-1] is not events[-1]:
        yield Fault("answer_not_last", answers[-1].turn, "something comes after the answer")
    if not answers[-1].text.strip():
        yield Fault("empty_answer", answers[-1].turn, "the answer is empty")


def _is_object(arguments: str | None) -> bool:
    try:
        return isinstance(orjson.loads(arguments or ""), dict)
    except orjson.JSONDecodeError:
        return False
