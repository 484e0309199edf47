"""Between our requests and vLLM's own: what goes into `SamplingParams` and a chat template, what comes out of a finished
request. Plain data on both sides, so nothing of vLLM is imported here.

Tool calls are read in the form that Hermes and Qwen models write, one JSON object between tags, several per reply:

    <tool_call>
    {"name": "search", "arguments": {"query": "stadium Hill End"}}
    </tool_call>

A call that is not such an object becomes a call without a name, whose arguments are the text as it came: the roles answer
it with what is wrong, as they do with any bad call.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from datagen.clients.chat import ChatReply, ChatRequest, TokenLogprob, ToolCall, Usage
from datagen.errors import InvalidRequestError

TEMPLATE_OPTIONS = "chat_template_kwargs"
"""The one field of `sampling.extra` that is for the chat template; the others are arguments of `SamplingParams`."""
_CALL = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)


def conversation(request: ChatRequest) -> list[dict[str, Any]]:
    """The turns as a chat template takes them. It can only write arguments that are an object, so others are wrapped."""
    turns: list[dict[str, Any]] = request.body()["messages"]
    for turn in turns:
        for call in turn.get("tool_calls", ()):
            told = call["function"]
            if not isinstance(_parsed(told["arguments"]), dict):
                told["arguments"] = orjson.dumps({"text": told["arguments"]}).decode()
    return turns


def tools(request: ChatRequest) -> list[dict[str, Any]] | None:
    """The tools that the template shows. Raises `InvalidRequestError` where a call has to be forced."""
    if not request.tools or request.tool_choice == "none":
        return None
    if request.tool_choice == "required":
        raise InvalidRequestError(
            "vLLM in this process cannot force a tool call; serve the model with `vllm serve` for that."
        )
    offered: list[dict[str, Any]] = request.body()["tools"]
    return offered


def template_options(request: ChatRequest) -> dict[str, Any]:
    return dict(request.sampling.extra.get(TEMPLATE_OPTIONS) or {})


def sampling_arguments(request: ChatRequest, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `SamplingParams`, over the model's own defaults; the schema goes separately.

    Without `max_tokens` the reply may fill the context, as it may on a server; vLLM's own default is 16 tokens.
    """
    drawn = request.sampling
    options = {
        "temperature": drawn.temperature,
        "top_p": drawn.top_p,
        "max_tokens": drawn.max_tokens,
        "seed": drawn.seed,
        "logprobs": drawn.logprobs,
    }
    told = {name: value for name, value in options.items() if value is not None}
    extra = {name: value for name, value in drawn.extra.items() if name != TEMPLATE_OPTIONS}
    shown = {"skip_special_tokens": False} if tools(request) else {}  # in some models the tags of calls are special
    return {"max_tokens": None, **defaults, **shown, **told, **extra}


def reply_of(output: Any, request: ChatRequest) -> ChatReply:
    """The reply that a finished `vllm.RequestOutput` holds."""
    said = output.outputs[0]
    text, calls = _split(said.text, output.request_id) if request.tools else (said.text, ())
    return ChatReply(
        text=text,
        tool_calls=calls,
        finish_reason="tool_calls" if calls and said.finish_reason == "stop" else said.finish_reason,
        usage=Usage(
            None if output.prompt_token_ids is None else len(output.prompt_token_ids),
            len(said.token_ids),
            output.num_cached_tokens,
        ),
        model=request.model,
        logprobs=None
        if said.logprobs is None
        else _logprobs(said.token_ids, said.logprobs, request.sampling.logprobs or 0),
        token_ids=tuple(said.token_ids),
    )


def _split(text: str, request_id: str) -> tuple[str, tuple[ToolCall, ...]]:
    """What was said before the first call, and the calls."""
    calls = tuple(
        ToolCall(f"call_{request_id}_{number}", *_call(found[1].strip()))
        for number, found in enumerate(_CALL.finditer(text))
    )
    before = text.split("<tool_call>", 1)[0] if calls else text
    # Special tokens were kept for the sake of the tags; the one that ends a turn is no part of it.
    return re.sub(r"<\|(?:im_end|endoftext|eot_id)\|>\s*\Z", "", before).strip(), calls


def _call(text: str) -> tuple[str, str]:
    """Name and arguments."""
    told = _parsed(text)
    if not isinstance(told, dict) or not isinstance(told.get("name"), str):
        return "", text
    arguments = told.get("arguments", {})
    return told["name"], arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()


def _logprobs(
    token_ids: Sequence[int], positions: Sequence[Mapping[int, Any]], wanted: int
) -> tuple[TokenLogprob, ...]:
    """The chosen token is among those of its position whether or not it is one of the `wanted` likeliest."""
    tokens = []
    for token_id, seen in zip(token_ids, positions, strict=True):
        ranked = sorted((one for one in seen.values() if one.rank and one.rank <= wanted), key=lambda one: one.rank)
        top = tuple((one.decoded_token or "", one.logprob) for one in ranked)
        tokens.append(TokenLogprob(seen[token_id].decoded_token or "", seen[token_id].logprob, top))
    return tuple(tokens)


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
