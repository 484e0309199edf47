"""The environment over MCP, in one process: what is offered where, what comes back, and that episodes count."""

from __future__ import annotations

import asyncio
import json

import pytest
from mcp import Client
from tests.unit.league_tasks import IDS, RIGHT, league_service

from datagen.agents.toolbox import SEARCH, VISIT, hits_to_json
from datagen.environment.core import to_text
from datagen.environment.mcp import mcp_server, tools_on_offer

POLICY, TASKS = {"search", "visit"}, {"search", "visit", "open_task", "submit"}


def talk(service, *calls, tasks=True, mode="auto"):
    """The results of some calls as (is error, JSON), over a client of the SDK that sits in this process."""

    async def run():
        async with Client(mcp_server(service, tasks=tasks), mode=mode) as client:
            return [await client.call_tool(name, arguments) for name, arguments in calls]

    results = asyncio.run(run())
    assert all(len(result.content) == 1 for result in results)
    return [(bool(result.is_error), json.loads(result.content[0].text)) for result in results]


def listed(service, *, tasks):
    async def run():
        async with Client(mcp_server(service, tasks=tasks)) as client:
            return (await client.list_tools()).tools

    return {tool.name: tool for tool in asyncio.run(run())}


def test_policies_get_the_two_tools_and_evaluators_four(tmp_path):
    service = league_service(tmp_path)

    assert set(listed(service, tasks=False)) == POLICY
    assert set(listed(service, tasks=True)) == TASKS


def test_tools_are_described_as_everywhere_else_but_for_the_episode(tmp_path):
    tools = listed(league_service(tmp_path), tasks=False)

    for ours in (SEARCH, VISIT):
        schema = tools[ours.name].input_schema
        properties = dict(schema["properties"])
        assert properties.pop("episode")["type"] == "string"
        assert properties == ours.parameters["properties"]
        assert tools[ours.name].description == ours.description
        assert tools[ours.name].annotations.read_only_hint


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_task_is_opened_searched_and_submitted_by_clients_of_both_protocols(tmp_path, mode):
    service = league_service(tmp_path)
    ((failed, opened),) = talk(service, ("open_task", {"task_id": IDS["club by ground"]}), mode=mode)
    handle = opened["episode"]

    found, right, again = talk(
        service,
        ("search", {"query": "Harlan Rovers", "episode": handle}),
        ("submit", {"episode": handle, "answer": RIGHT}),
        ("submit", {"episode": handle, "answer": RIGHT}),
        mode=mode,
    )

    assert not failed
    assert RIGHT not in json.dumps(opened)
    assert to_text(found[1]) == hits_to_json(service.core.web.search("Harlan Rovers", 8))
    assert (right[0], right[1]["reward"], right[1]["searches"]) == (False, 1.0, 1)
    assert (again[0], again[1]["error"]) == (True, "episode_graded")


def test_a_task_is_opened_by_its_place_and_without_an_answer_earns_nothing(tmp_path):
    service = league_service(tmp_path)
    ((_, opened),) = talk(service, ("open_task", {"split": "test", "index": 0}))

    ((_, graded),) = talk(service, ("submit", {"episode": opened["episode"], "answer": None}))

    assert opened["task"]["id"] == IDS["founding"]
    assert graded["reward"] == 0.0


def test_what_goes_wrong_is_an_error_with_a_code_and_never_a_crash(tmp_path):
    service = league_service(tmp_path, searches=1)
    ((_, opened),) = talk(service, ("open_task", {}))
    handle = opened["episode"]

    results = talk(
        service,
        ("search", {"query": "club", "episode": handle}),
        ("search", {"query": "club", "episode": handle}),
        ("search", {"query": "club"}),
        ("search", {"query": "club", "episode": "made up"}),
        ("search", {"query": 5, "episode": handle}),
        ("search", {"query": "club", "colour": "red", "episode": handle}),
        ("visit", {"url": "https://nowhere.example/", "episode": handle}),
        ("fly", {}),
        ("submit", {"episode": handle, "answer": "x"}),
        ("open_task", {"task_id": "qa1-unknown"}),
    )

    codes = [result.get("error") for _, result in results]
    assert codes == [
        None,
        "budget_spent",
        "episode_required",
        "unknown_episode",
        "bad_arguments",
        "bad_arguments",
        "not_found",
        "unknown_tool",
        "no_tasks",
        "unknown_task",
    ]
    assert [failed for failed, _ in results] == [code is not None for code in codes]


def test_policies_cannot_reach_the_tools_of_tasks(tmp_path):
    service = league_service(tmp_path)
    handle = service.reset({"task_id": IDS["founding"]})["episode"]

    results = talk(service, ("submit", {"episode": handle, "answer": "1923"}), ("open_task", {}), tasks=False)

    assert [result["error"] for _, result in results] == ["unknown_tool", "unknown_tool"]
    assert service.reward({"episode": handle, "answer": "1923"})["reward"] == 1.0


def test_an_open_server_answers_without_an_episode(tmp_path):
    ((failed, found),) = talk(league_service(tmp_path, open_to_all=True), ("search", {"query": "club"}), tasks=False)

    assert not failed
    assert found["results"]


def test_no_listed_text_names_an_answer(tmp_path):
    service = league_service(tmp_path)
    tools = tools_on_offer(service, tasks=True)

    assert not any(RIGHT in f"{tool.description}{tool.parameters}" for tool in tools)
