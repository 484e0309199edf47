"""One socket, and who waits there: a uvicorn server that lets nobody wait for long, nor be waited for.

    with reserved("127.0.0.1", 0) as port:                         the port is ours, though nobody listens yet
        listener(app, patience_s, open_socket("127.0.0.1", port), listening=...).run(sockets=[])

Several processes may open the same reserved port; the kernel deals new connections out among them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from datagen.environment.http import PATIENCE_S, Application
from datagen.errors import ConfigError

log = logging.getLogger(__name__)
KEEP_ALIVE_S = 120
"""Trainers keep their connections while a model thinks."""
MAX_HEAD_BYTES = 64 * 1024
GRACE_S = 5
"""For requests in progress when the server is told to end."""
_BACKLOG = 2_048
_STALLED_MS = 60_000
_SECOND_LOOK_S = 0.5


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which waits forever for the head of a request; this one does not, nor for a head of any size."""

    patience_s = PATIENCE_S
    _head_timer: Any = None
    _head_bytes = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(self.patience_s, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def on_headers_complete(self) -> None:
        self._stop_timer()
        self._head_bytes = 0
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self.transport.abort()
        elif self._head_timer is None and not self.transport.is_closing():
            self._head_timer = self.loop.call_later(self.patience_s, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class Listener(uvicorn.Server):
    """uvicorn's server, which says when it listens, and lets in all who wait.

    uvloop takes one new connection per turn of its loop. A busy worker's turn answers a request of every client it has,
    so the last of 256 new clients would wait for seconds while others are served; here one turn takes them all.
    """

    def __init__(self, config: uvicorn.Config, sock: socket.socket, listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._sock = sock
        self._listening = listening
        self._arriving: set[asyncio.Task[Any]] = set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the business of who runs this; uvicorn would catch them and raise them again at the end."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup([*(sockets or ())])  # a list, though empty: uvicorn opens no socket of its own then
        self._sock.listen(_BACKLOG)
        asyncio.get_running_loop().add_reader(self._sock, self._accept)
        self._listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().remove_reader(self._sock)
        self._sock.close()
        await super().shutdown(sockets)

    def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = self._sock.accept()
            except BlockingIOError:
                return
            except OSError as exc:
                # Such as too many open files: who waits goes on waiting, and is looked at again when some are closed.
                log.warning("a connection could not be taken: %s", exc.strerror)
                loop.remove_reader(self._sock)
                loop.call_later(_SECOND_LOOK_S, self._look_again)
                return
            connection.setblocking(False)
            task = loop.create_task(self._connect(connection))
            self._arriving.add(task)
            task.add_done_callback(self._arriving.discard)

    def _look_again(self) -> None:
        if not self.should_exit:
            asyncio.get_running_loop().add_reader(self._sock, self._accept)

    async def _connect(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):  # gone before it was served
            await loop.connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        protocol: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol


def listener(app: Application, patience_s: float, sock: socket.socket, listening: Callable[[], None]) -> Listener:
    protocol = type("PatientProtocol", (PatientProtocol,), {"patience_s": patience_s})
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        loop="uvloop",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    return Listener(config, sock, listening)


@contextmanager
def reserved(host: str, port: int) -> Iterator[int]:
    """The port, held while the block runs by a socket that never listens, so that workers can come and go."""
    try:
        # Ports are shared only on purpose: with the option set, a second server would take half of this one's clients.
        with _bound(host, port, shared=False) as probe:
            port = probe.getsockname()[1]
        holder = _bound(host, port, shared=True)
    except OSError as exc:
        raise ConfigError(f"{host}:{port} cannot be taken ({exc.strerror}); pass --port 0 for a free one.") from exc
    with holder:
        yield port


def open_socket(host: str, port: int) -> socket.socket:
    sock = _bound(host, port, shared=True)
    sock.setblocking(False)
    return sock


def _bound(host: str, port: int, *, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # A client that does not take its reply loses the connection; accepted sockets inherit this.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _STALLED_MS)
    try:
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock
