"""A search service for test webs: answers as SearXNG's JSON endpoint does, from the index of a snapshot.

    GET /search?q=rivers+of+Olma&format=json&pageno=1

    {"query": "...", "number_of_results": 10, "results": [{"url", "title", "content", "publishedDate", "score", ...}], ...}

With the synthetic web's pages behind one port and this behind another (or both behind one: `server`), a run on the live
web needs no internet. As with SearXNG, a format that is not switched on is answered with 403.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import orjson

from datagen.web.tools import Hit, Web

log = logging.getLogger("datagen.web.synthetic")
PATH = "/search"
PAGE_RESULTS = 10
MAX_PAGES = 10
_ENGINE = "snapshot"


def answer_search(web: Web, query_string: str) -> tuple[int, bytes]:
    """Status and JSON body for the query of a request to `/search`."""
    parameters = {key: values[-1] for key, values in parse_qs(query_string).items()}
    if parameters.get("format") != "json":
        return 403, b'{"error": "only format=json is switched on"}'
    query = parameters.get("q", "")
    if not query.strip():
        return 400, b'{"error": "q is missing"}'
    number = parameters.get("pageno", "1")
    page = min(max(int(number), 1), MAX_PAGES) if number.isdecimal() else 1
    hits = web.search(query, page * PAGE_RESULTS)[(page - 1) * PAGE_RESULTS :]
    results = [_result(hit, (page - 1) * PAGE_RESULTS + rank) for rank, hit in enumerate(hits, 1)]
    body = {
        "query": query,
        "number_of_results": len(results),
        "results": results,
        "answers": [],
        "corrections": [],
        "infoboxes": [],
        "suggestions": [],
        "unresponsive_engines": [],
    }
    return 200, orjson.dumps(body)


def _result(hit: Hit, rank: int) -> dict[str, object]:
    return {
        "url": hit.url,
        "title": hit.title,
        "content": hit.snippet,
        "publishedDate": f"{hit.published_at}T00:00:00" if hit.published_at else None,
        "score": hit.score,
        "engine": _ENGINE,
        "engines": [_ENGINE],
        "positions": [rank],
        "category": "general",
        "template": "default.html",
        "parsed_url": [*urlsplit(hit.url)],
    }


class LocalServer(ThreadingHTTPServer):
    """A server on this machine, for any number of clients."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no error of ours."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    @property
    def address(self) -> str:
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}"


class SearchServer(LocalServer):
    """One web on one port, and nothing but its search."""

    def __init__(self, web: Web, host: str, port: int) -> None:
        self.web = web
        super().__init__((host, port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        assert isinstance(self.server, SearchServer)
        path, _, query = self.path.partition("?")
        status, body = answer_search(self.server.web, query) if path == PATH else (404, b"{}")
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is the base class's
        log.debug(format, *args)


@contextmanager
def running_search(web: Web, port: int = 0) -> Iterator[str]:
    """The address of a search service that runs in the background while the block does."""
    server = SearchServer(web, "127.0.0.1", port)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.address
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
