"""A dozen pages about football, questions in words, and somebody who answers requests in this process.

`Table` is a `ChatClient` that hands every request to a mind, the way the practice server does over HTTP.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.unit.test_agents_symbolic import QUESTIONS, MemoryWeb, football_catalogue, football_pages

from datagen.agents.llm.prompts import PromptBook
from datagen.agents.llm.voice import Voice
from datagen.clients.chat import ChatReply, ChatRequest, ModelSpec, ToolCall, Usage
from datagen.language.verbalise import Verbaliser
from datagen.practice.wire import WireMessage, WireReply, WireRequest
from datagen.records.ids import rng_for

CATALOGUE = football_catalogue()


def words(name: str) -> str:
    """A question of the league as the grammar writes it."""
    return Verbaliser(CATALOGUE).write(QUESTIONS[name], rng_for("league", name))


def league_web() -> MemoryWeb:
    return MemoryWeb(football_pages())


def as_wire(request: ChatRequest) -> WireRequest:
    """What a server makes of a request."""
    messages = tuple(
        WireMessage(m.role, m.content, tuple((c.id, c.name, c.arguments) for c in m.tool_calls), m.tool_call_id)
        for m in request.messages
    )
    tools = tuple(tool.name for tool in request.tools)
    name = request.schema.name if request.schema else None
    return WireRequest(request.model, messages, tools, name, request.sampling.seed or 0, request.body())


def as_reply(said: WireReply) -> ChatReply:
    calls = tuple(ToolCall(f"id{i}", name, json.dumps(dict(given))) for i, (name, given) in enumerate(said.tool_calls))
    return ChatReply(said.text, calls, "stop", Usage(10, 5), "practice")


@dataclass
class Table:
    """Answers with `answer`, and keeps the requests."""

    answer: Callable[[WireRequest], WireReply]
    requests: list[ChatRequest] = field(default_factory=list)

    def complete(self, request: ChatRequest, *, endpoint: str, role: str) -> ChatReply:
        self.requests.append(request)
        return as_reply(self.answer(as_wire(request)))


@dataclass
class Script:
    """Says its lines in order, whatever it is asked: a model in a bad mood."""

    lines: list[ChatReply]
    requests: list[ChatRequest] = field(default_factory=list)

    def complete(self, request: ChatRequest, *, endpoint: str, role: str) -> ChatReply:
        self.requests.append(request)
        return self.lines[len(self.requests) - 1]


def voice(client, role: str = "solver", model: str = "practice-topdown", name: str = "m1") -> Voice:
    return Voice(client, ModelSpec(name, "here", model), role, PromptBook())


def calls(*made: tuple[str, object]) -> ChatReply:
    """A turn with tool calls; arguments that are text go out as they are."""
    sent = tuple(
        ToolCall(f"x{i}", name, given if isinstance(given, str) else json.dumps(given))
        for i, (name, given) in enumerate(made)
    )
    return ChatReply("", sent, "tool_calls", Usage(10, 5), "m")


def says(text: str, **more) -> ChatReply:
    return ChatReply(text, (), more.pop("finish_reason", "stop"), Usage(10, 5), "m", **more)
