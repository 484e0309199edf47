"""A practice server: vLLM's routes over a small model on this machine's processor, with faults that can be told.

    $ python -m datagen.training.engines.practice_server out/tiny-policy --port 8000

    with running(PracticeModel(model, name="base")) as server:
        server.strike("drop", times=2)                      # the next two completions lose their connection
        server.strike("error", path="/update_weights")      # the next transfer fails
        server.die(); server.come_back()                    # the first weights, no adapters, the same port

What a vLLM server needs flags and a GPU for is on: LoRA at run time, development routes, processed log-probabilities. Of the
backends for weights it knows files alone (`transports.FileTransport`).
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from typing import Literal as OneOf

import orjson
import torch

from datagen.errors import ConfigError
from datagen.practice.http import Connection, HttpRequest
from datagen.training.engines.practice_model import BadRequest, NoSuchModel, PracticeModel, load_model
from datagen.training.engines.practice_routes import Answer, Phases, answer_to, completion_body, routes_of, understand

PracticeFault = OneOf["error", "drop", "cut", "throttle", "no_ids", "no_logprobs", "abort"]
"""error: status 500; drop: the connection is reset; cut: the reply ends in the middle; throttle: 429."""


@dataclass(slots=True)
class Call:
    """A request as it came."""

    path: str
    body: dict[str, Any]


@dataclass(slots=True)
class _Strike:
    fault: PracticeFault
    path: str
    times: int


@dataclass(slots=True)
class Seen:
    """What went through a server."""

    calls: list[Call] = field(default_factory=list)
    at_once: int = 0
    """Completions under way."""
    most_at_once: int = 0

    def bodies(self, path: str = "/v1/completions") -> list[dict[str, Any]]:
        return [call.body for call in self.calls if call.path == path]


class TrainingPracticeServer:
    """One server on one port. All methods may be called from any thread once `open` has returned."""

    def __init__(
        self,
        model: PracticeModel,
        *,
        port: int = 0,
        phases: Phases = "four_phase",
        defaults: dict[str, Any] | None = None,
        ignores: Collection[str] = (),
    ) -> None:
        """`defaults`: what the model's generation config would set (`top_k`, `top_p`, `temperature`) where requests do not.

        `ignores`: fields of requests that are passed over without a word, as servers do with fields they do not know.
        """
        self.model = model
        self.port = port
        self.phases = phases
        self.defaults = defaults or {}
        self.ignores = frozenset(ignores)
        self.delay_seconds = 0.0
        """How long every completion waits before it begins."""
        self.seen = Seen()
        self.updating = False
        """Between start_weight_update and finish_weight_update."""
        self.introduced = False
        self._strikes: deque[_Strike] = deque()
        self._loop = asyncio.new_event_loop()
        self._life = threading.Thread(target=self._loop.run_forever, name="practice-vllm", daemon=True)
        self._sampler = ThreadPoolExecutor(1, thread_name_prefix="practice-sampler")
        self._clerks = ThreadPoolExecutor(2, thread_name_prefix="practice-clerk")
        self._connections: set[Connection] = set()
        self._under_way: set[threading.Event] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def open(self) -> None:
        """Take the port and answer."""
        if not self._life.is_alive():
            self._life.start()
        self._on_loop(self._listen())

    def close(self) -> None:
        self.die()
        for threads in (self._sampler, self._clerks):
            threads.shutdown(wait=True, cancel_futures=True)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._life.join()
        self._loop.close()

    def strike(self, fault: PracticeFault, *, times: int = 1, path: str = "/v1/completions") -> None:
        """The next `times` requests to this path go wrong."""
        self._strikes.append(_Strike(fault, path, times))

    def die(self) -> None:
        """Every connection breaks, and nobody listens."""
        self._on_loop(self._stop())

    def come_back(self) -> None:
        """Started again: the first weights, no adapters."""
        self.model.forget()
        self.updating = self.introduced = False
        self._on_loop(self._listen())

    def _on_loop(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _listen(self) -> None:
        try:
            self._server = await self._loop.create_server(
                lambda: Connection(self._handle, self._connections), "127.0.0.1", self.port, backlog=1024
            )
        except OSError as exc:
            raise ConfigError(f"port {self.port} cannot be taken ({exc}); pass --port 0 for a free one.") from exc
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self.abort_all()
        for connection in tuple(self._connections):
            connection.reset()
        await asyncio.sleep(0)

    def abort_all(self) -> None:
        """End what is being sampled."""
        for cancelled in tuple(self._under_way):
            cancelled.set()

    def _handle(self, connection: Connection, request: HttpRequest) -> None:
        path, _, query = request.target.partition("?")
        try:
            body = orjson.loads(request.body) if request.body else {}
        except ValueError:
            return _send(connection, Answer(400, {"error": {"message": "the body is no JSON"}}))
        self.seen.calls.append(Call(path, body))
        fault = self._struck(path)
        if fault == "drop":
            return connection.reset()
        if fault in ("error", "throttle"):
            return _send(connection, Answer(500 if fault == "error" else 429, {"error": {"message": "as told"}}))
        if path == "/v1/completions" and request.method == "POST":
            return self._complete(connection, body, fault)
        if (request.method, path) not in routes_of(self.phases):
            return _send(connection, Answer(404, {"detail": "Not Found"}))
        self._in_thread(self._clerks, lambda: answer_to(self, request.method, path, query, body), connection)
        return None

    def _struck(self, path: str) -> PracticeFault | None:
        for strike in self._strikes:
            if strike.path == path and strike.times > 0:
                strike.times -= 1
                return strike.fault
        return None

    def _complete(self, connection: Connection, body: dict[str, Any], fault: PracticeFault | None) -> None:
        cancelled = threading.Event()
        self._under_way.add(cancelled)
        self.seen.at_once += 1
        self.seen.most_at_once = max(self.seen.most_at_once, self.seen.at_once)
        connection.when_lost = cancelled.set
        if fault == "abort":
            cancelled.set()

        def work() -> Answer:
            known = {name: value for name, value in body.items() if name not in self.ignores}
            asked = understand(known, self.defaults, self.model.name)
            return Answer(200, completion_body(asked, self.model.generate(asked, cancelled), fault))

        def ended() -> None:
            self._under_way.discard(cancelled)
            self.seen.at_once -= 1

        self._loop.call_later(
            self.delay_seconds, lambda: self._in_thread(self._sampler, work, connection, ended, cut=fault == "cut")
        )

    def _in_thread(
        self,
        threads: ThreadPoolExecutor,
        work: Callable[[], Answer],
        connection: Connection,
        ended: Callable[[], None] = lambda: None,
        *,
        cut: bool = False,
    ) -> None:
        def told() -> Answer:
            try:
                return work()
            except NoSuchModel as exc:
                return Answer(404, {"error": {"message": str(exc), "type": "NotFoundError", "code": 404}})
            except BadRequest as exc:
                return Answer(400, {"error": {"message": str(exc), "type": "BadRequestError", "code": 400}})
            except Exception as exc:  # noqa: BLE001  a server answers 500 and lives on
                return Answer(500, {"error": {"message": f"{type(exc).__name__}: {exc}", "code": 500}})

        def answered(answer: Answer) -> None:
            ended()
            if not connection.transport.is_closing():
                _send(connection, answer, cut=cut)

        done = threads.submit(told)
        done.add_done_callback(
            lambda done: None if done.cancelled() else self._loop.call_soon_threadsafe(answered, done.result())
        )


def _send(connection: Connection, answer: Answer, *, cut: bool = False) -> None:
    data = orjson.dumps(answer.body)
    if cut:
        connection.send_part(data, data[: len(data) // 2])
        connection.hang_up()
    else:
        connection.send(answer.status, data)


@contextmanager
def running(model: PracticeModel, **more: Any) -> Iterator[TrainingPracticeServer]:
    """A server that answers while the block runs; `more` goes to `TrainingPracticeServer`."""
    server = TrainingPracticeServer(model, **more)
    server.open()
    try:
        yield server
    finally:
        server.close()


def main() -> None:
    """Serve a folder until Ctrl-C. The address goes to stdout."""
    parser = argparse.ArgumentParser(
        description="vLLM's routes over a small model, for trying asynchronous training out."
    )
    parser.add_argument("model", type=Path, help="a folder that transformers' save_pretrained wrote")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    told = parser.parse_args()
    torch.set_num_threads(told.threads)
    with running(load_model(told.model), port=told.port) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
