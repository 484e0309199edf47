"""A web server whose pages are functions: each writes what it likes to the socket."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Route = Callable[[BaseHTTPRequestHandler], None]


class ScriptedServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.routes: dict[str, Route] = {}
        self.asked: list[tuple[str, str]] = []
        """Host header and path of every request."""
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.guard = threading.Lock()

    @property
    def netloc(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.netloc}"

    def paths(self) -> list[str]:
        return [path for _, path in self.asked]

    def handle_error(self, request, client_address) -> None:
        """A client that hangs up in the middle is what half of the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, ScriptedServer)
        with server.guard:
            server.asked.append((self.headers.get("Host", ""), self.path))
            server.headers.append(dict(self.headers.items()))
            server.bodies.append(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        route = server.routes.get(self.path) or server.routes.get(self.path.partition("?")[0])
        (route or answer(b"<html>nothing", status=404))(self)

    do_POST = do_GET  # noqa: N815  http.server's name

    def log_message(self, format, *args) -> None: ...  # noqa: A002  http.server's name


def answer(body: bytes, *, status: int = 200, **headers: str) -> Route:
    """A plain answer; header names are written with underscores."""

    def write(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        named = {name.replace("_", "-").lower(): value for name, value in headers.items()}
        for name, value in ({"content-type": "text/html", "content-length": str(len(body))} | named).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return write


def forward(target: str, status: int = 302) -> Route:
    return answer(b"", status=status, location=target)


def in_turn(*routes: Route) -> Route:
    """One route after the other; the last one stays."""
    left = list(routes)

    def write(handler: BaseHTTPRequestHandler) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(handler)

    return write


@contextmanager
def scripted_web() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
