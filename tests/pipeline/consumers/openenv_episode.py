"""Tasks over HTTP and episodes over WebSockets, with OpenEnv's own clients: `openenv_episode.py URL RIGHT WRONG`."""

import asyncio
import json
import sys
import urllib.error
import urllib.request

from openenv.core.generic_client import GenericEnvClient
from openenv.core.mcp_client import MCPToolClient


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request) as reply:
            return json.loads(reply.read())
    except urllib.error.HTTPError as refused:
        return {"status": refused.code}


def tasks(url):
    with urllib.request.urlopen(f"{url}/search/splits") as reply:
        splits = json.loads(reply.read())
    return {
        "splits": [split["name"] for split in splits],
        "num_tasks": post(f"{url}/search/num_tasks", {"split": "train"})["num_tasks"],
        "task": post(f"{url}/search/task", {"split": "train", "index": 0})["task"],
        "range": len(post(f"{url}/search/task_range", {"split": "train", "start": 0, "stop": 3})["tasks"]),
        "past_the_end": post(f"{url}/search/task", {"split": "train", "index": 10_000})["status"],
        "no_such_split": post(f"{url}/search/task", {"split": "secret", "index": 0})["status"],
    }


def call(name, **arguments):
    return {"type": "call_tool", "tool_name": name, "arguments": arguments}


async def episode(url, answer):
    """One whole episode; everything that came over the wire, and what it was worth."""
    async with GenericEnvClient(base_url=url) as client:
        begun = await client.reset(split="train", index=0)
        steps = [
            await client.step({"type": "list_tools"}),
            await client.step(call("search", query="river", top_k=2)),
            await client.step(call("search", query="", colour="red")),
            await client.step(call("fly")),
            await client.step(call("answer", answer=answer)),
            await client.step(call("search", query="river")),
        ]
        state = await client.state()
    return {
        "begun": begun.observation,
        "results": [step.observation.get("result") for step in steps],
        "tools": sorted(tool["name"] for tool in steps[0].observation["tools"]),
        "rewards": [step.reward for step in steps],
        "done": [step.done for step in steps],
        "state": state,
    }


async def chosen(url, **how):
    async with GenericEnvClient(base_url=url) as client:
        return (await client.reset(**how)).observation["metadata"]["task"]["index"]


async def many(url, count):
    """Sessions beside one another; each spends a budget of its own."""

    async def one(index):
        async with GenericEnvClient(base_url=url) as client:
            await client.reset(split="train", index=index % 3)
            for _ in range(2):
                step = await client.step(call("search", query="river", top_k=1))
            return "results" in json.loads(step.observation["result"])

    return sum(await asyncio.gather(*(one(index) for index in range(count))))


async def over_mcp(url):
    """The tools over the environment's own MCP route, whose sessions have no task until they are reset."""
    async with MCPToolClient(base_url=url) as client:
        tools = sorted(tool.name for tool in await client.list_tools())
        said = await client.call_tool("search", query="river")
    return {"tools": tools, "said": said}


async def main(url, right, wrong):
    return {
        "tasks": tasks(url),
        "right": await episode(url, right),
        "wrong": await episode(url, wrong),
        "chosen": [await chosen(url), await chosen(url, seed=2), await chosen(url, split="train", index=1)],
        "many": await many(url, 16),
        "mcp": await over_mcp(url),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(main(*sys.argv[1:])), default=str))
