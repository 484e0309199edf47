"""The environment over the Model Context Protocol: streamable HTTP beside the other routes, or standard input and output.

    datagen serve out/demo/snapshot --release out/demo/release --mcp
        http://127.0.0.1:8321/mcp            search, visit                          for policies
        http://127.0.0.1:8321/mcp/tasks      search, visit, open_task, submit       for who evaluates them
    datagen serve out/demo/snapshot --release out/demo/release --stdio              all four

A policy that could submit an answer and read its grade would learn to guess, so the tools of tasks have an address of
their own. Two ways lead from a call to its episode: the argument `episode`, or `?episode=...` in the address, in which
case the tools are listed without the argument and a policy never sees a handle. No request depends on one before it:
there are no sessions, any worker process answers, and clients of the protocol before 2026-07-28 are served likewise.

A result is one text, the JSON of `datagen.environment.core`; `isError` marks those with an error code. Arguments are
checked by the service and nowhere else, so what a policy is told does not depend on the library's version.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

from datagen.agents.toolbox import SEARCH, VISIT
from datagen.environment.core import Json, error, is_error, to_text
from datagen.environment.service import Service

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server
    from starlette.applications import Starlette
    from starlette.types import Receive, Scope, Send

UNKNOWN_TOOL = "unknown_tool"
PATH = "/mcp"
TASKS_PATH = "/mcp/tasks"
_EPISODE = {"type": "string", "description": "Handle of the episode that the call belongs to."}


@dataclass(frozen=True, slots=True)
class ToolOnOffer:
    """A tool as clients see it, and what answers it."""

    name: str
    description: str
    parameters: Json
    call: Callable[[Mapping[str, Any]], Json]
    reads: bool
    """Whether a call changes nothing but its episode's counts."""


def tools_on_offer(service: Service, *, tasks: bool) -> tuple[ToolOnOffer, ...]:
    """The two tools, and with `tasks` those that open a task and submit its answer."""
    both = (
        ToolOnOffer("search", SEARCH.description, _with_episode(SEARCH.parameters), service.search, True),
        ToolOnOffer("visit", VISIT.description, _with_episode(VISIT.parameters), service.visit, True),
    )
    if not tasks:
        return both
    return (
        *both,
        ToolOnOffer(
            "open_task",
            "Begin an episode: on a task, named by task_id or by split and index, or on none. Returns the handle of the "
            "episode, the question, and the budget.",
            _object(
                {
                    "task_id": {"type": "string", "description": "Id of a task."},
                    "split": {"type": "string", "description": "Split of a task, with index."},
                    "index": {"type": "integer", "minimum": 0, "description": "Place of a task in its split."},
                    "searches": {"type": "integer", "minimum": 0, "description": "Searches of the episode, at most."},
                    "visits": {"type": "integer", "minimum": 0, "description": "Visits of the episode, at most."},
                }
            ),
            service.reset,
            False,
        ),
        ToolOnOffer(
            "submit",
            "Submit the answer of an episode for grading; there is one try. Returns the reward.",
            _object(
                {"episode": _EPISODE, "answer": {"type": ["string", "null"], "description": "The answer alone."}},
                "answer",
            ),
            service.reward,
            False,
        ),
    )


def mcp_server(service: Service, *, tasks: bool) -> Server[Any]:
    """The protocol's server over one service."""
    import mcp_types as types
    from mcp.server.lowlevel import Server

    offered = {tool.name: tool for tool in tools_on_offer(service, tasks=tasks)}

    async def listed(ctx: Any, _: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        known = _episode_of(ctx.request) is not None
        return types.ListToolsResult(
            tools=[
                types.Tool(
                    name=tool.name,
                    description=tool.description,
                    input_schema=_without_episode(tool.parameters) if known else tool.parameters,
                    annotations=types.ToolAnnotations(read_only_hint=tool.reads, open_world_hint=False),
                )
                for tool in offered.values()
            ]
        )

    async def called(ctx: Any, asked: types.CallToolRequestParams) -> types.CallToolResult:
        result = _answer(offered, asked.name, asked.arguments or {}, _episode_of(ctx.request))
        content: list[types.ContentBlock] = [types.TextContent(text=to_text(result))]
        return types.CallToolResult(content=content, is_error=is_error(result))

    return Server(
        "datagen",
        version=metadata.version("datagen"),
        instructions="A frozen web: search it, visit its pages.",
        on_list_tools=listed,
        on_call_tool=called,
    )


def _answer(offered: Mapping[str, ToolOnOffer], name: str, arguments: Mapping[str, Any], episode: str | None) -> Json:
    tool = offered.get(name)
    if tool is None:
        return error(UNKNOWN_TOOL, f"There is no such tool. The tools are {', '.join(offered)}.")
    given = {key: value for key, value in arguments.items() if value is not None or key == "answer"}
    if episode is not None and "episode" in tool.parameters["properties"]:
        # The address decides: who can write arguments cannot leave the episode that its address names.
        given["episode"] = episode
    return tool.call(given)


class McpSkin:
    """An ASGI application for `/mcp` and, where there are tasks, `/mcp/tasks`. Its `running` has to be entered first.

    A server that has routes of its own sends it every request whose path `serves`, and enters `running` in its lifespan.
    """

    def __init__(self, service: Service) -> None:
        self._apps: dict[str, Starlette] = {PATH: _streamable(mcp_server(service, tasks=False), PATH)}
        if service.tasks is not None:
            self._apps[TASKS_PATH] = _streamable(mcp_server(service, tasks=True), TASKS_PATH)

    def serves(self, path: str) -> bool:
        return path in self._apps

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            for app in self._apps.values():
                await stack.enter_async_context(app.router.lifespan_context(app))
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._apps[scope["path"]](scope, receive, send)


def _streamable(server: Server[Any], path: str) -> Starlette:
    # Addresses and tokens are checked once, by the application that this one is mounted in or by who deploys it.
    from mcp.server.transport_security import TransportSecuritySettings

    security = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    return server.streamable_http_app(
        streamable_http_path=path, json_response=True, stateless_http=True, transport_security=security
    )


def serve_stdio(service: Service) -> None:
    """Answer on standard output what comes on standard input, until that ends."""
    import anyio
    from mcp.server.stdio import stdio_server

    async def serve() -> None:
        server = mcp_server(service, tasks=service.tasks is not None)
        async with stdio_server() as (read, write):
            await server.run(read, write, server.create_initialization_options())

    anyio.run(serve)


def _episode_of(request: Any) -> str | None:
    """The handle in the address of an HTTP request; standard input has no address."""
    return None if request is None else request.query_params.get("episode")


def _object(properties: Json, *required: str) -> Json:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def _with_episode(schema: Mapping[str, Any]) -> Json:
    return {**schema, "properties": {**schema["properties"], "episode": _EPISODE}}


def _without_episode(schema: Mapping[str, Any]) -> Json:
    return {**schema, "properties": {k: v for k, v in schema["properties"].items() if k != "episode"}}
