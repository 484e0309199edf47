"""A role that uses tools, played from the messages alone.

The symbolic cast is ordinary code that calls `web.search` and `web.visit`. Here it runs over a web made of the tool
results in the messages: the first call without a result there becomes the tool call of the reply (with those that the
role has announced, since pages are read in batches), and what the role ends with becomes the final one. A correction in between is no result, so the reply to it is the reply it was meant to be.

Run so, turn n repeats the work of the n - 1 turns before. `Sessions` therefore keeps roles waiting in threads of their
own, each under the digest of all it has seen; a request whose last result is news for such a role just wakes it up. That
remembers a pure function and nothing else: without sessions the replies are the same (there is a test).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from queue import SimpleQueue
from typing import Any

import orjson

from datagen.agents.symbolic.page_memory import BudgetSpentError
from datagen.agents.symbolic.solving import is_list_like
from datagen.agents.toolbox import (
    BUDGET_SPENT,
    CALLS_PER_TURN,
    MAX_QUERY_CHARS,
    MISTAKES,
    hits_from_json,
    window_from_json,
)
from datagen.errors import PageNotFoundError
from datagen.practice.wire import WireReply, WireRequest
from datagen.records.ids import canonical_json
from datagen.web.passages import EXTRACT_CHARS
from datagen.web.tools import Hit, Window

MAX_CHARS = 400_000_000
"""Results that waiting roles hold, all together."""


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call, hashable."""

    name: str
    text: str
    """Arguments as canonical JSON."""

    @classmethod
    def of(cls, name: str, arguments: Mapping[str, Any]) -> Call:
        return cls(name, canonical_json(arguments).decode())


Calls = tuple[Call, ...]
"""What is asked for in one turn."""


def calling(calls: Calls) -> WireReply:
    return WireReply(tool_calls=tuple((call.name, orjson.loads(call.text)) for call in calls))


@dataclass(frozen=True, slots=True)
class History:
    """A conversation without its corrections: the task, and every call with its result, turn by turn."""

    task: str
    """Digest of what was asked, of whom, with which seed and tools."""
    turns: tuple[tuple[tuple[Call, str], ...], ...]

    @classmethod
    def of(cls, request: WireRequest) -> History:
        opening = [m.content for m in request.messages if m.role in ("system", "user")][:2]
        task = sha256(canonical_json([request.model, request.seed, sorted(request.tool_names), *opening])).hexdigest()
        turns: list[list[tuple[Call, str]]] = []
        calls: dict[str, Call] = {}
        for message in request.messages:
            if message.role == "assistant":
                calls = {call_id: Call(name, _canonical(text)) for call_id, name, text in message.tool_calls}
                turns.append([])
            elif message.role == "tool":
                call = calls.pop(message.tool_call_id or "", None)
                if call is not None and not _is_mistake(message.content):
                    turns[-1].append((call, message.content))
        return cls(task, tuple(tuple(turn) for turn in turns if turn))

    def known(self) -> dict[Call, str]:
        return {call: result for turn in self.turns for call, result in turn}

    def digests(self) -> tuple[str, str]:
        """Of everything but the last turn, and of everything."""
        before = running = self.task
        for turn in self.turns:
            before = running
            digest = sha256(running.encode())
            for call, result in turn:
                digest.update(f"\n{call.name}\n{call.text}\n".encode())
                digest.update(result.encode())
            running = digest.hexdigest()
        return before, running


def _canonical(text: str) -> str:
    try:
        return canonical_json(orjson.loads(text or "{}")).decode()
    except (orjson.JSONDecodeError, ValueError):
        return text


def _is_mistake(result: str) -> bool:
    """Whether a result only says that the call was not understood."""
    if not result.startswith('{"error"'):
        return False
    return _loads(result).get("error") in MISTAKES


def _loads(result: str) -> Mapping[str, Any]:
    try:
        raw = orjson.loads(result)
    except orjson.JSONDecodeError:
        raise LookupError("a tool result is not JSON") from None
    if not isinstance(raw, dict):
        raise LookupError("a tool result is not a JSON object")
    return raw


class _Needed(BaseException):
    """Calls whose results are not known yet. Not an `Exception`, so that no role takes it for a failure of its own."""

    def __init__(self, calls: Calls) -> None:
        super().__init__(calls)
        self.calls = calls


class _Abandoned(BaseException):
    """A waiting role is no longer wanted."""


class ReplayWeb:
    """The web as far as tool results show it. `fetch` is asked for calls whose results are not known, and fills them in.

    Pages that a role says it will read are asked for together, the next window of each in every turn, and so are the
    searches that it announces. With a `goal` pages are visited for what they say of it; lists and folders are read to
    their ends, since a list says as much by whom it leaves out.
    """

    def __init__(self, known: dict[Call, str], fetch: Callable[[Calls], None]) -> None:
        self._known = known
        self._fetch = fetch
        self._expected: tuple[str, ...] = ()
        self._searches: tuple[Call, ...] = ()
        self._lists: set[str] = set()
        """Addresses of lists and of folders, as far as searches that were made show them."""
        self._goals: dict[str, str] = {}
        """What a page is visited for, settled when that is first wanted."""
        self._long = True
        """Whether the last page was too long to come whole: where pages are short, goals only cost words."""
        self.goal = ""
        self.cut = False
        """Whether a page was visited of which not everything was shown."""

    def search(self, query: str, top_k: int = 5) -> list[Hit]:
        hits = hits_from_json(self._result(_searching(query, top_k)))
        self._lists.update(hit.url for hit in hits if is_list_like(hit))
        self._lists.update(_folder_above(hit.url) for hit in hits)
        return hits

    def visit(self, url: str, offset: int = 0) -> Window:
        window = window_from_json(self._result(self._visiting(url, offset)))
        if url not in self._lists:
            self._long = window.total_chars > EXTRACT_CHARS
        cut = not offset and window.next_offset is None and len(window.text) < window.total_chars
        self.cut = self.cut or cut
        return window

    def expect(self, urls: Sequence[str]) -> None:
        self._expected = tuple(urls)
        for url in urls:
            self._goal_of(url)

    def expect_searches(self, queries: Sequence[str], top_k: int) -> None:
        self._searches = tuple(_searching(query, top_k) for query in queries)

    def read_whole_pages(self) -> None:
        """From now on read pages to their ends, also those that were visited with a goal."""
        self.goal, self.cut = "", False
        self._goals.clear()

    def _goal_of(self, url: str) -> str:
        return self._goals.setdefault(url, self.goal if self._long and url not in self._lists else "")

    def _visiting(self, url: str, offset: int) -> Call:
        goal = "" if offset else self._goal_of(url)
        return Call.of("visit", {"url": url, "goal": goal} if goal else {"url": url, "offset": offset})

    def _result(self, call: Call) -> Mapping[str, Any]:
        if call not in self._known:
            self._fetch(self._together(call))
        raw = _loads(self._known[call])
        code = raw.get("error")
        if code == BUDGET_SPENT:
            raise BudgetSpentError
        if code is not None:
            raise PageNotFoundError(str(raw.get("message", code)))
        return raw

    def _together(self, first: Call) -> Calls:
        """The call that is needed now and, where it is for an expected page, those that the other ones need next."""
        if first in self._searches:
            return tuple(call for call in self._searches if call not in self._known)[:CALLS_PER_TURN]
        ahead = [call for url in self._expected if (call := self._next_window(url)) is not None]
        return tuple(ahead[:CALLS_PER_TURN]) if first in ahead[:CALLS_PER_TURN] else (first,)

    def _next_window(self, url: str) -> Call | None:
        """The visit that is missing on the way to a page's end; None for a page that is whole, or that is not there."""
        offset: int | None = 0
        while offset is not None:
            call = self._visiting(url, offset)
            if call not in self._known:
                return call
            offset = _loads(self._known[call]).get("next_offset")
        return None


def _searching(query: str, top_k: int) -> Call:
    return Call.of("search", {"query": query[:MAX_QUERY_CHARS], "top_k": top_k})


def _folder_above(url: str) -> str:
    return url.rstrip("/").rpartition("/")[0] + "/"


Play = Callable[[ReplayWeb], WireReply]
"""A role over a web, up to its final tool call."""


def replay(history: History, play: Play) -> WireReply:
    """The next turn, worked out from the first one on."""

    def fetch(calls: Calls) -> None:
        raise _Needed(calls)

    try:
        return play(ReplayWeb(history.known(), fetch))
    except _Needed as needed:
        return calling(needed.calls)


@dataclass(slots=True)
class _Waiting:
    """A role in a thread of its own, between two turns."""

    known: dict[Call, str]
    results: SimpleQueue[Sequence[tuple[Call, str]] | None] = field(default_factory=SimpleQueue)
    outcomes: SimpleQueue[Calls | WireReply | BaseException] = field(default_factory=SimpleQueue)
    calls: Calls = ()
    """What it waits for; empty when it has ended."""

    @property
    def weight(self) -> int:
        """Characters that it holds."""
        return sum(map(len, self.known.values()))

    def start(self, play: Play) -> None:
        threading.Thread(target=self._run, args=(play,), name="waiting-role", daemon=True).start()

    def _run(self, play: Play) -> None:
        try:
            self.outcomes.put(play(ReplayWeb(self.known, self._fetch)))
        except _Abandoned:
            return
        except BaseException as exc:  # noqa: BLE001  (handed to whoever waits for the outcome)
            self.outcomes.put(exc)

    def _fetch(self, calls: Calls) -> None:
        self.outcomes.put(calls)
        results = self.results.get()
        if results is None:
            raise _Abandoned
        self.known.update(results)

    def next_turn(self) -> WireReply:
        outcome = self.outcomes.get()
        if isinstance(outcome, BaseException):
            raise outcome
        self.calls = () if isinstance(outcome, WireReply) else outcome
        return outcome if isinstance(outcome, WireReply) else calling(outcome)


class Sessions:
    """Waiting roles by the digest of what they have seen, the least recently used given up first.

    At most `limit` of them, and all together hold at most `max_chars` of results, or one of them does.
    """

    def __init__(self, limit: int, max_chars: int = MAX_CHARS) -> None:
        self._limit = limit
        self._max_chars = max_chars
        self._held = 0
        self._waiting: OrderedDict[str, _Waiting] = OrderedDict()
        self._lock = threading.Lock()

    def next_turn(self, request: WireRequest, play: Play) -> WireReply:
        """The reply to a request with tools. With a limit of 0 nothing is kept."""
        history = History.of(request)
        if self._limit == 0:
            return replay(history, play)
        before, seen = history.digests()
        if asked := self._asked(seen):
            return calling(asked)
        role = self._resume(before, history) or self._begin(history, play)
        reply = role.next_turn()
        if role.calls:
            self._keep(seen, role)
        return reply

    def _asked(self, seen: str) -> Calls:
        """What a role that has seen just this waits for: the request came again, or after a correction."""
        with self._lock:
            role = self._waiting.get(seen)
            if role is not None:
                self._waiting.move_to_end(seen)
            return () if role is None else role.calls

    def _resume(self, before: str, history: History) -> _Waiting | None:
        if not history.turns:
            return None
        news = history.turns[-1]
        with self._lock:
            role = self._waiting.get(before)
            if role is None or role.calls != tuple(call for call, _ in news):
                return None
            self._held -= self._waiting.pop(before).weight
        role.results.put(news)
        return role

    def _begin(self, history: History, play: Play) -> _Waiting:
        role = _Waiting(history.known())
        role.start(play)
        return role

    def _keep(self, seen: str, role: _Waiting) -> None:
        given_up: list[_Waiting] = []
        with self._lock:
            # An equal request may have been answered at the same time: one role is enough.
            given_up += [self._waiting.pop(seen)] if seen in self._waiting else []
            self._waiting[seen] = role
            self._held += role.weight - sum(twin.weight for twin in given_up)
            while len(self._waiting) > self._limit or (self._held > self._max_chars and len(self._waiting) > 1):
                given_up.append(self._waiting.popitem(last=False)[1])
                self._held -= given_up[-1].weight
        for each in given_up:
            each.results.put(None)

    def __len__(self) -> int:
        return len(self._waiting)
