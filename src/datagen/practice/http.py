"""HTTP/1.1 for one kind of client, the kind that keeps its connections: as little work per request as will do.

A `Connection` reads one request at a time (later ones on the same connection wait in the buffer), hands it to the server,
and writes what the server answers. It can also do what servers should not: reset, or end a body early. No TLS, bodies
only with Content-Length: this never leaves the machine.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast

from datagen.practice.completions import error_body
from datagen.practice.streaming import LAST_CHUNK, framed

LARGEST_HEAD = 64 * 1024
LARGEST_BODY = 64 * 1024 * 1024
_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
JSON = b"application/json"
EVENTS = b"text/event-stream; charset=utf-8"


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A whole request. Header names are in lower case."""

    method: str
    target: str
    headers: Mapping[bytes, bytes]
    body: bytes

    def header(self, name: bytes) -> str:
        return self.headers.get(name, b"").decode("latin-1")


Handler = Callable[["Connection", HttpRequest], None]


class Connection(asyncio.Protocol):
    """One client's connection."""

    __slots__ = ("_buffer", "_busy", "_handle", "_head", "_keep", "_others", "_wanted", "transport", "when_lost")

    def __init__(self, handle: Handler, others: set[Connection]) -> None:
        self._handle = handle
        self._others = others
        self._buffer = bytearray()
        self._busy = False
        self._keep = True
        self._head: tuple[str, str, dict[bytes, bytes]] | None = None
        self._wanted = 0
        self.transport: asyncio.Transport
        self.when_lost: Callable[[], None] | None = None
        """Called when the client goes away before its reply was finished."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._others.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  the protocol's signature
        self._others.discard(self)
        self._buffer.clear()
        lost, self.when_lost = self.when_lost, None
        if lost is not None:
            lost()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._busy:
            self._read_next()

    def _read_next(self) -> None:
        if self._busy or self.transport.is_closing():
            return
        if self._head is None and not self._read_head():
            return
        if len(self._buffer) < self._wanted:
            return
        assert self._head is not None
        (method, target, headers), self._head = self._head, None
        body = bytes(self._buffer[: self._wanted])
        del self._buffer[: self._wanted]
        self._busy = True
        self._handle(self, HttpRequest(method, target, headers, body))

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > LARGEST_HEAD:
                self._refuse(431, "The head of the request is too large.")
            return False
        first, *lines = bytes(self._buffer[:end]).split(b"\r\n")
        del self._buffer[: end + 4]
        parts = first.decode("latin-1").split(" ")
        if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
            self._refuse(400, "This is no HTTP/1.1 request.")
            return False
        headers = {}
        for line in lines:
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip()
        length = headers.get(b"content-length", b"0")
        if b"transfer-encoding" in headers or not length.isdigit():
            self._refuse(411, "A body needs a Content-Length.")
            return False
        self._wanted = int(length)
        if self._wanted > LARGEST_BODY:
            self._refuse(413, "The body is too large.")
            return False
        told = headers.get(b"connection", b"").lower()
        self._keep = told != b"close" and (parts[2] != "HTTP/1.0" or told == b"keep-alive")
        if headers.get(b"expect", b"").lower() == b"100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._head = (parts[0], parts[1], headers)
        return True

    def _refuse(self, status: int, message: str) -> None:
        """What comes after a request that cannot be read cannot be read either."""
        self._keep = False
        self._busy = True
        self.send(status, error_body(message, "invalid_request_error"))

    def send(self, status: int, body: bytes, *, headers: tuple[bytes, ...] = ()) -> None:
        """A whole reply in JSON."""
        self.transport.write(self._reply_head(status, JSON, b"content-length: %d" % len(body), headers) + body)
        self._finish()

    def start_stream(self, data: bytes) -> None:
        """The head of a stream of events, and its first piece."""
        self.transport.write(self._reply_head(200, EVENTS, b"transfer-encoding: chunked", ()) + framed(data))

    def end_stream(self, data: bytes = b"") -> None:
        """The last piece of a stream."""
        self.transport.write((framed(data) if data else b"") + LAST_CHUNK)
        self._finish()

    def send_part(self, body: bytes, part: bytes) -> None:
        """A head that promises `body`, and only a part of it. Follow with `reset` or `hang_up`."""
        self.transport.write(self._reply_head(200, JSON, b"content-length: %d" % len(body), ()) + part)

    def reset(self) -> None:
        """End as a machine does that lost its memory of the connection."""
        self.when_lost = None
        sock: socket.socket = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.transport.abort()

    def hang_up(self) -> None:
        """Close in good order, whatever was promised."""
        self.when_lost = None
        self.transport.close()

    def _reply_head(self, status: int, kind: bytes, framing: bytes, more: tuple[bytes, ...]) -> bytes:
        extra = b"".join(b"\r\n" + line for line in more)
        if not self._keep:
            extra += b"\r\nconnection: close"
        return b"HTTP/1.1 %d %b\r\ncontent-type: %b\r\n%b%b\r\n\r\n" % (status, _REASONS[status], kind, framing, extra)

    def _finish(self) -> None:
        self.when_lost = None
        self._busy = False
        if not self._keep:
            self.transport.close()
        elif self._buffer:
            asyncio.get_running_loop().call_soon(self._read_next)
