"""The tools of a running `datagen serve`, for trainers whose rollout workers are on other machines.

    tools = RemoteTools.from_environment()               DATAGEN_URL, and DATAGEN_TOKEN where the server wants one
    episode = tools.begin()
    tools.call(episode, "search", {"query": "..."})      '{"results": [...]}', the text for the policy

Standard library only, one connection per thread, which is kept open. What the policy can bring about comes back as a text
with an error code; a server that cannot be reached, or that says the trainer is at fault, raises, because such a thing
must not become a wrong answer.
"""

from __future__ import annotations

import http.client
import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from datagen.errors import ConfigError, ConnectionLostError, InvalidRequestError

DEFAULT_URL = "http://127.0.0.1:8321"
TOOLS = ("search", "visit")
TIMEOUT_SECONDS = 60.0
ATTEMPTS = 3
"""A server may close a connection that was idle; the next attempt opens another."""


@dataclass(frozen=True, slots=True)
class RemoteTools:
    """One server."""

    url: str = DEFAULT_URL
    token: str | None = field(default=None, repr=False)
    _local: threading.local = field(default_factory=threading.local, repr=False, compare=False)

    @classmethod
    def from_environment(cls) -> RemoteTools:
        return cls(os.environ.get("DATAGEN_URL", DEFAULT_URL), os.environ.get("DATAGEN_TOKEN"))

    def begin(self) -> str:
        """A new episode: a handle that calls carry, so that the server can count them."""
        return str(json.loads(self._post("/reset", {}))["episode"])

    def call(self, episode: str, tool: str, arguments: Mapping[str, Any]) -> str:
        """What the tool returned, as the text of a tool message."""
        if tool not in TOOLS:
            return json.dumps({"error": "unknown_tool", "message": f"The tools are {' and '.join(TOOLS)}."})
        return self._post(f"/{tool}", {**arguments, "episode": episode})

    def _post(self, path: str, body: Mapping[str, Any]) -> str:
        fault: Exception | None = None
        for _ in range(ATTEMPTS):
            try:
                return self._send(path, json.dumps(body).encode())
            except (OSError, http.client.HTTPException) as exc:
                fault = exc
                self._local.connection = None
        raise ConnectionLostError(
            f"{self.url} does not answer ({type(fault).__name__}). Start it with `datagen serve SNAPSHOT`, or set DATAGEN_URL."
        ) from fault

    def _send(self, path: str, body: bytes) -> str:
        connection = self._connection()
        headers = {"content-type": "application/json"}
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        text = response.read().decode()
        if response.status >= 500:
            raise http.client.HTTPException(f"status {response.status}")
        # A fault that the policy can see and mend has a code and comes with 200; anything else is the trainer's.
        if response.status != 200:
            raise InvalidRequestError(f"{self.url}{path} refused the call with {response.status}: {text[:300]}")
        return text

    def _connection(self) -> http.client.HTTPConnection:
        known: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if known is None:
            parts = urlsplit(self.url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ConfigError(
                    f"{self.url!r} is no address of a server; set DATAGEN_URL to one such as {DEFAULT_URL}."
                )
            kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
            known = kind(parts.hostname, parts.port, timeout=TIMEOUT_SECONDS)
            self._local.connection = known
        return known
