"""Any server that speaks chat completions, through the openai SDK: vLLM, SGLang, llama.cpp, a gateway, a hosted model.

The SDK builds the URL, carries the key and knows the errors; retries are off there, since waiting is for admission. What
is sent is `ChatRequest.body()` and nothing else, for it is what the reply's cache key was made of. Every thread keeps a
connection of its own: one pool for 256 threads spends its time in looking for a free connection.

An attempt has a deadline for all of it (`clients.timed_http`).

The key goes into one header and nowhere else: what a server says on an error is quoted without it, for some repeat it.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any
from urllib.parse import urlsplit

import httpx2 as httpx
import openai
import orjson

from datagen.clients.chat import ChatReply, ChatRequest, TokenLogprob, ToolCall, Usage
from datagen.clients.streaming import assemble
from datagen.clients.timed_http import TimedTransport
from datagen.errors import (
    ConfigError,
    ConnectionLostError,
    CredentialsError,
    EndpointError,
    InvalidRequestError,
    OverloadedError,
    ThrottledError,
)

NO_KEY = "no-key"
"""The SDK insists on a key; servers without one ignore it."""
CONNECT_SECONDS = 10.0
SAID_CHARS = 300
"""Of a server's own words on an error, quoted in ours."""


class OpenAIEngine:
    """One server, or several replicas of it; implements `clients.chat.ChatEngine`."""

    def __init__(
        self,
        base_urls: Sequence[str],
        *,
        identity: str = "",
        api_key: str | None = None,
        timeout_seconds: float = 180,
        stream: bool = False,
    ) -> None:
        self._urls = tuple(_checked_url(url) for url in base_urls)
        self.identity = identity or self._urls[0]
        self._key = _checked_key(api_key or NO_KEY)
        self._seconds = timeout_seconds
        self._stream = stream
        self._kept = threading.local()
        self._ssl = ssl.create_default_context()

    def __repr__(self) -> str:
        return f"OpenAIEngine({', '.join(self._urls)})"

    def attempt(self, request: ChatRequest, key: str, *, prefer: int = 0) -> ChatReply:
        """One try at replica `prefer` modulo their number. Raises `EndpointError`s by status code and type of fault."""
        place = prefer % len(self._urls)
        body = request.body()
        if self._stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        client, transport = self._client(place)
        transport.begin(self._seconds)
        try:
            response = client.post(
                "/chat/completions",
                cast_to=httpx.Response,
                content=orjson.dumps(body),
                options={"headers": {"Content-Type": "application/json", "Idempotency-Key": key}},
            )
        except openai.APIStatusError as exc:
            said = exc.response.text.replace(self._key, "[key]")[:SAID_CHARS].strip()
            raise _by_status(exc.response, self._urls[place], said) from None
        except (openai.APIConnectionError, httpx.HTTPError) as exc:
            raise ConnectionLostError(f"{self._urls[place]}: {_cause(exc)}.") from None
        return self._reply(response.content, self._urls[place])

    def _reply(self, content: bytes, url: str) -> ChatReply:
        try:
            raw = assemble(content) if self._stream else orjson.loads(content)
            return reply_of(raw)
        except (orjson.JSONDecodeError, KeyError, IndexError, TypeError, AttributeError, ValueError) as exc:
            # Cut off on the way, or a gateway's page instead of a reply: another try may get through.
            raise ConnectionLostError(f"{url} sent no whole chat completion ({type(exc).__name__}).") from None

    def _client(self, place: int) -> tuple[openai.OpenAI, TimedTransport]:
        clients: dict[int, tuple[openai.OpenAI, TimedTransport]] | None = getattr(self._kept, "clients", None)
        if clients is None:
            clients = self._kept.clients = {}
        if place not in clients:
            transport = TimedTransport(self._ssl)
            timeout = httpx.Timeout(self._seconds, connect=min(CONNECT_SECONDS, self._seconds))
            http = httpx.Client(transport=transport, timeout=timeout, trust_env=False, follow_redirects=False)
            clients[place] = (
                openai.OpenAI(api_key=self._key, base_url=self._urls[place], max_retries=0, http_client=http, timeout=timeout),
                transport,
            )  # fmt: skip
        return clients[place]


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f'{url!r} is no base URL of a server; one looks like "http://localhost:8000/v1".')
    if parts.username or parts.password:
        raise ConfigError(
            f"the base URL of {parts.hostname} holds a user or a password, and base URLs stand in rows and messages; set "
            "api_key_env of the endpoint to the name of the variable that holds its key."
        )
    return url.rstrip("/")


def _checked_key(key: str) -> str:
    plain = key.strip()
    if not plain.isascii() or not plain.isprintable() or " " in plain:
        raise ConfigError(
            "the key of the endpoint holds characters that no header can carry; look at the variable that "
            "api_key_env names, for example for a line break inside it."
        )
    return plain


def _cause(exc: Exception) -> str:
    cause = exc.__cause__ or exc
    return f"{type(cause).__name__}: {cause}".rstrip(": .")


def _by_status(response: httpx.Response, url: str, text: str) -> EndpointError:
    """The typed error of a status code; what the server says (`text`) is quoted, never read."""
    status = response.status_code
    said = f"{url} answered {status}: {text!r}"
    wait = retry_after(response.headers)
    if status == 429 or (status == 503 and wait is not None):
        return ThrottledError(f"{said}.", wait)
    if status in (401, 403):
        return CredentialsError(
            f"{said}. The endpoint does not accept the key, or lacks one: set api_key_env of its table to the name of "
            "the variable that holds it, and resume."
        )
    if status >= 500 or status in (408, 409, 425):
        return OverloadedError(f"{said}.")
    return InvalidRequestError(
        f"{said}. The same request would be refused again; `datagen check CONFIG` probes the endpoint."
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait; both forms of Retry-After, and the one in milliseconds."""
    try:
        if "retry-after-ms" in headers:
            return _finite(float(headers["retry-after-ms"]) / 1000)
        text = headers.get("retry-after")
        if text is None:
            return None
        if text.strip()[:1].isdigit():
            return _finite(float(text))
        date = parsedate_to_datetime(text)
        return _finite((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _finite(seconds: float) -> float | None:
    return max(0.0, seconds) if isfinite(seconds) else None


def reply_of(raw: Mapping[str, Any]) -> ChatReply:
    """The first choice of a chat completion."""
    choice = raw["choices"][0]
    message = choice["message"]
    calls = tuple(
        ToolCall(call.get("id") or "", call["function"]["name"], _arguments(call["function"].get("arguments")))
        for call in message.get("tool_calls") or ()
    )
    text = message.get("content") or ""
    if not isinstance(text, str):
        raise TypeError("the content of a reply is text")
    usage = raw.get("usage") or {}
    return ChatReply(
        text=text,
        tool_calls=calls,
        finish_reason=choice.get("finish_reason"),
        usage=Usage(
            usage.get("prompt_tokens"),
            usage.get("completion_tokens"),
            (usage.get("prompt_tokens_details") or {}).get("cached_tokens"),
        ),
        model=raw.get("model") or "",
        refusal=message.get("refusal"),
        logprobs=_logprobs(choice.get("logprobs")),
        reasoning=_reasoning(message),
        token_ids=None if choice.get("token_ids") is None else tuple(map(int, choice["token_ids"])),
    )


def _reasoning(message: Mapping[str, Any]) -> str:
    """Servers have two names for it, and gateways send things that are no text."""
    said = message.get("reasoning_content") or message.get("reasoning")
    return said if isinstance(said, str) else ""


def _arguments(raw: Any) -> str:
    """As they came; some servers send the object itself instead of its text."""
    if raw is None or isinstance(raw, str):
        return raw or ""
    return orjson.dumps(raw).decode()


def _logprobs(raw: Mapping[str, Any] | None) -> tuple[TokenLogprob, ...] | None:
    if raw is None or raw.get("content") is None:
        return None
    return tuple(
        TokenLogprob(t["token"], t["logprob"], tuple((a["token"], a["logprob"]) for a in t.get("top_logprobs") or ()))
        for t in raw["content"]
    )
