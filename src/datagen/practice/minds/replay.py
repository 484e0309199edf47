"""A role that uses tools, played from the messages alone.

The symbolic cast is ordinary code that calls `web.search` and `web.visit`. Here it runs over a web made of the tool
results in the messages: the first call without a result there becomes the tool call of the reply, and what the role ends
with becomes the final one. A correction in between is no result, so the reply to it is the reply it was meant to be.

Run so, turn n repeats the work of the n - 1 turns before. `Sessions` therefore keeps roles waiting in threads of their
own, each under the digest of all it has seen; a request whose last result is news for such a role just wakes it up. That
remembers a pure function and nothing else: without sessions the replies are the same (there is a test).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from queue import SimpleQueue
from typing import Any

import orjson

from datagen.agents.llm.toolbox import BUDGET_SPENT, MAX_QUERY_CHARS, MISTAKES, hits_from_json, window_from_json
from datagen.agents.symbolic.page_memory import BudgetSpentError
from datagen.errors import PageNotFoundError
from datagen.practice.wire import WireReply, WireRequest
from datagen.records.ids import canonical_json
from datagen.web.tools import Hit, Web, Window

Play = Callable[[Web], WireReply]
"""A role over a web, up to its final tool call."""


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call, hashable."""

    name: str
    text: str
    """Arguments as canonical JSON."""

    @classmethod
    def of(cls, name: str, arguments: Mapping[str, Any]) -> Call:
        return cls(name, canonical_json(arguments).decode())

    def reply(self) -> WireReply:
        return WireReply(tool_calls=((self.name, orjson.loads(self.text)),))


@dataclass(frozen=True, slots=True)
class History:
    """A conversation without its corrections: the task, and every call with its result."""

    task: str
    """Digest of what was asked, of whom, with which seed and tools."""
    exchanges: tuple[tuple[Call, str], ...]

    @classmethod
    def of(cls, request: WireRequest) -> History:
        opening = [m.content for m in request.messages if m.role in ("system", "user")][:2]
        task = sha256(canonical_json([request.model, request.seed, sorted(request.tool_names), *opening])).hexdigest()
        calls: dict[str, Call] = {}
        exchanges: list[tuple[Call, str]] = []
        for message in request.messages:
            for call_id, name, text in message.tool_calls:
                calls[call_id] = Call(name, _canonical(text))
            call = calls.pop(message.tool_call_id or "", None) if message.role == "tool" else None
            if call is not None and not _is_mistake(message.content):
                exchanges.append((call, message.content))
        return cls(task, tuple(exchanges))

    def digests(self) -> tuple[str, str]:
        """Of all but the last exchange, and of everything."""
        before = running = self.task
        for call, result in self.exchanges:
            before = running
            running = sha256(f"{running}\n{call.name}\n{call.text}\n{result}".encode()).hexdigest()
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
    """A call whose result is not known yet. Not an `Exception`, so that no role can take it for a failure of its own."""

    def __init__(self, call: Call) -> None:
        super().__init__(call.name)
        self.call = call


class _Abandoned(BaseException):
    """A waiting role is no longer wanted."""


class ReplayWeb:
    """The web as far as tool results show it. `ask` brings the result of a call."""

    def __init__(self, ask: Callable[[Call], str]) -> None:
        self._ask = ask

    def search(self, query: str, top_k: int = 5) -> list[Hit]:
        raw = self._result(Call.of("search", {"query": query[:MAX_QUERY_CHARS], "top_k": top_k}))
        return hits_from_json(raw)

    def visit(self, url: str, offset: int = 0) -> Window:
        return window_from_json(self._result(Call.of("visit", {"url": url, "offset": offset})))

    def _result(self, call: Call) -> Mapping[str, Any]:
        raw = _loads(self._ask(call))
        code = raw.get("error")
        if code == BUDGET_SPENT:
            raise BudgetSpentError
        if code is not None:
            raise PageNotFoundError(str(raw.get("message", code)))
        return raw


def replay(history: History, play: Play) -> WireReply:
    """The next turn, worked out from the first one on."""
    known = dict(history.exchanges)

    def ask(call: Call) -> str:
        if call not in known:
            raise _Needed(call)
        return known[call]

    try:
        return play(ReplayWeb(ask))
    except _Needed as needed:
        return needed.call.reply()


@dataclass(slots=True)
class _Waiting:
    """A role in a thread of its own, between two turns."""

    known: dict[Call, str]
    results: SimpleQueue[str | None] = field(default_factory=SimpleQueue)
    outcomes: SimpleQueue[Call | WireReply | BaseException] = field(default_factory=SimpleQueue)
    call: Call | None = None
    """What it waits for."""

    def start(self, play: Play) -> None:
        threading.Thread(target=self._run, args=(play,), name="waiting-role", daemon=True).start()

    def _run(self, play: Play) -> None:
        try:
            self.outcomes.put(play(ReplayWeb(self._ask)))
        except _Abandoned:
            return
        except BaseException as exc:  # noqa: BLE001  (handed to whoever waits for the outcome)
            self.outcomes.put(exc)

    def _ask(self, call: Call) -> str:
        if call not in self.known:
            self.outcomes.put(call)
            result = self.results.get()
            if result is None:
                raise _Abandoned
            self.known[call] = result
        return self.known[call]

    def next_turn(self) -> WireReply:
        outcome = self.outcomes.get()
        if isinstance(outcome, BaseException):
            raise outcome
        self.call = outcome if isinstance(outcome, Call) else None
        return outcome.reply() if isinstance(outcome, Call) else outcome


class Sessions:
    """Waiting roles by the digest of what they have seen, the least recently used given up first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: OrderedDict[str, _Waiting] = OrderedDict()
        self._lock = threading.Lock()

    def next_turn(self, request: WireRequest, play: Play) -> WireReply:
        """The reply to a request with tools. With a limit of 0 nothing is kept."""
        history = History.of(request)
        if self._limit == 0:
            return replay(history, play)
        before, seen = history.digests()
        if (asked := self._asked(seen)) is not None:
            return asked.reply()
        role = self._resume(before, history) or self._begin(history, play)
        reply = role.next_turn()
        if role.call is not None:
            self._keep(seen, role)
        return reply

    def _asked(self, seen: str) -> Call | None:
        """What a role that has seen just this waits for: the request came again, or after a correction."""
        with self._lock:
            role = self._waiting.get(seen)
            if role is not None:
                self._waiting.move_to_end(seen)
            return None if role is None else role.call

    def _resume(self, before: str, history: History) -> _Waiting | None:
        if not history.exchanges:
            return None
        call, result = history.exchanges[-1]
        with self._lock:
            role = self._waiting.get(before)
            if role is None or role.call != call:
                return None
            del self._waiting[before]
        role.results.put(result)
        return role

    def _begin(self, history: History, play: Play) -> _Waiting:
        role = _Waiting(dict(history.exchanges))
        role.start(play)
        return role

    def _keep(self, seen: str, role: _Waiting) -> None:
        given_up: list[_Waiting] = []
        with self._lock:
            twin = self._waiting.pop(seen, None)  # an equal request was answered twice: one role is enough
            given_up += [twin] if twin else []
            self._waiting[seen] = role
            while len(self._waiting) > self._limit:
                given_up.append(self._waiting.popitem(last=False)[1])
        for each in given_up:
            each.results.put(None)

    def __len__(self) -> int:
        return len(self._waiting)
