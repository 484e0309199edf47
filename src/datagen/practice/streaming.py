"""A reply as server-sent events, a few tokens at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from datagen.practice.completions import Reply, logprobs_wanted, usage_of
from datagen.practice.tokens import tokens_of

DONE = b"data: [DONE]\n\n"
_PIECES = 16
"""Deltas of a text, at most: enough to be a stream, few enough to be cheap."""


def events(reply: Reply, body: Mapping[str, Any], *, include_usage: bool) -> list[bytes]:
    """Every event of the stream, `[DONE]` excepted. Usage comes in an event of its own, without choices."""
    base = {"id": reply.id, "object": "chat.completion.chunk", "created": reply.created, "model": reply.model}
    said = reply.said
    deltas: list[tuple[dict[str, Any], Any]] = [
        ({"role": "assistant", "content": None if said.tool_calls else ""}, None)
    ]
    if said.refusal is not None:
        deltas += [({"refusal": piece}, None) for piece in _pieces(said.refusal)]
    elif said.tool_calls:
        deltas += [(delta, None) for delta in _call_deltas(said.tool_calls)]
    else:
        deltas += _text_deltas(said.text, logprobs_wanted(body, said))
    chunks = [base | {"choices": [_choice(delta, values, None)]} for delta, values in deltas]
    chunks.append(base | {"choices": [_choice({}, None, said.finish_reason)]})
    if include_usage:
        chunks = [chunk | {"usage": None} for chunk in chunks]
        chunks.append(base | {"choices": [], "usage": usage_of(reply)})
    return [b"data: %b\n\n" % orjson.dumps(chunk) for chunk in chunks]


def _choice(delta: dict[str, Any], values: Any, finish_reason: str | None) -> dict[str, Any]:
    told = None if values is None else {"content": values, "refusal": None}
    return {"index": 0, "delta": delta, "logprobs": told, "finish_reason": finish_reason}


def _text_deltas(text: str, values: list[dict[str, Any]] | None) -> Iterator[tuple[dict[str, Any], Any]]:
    if values is None:
        yield from (({"content": piece}, None) for piece in _pieces(text))
        return
    size = -(-len(values) // _PIECES) or 1
    for start in range(0, len(values), size):
        part = values[start : start + size]
        yield {"content": "".join(entry["token"] for entry in part)}, part


def _call_deltas(calls: tuple[tuple[str, str, str], ...]) -> Iterator[dict[str, Any]]:
    """Id and name come first, then the arguments piece by piece, as servers send them."""
    for index, (call_id, name, arguments) in enumerate(calls):
        head = {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}
        yield {"tool_calls": [head]}
        for piece in _pieces(arguments):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _pieces(text: str) -> list[str]:
    tokens = tokens_of(text)
    size = -(-len(tokens) // _PIECES) or 1
    return ["".join(tokens[start : start + size]) for start in range(0, len(tokens), size)]


def framed(data: bytes) -> bytes:
    """A chunk of a body sent with chunked encoding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"
