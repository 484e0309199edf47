"""The conversation with tools: search, visit, and a final tool that ends it.

    system, user        the prompt
    assistant           calls, one or several at once
    tool, tool, ...     a JSON result for every one of them
    assistant           ...
    assistant           the final tool, its arguments validated: the outcome

Every turn is a request of its own and the messages only grow. A crashed attempt therefore finds its turns in the reply
cache, and a server finds the beginning of the prompt in its own. Calls get ids of ours, since random ones would make two
equal conversations different requests; arguments that are no JSON are not sent back, since servers choke on them.

A turn without a call, an unknown tool or arguments that do not fit are answered by saying so: a correction, on the bill,
two in a row at most. When the budget is spent the model is told to conclude, and asked no more if it does not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar
from typing import Literal as OneOf

import orjson
from pydantic import BaseModel

from datagen.agents.budget import Limits
from datagen.agents.desk import Answered, Desk, mistaken
from datagen.agents.llm.transcribing import Transcriber
from datagen.agents.llm.voice import Voice
from datagen.agents.toolbox import CALLS_PER_TURN, SEARCH, VISIT, parse_arguments, tool_of, with_notice
from datagen.clients.billing import current_bill
from datagen.clients.chat import ChatReply, Message, Tool, ToolCall
from datagen.errors import UnusableReplyError
from datagen.web.tools import Web, Window

T = TypeVar("T", bound=BaseModel)
Spent = OneOf["budget", "turns", "tokens", "context", "time"]
CORRECTIONS = 2
"""Turns in a row that may go wrong and be mended."""


@dataclass(frozen=True, slots=True)
class FinalTool(Generic[T]):
    """The tool whose arguments are the outcome.

    `problems` says in sentences what is wrong with arguments that fit the schema, given the windows that were read. With
    `keep_flawed` the last such arguments are the outcome when corrections do not help.
    """

    name: str
    description: str
    arguments: type[T]
    problems: Callable[[T, Sequence[Window]], Sequence[str]] | None = None
    keep_flawed: bool = False

    @property
    def tool(self) -> Tool:
        return tool_of(self.name, self.description, self.arguments)


@dataclass(frozen=True, slots=True)
class Researched(Generic[T]):
    """How a conversation ended. `value` None means that the budget was spent and no conclusion came."""

    value: T | None
    searches: int
    visits: int
    turns: int
    urls: tuple[str, ...]
    """Pages that were read, in order, each once."""
    windows: tuple[Window, ...]
    pages: dict[str, str]
    """Every address of a page that was read -> the one under which it was visited."""
    problems_left: tuple[str, ...] = ()
    over: Spent | None = None
    """What was used up, where that closed the research before its conclusion."""
    final_call: ToolCall | None = None

    def visited(self, urls: Sequence[str]) -> tuple[str, ...]:
        """Those of the addresses that were really read."""
        return tuple(dict.fromkeys(self.pages[url] for url in urls if url in self.pages))


def research(
    voice: Voice,
    opening: Sequence[Message],
    web: Web,
    final: FinalTool[T],
    limits: Limits,
    *,
    seed: int,
    log: Transcriber | None = None,
) -> Researched[T]:
    """Let a model look things up until it calls the final tool.

    `limits.turns` counts turns without a mistake; one call each would spend the whole budget by default. Whatever is used
    up first, the model is told to conclude. `log` gets everything that is said.
    """
    talk = _Talk(voice, list(opening), Desk(web, limits.budget, final.name), final, seed, limits, log or Transcriber())
    while talk.ended is None:
        talk.take_turn()
    return talk.ended


@dataclass(slots=True)
class _Talk(Generic[T]):
    """A conversation under way."""

    voice: Voice
    messages: list[Message]
    desk: Desk
    final: FinalTool[T]
    seed: int
    limits: Limits
    log: Transcriber
    turns: int = 0
    taken: int = 0
    """Turns with and without mistakes; numbers the ids of calls."""
    wrong: int = 0
    """Turns in a row that had to be corrected."""
    flawed: tuple[T, tuple[str, ...]] | None = None
    ended: Researched[T] | None = None
    over: Spent | None = None
    tokens: int = 0
    """Written by the model so far, where the server counts them."""
    limit: int = field(init=False)
    started: float = field(init=False)
    tools: tuple[Tool, ...] = field(init=False)

    def __post_init__(self) -> None:
        budget = self.limits.budget
        self.limit = self.limits.turns or budget.searches + budget.visits + 1
        self.started = time.monotonic()
        self.tools = (SEARCH, VISIT, self.final.tool)
        if self.limit <= 1:
            self.desk.closed, self.over = True, "turns"

    def take_turn(self) -> None:
        reply = self.voice.turn(self.messages, self.tools, seed=self.seed)
        self.taken += 1
        self.tokens += reply.usage.output_tokens or 0
        self.log.replied(reply)
        calls = tuple(_own_id(call, self.taken, place) for place, call in enumerate(reply.tool_calls))
        shown = tuple(replace(call, arguments=_readable(call.arguments)) for call in calls)
        self.messages.append(Message("assistant", reply.text or reply.refusal or "", shown))
        if not calls:
            self._correct("refusal" if reply.refusal else "tool_calls", spent=False)
            self.messages.append(Message("user", self._no_call(reply)))
            self.log.noted(self.messages[-1].content)
            return
        self.log.called(calls)
        results = self._results(calls)
        if self.ended is not None:
            return
        self._count(results)
        if self.ended is None:
            self._send(calls, results)

    def _results(self, calls: Sequence[ToolCall]) -> list[Answered]:
        """What the calls of one turn bring, in order; stops at a final call that is accepted."""
        results: list[Answered] = []
        for place, call in enumerate(calls):
            if place >= CALLS_PER_TURN:
                results.append(mistaken("too_many_calls", f"At most {CALLS_PER_TURN} calls are made in one turn."))
            elif call.name == self.final.name:
                results.append(self._conclude(call))
            else:
                results.append(self.desk.answer(call))
            if self.ended is not None:
                break
        return results

    def _conclude(self, call: ToolCall) -> Answered:
        value, problem = parse_arguments(call.arguments, self.final.arguments)
        if value is None:
            return mistaken("bad_arguments", problem)
        problems = tuple(self.final.problems(value, self.desk.windows)) if self.final.problems else ()
        if not problems:
            self._end(value, call=call)
            return Answered("")
        self.flawed = (value, problems)
        return mistaken("bad_arguments", " ".join(problems))

    def _count(self, results: Sequence[Answered]) -> None:
        if any(result.mistake for result in results):
            self._correct("tool_calls", spent=False)
        elif all(result.spent for result in results):
            self._correct("tool_calls", spent=True)
        else:
            self.wrong = 0
            self.turns += 1

    def _correct(self, reason: str, *, spent: bool) -> None:
        """One more turn went wrong: say so, or give up. Not to stop at the end of the budget is no error of form."""
        self.wrong += 1
        if self.wrong <= CORRECTIONS:
            current_bill().corrections += not spent
        elif self.flawed is not None and self.final.keep_flawed:
            self._end(*self.flawed)
        elif spent:
            self._end(None)
        else:
            raise UnusableReplyError(
                f"{self.voice.role} ({self.voice.model.name}) made no usable call in {self.wrong} turns in a row.",
                reason,
            )

    def _send(self, calls: Sequence[ToolCall], results: Sequence[Answered]) -> None:
        texts = [result.text for result in results]
        if not self.desk.closed and (over := self._is_over(sum(map(len, texts)))):
            self.desk.closed, self.over = True, over
            texts[-1] = with_notice(texts[-1], f"Nothing more can be looked up. Call `{self.final.name}` now.")
        for call, text, result in zip(calls, texts, results, strict=True):
            self.messages.append(Message("tool", text, tool_call_id=call.id))
            self.log.returned(call, text, result)

    def _is_over(self, new_chars: int) -> Spent | None:
        """What is used up, if anything is."""
        limits = self.limits
        if self.desk.spent:
            return "budget"
        if self.turns >= self.limit - 1:
            return "turns"
        if limits.tokens is not None and self.tokens >= limits.tokens:
            return "tokens"
        if limits.seconds is not None and time.monotonic() - self.started >= limits.seconds:
            return "time"
        chars = limits.context_chars
        if chars is not None and sum(len(m.content) for m in self.messages) + new_chars >= chars:
            return "context"
        return None

    def _no_call(self, reply: ChatReply) -> str:
        names = ", ".join(f"`{tool.name}`" for tool in self.tools)
        cut = (
            "Your last turn was cut off before its end"
            if reply.finish_reason == "length"
            else "Your last turn has no call"
        )
        return f"{cut}. Every turn must call one of the tools {names}; call `{self.final.name}` to end."

    def _end(self, value: T | None, problems_left: tuple[str, ...] = (), call: ToolCall | None = None) -> None:
        desk = self.desk
        self.ended = Researched(
            value,
            desk.searches,
            desk.visits,
            self.taken,
            desk.urls,
            tuple(desk.windows),
            dict(desk.pages),
            problems_left,
            self.over,
            call,
        )


def _own_id(call: ToolCall, turn: int, place: int) -> ToolCall:
    """Nine letters and digits, which every known chat template accepts."""
    return replace(call, id=f"c{turn % 10_000:04d}{place % 10_000:04d}")


def _readable(arguments: str) -> str:
    try:
        return arguments if isinstance(orjson.loads(arguments), dict) else "{}"
    except orjson.JSONDecodeError:
        return "{}"
