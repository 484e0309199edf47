"""A streamed reply put together: server-sent events back into the one object that is sent without streaming.

A reply is whole when it has a finish reason and either the closing `[DONE]` or the token counts, which come last: some
servers (`transformers serve`) send no `[DONE]`. A connection that ends in between has lost something.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

DONE = b"[DONE]"


def assemble(content: bytes) -> dict[str, Any]:
    """The chat completion whose pieces the events carry. Raises `ValueError` where the stream ended before its end."""
    message: dict[str, Any] = {"content": "", "tool_calls": {}}
    whole: dict[str, Any] = {"choices": [{"message": message, "finish_reason": None}]}
    ended = False
    for data in _events(content):
        if data == DONE:
            ended = True
            break
        chunk = orjson.loads(data)
        whole["model"] = chunk.get("model") or whole.get("model")
        whole["usage"] = chunk.get("usage") or whole.get("usage")
        for choice in chunk.get("choices") or ():
            _add(whole["choices"][0], message, choice)
    if whole["choices"][0]["finish_reason"] is None or not (ended or whole.get("usage")):
        raise ValueError("the stream ended before the reply did")
    message["tool_calls"] = [call for _, call in sorted(message["tool_calls"].items())]
    return whole


def _add(first: dict[str, Any], message: dict[str, Any], choice: Mapping[str, Any]) -> None:
    delta = choice.get("delta") or {}
    message["content"] += delta.get("content") or ""
    for name in ("reasoning_content", "reasoning"):
        if isinstance(delta.get(name), str):
            message[name] = message.get(name, "") + delta[name]
    if delta.get("refusal"):
        message["refusal"] = (message.get("refusal") or "") + delta["refusal"]
    for number, piece in enumerate(delta.get("tool_calls") or ()):
        place = piece.get("index", number)  # a server that sends whole calls may leave their numbers out
        call = message["tool_calls"].setdefault(place, {"id": "", "function": {"name": "", "arguments": ""}})
        call["id"] = piece.get("id") or call["id"]
        told = piece.get("function") or {}
        call["function"]["name"] += told.get("name") or ""
        call["function"]["arguments"] += told.get("arguments") or ""
    first["finish_reason"] = choice.get("finish_reason") or first["finish_reason"]
    if choice.get("token_ids"):
        first["token_ids"] = [*first.get("token_ids", ()), *choice["token_ids"]]
    tokens = (choice.get("logprobs") or {}).get("content")
    if tokens:
        first.setdefault("logprobs", {"content": []})["content"] += tokens


def _events(content: bytes) -> Iterator[bytes]:
    for line in content.splitlines():
        if line.startswith(b"data:"):
            yield line[5:].strip()
