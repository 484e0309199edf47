"""What a program does with the two tools, written down while it does it, and cut into the turns of a conversation.

A program reads page after page; a conversation has turns. Pages that were announced together (`expect`) are visits of one
turn, five at most, because nothing that one of them says decides whether the next is read. What a page says further on is
asked for in the turn after, when it is known that there is more. Every search is a turn of its own.

    turns = turns_of(book.actions)      [[search], [visit, visit, visit], [visit], [search], ...]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from datagen.agents.desk import Answered, absent
from datagen.agents.toolbox import hits_to_json, shown_by_hits, shown_by_window, window_to_json
from datagen.errors import PageNotFoundError
from datagen.records.trajectory import Event
from datagen.web.tools import Hit, Web, Window

VISITS_PER_TURN = 5


@dataclass(frozen=True, slots=True)
class Action:
    """One call of a tool and what it brought."""

    tool: str
    query: str = ""
    top_k: int = 0
    url: str = ""
    offset: int = 0
    hits: tuple[Hit, ...] = ()
    window: Window | None = None
    """None for a search, and for a page that is not there."""
    batch: int = -1
    """Actions that were announced together have one number; -1 for one that came by itself."""

    @property
    def arguments(self) -> str:
        if self.tool == "search":
            return orjson.dumps({"query": self.query, "top_k": self.top_k}).decode()
        return orjson.dumps({"url": self.url} | ({"offset": self.offset} if self.offset else {})).decode()

    @property
    def answered(self) -> Answered:
        """The result as `agents.desk` gives it for this call."""
        if self.tool == "search":
            return Answered(hits_to_json(self.hits), documents=shown_by_hits(self.hits))
        if self.window is None:
            return absent(self.url, self.offset)
        return Answered(window_to_json(self.window), documents=shown_by_window(self.window))


class Logbook:
    """A web that writes down what is asked of it. One for every attempt."""

    def __init__(self, web: Web) -> None:
        self._web = web
        self.actions: list[Action] = []
        self._announced: set[str] = set()
        self._batch = -1

    def search(self, query: str, top_k: int = 5) -> list[Hit]:
        hits = self._web.search(query, top_k)
        self.actions.append(Action("search", query=query, top_k=top_k, hits=tuple(hits)))
        return hits

    def visit(self, url: str, offset: int = 0) -> Window:
        batch = self._batch if url in self._announced else -1
        try:
            window = self._web.visit(url, offset)
        except PageNotFoundError:
            self.actions.append(Action("visit", url=url, offset=offset, batch=batch))
            raise
        self.actions.append(Action("visit", url=url, offset=offset, window=window, batch=batch))
        return window

    def expect(self, urls: Sequence[str]) -> None:
        """These pages are read next, whatever they say."""
        self._announced = set(urls)
        self._batch += 1

    def expect_searches(self, queries: Sequence[str], top_k: int) -> None:
        """Searches stay turns of their own: the words of one may come from the results of another."""


Turn = tuple[Action, ...]


def turns_of(actions: Sequence[Action]) -> list[Turn]:
    """Actions as turns, in an order in which each could have been decided on from what came before."""
    turns: list[Turn] = []
    together: list[Action] = []
    further: list[Action] = []

    def close() -> None:
        for part in (together, further):
            for start in range(0, len(part), VISITS_PER_TURN):
                turns.append(tuple(part[start : start + VISITS_PER_TURN]))
            part.clear()

    batch = -1
    for action in actions:
        if action.tool == "search":
            close()
            turns.append((action,))
        elif action.offset:
            further.append(action)
        else:
            if action.batch < 0 or action.batch != batch:
                close()
            batch = action.batch
            together.append(action)
    close()
    return _in_reading_order(turns)


def _in_reading_order(turns: list[Turn]) -> list[Turn]:
    """Windows of one page are asked for one after the other: a turn holds at most one of them."""
    ordered: list[Turn] = []
    for turn in turns:
        rest: list[Action] = list(turn)
        while rest:
            now: list[Action] = []
            later: list[Action] = []
            for action in rest:
                again = action.tool == "visit" and any(action.url == other.url for other in now)
                (later if again else now).append(action)
            ordered.append(tuple(now))
            rest = later
    return ordered


def events_of_turn(number: int, turn: Turn) -> list[Event]:
    """The calls of a turn, then their results."""
    calls, results = [], []
    for place, action in enumerate(turn):
        name = f"c{number % 10_000:04d}{place:04d}"
        calls.append(Event(number, "call", call_id=name, tool=action.tool, arguments=action.arguments))
        brought = action.answered
        results.append(
            Event(
                number,
                "result",
                brought.text,
                call_id=name,
                tool=action.tool,
                error=brought.error,
                documents=brought.documents,
            )
        )
    return [*calls, *results]
