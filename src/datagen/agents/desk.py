"""One attempt's way from tool calls to the web: an allow-list, validated arguments, a budget, exact counts.

    desk.answer(call) -> Answered(text='{"results": [...]}')
                         Answered(text='{"error": "bad_arguments", ...}', mistake=True)   told to the model, and counted
                         Answered(text='{"error": "budget_spent", ...}', spent=True)

What the web returns goes into JSON strings and nowhere else, so whatever a page says, it says it as data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from datagen.agents.budget import Budget
from datagen.agents.toolbox import (
    BUDGET_SPENT,
    SearchArguments,
    VisitArguments,
    error_to_json,
    hits_to_json,
    parse_arguments,
    shown_by_hits,
    shown_by_window,
    window_to_json,
)
from datagen.clients.chat import ToolCall
from datagen.errors import FetchError, PageNotFoundError
from datagen.records.trajectory import Shown
from datagen.web.passages import EXTRACT_CHARS, extract
from datagen.web.tools import Web, Window, read_whole


@dataclass(frozen=True, slots=True)
class Answered:
    """A tool result as JSON. `mistake`: the call was not understood; `spent`: the budget does not cover it."""

    text: str
    mistake: bool = False
    spent: bool = False
    documents: tuple[Shown, ...] = ()
    error: str | None = None
    """The code of an error."""


class Desk:
    """Answers the calls of one attempt."""

    def __init__(self, web: Web, budget: Budget, final: str) -> None:
        self._web = web
        self._budget = budget
        self._final = final
        self._tools: Mapping[str, tuple[type[BaseModel], Callable[[Any], Answered]]] = {
            "search": (SearchArguments, self._search),
            "visit": (VisitArguments, self._visit),
        }
        self.searches = 0
        self.visits = 0
        self.windows: list[Window] = []
        self.pages: dict[str, str] = {}
        """Address that was asked for, by the address that the page has and by itself; in order of the first visit."""
        self.closed = False
        """Whether only the final tool is left to call."""

    @property
    def spent(self) -> bool:
        return self.searches >= self._budget.searches and self.visits >= self._budget.visits

    @property
    def urls(self) -> tuple[str, ...]:
        """Pages that were read, in order, each once."""
        return tuple(dict.fromkeys(self.pages.values()))

    def answer(self, call: ToolCall) -> Answered:
        tool = self._tools.get(call.name)
        if tool is None:
            names = ", ".join((*self._tools, self._final))
            return mistaken("unknown_tool", f"There is no such tool. The tools are {names}.")
        arguments, problem = parse_arguments(call.arguments, tool[0])
        return mistaken("bad_arguments", problem) if problem else tool[1](arguments)

    def _search(self, arguments: SearchArguments) -> Answered:
        if self.closed or self.searches >= self._budget.searches:
            return self._refused("searches")
        self.searches += 1
        hits = self._web.search(arguments.query, arguments.top_k)
        return Answered(hits_to_json(hits), documents=shown_by_hits(hits))

    def _visit(self, arguments: VisitArguments) -> Answered:
        if self.closed or self.visits >= self._budget.visits:
            return self._refused("visits")
        self.visits += 1
        try:
            window = self._read(arguments)
        except PageNotFoundError:
            return absent(arguments.url, arguments.offset)
        except FetchError as exc:
            return failed("not_fetched", f"The page could not be fetched: {exc.reason or 'no reply'}.")
        self.windows.append(window)
        self.pages.setdefault(arguments.url, arguments.url)
        self.pages.setdefault(window.url, arguments.url)
        return Answered(window_to_json(window), documents=shown_by_window(window))

    def _read(self, arguments: VisitArguments) -> Window:
        """A window of the page, or what a long page says of the goal."""
        window = self._web.visit(arguments.url, arguments.offset)
        if not arguments.goal.strip() or arguments.offset or window.total_chars <= EXTRACT_CHARS:
            return window
        return extract(read_whole(self._web, arguments.url)[0], arguments.goal)

    def _refused(self, what: str) -> Answered:
        return replace(failed(BUDGET_SPENT, f"No {what} are left. Call `{self._final}` now."), spent=True)


def mistaken(code: str, message: str) -> Answered:
    """A call that was not understood."""
    return replace(failed(code, message), mistake=True)


def absent(url: str, offset: int) -> Answered:
    """A page, or a place on it, that the web does not have."""
    where = url if not offset else f"{url} from {offset} on"
    return failed("not_found", f"There is nothing at {where}.")


def failed(code: str, message: str) -> Answered:
    """A call that the web has no answer to."""
    return Answered(error_to_json(code, message), error=code)
