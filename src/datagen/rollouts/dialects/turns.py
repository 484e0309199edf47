"""A log cut into the turns of a conversation: what the model wrote in one go, and what came back for it.

A text has less room for disorder than a log, so a log is put in order first:

    within a turn    thoughts, then calls, then what was said; each result beside its call; notes last
    an answer        ends its turn: next to calls, it gets a turn of its own
    turn numbers     count from 0 without gaps
    left out         what is blank, and results that answer no call
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from datagen.agents.toolbox import error_to_json
from datagen.records.trajectory import Event
from datagen.rollouts.dialects.guarding import whole

NO_RESULT = "no_result"
_MISSING = error_to_json(NO_RESULT, "There is no result.")


@dataclass(slots=True)
class Turn:
    """One assistant turn. `results` stand in the order of `calls`, None for a call that never got one."""

    number: int
    thoughts: list[str] = field(default_factory=list)
    calls: list[Event] = field(default_factory=list)
    results: list[Event | None] = field(default_factory=list)
    said: Event | None = None
    """The answer, or text that is neither call nor answer."""
    notes: list[str] = field(default_factory=list)

    @property
    def by_model(self) -> bool:
        return bool(self.thoughts or self.calls or self.said is not None)


def turns_of(events: Sequence[Event]) -> list[Turn]:
    """The turns of a log, in order."""
    made: list[Turn] = []
    for group in _groups(events):
        made += _split(group)
    number = -1
    for turn in made:
        number += turn.by_model
        turn.number = max(number, 0)
    return made


def _groups(events: Iterable[Event]) -> Iterator[list[Event]]:
    """Events that stand together and have one turn number."""
    group: list[Event] = []
    for event in events:
        if group and event.turn != group[-1].turn:
            yield group
            group = []
        group.append(event)
    if group:
        yield group


def _split(group: list[Event]) -> Iterator[Turn]:
    """One turn, or several where more than one thing was said in it."""
    turn = Turn(0)
    waiting: dict[str | None, list[int]] = {}
    for event in group:
        kind = event.kind
        if kind == "result":
            places = waiting.get(event.call_id)
            if places:
                turn.results[places.pop(0)] = event
        elif kind == "note":
            if event.text.strip():
                turn.notes.append(whole(event.text).strip())
        elif not event.text.strip() and kind != "call":
            continue
        elif kind in ("answer", "malformed"):
            if turn.calls or turn.said is not None:
                yield turn
                turn, waiting = Turn(0), {}
            turn.said = event
        else:
            if turn.said is not None:
                yield turn
                turn, waiting = Turn(0), {}
            if kind == "thought":
                turn.thoughts.append(whole(event.text).strip())
            else:
                waiting.setdefault(event.call_id, []).append(len(turn.calls))
                turn.calls.append(event)
                turn.results.append(None)
    if turn.by_model or turn.notes:
        yield turn


def said_text(turn: Turn) -> str:
    return "" if turn.said is None else whole(turn.said.text).strip()


def results_of(turn: Turn, *, last: bool) -> list[Event]:
    """A result for every call. One that is missing in the middle of a log is said to be missing, or all that come after it
    would be taken for its own; a log may end before any result has come.
    """
    if last and not turn.notes and all(result is None for result in turn.results):
        return []
    return [
        result or Event(turn.number, "result", _MISSING, tool=call.tool, error=NO_RESULT)
        for call, result in zip(turn.calls, turn.results, strict=True)
    ]
