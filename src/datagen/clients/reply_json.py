"""A reply as JSON and back, exactly: what the cache gives is equal to what the service gave when it was paid for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from datagen.clients.chat import ChatReply, TokenLogprob, ToolCall, Usage


def reply_to_dict(reply: ChatReply) -> dict[str, Any]:
    """JSON values only; what is empty is left out."""
    usage, calls = reply.usage, [[call.id, call.name, call.arguments] for call in reply.tool_calls]
    raw = {
        "text": reply.text,
        "tool_calls": calls or None,
        "finish_reason": reply.finish_reason,
        "usage": [usage.input_tokens, usage.output_tokens, usage.cached_input_tokens],
        "model": reply.model,
        "refusal": reply.refusal,
        "logprobs": None if reply.logprobs is None else [_token_to_list(token) for token in reply.logprobs],
        "reasoning": reply.reasoning or None,
        "token_ids": None if reply.token_ids is None else list(reply.token_ids),
    }
    return {name: value for name, value in raw.items() if value is not None}


def reply_from_dict(raw: dict[str, Any]) -> ChatReply:
    """The reply that `reply_to_dict` was given."""
    logprobs, token_ids = raw.get("logprobs"), raw.get("token_ids")
    return ChatReply(
        text=raw["text"],
        tool_calls=tuple(ToolCall(*call) for call in raw.get("tool_calls", ())),
        finish_reason=raw.get("finish_reason"),
        usage=Usage(*raw["usage"]),
        model=raw["model"],
        refusal=raw.get("refusal"),
        logprobs=None if logprobs is None else tuple(_token_from_list(token) for token in logprobs),
        reasoning=raw.get("reasoning", ""),
        token_ids=None if token_ids is None else tuple(token_ids),
    )


def sayable(reply: ChatReply) -> ChatReply:
    """The reply with U+FFFD for halves of surrogate pairs.

    JSON can carry such a half (a server that cuts an escaped emoji in two sends one), UTF-8 can't: the next turn of the
    conversation, which repeats the reply, would have no bytes.
    """
    refusal = None if reply.refusal is None else _sayable(reply.refusal)
    calls = tuple(ToolCall(_sayable(c.id), _sayable(c.name), _sayable(c.arguments)) for c in reply.tool_calls)
    told = replace(
        reply, text=_sayable(reply.text), refusal=refusal, tool_calls=calls, reasoning=_sayable(reply.reasoning)
    )
    return reply if told == reply else told


def _sayable(text: str) -> str:
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _token_to_list(token: TokenLogprob) -> list[Any]:
    return [token.token, token.logprob, [list(alternative) for alternative in token.top]]


def _token_from_list(raw: list[Any]) -> TokenLogprob:
    token, logprob, top = raw
    return TokenLogprob(token, logprob, tuple((text, value) for text, value in top))
