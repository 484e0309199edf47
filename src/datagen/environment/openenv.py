"""The environment as an OpenEnv application: the task API, the two tools and `answer` as MCP tools, reward on answering.

    export DATAGEN_SNAPSHOT=out/demo/snapshot DATAGEN_RELEASE=out/demo/release
    uvicorn --factory datagen.environment.openenv:app --port 8322

    POST /search/num_tasks {"split": "train"}     {"num_tasks": 903}
    POST /search/task {"split": "train", "index": 3}     the question; never the answer
    WebSocket /ws      reset(split="train", index=3), then steps {"type": "call_tool", "tool_name": "search", ...}

OpenEnv keeps one environment per connection; here that is a handle of an episode and little else, so hundreds of them
share one core. What the policy sees of its answer is that it was taken; the reward stands beside, in the observation's
`reward`, with `done`. Tool results are texts, equal to those of every other protocol. OpenEnv has no tokens: whoever reaches
the port may play, so it belongs on this machine or behind a door of its own. Its libraries clash with ours, so this module
is the only one to import them, and runs in an environment of its own.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fastmcp import FastMCP
from fastmcp.tools.base import Tool as McpTool
from fastmcp.tools.base import ToolResult
from openenv.core.env_server.http_server import create_app
from openenv.core.env_server.mcp_environment import MCPEnvironment
from openenv.core.env_server.mcp_types import CallToolAction, CallToolObservation
from openenv.core.env_server.types import Action, Observation, State
from pydantic import PrivateAttr

from datagen.agents.budget import Budget
from datagen.agents.toolbox import SEARCH, VISIT
from datagen.environment.core import Json, SearchCore, error, is_error, to_text
from datagen.environment.episodes import EpisodeTable
from datagen.environment.local import EPISODE_OVER, NO_EPISODE
from datagen.environment.service import Service, ServiceSettings
from datagen.environment.tasks import MAX_ANSWER_CHARS, TaskBank
from datagen.errors import ConfigError
from datagen.web.snapshot import Snapshot
from datagen.web.snapshot_web import SnapshotWeb

NAME = "search"
SESSIONS = 256
SLOTS = 4_096
"""Episodes at once; a session has one at a time."""
MAX_RANGE = 1_000
ANSWER_PARAMETERS: Json = {
    "type": "object",
    "properties": {
        "answer": {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_ANSWER_CHARS,
            "description": "The answer alone: a name, a date or a number, without a sentence around it.",
        }
    },
    "required": ["answer"],
    "additionalProperties": False,
}
# OpenEnv's client hands on what FastMCP unwraps from the structured part of a result, and None where there is none.
RESULT_SCHEMA: Json = {
    "type": "object",
    "properties": {"result": {"type": "string"}},
    "required": ["result"],
    "x-fastmcp-wrap-result": True,
}


def app() -> Any:
    """The application over the folders that DATAGEN_SNAPSHOT and DATAGEN_RELEASE name."""
    folders = [os.environ.get(name) for name in ("DATAGEN_SNAPSHOT", "DATAGEN_RELEASE")]
    if not all(folders):
        raise ConfigError("Set DATAGEN_SNAPSHOT and DATAGEN_RELEASE to the folders to serve.")
    return openenv_app(*map(str, folders))


def openenv_app(snapshot: str | Path, release: str | Path, *, budget: Budget | None = None) -> Any:
    """A FastAPI application with OpenEnv's routes. Its episodes live in a private file that ends with the process."""
    with tempfile.TemporaryDirectory(prefix="datagen-openenv-") as folder:
        # The table stays mapped after its file has lost its name.
        episodes = EpisodeTable.create(Path(folder) / "episodes", SLOTS)
    core = SearchCore(SnapshotWeb(Snapshot.open(snapshot)))
    service = Service(core, episodes, TaskBank.open(release), ServiceSettings(budget or Budget()))
    return create_app(
        lambda: SearchEnvironment(service),
        CallToolAction,
        CallToolObservation,
        env_name=NAME,
        max_concurrent_envs=SESSIONS,
    )


class SearchEnvironment(MCPEnvironment):  # type: ignore[misc]
    """One connection's environment. The key never leaves the service behind it."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self, service: Service) -> None:
        self._service = service
        self._handle: str | None = None
        self._episode_id: str | None = None
        self._steps = 0
        self._done = False
        self._reward: float | None = None
        self._tools: dict[str, Callable[[Mapping[str, Any]], Json]] = {
            "search": lambda given: service.search({**given, "episode": self._handle}),
            "visit": lambda given: service.visit({**given, "episode": self._handle}),
            "answer": self._take_answer,
        }
        super().__init__(FastMCP(NAME, tools=self._offered()))

    def _offered(self) -> list[_Offered]:
        specs = (
            (SEARCH.name, SEARCH.description, SEARCH.parameters),
            (VISIT.name, VISIT.description, VISIT.parameters),
            ("answer", "Give the final answer. This ends the task; there is one try.", ANSWER_PARAMETERS),
        )
        return [_Offered.of(name, words, dict(schema), self._call) for name, words, schema in specs]

    def list_splits(self) -> list[str]:
        return list(self._tasks.splits)

    def num_tasks(self, split: str) -> int:
        return self._tasks.splits.get(split, 0)

    def get_task(self, split: str, index: int) -> Json:
        number = self._tasks.number(split, index) if split in self._tasks.splits else None
        if number is None:
            raise IndexError(f"there is no task {index} in the split {split!r}")
        return self._tasks.public(number)

    def get_task_range(self, split: str, start: int | None = None, stop: int | None = None) -> list[Json]:
        places = range(self.num_tasks(split))[start:stop]
        return [self.get_task(split, place) for place in places[:MAX_RANGE]]

    def list_tasks(self, split: str) -> list[Json]:
        """The first tasks of a split; `num_tasks` says how many there are."""
        return self.get_task_range(split)

    def reset(
        self,
        seed: int | None = None,
        episode_id: str | None = None,
        split: str | None = None,
        index: int | None = None,
        task_id: str | None = None,
        **_: Any,
    ) -> Observation:
        """Begin an episode. Without a task, the seed chooses one of the split, the first where there is no seed."""
        asked: Json = {"task_id": task_id}
        if task_id is None:
            chosen = split if split is not None else self.list_splits()[0]
            asked = {"split": chosen, "index": (seed or 0) % max(1, self.num_tasks(chosen)) if index is None else index}
        begun = self._service.reset(asked)
        if is_error(begun):
            raise ValueError(begun["message"])
        self._handle = begun["episode"]
        self._episode_id = episode_id or self._handle
        self._steps, self._done, self._reward = 0, False, None
        told = {"question": begun["task"]["question"], "task": begun["task"], "budget": begun["budget"]}
        return Observation(done=False, reward=None, metadata=told)

    def step(self, action: Action, timeout_s: float | None = None, **more: Any) -> Observation:
        if isinstance(action, CallToolAction):
            return self._called(action)
        return super().step(action, timeout_s=timeout_s, **more)

    async def step_async(self, action: Action, timeout_s: float | None = None, **more: Any) -> Observation:
        if isinstance(action, CallToolAction):
            return self._called(action)
        return await super().step_async(action, timeout_s=timeout_s, **more)

    @property
    def state(self) -> State:
        return State(episode_id=self._episode_id, step_count=self._steps)

    @property
    def supports_code_mode(self) -> bool:
        """No: code of a policy would run in the process that has the answers."""
        return False

    def execute_code(self, code: str) -> Observation:
        raise PermissionError(f"This environment runs no code ({len(code)} characters were sent); call its tools.")

    def _step_impl(self, action: Action, timeout_s: float | None = None, **_: Any) -> Observation:
        raise ValueError(f"{type(action).__name__} is no action of this environment (after {timeout_s}); call a tool.")

    @property
    def _tasks(self) -> TaskBank:
        assert self._service.tasks is not None
        return self._service.tasks

    def _called(self, action: CallToolAction) -> CallToolObservation:
        before = self._done
        text = self._call(action.tool_name, action.arguments)
        graded = self._done and not before
        return CallToolObservation(
            tool_name=action.tool_name, result=text, done=self._done, reward=self._reward if graded else None
        )

    def _call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """What a tool answers, as text; every way in ends here."""
        tool = self._tools.get(name)
        if tool is None:
            return to_text(error("unknown_tool", f"There is no such tool. The tools are {', '.join(self._tools)}."))
        if self._handle is None:
            return to_text(error(NO_EPISODE, "No task was begun; reset first."))
        if self._done:
            return to_text(error(EPISODE_OVER, "The answer was given; nothing more can be done."))
        self._steps += 1
        return to_text(tool(arguments))

    def _take_answer(self, given: Mapping[str, Any]) -> Json:
        answer = given.get("answer")
        if set(given) != {"answer"} or not isinstance(answer, str) or not 1 <= len(answer) <= MAX_ANSWER_CHARS:
            return error(
                "bad_arguments", f"answer, the one argument, must be text of 1 to {MAX_ANSWER_CHARS} characters."
            )
        grade = self._service.reward({"episode": self._handle, "answer": answer})
        if is_error(grade):
            return grade
        self._done, self._reward = True, grade["reward"]
        return {"answered": True}


class _Offered(McpTool):  # type: ignore[misc]
    """A tool whose arguments are checked by the service: the library would refuse them in words of its own."""

    _call: Callable[[str, Mapping[str, Any]], str] = PrivateAttr()

    @classmethod
    def of(cls, name: str, words: str, schema: Json, call: Callable[[str, Mapping[str, Any]], str]) -> _Offered:
        tool = cls(name=name, description=words, parameters=schema, output_schema=RESULT_SCHEMA)
        tool._call = call
        return tool

    async def run(self, arguments: dict[str, Any]) -> ToolResult:
        text = self._call(self.name, arguments)
        return ToolResult(content=text, structured_content={"result": text})
