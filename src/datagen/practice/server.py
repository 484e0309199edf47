"""The practice endpoint: a server of chat completions with a mind of programs behind it, and faults on demand.

    POST /v1/chat/completions     GET /v1/models     GET /health     GET /ledger[?entries=1]

    with running(CannedMind("hello"), knobs=Knobs.each(0.1, Fault.RESET, Fault.REFUSAL)) as server:
        OpenAI(base_url=server.url, api_key="none").chat.completions.create(...)
        server.ledger()["totals"]["output_tokens"]

One event loop does all the talking; latencies are timers, so 256 slow replies cost no threads. Minds think in a few worker
threads, `CannedMind` on the loop.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from datagen.errors import ConfigError
from datagen.practice.calls import Call, Desk, deliver
from datagen.practice.completions import BadRequest, error_body, understand
from datagen.practice.faults import Striker
from datagen.practice.http import Connection, HttpRequest
from datagen.practice.knobs import Knobs
from datagen.practice.ledger import PracticeLedger
from datagen.practice.wire import Mind

log = logging.getLogger("datagen.practice")
MODELS = ("practice", "practice-m1", "practice-m2", "practice-m3")
"""Names that GET /v1/models lists. Any other is answered as well: the mind is the same."""


class PracticeServer:
    """One endpoint on one port; `start` and `stop` belong to one loop, `ledger` may be called from anywhere."""

    def __init__(
        self,
        mind: Mind,
        *,
        knobs: Knobs | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        ledger_path: Path | None = None,
        models: Sequence[str] = MODELS,
        require_key: str | None = None,
        workers: int = 4,
    ) -> None:
        """`require_key` names the environment variable with the key that clients have to show."""
        self.knobs = knobs or Knobs()
        self.host = host
        self.port = port
        """The port asked for; the one taken, once the server has started."""
        self._mind = mind
        self._models = tuple(models)
        self._key = _key_from(require_key)
        self._ledger = PracticeLedger(ledger_path)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="mind")
        self._connections: set[Connection] = set()
        self._in_progress = 0
        self._server: asyncio.Server | None = None
        self._desk: Desk

    @property
    def url(self) -> str:
        """The base URL for clients."""
        return f"http://{self.host}:{self.port}/v1"

    def ledger(self, *, entries: bool = False) -> dict[str, Any]:
        """What GET /ledger answers."""
        return self._ledger.told(entries=entries)

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        striker = Striker(self.knobs)
        for booking in self._ledger.bookings():
            striker.answered_before(booking.digest)
        self._desk = Desk(self._mind, self.knobs, self._ledger, striker, loop, self._threads)
        try:
            self._server = await loop.create_server(
                lambda: Connection(self._handle, self._connections), self.host, self.port, backlog=1024
            )
        except OSError as exc:
            why = os.strerror(exc.errno or 0)  # asyncio's own text repeats the address
            raise ConfigError(
                f"{self.host}:{self.port} cannot be taken ({why}); pass --port 0 for a free one."
            ) from exc
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close everything; calls in progress are cut off."""
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._connections):
            connection.transport.abort()
        await asyncio.sleep(0)
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._ledger.close()

    def _handle(self, connection: Connection, request: HttpRequest) -> None:
        path, _, query = request.target.partition("?")
        route = self._routes.get(path.removesuffix("/"))
        if route is None:
            return connection.send(404, error_body(f"There is nothing at {path}.", "invalid_request_error"))
        method, open_to_all, answer = route
        if request.method != method:
            return connection.send(405, error_body(f"{path} takes {method}.", "invalid_request_error"))
        if not open_to_all and not self._admits(request):
            return connection.send(401, error_body("Incorrect API key.", "invalid_request_error", "invalid_api_key"))
        return answer(self, connection, request if request.body else HttpRequest(method, query, request.headers, b""))

    def _admits(self, request: HttpRequest) -> bool:
        told = request.header(b"authorization").encode()
        return self._key is None or hmac.compare_digest(told, b"Bearer " + self._key)

    def _health(self, connection: Connection, _: HttpRequest) -> None:
        connection.send(200, b'{"status":"ok"}')

    def _list_models(self, connection: Connection, _: HttpRequest) -> None:
        listed = [{"id": name, "object": "model", "created": 0, "owned_by": "datagen"} for name in self._models]
        connection.send(200, orjson.dumps({"object": "list", "data": listed}))

    def _show_ledger(self, connection: Connection, request: HttpRequest) -> None:
        connection.send(200, orjson.dumps(self._ledger.told(entries="entries=1" in request.target)))

    def _chat(self, connection: Connection, request: HttpRequest) -> None:
        self._ledger.counts["requests"] += 1
        try:
            asked = understand(request.body)
        except BadRequest as exc:
            return connection.send(400, error_body(str(exc), "invalid_request_error"))
        if self.knobs.at_once is not None and self._in_progress >= self.knobs.at_once:
            self._ledger.counts["turned_away"] += 1
            full = error_body("Too many requests at once.", "rate_limit_error", "rate_limit_exceeded")
            return connection.send(429, full)
        key = request.header(b"idempotency-key")
        if key and (found := self._ledger.find(key)) is not None:
            if found[0] != asked.digest:
                wrong = "This Idempotency-Key was used for another request."
                return connection.send(400, error_body(wrong, "invalid_request_error", "idempotency_key_reused"))
            self._ledger.counts["replayed"] += 1
            return deliver(connection, found[1], asked)
        self._in_progress += 1
        return Call(self._desk, connection, asked, key, self._call_ended).start()

    def _call_ended(self) -> None:
        self._in_progress -= 1

    _routes = {  # noqa: RUF012  method, whether a key is asked for, who answers
        "/v1/chat/completions": ("POST", False, _chat),
        "/v1/models": ("GET", False, _list_models),
        "/health": ("GET", True, _health),
        "/ledger": ("GET", True, _show_ledger),
    }


def _key_from(variable: str | None) -> bytes | None:
    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        raise ConfigError(f"The environment variable {variable} holds no key; set it, or leave --require-key out.")
    return key.encode()


def serve(server: PracticeServer, ready: Callable[[], None]) -> None:
    """Run in this process, as its only work, until Ctrl-C or SIGTERM; `ready` is called once the port is taken."""

    async def life() -> None:
        asked_to_end = asyncio.Event()
        for name in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(name, asked_to_end.set)
        await server.start()
        try:
            ready()
            await asked_to_end.wait()
        finally:
            await server.stop()

    asyncio.run(life())


@contextmanager
def running(mind: Mind, *, knobs: Knobs | None = None, **more: Any) -> Iterator[PracticeServer]:
    """A server that runs in a thread of its own while the block does; `more` goes to `PracticeServer`."""
    server = PracticeServer(mind, knobs=knobs, **more)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=_run_loop, args=(loop,), name="practice-server", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result()
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
