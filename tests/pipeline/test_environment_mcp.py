"""A real question solved over MCP: the server is a program, the client is the SDK's, the solver knows only the tools."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack

import httpx
import pytest
from anyio.from_thread import start_blocking_portal
from mcp import Client, StdioServerParameters
from tests.pipeline.served_environment import SERVE, McpWeb, consume, served

from datagen.agents.budget import Budget
from datagen.agents.symbolic.page_memory import Competence
from datagen.agents.symbolic.topdown import TopDownSolver
from datagen.environment.tasks import TaskBank
from datagen.language.parse import Parser
from datagen.web.snapshot import Snapshot
from datagen.web.snapshot_web import SnapshotWeb

pytestmark = pytest.mark.pipeline
BUDGET = Budget(200, 600)
LIMITS = ("--searches", BUDGET.searches, "--visits", BUDGET.visits)


@pytest.fixture(scope="module")
def solver(small_web) -> TopDownSolver:
    """A program that knows the words of the web's subjects, and none of its facts."""
    catalogue = Snapshot.open(small_web).catalogue()
    return TopDownSolver(Competence.of(catalogue, Parser(catalogue)), BUDGET)


@pytest.fixture(scope="module")
def address(small_web, small_release):
    with served(small_web, "--release", small_release, "--mcp", "--workers", "2", *LIMITS) as address:
        yield address


@pytest.fixture
def connected():
    """`connected(where)`: a client of the SDK, and the portal through which threads call it."""
    with ExitStack() as stack:

        def connect(where, mode="auto"):
            portal = stack.enter_context(start_blocking_portal())
            client = Client(where, mode=mode)
            stack.enter_context(portal.wrap_async_context_manager(client))
            return client, portal

        yield connect


def solve(solver, client, portal) -> tuple[dict, McpWeb, str]:
    """Open the first task, solve it through the tools, submit the answer."""
    outside = McpWeb(client, portal)
    opened = outside.call("open_task", {"split": "train", "index": 0})
    web = McpWeb(client, portal, opened["episode"])
    attempt = solver.solve(opened["task"]["question"], web)
    assert attempt.answer is not None
    return outside.call("submit", {"episode": opened["episode"], "answer": attempt.answer}), web, opened["task"]["id"]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_client_of_either_protocol_solves_a_question_over_http(solver, address, connected, mode):
    client, portal = connected(f"{address}/mcp/tasks", mode)

    graded, web, _ = solve(solver, client, portal)

    assert graded["reward"] == 1.0
    assert graded["searches"] + graded["visits"] == web.calls > 0


def test_a_client_solves_a_question_over_standard_input_and_output(solver, small_web, small_release, connected):
    command = [*SERVE[1:], str(small_web), "--release", str(small_release), "--stdio", *map(str, LIMITS)]
    client, portal = connected(StdioServerParameters(command=sys.executable, args=command))

    graded, web, _ = solve(solver, client, portal)

    assert graded["reward"] == 1.0
    assert graded["searches"] + graded["visits"] == web.calls


def test_over_mcp_a_solver_finds_what_it_finds_in_one_process(solver, address, connected, small_web, small_release):
    client, portal = connected(f"{address}/mcp/tasks")
    bank = TaskBank.open(small_release)
    outside, here = McpWeb(client, portal), SnapshotWeb(Snapshot.open(small_web))

    for index in range(3):
        opened = outside.call("open_task", {"split": "train", "index": index})
        question = bank.public(bank.number("train", index))["question"]
        assert solver.solve(question, McpWeb(client, portal, opened["episode"])) == solver.solve(question, here)


def test_an_address_can_name_the_episode_so_that_policies_see_no_handle(solver, address, connected):
    task = httpx.post(f"{address}/reset", json={"split": "train", "index": 0}).json()
    client, portal = connected(f"{address}/mcp?episode={task['episode']}")
    tools = portal.call(client.list_tools).tools

    attempt = solver.solve(task["task"]["question"], McpWeb(client, portal))
    graded = httpx.post(f"{address}/reward", json={"episode": task["episode"], "answer": attempt.answer}).json()

    assert {tool.name for tool in tools} == {"search", "visit"}
    assert not any("episode" in tool.input_schema["properties"] for tool in tools)
    assert graded["reward"] == 1.0
    assert graded["searches"] > 0


def test_a_spent_budget_is_told_to_the_policy_whichever_worker_is_asked(small_web, connected):
    with served(small_web, "--mcp", "--workers", "2", "--searches", "5") as address:
        handle = httpx.post(f"{address}/reset", json={}).json()["episode"]
        webs = [McpWeb(*connected(f"{address}/mcp"), handle) for _ in range(3)]
        answers = [web.call("search", {"query": "river", "episode": handle}) for web in webs * 3]

    assert ["error" in answer for answer in answers] == [False] * 5 + [True] * 4
    assert {answer["error"] for answer in answers[5:]} == {"budget_spent"}


def test_a_token_is_asked_for_at_the_door_of_mcp_too(small_web):
    secret = "a" * 20
    with served(small_web, "--mcp", "--token-env", "DOOR", env={"DOOR": secret}) as address:
        ask = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
        accept = {"Accept": "application/json, text/event-stream"}
        refused = httpx.post(f"{address}/mcp", json=ask, headers=accept)
        admitted = httpx.post(f"{address}/mcp", json=ask, headers={**accept, "Authorization": f"Bearer {secret}"})

    assert refused.status_code == 401
    assert admitted.status_code != 401
    assert secret not in refused.text


def test_without_a_release_there_are_no_tools_of_tasks(small_web):
    with served(small_web, "--mcp") as address:
        assert httpx.post(f"{address}/mcp/tasks", json={}).status_code == 404


@pytest.mark.parametrize("consumer", ["openenv", "verifiers"])
def test_clients_of_other_versions_of_the_sdk_search_and_visit(address, consumer):
    """mcp 1.x in the one environment, the first release of 2.x in the other."""
    task = httpx.post(f"{address}/reset", json={"split": "train", "index": 0}).json()

    seen = consume(consumer, "mcp_client.py", f"{address}/mcp", task["episode"])

    assert seen["tools"] == ["search", "visit"]
    assert seen["results"] == 8
    assert seen["text"] > 0
    assert seen["refused"] == "not_found"
    assert json.loads(seen["first"])["results"]
