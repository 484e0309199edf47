"""Replies that fit a schema: asked for, checked, and corrected at most twice.

The server is asked to enforce the schema (`response_format`), or the schema is told in the prompt; in both cases the reply
is validated here, for servers are known to ignore the first and models the second. What does not fit is answered by a
turn that says what is wrong. Every correction is counted on the open bill, and every reply was paid for.

    messages ──► reply ──► refusal? cut off? JSON? schema? problems(value)? ──► value
                  ▲                          │ what is wrong, in sentences
                  └──── correction turn ◄────┘  at most `corrections` times, then UnusableReplyError
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Generic, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from datagen.clients.billing import current_bill
from datagen.clients.chat import ChatClient, ChatReply, ChatRequest, Message, ModelSpec, ReplySchema
from datagen.errors import UnusableReplyError

T = TypeVar("T", bound=BaseModel)
CORRECTIONS = 2
SHOWN_ERRORS = 6
NOTHING = "(no reply)"
"""Stands for an empty reply in the conversation: servers refuse turns without content."""
_FENCE = re.compile(r"\A```(?:json)?\s*\n(.*)\n```\s*\Z", re.DOTALL)
_THOUGHT = re.compile(r"\A\s*<think>.*?</think>\s*", re.DOTALL)
UNKNOWN_TO_STRICT = frozenset(
    {"title", "default", "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems"}
)
"""Keywords that strict servers refuse. They are checked here all the same."""


@dataclass(frozen=True, slots=True)
class Asked(Generic[T]):
    """A reply that fits. `problems_left` is empty unless flawed replies were to be kept."""

    value: T
    problems_left: tuple[str, ...] = ()
    corrections: int = 0


@dataclass(frozen=True, slots=True)
class _Fault:
    """What is wrong with a reply: a short code and sentences for the model."""

    reason: str
    sentences: tuple[str, ...]


def ask(
    client: ChatClient,
    model: ModelSpec,
    messages: Sequence[Message],
    *,
    role: str,
    name: str,
    schema: type[T],
    seed: int,
    problems: Callable[[T], Sequence[str]] | None = None,
    corrections: int = CORRECTIONS,
    keep_flawed: bool = False,
) -> Asked[T]:
    """Have `messages` answered in `schema`, which goes by `name`.

    `problems` says in sentences what is wrong with a value that fits the schema. With `keep_flawed` the last such value is
    returned with what is left of its problems. Raises `UnusableReplyError` with reason refusal, length, json, schema or
    problems when corrections do not help.
    """
    talk = list(messages)
    spec = ReplySchema(name, strict_schema(schema))
    if model.structured == "prompt":
        talk[0] = replace(talk[0], content=f"{talk[0].content}\n\n{told_schema(spec)}")
    flawed: tuple[T, tuple[str, ...]] | None = None
    fault: _Fault | None = None
    for corrected in range(corrections + 1):
        reply = client.complete(_request(model, talk, spec, seed), endpoint=model.endpoint, role=role)
        value, fault = _examined(reply, schema, problems)
        if fault is None:
            assert value is not None
            return Asked(value, corrections=corrected)
        if value is not None:
            flawed = (value, fault.sentences)
        if corrected == corrections:
            break
        current_bill().corrections += 1
        talk += [Message("assistant", reply.text or reply.refusal or NOTHING), Message("user", _correction(fault))]
    assert fault is not None
    if keep_flawed and flawed is not None:
        return Asked(*flawed, corrections=corrections)
    raise UnusableReplyError(
        f"{role} ({model.name}) gave no usable {name} after {corrections} corrections: {' '.join(fault.sentences)}",
        fault.reason,
    )


def _request(model: ModelSpec, messages: Sequence[Message], spec: ReplySchema, seed: int) -> ChatRequest:
    return ChatRequest(
        model=model.model,
        messages=tuple(messages),
        schema=spec if model.structured == "json_schema" else None,
        sampling=replace(model.sampling, seed=seed),
    )


def _examined(
    reply: ChatReply, schema: type[T], problems: Callable[[T], Sequence[str]] | None
) -> tuple[T | None, _Fault | None]:
    """The value where the reply fits the schema, and what is wrong with it if anything is."""
    if reply.refusal or reply.finish_reason == "content_filter":
        return None, _Fault("refusal", ("You declined, and the task is a harmless one about the given text.",))
    if reply.finish_reason == "length":
        return None, _Fault("length", ("The reply was cut off before its end; it must be shorter.",))
    try:
        raw = orjson.loads(bare(reply.text))
    except orjson.JSONDecodeError as exc:
        return None, _Fault("json", (f"The reply is not JSON: {exc}.",))
    try:
        value = schema.model_validate(raw)
    except ValidationError as exc:
        return None, _Fault("schema", tuple(_sentence(error) for error in exc.errors()[:SHOWN_ERRORS]))
    found = tuple(problems(value)) if problems is not None else ()
    return value, _Fault("problems", found) if found else None


def bare(text: str) -> str:
    """Without a leading thought and the fence of a code block: both are manners of models, not errors."""
    plain = _THOUGHT.sub("", text).strip()
    fenced = _FENCE.match(plain)
    return fenced[1] if fenced else plain


def _sentence(error: Any) -> str:
    place = ".".join(map(str, error["loc"])) or "the object"
    return f"{place}: {error['msg']}."


def _correction(fault: _Fault) -> str:
    listed = "\n".join(f"- {sentence}" for sentence in fault.sentences)
    return f"That reply cannot be used:\n{listed}\nReply to the task again, in full, as one JSON object of the schema."


def told_schema(spec: ReplySchema) -> str:
    """The schema in words, for servers that do not enforce one."""
    text = orjson.dumps(spec.schema).decode()
    return (
        "Reply with one JSON object that fits this JSON schema, and with nothing else:\n"
        f'<reply_schema name="{spec.name}">\n{text}\n</reply_schema>'
    )


@cache
def strict_schema(schema: type[BaseModel]) -> dict[str, Any]:
    """The model's JSON schema in the form that strict servers take: every key required, none beside them."""
    closed = _closed(schema.model_json_schema())
    assert isinstance(closed, dict)
    return closed


def _closed(part: Any) -> Any:
    if isinstance(part, list):
        return [_closed(item) for item in part]
    if not isinstance(part, dict):
        return part
    kept = {k: _closed(v) for k, v in part.items() if k not in UNKNOWN_TO_STRICT or isinstance(v, dict)}
    if kept.get("type") == "object" and "properties" in kept:
        kept |= {"additionalProperties": False, "required": list(kept["properties"])}
    return kept
