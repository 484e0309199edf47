"""The protocol's shapes: a request's body becomes what a mind may look at, what it said becomes a chat completion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import orjson

from datagen.agents.llm.fencing import sections
from datagen.practice.flaws import Said
from datagen.practice.tokens import count_tokens, logprobs_of, tokens_of
from datagen.practice.wire import WireMessage, WireReply, WireRequest

_NOT_PART_OF_THE_QUESTION = ("stream", "stream_options")
"""How a reply is delivered does not change it."""
_NEEDED = ("model", "messages")
_TYPES: dict[str, type] = {
    "model": str,
    "messages": list,
    "tools": list,
    "response_format": dict,
    "stream_options": dict,
    "stream": bool,
    "logprobs": bool,
    "n": int,
    "seed": int,
    "top_logprobs": int,
    "max_tokens": int,
    "max_completion_tokens": int,
}
LOGPROBS_AT_MOST = 20


class BadRequest(ValueError):
    """A body that is no request; the message goes to the client with 400."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was understood."""

    wire: WireRequest
    digest: str
    stream: bool
    include_usage: bool


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply with what it costs: what is booked, stored and delivered."""

    said: Said
    model: str
    input_tokens: int
    output_tokens: int
    id: str
    created: int


def understand(raw: bytes) -> Asked:
    """Read a body; raises `BadRequest`."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        raise BadRequest(f"The body is not JSON: {exc}.") from exc
    if not isinstance(body, dict):
        raise BadRequest("The body has to be an object.")
    _check(body)
    digest = _digest(body)
    messages = tuple(_message(message) for message in body["messages"])
    try:
        tools = tuple(tool["function"]["name"] for tool in body.get("tools") or ())
    except (TypeError, KeyError) as exc:
        raise BadRequest("A tool needs a function with a name.") from exc
    wire = WireRequest(body["model"], messages, tools, _schema_name(body, messages), body.get("seed") or 0, body)
    options = body.get("stream_options") or {}
    return Asked(wire, digest, bool(body.get("stream")), bool(options.get("include_usage")))


def _check(body: Mapping[str, Any]) -> None:
    """Refuse what the rest could stumble over. Fields that are not named here are a server's own and are let pass."""
    for name, kind in _TYPES.items():
        value = body.get(name)
        if not isinstance(value, kind) and (value is not None or name in _NEEDED):
            raise BadRequest(f"`{name}` has to be of type {kind.__name__}.")
    if not body["messages"]:
        raise BadRequest("`messages` has to be a list with at least one message.")
    told = (body.get("response_format") or {}).get("json_schema") or {}
    if not isinstance(told, dict) or not isinstance(told.get("schema") or {}, dict):
        raise BadRequest("`response_format.json_schema` needs a name and a schema.")
    if body.get("n") not in (None, 1):
        raise BadRequest("`n` has to be 1: ask again with another seed for another reply.")
    if not 0 <= (body.get("top_logprobs") or 0) <= LOGPROBS_AT_MOST:
        raise BadRequest(f"`top_logprobs` lies between 0 and {LOGPROBS_AT_MOST}.")


def _digest(body: Mapping[str, Any]) -> str:
    asked = {key: value for key, value in body.items() if key not in _NOT_PART_OF_THE_QUESTION}
    return sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _message(raw: Any) -> WireMessage:
    if not isinstance(raw, dict) or not isinstance(raw.get("role"), str):
        raise BadRequest("A message has to be an object with a `role`.")
    try:
        calls = tuple(
            (str(call.get("id", "")), str(call["function"]["name"]), str(call["function"]["arguments"]))
            for call in raw.get("tool_calls") or ()
        )
    except (TypeError, KeyError, AttributeError) as exc:
        raise BadRequest("A tool call needs a function with name and arguments.") from exc
    return WireMessage(raw["role"], _text(raw.get("content")), calls, raw.get("tool_call_id"))


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        return "".join(str(part.get("text") or "") for part in content)
    raise BadRequest("The content of a message has to be text or a list of parts with text.")


def _schema_name(body: Mapping[str, Any], messages: tuple[WireMessage, ...]) -> str | None:
    """From the response format, or from where a prompt announces the schema in words."""
    wanted = body.get("response_format")
    if isinstance(wanted, dict) and isinstance(wanted.get("json_schema"), dict):
        return str(wanted["json_schema"].get("name", ""))
    for message in messages:
        if message.role == "system" and "<reply_schema " in message.content:
            for section in sections(message.content, "reply_schema"):
                return section.attributes.get("name")
    return None


def as_said(answer: WireReply, digest: str) -> Said:
    """A mind's answer with ids for its calls; equal requests get equal ids."""
    calls = tuple(
        (f"call_{digest[:20]}{number}", name, orjson.dumps(dict(given)).decode())
        for number, (name, given) in enumerate(answer.tool_calls)
    )
    return Said(answer.text, calls, finish_reason="tool_calls" if calls else "stop")


def within_limit(said: Said, body: Mapping[str, Any]) -> Said:
    """A text longer than the request allows is cut there, as a model's is. Calls are never cut."""
    most = body.get("max_completion_tokens") or body.get("max_tokens")
    if not isinstance(most, int) or len(said.text) <= most or count_tokens(said.text) <= most:
        return said
    return replace(said, text="".join(tokens_of(said.text)[:most]), finish_reason="length")


def count_output(said: Said) -> int:
    """Tokens of what was said."""
    calls = sum(count_tokens(name) + count_tokens(arguments) for _, name, arguments in said.tool_calls)
    return count_tokens(said.refusal or said.text) + calls


def usage_of(reply: Reply) -> dict[str, Any]:
    return {
        "prompt_tokens": reply.input_tokens,
        "completion_tokens": reply.output_tokens,
        "total_tokens": reply.input_tokens + reply.output_tokens,
    }


def calls_of(said: Said) -> list[dict[str, Any]]:
    return [
        {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
        for call_id, name, arguments in said.tool_calls
    ]


def logprobs_wanted(body: Mapping[str, Any], said: Said) -> list[dict[str, Any]] | None:
    """Values for the text, where they were asked for."""
    if not body.get("logprobs") or said.refusal or said.tool_calls:
        return None
    return logprobs_of(said.text, int(body.get("top_logprobs") or 0))


def completion(reply: Reply, body: Mapping[str, Any]) -> bytes:
    """The reply as one JSON object."""
    said = reply.said
    message: dict[str, Any] = {"role": "assistant", "content": said.text or None, "refusal": said.refusal}
    if not said.tool_calls and said.refusal is None:
        message["content"] = said.text
    if said.tool_calls:
        message["tool_calls"] = calls_of(said)
    values = logprobs_wanted(body, said)
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None if values is None else {"content": values, "refusal": None},
        "finish_reason": said.finish_reason,
    }
    return orjson.dumps(
        {
            "id": reply.id,
            "object": "chat.completion",
            "created": reply.created,
            "model": reply.model,
            "choices": [choice],
            "usage": usage_of(reply),
        }
    )


def error_body(message: str, kind: str, code: str | None = None) -> bytes:
    """The protocol's form of an error."""
    return orjson.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}})
