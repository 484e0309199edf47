"""Server processes: one port, a few workers that share nothing but files.

    serve(ServePlan(snapshot="out/demo/snapshot", release="out/demo/release", workers=2), announce)

Every worker opens the snapshot (its files are memory-mapped, so they are in memory once) and listens at the same port; the
kernel deals connections out. Counts of episodes and meters live in two mapped files of a private folder that ends with
the server. A worker that dies is replaced, and its clients see a broken connection, after which any other worker knows
their episodes. Workers end when the process that started them does, however it ended.
"""

from __future__ import annotations

import contextlib
import gc
import ipaddress
import logging
import multiprocessing
import resource
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import uvicorn

from datagen.environment.core import CoreSettings, SearchCore
from datagen.environment.episodes import SLOTS, EpisodeTable
from datagen.environment.http import PATIENCE_S, Application, Skin
from datagen.environment.listening import GRACE_S, listener, open_socket, reserved
from datagen.environment.meters import Meters
from datagen.environment.service import Service, ServiceSettings
from datagen.environment.tasks import TaskBank
from datagen.errors import ConfigError, WorkerDiedError
from datagen.web.snapshot import Snapshot
from datagen.web.snapshot_web import SnapshotWeb

log = logging.getLogger(__name__)
_SOONEST_DEATH_S = 5.0
"""A worker that dies younger than this would die again."""


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
        with reserved(plan.host, plan.port) as port:
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
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection is a file, and trainers open thousands
    app = application(plan, state, worker)
    gc.collect()
    gc.freeze()  # what is open by now stays; collections need not look at it again
    sock = open_socket(plan.host, port)
    server = listener(app, plan.patience_s, sock, lambda: channel.send("listening"))
    threading.Thread(target=_end_with_parent, args=(channel, server), daemon=True).start()
    # Ctrl-C reaches every process of a terminal; the parent tells its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: setattr(server, "should_exit", True))
    server.run(sockets=[])


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
            process.join(GRACE_S + 2)
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
    sock = open_socket(plan.host, plan.port)
    server = listener(application(plan, state), plan.patience_s, sock, listening.set)
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


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
