"""A real server on a socket of this machine that answers as a test tells it, well or badly."""

from __future__ import annotations

import json
import os
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Heard:
    """A request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    connection: int

    def json(self) -> Any:
        return json.loads(self.body)


Answer = Callable[[socket.socket, Heard], None]


@dataclass
class Server:
    url: str
    heard: list[Heard] = field(default_factory=list)


@contextmanager
def answering(*answers: Answer) -> Iterator[Server]:
    """The first request gets the first answer, and so on; the last answer is given for ever."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            reader = self.request.makefile("rb")
            while (heard := _read(reader, self.client_address[1])) is not None:
                with guard:
                    number = len(server.heard)
                    server.heard.append(heard)
                try:
                    answers[min(number, len(answers) - 1)](self.request, heard)
                except OSError:
                    return

    class Listener(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that goes away is what these tests are about."""

    guard = threading.Lock()
    with Listener(("127.0.0.1", 0), Handler) as listener:
        server = Server(f"http://127.0.0.1:{listener.server_address[1]}/v1")
        thread = threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown()


def _read(reader: Any, connection: int) -> Heard | None:
    try:
        first = reader.readline().decode("latin-1").split()
    except OSError:
        return None
    if len(first) < 2:
        return None
    headers = {}
    while (line := reader.readline().decode("latin-1").strip()) != "":
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    body = reader.read(int(headers.get("content-length", 0)))
    return Heard(first[0], first[1], headers, body, connection)


def whole(body: bytes | Any, status: int = 200, **headers: str) -> Answer:
    """A whole answer; anything but bytes is sent as JSON. `retry_after="3"` becomes the header Retry-After."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()

    def answer(connection: socket.socket, _: Heard) -> None:
        more = {"content-length": str(len(sent)), "content-type": "application/json"}
        more |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection.sendall(_head(status, more) + sent)

    return answer


def cut_off(sent: bytes, announced: int) -> Answer:
    """Less than what the head announces, and then the end of the connection."""

    def answer(connection: socket.socket, _: Heard) -> None:
        connection.sendall(_head(200, {"content-length": str(announced), "content-type": "application/json"}) + sent)
        connection.shutdown(socket.SHUT_RDWR)

    return answer


def hung_up(connection: socket.socket, _: Heard) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def reset(connection: socket.socket, _: Heard) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(connection.detach())  # at once: close() would wait for the reader of the connection


@dataclass
class Drip:
    """Sends `opening` at once and then a piece now and then, until the other side has had enough."""

    opening: bytes
    piece: bytes
    pause: float = 0.05
    pieces: int = 400
    sent: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    def __call__(self, connection: socket.socket, _: Heard) -> None:
        try:
            connection.sendall(self.opening)
            for _ in range(self.pieces):
                if self.ended.wait(self.pause):
                    return
                connection.sendall(self.piece)
                self.sent += 1
        finally:
            self.ended.set()


def events(*chunks: Any, done: bool = True) -> Answer:
    """A streamed reply in chunked transfer encoding, ended as it should be."""

    def answer(connection: socket.socket, _: Heard) -> None:
        connection.sendall(_head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"}))
        for chunk in [*(json.dumps(each) for each in chunks), *(["[DONE]"] if done else [])]:
            data = f"data: {chunk}\r\n\r\n".encode()
            connection.sendall(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        connection.sendall(b"0\r\n\r\n")

    return answer


def head(**headers: str) -> bytes:
    return _head(200, {name.replace("_", "-"): value for name, value in headers.items()})


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} So", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
