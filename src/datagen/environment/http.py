"""The environment over HTTP: small JSON objects in, small JSON objects out.

    POST /reset     {"split": "train", "index": 3}              {"episode": "AAAA...", "task": {...}, "budget": {...}}
    POST /search    {"query": "...", "top_k": 8, "episode": e}  {"results": [...]}
    POST /visit     {"url": "...", "offset": 0, "goal": "", "max_chars": 4000, "episode": e}
    POST /reward    {"episode": e, "answer": "..."}             {"reward": 1.0, "correct": true, ...}
    POST /episode   {"episode": e}                              the counts so far
    POST /retrieve  {"queries": ["..."], "topk": 3, "return_scores": true}       {"result": [[{"document", "score"}]]}
    GET  /tasks[?split=train&start=0&count=100]   /tools   /health   /metrics

An application for any ASGI server, without a framework: a request costs one dictionary look-up before the core is asked.
Every error is {"error": code, "message": sentence}. What a policy did wrong comes with status 200, for it is a result that
the policy should see; a status from 400 on is for its trainer and must never become a reward.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

import orjson

from datagen.agents.budget import Budget
from datagen.agents.toolbox import BUDGET_SPENT, SEARCH, VISIT
from datagen.environment.core import BAD_ARGUMENTS, Json, error, to_bytes
from datagen.environment.episodes import EPISODE_EXPIRED, EPISODE_GRADED, UNKNOWN_EPISODE
from datagen.environment.meters import Meters
from datagen.environment.service import EPISODE_REQUIRED, NO_TASKS, UNKNOWN_TASK, Service

log = logging.getLogger(__name__)
MAX_BODY_BYTES = 2 * 1024 * 1024
"""A /retrieve of the most queries that it takes, each of the longest, in UTF-8."""
PATIENCE_S = 30.0
"""Seconds that a client may take to send its body."""
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Skin(Protocol):
    """Another protocol on the same port."""

    def serves(self, path: str) -> bool: ...

    def running(self) -> AbstractAsyncContextManager[None]:
        """What lasts as long as the server does."""
        ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


_STATUS = {
    EPISODE_REQUIRED: 400,
    UNKNOWN_EPISODE: 404,
    UNKNOWN_TASK: 404,
    EPISODE_GRADED: 409,
    NO_TASKS: 409,
    EPISODE_EXPIRED: 410,
}
_STRICT_STATUS = _STATUS | {BAD_ARGUMENTS: 400, BUDGET_SPENT: 409}
"""For requests that trainers write themselves, rather than pass on."""
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class RefusedError(Exception):
    """A request that is not answered; the connection is of no further use where `closing`."""

    def __init__(self, status: int, code: str, message: str, *, closing: bool = False) -> None:
        super().__init__(message)
        self.status, self.body, self.closing = status, error(code, message), closing


class ClientGoneError(Exception):
    """The client hung up before its request was whole."""


class Application:
    """The ASGI application of one worker. `token` None lets everybody in who reaches the port."""

    def __init__(
        self,
        service: Service,
        meters: Meters,
        *,
        about: Mapping[str, Any],
        token: str | None = None,
        skin: Skin | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """`about` is what /health says of the snapshot; `skin` answers the paths that it serves."""
        self._service = service
        self._meters = meters
        self._about = dict(about)
        self._token = None if token is None else b"Bearer " + token.encode()
        self._skin = skin
        self._patience_s = patience_s
        self._posts: dict[str, tuple[str, Callable[[Mapping[str, Any]], Json], Mapping[str, int]]] = {
            "/search": ("search", service.search, _STATUS),
            "/visit": ("visit", service.visit, _STATUS),
            "/reset": ("reset", service.reset, _STRICT_STATUS),
            "/reward": ("reward", service.reward, _STRICT_STATUS),
            "/episode": ("episode", service.episode, _STRICT_STATUS),
        }
        self._gets: dict[str, tuple[str, Callable[[bytes], Json]]] = {
            "/tasks": ("tasks", self._list_tasks),
            "/tools": ("tools", self._list_tools),
            "/health": ("health", self._health),
            "/metrics": ("metrics", self._figures),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] != "http":
            raise ValueError(f"no answer to connections of the type {scope['type']}")
        start = time.perf_counter()
        route, status = "other", 500
        try:
            if self._skin is not None and self._skin.serves(scope["path"]):
                self._admit(scope)
                route = "mcp"
                body = await self._whole_body(scope, receive)
                await self._skin(scope, _replaying(body, receive), send)
                status = 200
                return
            route, status, result = await self._answer(scope, receive)
            await _send(send, status, to_bytes(result))
        except RefusedError as refused:
            status = refused.status
            await _send(send, status, to_bytes(refused.body), closing=refused.closing)
        except ClientGoneError:
            status = 400
        except Exception:
            # What went wrong is for the log: a message of ours could hold what a client must not see.
            if route == "mcp":
                raise
            log.exception("a request to %s failed", scope["path"])
            await _send(send, 500, to_bytes(error("internal", "The server failed at this call.")))
        finally:
            self._meters.count(route, time.perf_counter() - start, failed=status >= 400)

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[str, int, Json]:
        """The name of a request's route, and the status and the object to answer with."""
        path, method = scope["path"], scope["method"]
        if path != "/health":
            self._admit(scope)
        post = self._posts.get(path)
        if post is not None and method == "POST":
            route, handle, statuses = post
            result = handle(await self._object(scope, receive))
            status = statuses.get(result["error"], 200) if "error" in result else 200
        elif path == "/retrieve" and method == "POST":
            route = "retrieve"
            status, result = await self._retrieve(await self._object(scope, receive))
        elif path in self._gets and method == "GET":
            route, show = self._gets[path]
            result = show(scope["query_string"])
            status = _STRICT_STATUS.get(result["error"], 200) if "error" in result else 200
        elif post is not None or path == "/retrieve" or path in self._gets:
            wanted = "GET" if path in self._gets else "POST"
            raise RefusedError(405, "wrong_method", f"{path} takes {wanted}.")
        else:
            raise RefusedError(404, "no_such_path", "There is nothing here; GET /tools lists what there is.")
        return route, status, result

    async def _retrieve(self, raw: Mapping[str, Any]) -> tuple[int, Json]:
        queries = self._service.retrieve(raw)
        if isinstance(queries, dict):
            return _STRICT_STATUS.get(queries["error"], 200), queries
        result = []
        for query in queries:
            result.append(self._service.core.documents(query, raw.get("topk"), raw.get("return_scores")))
            await asyncio.sleep(0)  # a batch of hundreds of queries lets other clients' calls in between
        return 200, {"result": result}

    async def _object(self, scope: Scope, receive: Receive) -> Mapping[str, Any]:
        """The JSON object that a request carries."""
        body = await self._whole_body(scope, receive)
        try:
            raw = orjson.loads(body or b"{}")
        except orjson.JSONDecodeError:
            raise RefusedError(400, "bad_json", "The body is not JSON.") from None
        if not isinstance(raw, dict):
            raise RefusedError(400, "bad_json", "The body must be one JSON object.")
        return raw

    async def _whole_body(self, scope: Scope, receive: Receive) -> bytes:
        for name, value in scope["headers"]:
            if name == b"content-length" and (not value.isdigit() or int(value) > MAX_BODY_BYTES):
                raise _too_large()
        try:
            async with asyncio.timeout(self._patience_s):
                return await _body(receive)
        except TimeoutError:
            raise RefusedError(408, "too_slow", "The body did not come in time.", closing=True) from None

    def _admit(self, scope: Scope) -> None:
        """Let a request in, or refuse it."""
        told = origin = b""
        for name, value in scope["headers"]:
            if name == b"authorization":
                told = value
            elif name == b"origin":
                origin = value
        if self._token is None:
            # Without a token whoever reaches the port is trusted, so pages in a browser of this machine must not reach it.
            if origin and urlsplit(origin.decode("latin-1")).hostname not in _LOOPBACK_NAMES:
                raise RefusedError(403, "foreign_origin", "Pages of other sites may not call this server.")
        elif not hmac.compare_digest(told, self._token):
            raise RefusedError(
                401, "not_authorised", "Send the server's token: Authorization: Bearer TOKEN.", closing=True
            )

    def _list_tasks(self, query: bytes) -> Json:
        asked = dict(parse_qsl(query.decode("latin-1")))
        extra = asked.keys() - {"split", "start", "count"}
        start, count = asked.get("start", "0"), asked.get("count", "100")
        if extra or not all(text.isascii() and text.isdigit() and len(text) < 10 for text in (start, count)):
            return error(BAD_ARGUMENTS, "The parameters are split, start and count; the last two are whole numbers.")
        return self._service.list_tasks(asked.get("split"), int(start), int(count))

    def _list_tools(self, _: bytes) -> Json:
        tools = [
            {"type": "function", "function": {"name": t.name, "description": t.description, "parameters": t.parameters}}
            for t in (SEARCH, VISIT)
        ]
        return {
            "tools": tools,
            "paths": [f"POST {p}" for p in (*self._posts, "/retrieve")] + [f"GET {p}" for p in self._gets],
        }

    def _health(self, _: bytes) -> Json:
        service = self._service
        return {
            "status": "ok",
            **self._about,
            "tasks": {} if service.tasks is None else service.tasks.splits,
            "budget": _budget(service.settings.budget),
            "open": service.settings.open_to_all,
        }

    def _figures(self, _: bytes) -> Json:
        episodes = self._service.episodes
        return {"routes": self._meters.figures(), "episodes": {"begun": episodes.begun, "slots": episodes.slots}}

    async def _live(self, receive: Receive, send: Send) -> None:
        """From the start of the server to its end."""
        await receive()
        async with contextlib.nullcontext() if self._skin is None else self._skin.running():
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


async def _body(receive: Receive) -> bytes:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGoneError
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        return body
    parts, size = [body], len(body)
    while message.get("more_body", False):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        part = message.get("body", b"")
        parts.append(part)
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise _too_large()
    return b"".join(parts)


def _replaying(body: bytes, receive: Receive) -> Receive:
    """A body that was read already, and then whatever else the client does."""
    waiting = True

    async def again() -> MutableMapping[str, Any]:
        nonlocal waiting
        if waiting:
            waiting = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return again


def _too_large() -> RefusedError:
    return RefusedError(413, "too_large", f"A body may have {MAX_BODY_BYTES:,} bytes.", closing=True)


def _budget(budget: Budget) -> Json:
    return {"searches": budget.searches, "visits": budget.visits}


async def _send(send: Send, status: int, body: bytes, *, closing: bool = False) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if closing:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
