"""The chat-completions protocol as the server sees it, and what a mind answers.

A mind is a pure function of the request: everything it says is earned from the messages. It may remember by content
(readings of a page text it has seen before), never by who asked. `Mind.answer` runs in worker threads, several at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class WireMessage:
    """A turn as it came; `tool_calls` are (id, name, arguments as JSON text)."""

    role: str
    content: str
    tool_calls: tuple[tuple[str, str, str], ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True, slots=True)
class WireRequest:
    """What a mind may look at."""

    model: str
    messages: tuple[WireMessage, ...]
    tool_names: tuple[str, ...]
    schema_name: str | None
    """`response_format.json_schema.name`: which kind of reply is wanted."""
    seed: int
    """The request's seed, 0 where it has none."""
    body: Mapping[str, Any]
    """The whole request."""


@dataclass(frozen=True, slots=True)
class WireReply:
    """What the model says: text (JSON text where a schema was given), or tool calls as (name, arguments)."""

    text: str = ""
    tool_calls: tuple[tuple[str, Mapping[str, Any]], ...] = ()


class Mind(Protocol):
    """Who thinks behind the endpoint."""

    def answer(self, request: WireRequest) -> WireReply:
        """Raises `LookupError` for a kind of request it does not know; the server answers 400 then."""
        ...
