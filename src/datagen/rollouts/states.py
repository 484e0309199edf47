"""What an attempt had done before each of its turns, so that two attempts can be compared where they part.

    attempt A   search "stadiums in Veltrin" · visit /stadiums/veltrin-park · search "Harlan Rovers"
    attempt B   search "Stadiums in Veltrin" · visit /stadiums/veltrin-park · answer
                both are in one state before turn 2, and part there

Tools are pure functions of their arguments, so equal calls give equal results, and a state is the set of calls made so
far. Queries compare by their words, addresses without scheme, final slash and fragment.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from datagen.records.ids import seed_for, sha256_hex
from datagen.records.trajectory import Event
from datagen.records.trajectory_rows import event_to_row
from datagen.rollouts.mentions import folded
from datagen.rollouts.showing import same_address


@dataclass(frozen=True, slots=True)
class Turns:
    """A log cut into turns."""

    turns: tuple[tuple[Event, ...], ...]
    states: tuple[int, ...]
    """Digest of the calls made before each turn, and one more for the end."""
    costs: tuple[int, ...]
    """Calls made before each turn, and one more for the end."""
    digests: tuple[str, ...]
    """Of all that each turn holds: equal for equal turns."""

    @classmethod
    def of(cls, events: Sequence[Event]) -> Turns:
        turns = tuple(tuple(group) for _, group in itertools.groupby(events, key=lambda event: event.turn))
        states, costs, seen = [0], [0], set[str]()
        for turn in turns:
            calls = [call_key(event) for event in turn if event.kind == "call"]
            fresh = sorted(set(calls) - seen)
            seen.update(fresh)
            # A sum does not depend on the order in which the calls were made.
            states.append((states[-1] + sum(map(seed_for, fresh))) % 2**64)
            costs.append(costs[-1] + len(calls))
        return cls(turns, tuple(states), tuple(costs), tuple(map(_digest, turns)))

    def events(self, start: int, stop: int) -> tuple[Event, ...]:
        return tuple(itertools.chain.from_iterable(self.turns[start:stop]))

    def move(self, at: int) -> frozenset[str]:
        """What is done in a turn: its calls, or its answer."""
        calls = frozenset(call_key(event) for event in self.turns[at] if event.kind == "call")
        return calls or frozenset(f"{e.kind} {' '.join(folded(e.text).split())}" for e in self.turns[at] if e.by_model)


def _digest(turn: Sequence[Event]) -> str:
    return sha256_hex(orjson.dumps([event_to_row(event) for event in turn], option=orjson.OPT_SORT_KEYS))


def call_key(event: Event) -> str:
    """The same text for calls that ask for the same thing.

    >>> call_key(Event(0, "call", tool="search", arguments='{"query": "Stadiums, in Veltrin"}'))
    'search stadiums in veltrin 8'
    """
    text = event.arguments or ""
    try:
        raw = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        raw = None
    if not isinstance(raw, dict):
        return f"{event.tool} ? {text}"
    if event.tool == "search" and isinstance(raw.get("query"), str):
        return f"search {_words(raw['query'])} {raw.get('top_k', 8)}"
    if event.tool == "visit" and isinstance(raw.get("url"), str):
        address, goal = same_address(raw["url"].strip()), _words(str(raw.get("goal", "")))
        return f"visit {address} {raw.get('offset', 0)} {goal}".rstrip()
    return f"{event.tool} ! {orjson.dumps(raw, option=orjson.OPT_SORT_KEYS).decode()}"


def _words(text: str) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in folded(text)).split())
