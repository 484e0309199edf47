"""Server processes: one port, a few workers that share nothing but files.

    serve(ServePlan(snapshot="out/demo/snapshot", release="out/demo/release", workers=2), announce)

Every worker opens the snapshot (its files are memory-mapped, so they are in memory once) and listens at the same port; the
kernel deals connections out. Counts of episodes and meters live in two mapped files of a private folder that ends with
the server. A worker that dies is replaced, and its clients see a broken connection, after which any other worker knows
their episodes. Workers end when the process that started them does, however it ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import logging
import multiprocessing
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from datagen.environment.core import CoreSettings, SearchCore
from datagen.environment.episodes import SLOTS, EpisodeTable
from datagen.environment.http import PATIENCE_S, Application, Skin
from datagen.environment.meters import Meters
from datagen.environment.service import Service, ServiceSettings
from datagen.environment.tasks import TaskBank
from datagen.errors import ConfigError, WorkerDiedError
from datagen.web.snapshot import Snapshot
from datagen.web.snapshot_web import SnapshotWeb

log = logging.getLogger(__name__)
KEEP_ALIVE_S = 120
"""Trainers keep their connections while a model thinks."""
MAX_HEAD_BYTES = 64 * 1024
_BACKLOG = 2_048
_STALLED_MS = 60_000
_SOONEST_DEATH_S = 5.0
"""A worker that dies younger than this would die again."""
_GRACE_S = 5


@dataclass(frozen=True, slots=True)
class ServePlan:
    """All that a worker needs to know; plain data, for it goes to another process."""

    snapshot: str
    release: str | None = None
    host: str = "127.0.0.1"
    port: int = 0
    workers: int = 1
    token: str | None = field(default=None, repr=False)
    settings: ServiceSettings = field(default_factory=ServiceSettings)
    core: CoreSettings = field(default_factory=CoreSettings)
    slots: int = SLOTS
    mcp: bool = False
    """Whether /mcp speaks the Model Context Protocol."""
    patience_s: float = PATIENCE_S


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


class _Server(uvicorn.Server):
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
                log.warning("a connection could not be taken: %s", exc.strerror)  # such as too many open files
                return
            connection.setblocking(False)
            task = loop.create_task(self._connect(connection))
            self._arriving.add(task)
            task.add_done_callback(self._arriving.discard)

    async def _connect(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):  # gone before it was served
            await loop.connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        protocol: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol


def serve_stdio(plan: ServePlan) -> None:
    """Speak MCP on standard input and output, to the one program at their other end."""
    from datagen.environment.mcp import serve_stdio as speak

    with tempfile.TemporaryDirectory(prefix="datagen-serve-") as folder:
        EpisodeTable.create(Path(folder) / "episodes", plan.slots).close()
        speak(open_service(plan, Path(folder) / "episodes"))


def serve(plan: ServePlan, announce: Callable[[str], None]) -> None:
    """Serve until Ctrl-C or SIGTERM; `announce` is told the address once every worker listens."""
    check_exposure(plan.host, plan.token)
    with _stopping_in_order(), tempfile.TemporaryDirectory(prefix="datagen-serve-") as folder:
        state = Path(folder)
        EpisodeTable.create(state / "episodes", plan.slots).close()
        Meters.create(state / "meters", plan.workers)
        with _reserved(plan.host, plan.port) as port:
            _supervise(plan, state, port, lambda: announce(address_of(plan.host, port)))


@contextmanager
def _stopping_in_order() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, so that what it made is cleared away."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def check_exposure(host: str, token: str | None) -> None:
    """Refuse to let strangers in: the pages may be licensed, and every grading tells something of the answers."""
    if token is None and not _is_loopback(host):
        raise ConfigError(
            f"{host} can be reached from other machines, and no token is asked for. Put one into an environment variable "
            "and name it with --token-env, or serve on 127.0.0.1."
        )
    if token is not None and len(token) < 16:
        raise ConfigError("The token has fewer than 16 characters; make one with: openssl rand -hex 24")


def open_service(plan: ServePlan, episodes: Path) -> Service:
    """The core of a plan, with the table of episodes at `episodes`."""
    tasks = None if plan.release is None else TaskBank.open(plan.release)
    core = SearchCore(SnapshotWeb(Snapshot.open(plan.snapshot)), plan.core)
    return Service(core, EpisodeTable.open(episodes), tasks, plan.settings)


def application(plan: ServePlan, state: Path, worker: int = 0) -> Application:
    """The application of one worker."""
    service = open_service(plan, state / "episodes")
    snapshot = Snapshot.open(plan.snapshot)
    about = {"snapshot": snapshot.digest, "pages": len(snapshot), "workers": plan.workers}
    return Application(
        service,
        Meters(state / "meters", worker),
        about=about,
        token=plan.token,
        skin=_skin(service) if plan.mcp else None,
        patience_s=plan.patience_s,
    )


def _skin(service: Service) -> Skin:
    from datagen.environment.mcp import McpSkin

    return McpSkin(service)


def run_worker(plan: ServePlan, state: Path, worker: int, port: int, channel: Connection) -> None:
    """The life of one worker process."""
    app = application(plan, state, worker)
    gc.collect()
    gc.freeze()  # what is open by now stays; collections need not look at it again
    sock = _bound_for_good(plan.host, port)
    server = _server(app, plan.patience_s, sock, lambda: channel.send("listening"))
    threading.Thread(target=_end_with_parent, args=(channel, server), daemon=True).start()
    # Ctrl-C reaches every process of a terminal; the parent tells its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: setattr(server, "should_exit", True))
    server.run(sockets=[])


def _server(app: Application, patience_s: float, sock: socket.socket, listening: Callable[[], None]) -> _Server:
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
        timeout_graceful_shutdown=_GRACE_S,
    )
    return _Server(config, sock, listening)


def _end_with_parent(channel: Connection, server: uvicorn.Server) -> None:
    """The channel closes when the parent ends, even if it was killed."""
    with contextlib.suppress(EOFError, OSError):
        channel.recv()
    server.should_exit = True


def _supervise(plan: ServePlan, state: Path, port: int, ready: Callable[[], None]) -> None:
    context = multiprocessing.get_context("spawn")
    workers: dict[int, tuple[BaseProcess, Connection, float]] = {}

    def start(number: int) -> None:
        near, far = context.Pipe()
        process = context.Process(
            target=run_worker, args=(plan, state, number, port, far), name=f"environment-{number}", daemon=True
        )
        process.start()
        far.close()
        workers[number] = (process, near, time.monotonic())

    try:
        for number in range(plan.workers):
            start(number)
        for process, near, _ in workers.values():
            _await_listening(process, near)
        ready()
        while True:
            ended = wait([process.sentinel for process, _, _ in workers.values()])
            for number, (process, _, born) in list(workers.items()):
                if process.sentinel in ended:
                    _regret(number, process, born)
                    start(number)
    finally:
        for _, near, _ in workers.values():
            near.close()
        for process, _, _ in workers.values():
            process.join(_GRACE_S + 2)
            if process.is_alive():
                process.kill()


def _await_listening(process: BaseProcess, near: Connection) -> None:
    try:
        near.recv()
    except EOFError:
        process.join()
        raise WorkerDiedError(
            f"A worker ended with exit code {process.exitcode} before it listened; what it wrote above says why."
        ) from None


def _regret(number: int, process: BaseProcess, born: float) -> None:
    if time.monotonic() - born < _SOONEST_DEATH_S:
        raise WorkerDiedError(f"Worker {number} ended at once with exit code {process.exitcode}; it would end again.")
    log.warning("worker %d ended with exit code %s and is replaced", number, process.exitcode)


@contextmanager
def running(plan: ServePlan, state: Path) -> Iterator[str]:
    """One worker in a thread of this process while the block runs; yields its address."""
    check_exposure(plan.host, plan.token)
    EpisodeTable.create(state / "episodes", plan.slots).close()
    Meters.create(state / "meters", 1)
    listening = threading.Event()
    sock = _bound_for_good(plan.host, plan.port)
    server = _server(application(plan, state), plan.patience_s, sock, listening.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": []}, name="environment", daemon=True)
    port = sock.getsockname()[1]
    thread.start()
    try:
        listening.wait()
        yield address_of(plan.host, port)
    finally:
        server.should_exit = True
        thread.join()


def address_of(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def _reserved(host: str, port: int) -> Iterator[int]:
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


def _bound_for_good(host: str, port: int) -> socket.socket:
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


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
