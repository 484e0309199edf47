"""Any server that speaks chat completions, through the openai SDK: vLLM, SGLang, llama.cpp, a gateway, a hosted model.

The SDK builds the URL, carries the key and knows the errors; retries are off there, since waiting is for admission. What
is sent is `ChatRequest.body()` and nothing else, for it is what the reply's cache key was made of. Every thread keeps a
connection of its own: one pool for 256 threads spends its time in looking for a free connection.

The SDK stands on httpx2, the continuation of httpx, so this module does too; pages of the web are fetched with httpx.

An attempt has a deadline for all of it. A socket timeout alone would let a server that sends a byte a second hold a slot
for ever.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2 as httpx
import openai
import orjson

from datagen.clients.chat import ChatReply, ChatRequest, TokenLogprob, ToolCall, Usage
from datagen.clients.streaming import assemble
from datagen.errors import (
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
        self._urls = tuple(url.rstrip("/") for url in base_urls)
        self.identity = identity or self._urls[0]
        self._key = api_key or NO_KEY
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
        transport.deadline = time.monotonic() + self._seconds
        try:
            response = client.post(
                "/chat/completions",
                cast_to=httpx.Response,
                content=orjson.dumps(body),
                options={"headers": {"Content-Type": "application/json", "Idempotency-Key": key}},
            )
        except openai.APIStatusError as exc:
            raise _by_status(exc.response, self._urls[place]) from None
        except (openai.APIConnectionError, httpx.HTTPError) as exc:
            raise ConnectionLostError(f"{self._urls[place]}: {_cause(exc)}.") from None
        return self._reply(response.content, self._urls[place])

    def _reply(self, content: bytes, url: str) -> ChatReply:
        try:
            raw = assemble(content) if self._stream else orjson.loads(content)
            return reply_of(raw)
        except (orjson.JSONDecodeError, KeyError, IndexError, TypeError, AttributeError) as exc:
            # Cut off on the way, or a gateway's page instead of a reply: another try may get through.
            raise ConnectionLostError(f"{url} sent no whole chat completion ({type(exc).__name__}).") from None

    def _client(self, place: int) -> tuple[openai.OpenAI, _Transport]:
        clients: dict[int, tuple[openai.OpenAI, _Transport]] | None = getattr(self._kept, "clients", None)
        if clients is None:
            clients = self._kept.clients = {}
        if place not in clients:
            transport = _Transport(self._ssl)
            timeout = httpx.Timeout(self._seconds, connect=min(CONNECT_SECONDS, self._seconds))
            http = httpx.Client(transport=transport, timeout=timeout, trust_env=False, follow_redirects=False)
            clients[place] = (
                openai.OpenAI(api_key=self._key, base_url=self._urls[place], max_retries=0, http_client=http, timeout=timeout),
                transport,
            )  # fmt: skip
        return clients[place]


class _Transport(httpx.HTTPTransport):
    """One thread's connections, with a deadline for whatever is under way."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(verify=context, limits=httpx.Limits(max_connections=2, max_keepalive_connections=2))
        self.deadline = float("inf")

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        assert isinstance(response.stream, httpx.SyncByteStream)
        response.stream = _Timed(response.stream, self, request)
        return response


class _Timed(httpx.SyncByteStream):
    """A body that has to arrive before the deadline."""

    def __init__(self, stream: httpx.SyncByteStream, transport: _Transport, request: httpx.Request) -> None:
        self._stream = stream
        self._transport = transport
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            if time.monotonic() > self._transport.deadline:
                raise httpx.ReadTimeout("the reply was not whole in time", request=self._request)
            yield chunk

    def close(self) -> None:
        self._stream.close()


def _cause(exc: Exception) -> str:
    cause = exc.__cause__ or exc
    return f"{type(cause).__name__}: {cause}".rstrip(": .")


def _by_status(response: httpx.Response, url: str) -> EndpointError:
    """The typed error of a status code; what the server says is quoted, never read."""
    status = response.status_code
    said = f"{url} answered {status}: {response.text[:SAID_CHARS].strip()!r}"
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
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        text = headers.get("retry-after")
        if text is None:
            return None
        if text.strip().replace(".", "", 1).isdigit():
            return float(text)
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def reply_of(raw: Mapping[str, Any]) -> ChatReply:
    """The first choice of a chat completion."""
    choice = raw["choices"][0]
    message = choice["message"]
    calls = tuple(
        ToolCall(call.get("id") or "", call["function"]["name"], call["function"].get("arguments") or "")
        for call in message.get("tool_calls") or ()
    )
    usage = raw.get("usage") or {}
    return ChatReply(
        text=message.get("content") or "",
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
    )


def _logprobs(raw: Mapping[str, Any] | None) -> tuple[TokenLogprob, ...] | None:
    if raw is None or raw.get("content") is None:
        return None
    return tuple(
        TokenLogprob(t["token"], t["logprob"], tuple((a["token"], a["logprob"]) for a in t.get("top_logprobs") or ()))
        for t in raw["content"]
    )
