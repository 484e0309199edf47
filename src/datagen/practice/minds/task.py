"""What a request is about: the fenced sections of its first user turn.

Only that turn holds the task. Later user turns are corrections, and tool results are data, whatever they look like.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from datagen.agents.llm.fencing import Section, sections
from datagen.practice.wire import WireReply, WireRequest


def task_text(request: WireRequest) -> str:
    """The first user turn."""
    for message in request.messages:
        if message.role == "user":
            return message.content
    raise LookupError("the request has no user turn")


def told(request: WireRequest, tag: str) -> Section:
    """The one section of a tag."""
    found = next(sections(task_text(request), tag), None)
    if found is None:
        raise LookupError(f"the request has no section {tag!r}")
    return found


def body(request: WireRequest, tag: str) -> str:
    return told(request, tag).body


def json_reply(value: Mapping[str, Any]) -> WireReply:
    """A reply that fits a schema."""
    return WireReply(text=orjson.dumps(value).decode())


def call_reply(tool: str, **arguments: Any) -> WireReply:
    return WireReply(tool_calls=((tool, arguments),))
