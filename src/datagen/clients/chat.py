"""The one chat protocol: what is asked of a model, and what comes back.

A `ChatRequest` is final: what it holds is what is sent, so its `key` names the reply in the cache and an equal request
is never paid twice. A `ChatEngine` makes one attempt and raises typed errors; `clients.service.ChatService` wraps engines with
cache, budget, admission, retries and ledger, and is what roles talk to.

    role ── structured.ask / loop ──► ChatService.complete ──► cache? ──► budget ──► admission ──► engine (one attempt)
                                            ▲                                                        │ typed error
                                            └──────────────── ledger, bill ◄───────── retry ◄────────┘
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from typing import Literal as OneOf

from datagen.records.ids import canonical_json, sha256_hex

KEY_VERSION = 1
"""Raised when the meaning of a request's fields changes; old cache entries are then not found."""

Speaker = OneOf["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that a model wants made. `arguments` is the JSON text exactly as it came: it may be malformed."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `tool_calls` only on assistant turns, `tool_call_id` only on tool turns."""

    role: Speaker
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """A function a model may call; `parameters` is a JSON schema of an object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ReplySchema:
    """A JSON schema that the reply's text has to fit; `name` says what it is ("claims", "action")."""

    name: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn; None leaves it to the server. `seed` differs between samples of one prompt."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    logprobs: int | None = None
    """Alternatives per position whose log-probabilities are wanted; 0 for the chosen token alone, None for none."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Server-specific body fields, such as {"chat_template_kwargs": {"enable_thinking": false}}; part of the key."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """Everything that decides a reply."""

    model: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: OneOf["auto", "required", "none"] = "auto"
    schema: ReplySchema | None = None
    sampling: Sampling = Sampling()

    def body(self) -> dict[str, Any]:
        """The request as the chat-completions protocol writes it (without `stream`); unset options are left out."""
        body: dict[str, Any] = {"model": self.model, "messages": [message_to_dict(m) for m in self.messages]}
        if self.tools:
            body["tools"] = [
                {"type": "function", "function": {"name": t.name, "description": t.description, "parameters": dict(t.parameters)}}
                for t in self.tools
            ]  # fmt: skip
            body["tool_choice"] = self.tool_choice
        if self.schema is not None:
            spec = {"name": self.schema.name, "schema": dict(self.schema.schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": spec}
        drawn = self.sampling
        options = {
            "temperature": drawn.temperature,
            "top_p": drawn.top_p,
            "max_tokens": drawn.max_tokens,
            "seed": drawn.seed,
        }
        body |= {name: value for name, value in options.items() if value is not None}
        if drawn.logprobs is not None:
            body |= {"logprobs": True, "top_logprobs": drawn.logprobs}
        return body | dict(drawn.extra)

    def key(self, server: str) -> str:
        """Identity of the reply: the final request and the server it goes to, SHA-256 in hex."""
        named = {"version": KEY_VERSION, "method": "chat.completions", "server": server, "body": self.body()}
        return sha256_hex(canonical_json(named))


def message_to_dict(message: Message) -> dict[str, Any]:
    """A turn in the protocol's form."""
    raw: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        raw["tool_calls"] = [
            {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}}
            for c in message.tool_calls
        ]
    if message.tool_call_id is not None:
        raw["tool_call_id"] = message.tool_call_id
    return raw


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the provider counted them; None where it did not say. Never estimated."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One generated token, its log-probability, and the likeliest alternatives."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class ChatReply:
    """What a model said. `refusal` is its own words where the protocol marks them as a refusal."""

    text: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: str | None
    usage: Usage
    model: str
    """As the server names it."""
    refusal: str | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None
    """None where none were asked for or the server sent none; the capability probe tells the two apart."""
    reasoning: str = ""
    """What a reasoning model wrote before its reply, where the server keeps the two apart."""
    token_ids: tuple[int, ...] | None = None
    """The reply as the engine's own tokens, from servers that tell them (vLLM: `return_token_ids`)."""

    def as_message(self) -> Message:
        """The reply as a turn of the conversation."""
        return Message("assistant", self.text or (self.refusal or ""), self.tool_calls)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model as the cast names it: where it is served, what it is called there, how it is sampled."""

    name: str
    """The config's own name for it, such as "m1"."""
    endpoint: str
    model: str
    sampling: Sampling = Sampling()
    structured: OneOf["json_schema", "prompt"] = "json_schema"
    """Whether the server is asked to enforce a reply's schema, or the schema is only told in the prompt."""


class ChatEngine(Protocol):
    """One endpoint or one model in process. Safe to call from many threads at once."""

    identity: str
    """Names the server in cache keys: its base URL, or the name that the config gives it."""

    def attempt(self, request: ChatRequest, key: str, *, prefer: int = 0) -> ChatReply:
        """One try. `key` goes out as the idempotency key; `prefer` picks among replicas. Raises `EndpointError`s."""
        ...


class ChatClient(Protocol):
    """What roles talk to; `ChatService` is the one in use. Safe to call from many threads at once."""

    def complete(self, request: ChatRequest, *, endpoint: str, role: str) -> ChatReply:
        """The reply, paid for at most once. Raises `RetriesExhaustedError`, or what ends a run."""
        ...
