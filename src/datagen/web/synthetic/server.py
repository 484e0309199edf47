"""Serves a synthetic web over HTTP, for people with a browser and for tests of anything that fetches.

The hosts of the web do not exist in any name service, so one server stands for all of them: an address
`https://www.lexicora.example/rivers/x-101` is asked for as `/www.lexicora.example/rivers/x-101`, or with a Host header.
Links in pages are rewritten to the first form only when asked for with `?links=local`, so that bytes stay those of the
web by default.

Given something to search with, such as a snapshot of the same pages, it also answers `/search?q=...&format=json`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from datagen.errors import PageNotFoundError
from datagen.web.synthetic.pages import SyntheticWeb
from datagen.web.synthetic.search_service import PATH as SEARCH_PATH
from datagen.web.synthetic.search_service import LocalServer, answer_search
from datagen.web.tools import Web

log = logging.getLogger("datagen.web.synthetic")
_SUFFIX = ".example"
_MISSING = b"<!DOCTYPE html><title>Not found</title><h1>404 Not found</h1>"


class WorldServer(LocalServer):
    """One web on one port. Pages are made one at a time: a world's caches are not for sharing between threads."""

    def __init__(self, web: SyntheticWeb, host: str, port: int, search: Web | None = None) -> None:
        self.web = web
        self.search = search
        self.lock = threading.Lock()
        super().__init__((host, port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body are two writes; without this the second waits 40 ms for the client's word that it has the first.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        server = self.server
        assert isinstance(server, WorldServer)
        path, _, query = self.path.partition("?")
        url = self._address(path)
        if path == SEARCH_PATH and server.search is not None and not self._host().endswith(_SUFFIX):
            status, found = answer_search(server.search, query)
            return self._send(status, found, with_body=with_body, content_type="application/json")
        if path == "/":
            return self._send(200, _front_page(server.web), with_body=with_body)
        with server.lock:
            try:
                body, _ = server.web.render(url)
            except PageNotFoundError:
                target = server.web.redirect(url)
                return self._send(404, _MISSING, with_body=with_body) if target is None else self._redirect(target)
        if query == "links=local":
            body = body.replace(b'href="https://', b'href="/')
        return self._send(200, body, with_body=with_body)

    def _host(self) -> str:
        return (self.headers.get("Host") or "").partition(":")[0]

    def _address(self, path: str) -> str:
        host = self._host()
        return f"https://{host}{path}" if host.endswith(_SUFFIX) else f"https:/{path}"

    def _redirect(self, target: str) -> None:
        parts = urlsplit(target)
        host = self._host()
        self.send_response(301)
        self.send_header("Location", target if host.endswith(_SUFFIX) else f"/{parts.netloc}{parts.path}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(
        self, status: int, body: bytes, *, with_body: bool, content_type: str = "text/html; charset=utf-8"
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is the base class's
        log.debug(format, *args)


def _front_page(web: SyntheticWeb) -> bytes:
    """Links to a page of each family, as a door into the web."""
    first = 0
    items = []
    for family in web.families:
        if family.slots:
            url = web.page_url(first)
            items.append(f'<li><a href="/{url.removeprefix("https://")}?links=local">{family.name}</a></li>')
        first += family.slots
    title = f"Synthetic web, seed {web.seed}, {web.pages:,} pages"
    return f"<!DOCTYPE html><title>{title}</title><h1>{title}</h1><ul>{''.join(items)}</ul>".encode()


def serve(web: SyntheticWeb, host: str = "127.0.0.1", port: int = 8000, *, search: Web | None = None) -> WorldServer:
    """A server that is bound but not running yet: call `serve_forever()`. Port 0 takes any free one."""
    return WorldServer(web, host, port, search)


@contextmanager
def running(web: SyntheticWeb, *, search: Web | None = None) -> Iterator[str]:
    """The address of a server that runs in the background while the block does."""
    server = serve(web, port=0, search=search)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.address
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
