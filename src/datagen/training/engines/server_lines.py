"""Connections to model servers: one client per address, waits that end, and faults with a type.

    lines = ServerLines(["http://gpu-1:8000", "http://gpu-2:8000"], key="")
    reply = await lines.post("http://gpu-1:8000", "/v1/completions", body, seconds=600)

A client of httpx belongs to one event loop, so it is opened by the first call that is made on that loop.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from datagen.clients.connecting import SlowError
from datagen.errors import ConfigError, ConnectionLostError, InvalidRequestError
from datagen.training.engines.server_wire import raise_for, read_json

CONNECT_SECONDS = 10.0


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
        self._client: httpx.AsyncClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

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
        answer = await self._send("POST", url, path, seconds, json=body, params=query)
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
        answer = await self._send("POST", url, path, seconds, json=body, params=query)
        raise_for(answer, f"{url}{path}")

    async def get(self, url: str, path: str, *, seconds: float) -> Any:
        """The JSON of a reply. Raises `EndpointError`s."""
        answer = await self._send("GET", url, path, seconds)
        return read_json(answer, f"{url}{path}")

    async def close(self) -> None:
        """Let the connections go. Another call opens new ones."""
        if self._client is not None and self._loop is asyncio.get_running_loop():
            await self._client.aclose()
        self._client = None

    async def _send(self, method: str, url: str, path: str, seconds: float, **more: Any) -> httpx.Response:
        who = f"{url}{path}"

        async def note(event: str, info: Mapping[str, Any]) -> None:  # noqa: ARG001  the signature of httpcore's
            self.opened[url] += event == "connection.connect_tcp.complete"

        try:
            async with asyncio.timeout(seconds):
                return await self._opened().request(
                    method, url + path, headers=self._headers, extensions={"trace": note}, **more
                )
        except TimeoutError as exc:
            raise SlowError(f"{who} gave no whole answer within {seconds:g} seconds") from exc
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as exc:
            raise InvalidRequestError(f"{who} is no address that can be asked: {exc}") from exc
        except httpx.HTTPError as exc:
            raise ConnectionLostError(f"the connection to {who} failed: {str(exc) or type(exc).__name__}") from exc

    def _opened(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            self._loop = loop
            self._client = httpx.AsyncClient(
                trust_env=False,
                timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=256, keepalive_expiry=20.0),
            )
        return self._client
