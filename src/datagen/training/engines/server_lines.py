"""Connections to model servers: waits that end, and faults with a type.

    lines = ServerLines(["http://gpu-1:8000", "http://gpu-2:8000"], key="")
    reply = await lines.post("http://gpu-1:8000", "/v1/completions", body, seconds=600)

A request goes out over a client of its own with one connection; the client that was used last is used first. One client
for all would look through all its connections with every request, which at 128 under way costs more than the request.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson

from datagen.clients.connecting import SlowError
from datagen.errors import ConfigError, ConnectionLostError, InvalidRequestError
from datagen.training.engines.server_wire import raise_for, read_json

CONNECT_SECONDS = 10.0
KEPT_SECONDS = 4.0
"""How long an idle connection is used again. vLLM's server closes them after 5 seconds; a request that goes out just then
would look like one that a dying server lost."""
KEPT_CLIENTS = 256
JSON = {"Content-Type": "application/json"}


class ServerLines:
    """HTTP to all replicas of one model."""

    def __init__(self, urls: Sequence[str], *, key: str = "") -> None:
        """`urls` with or without a trailing /v1; `key` is sent as a bearer token, where servers ask for one."""
        self.urls = tuple(dict.fromkeys(url.rstrip("/").removesuffix("/v1") for url in urls))
        if not self.urls:
            raise ConfigError(
                'a server engine needs the address of a server, such as urls = ["http://localhost:8000"].'
            )
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.opened: Counter[str] = Counter()
        """Connections that were opened to each server. One ends with the process at its other end, so while none is opened
        nothing was started again."""
        self._free: dict[str, list[httpx.AsyncClient]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._certificates = httpx.create_ssl_context()

    async def post(
        self,
        url: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        seconds: float,
        query: Mapping[str, str] | None = None,
    ) -> Any:
        """The JSON of a reply. Raises `EndpointError`s."""
        answer = await self._send("POST", url, path, seconds=seconds, body=body, query=query)
        return read_json(answer, f"{url}{path}")

    async def command(
        self,
        url: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        seconds: float,
        query: Mapping[str, str] | None = None,
    ) -> None:
        """Like `post`, for routes whose reply tells nothing but that it was done."""
        answer = await self._send("POST", url, path, seconds=seconds, body=body, query=query)
        raise_for(answer, f"{url}{path}")

    async def get(self, url: str, path: str, *, seconds: float) -> Any:
        """The JSON of a reply. Raises `EndpointError`s."""
        answer = await self._send("GET", url, path, seconds=seconds)
        return read_json(answer, f"{url}{path}")

    async def close(self) -> None:
        """Let the connections go. Another call opens new ones."""
        for client in self._take_all():
            await client.aclose()

    async def _send(
        self,
        method: str,
        url: str,
        path: str,
        *,
        seconds: float,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        who = f"{url}{path}"

        async def note(event: str, info: Mapping[str, Any]) -> None:  # noqa: ARG001  the signature of httpcore's
            self.opened[url] += event == "connection.connect_tcp.complete"

        content, kind = (None, {}) if body is None else (orjson.dumps(body), JSON)
        try:
            async with asyncio.timeout(seconds), self._client(url) as client:
                return await client.request(
                    method,
                    who,
                    content=content,
                    params=query,
                    headers=self._headers | kind,
                    extensions={"trace": note},
                )
        except TimeoutError as exc:
            raise SlowError(f"{who} gave no whole answer within {seconds:g} seconds") from exc
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as exc:
            raise InvalidRequestError(f"{who} is no address that can be asked: {exc}") from exc
        except httpx.HTTPError as exc:
            raise ConnectionLostError(f"the connection to {who} failed: {str(exc) or type(exc).__name__}") from exc

    @asynccontextmanager
    async def _client(self, url: str) -> AsyncIterator[httpx.AsyncClient]:
        if self._loop is not asyncio.get_running_loop():
            self._take_all()  # clients belong to the loop that they were opened on
            self._loop = asyncio.get_running_loop()
        free = self._free.setdefault(url, [])
        client = free.pop() if free else self._new_client()
        try:
            yield client
        finally:
            if len(free) < KEPT_CLIENTS:
                free.append(client)
            else:
                await client.aclose()

    def _new_client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            trust_env=False,
            verify=self._certificates,
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEPT_SECONDS),
        )

    def _take_all(self) -> list[httpx.AsyncClient]:
        taken = [client for free in self._free.values() for client in free]
        self._free = {}
        return taken
