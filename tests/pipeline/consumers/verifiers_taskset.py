"""The taskset in verifiers: tasks, scores of written traces, and rollouts of an exported package by its id.

`verifiers_taskset.py RELEASE MCP_URL KEY WRONG PACKAGE`
"""

import asyncio
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import verifiers.v1 as vf
from verifiers.v1.clients import EvalClientConfig, ModelContext
from verifiers.v1.envs.single_agent import SingleAgentEnv, SingleAgentEnvConfig
from verifiers.v1.graph import MessageNode
from verifiers.v1.trace import AgentInfo, Trace, TraceTask
from verifiers.v1.types import AssistantMessage, ToolCall, ToolMessage, UserMessage

from datagen.environment.verifiers import SearchConfig, SearchTaskset


def tasks(taskset):
    found = list(taskset)
    again = list(taskset)
    return {
        "keys": [task.key for task in found],
        "idx": [task.data.idx for task in found],
        "hashes": len({task.hash for task in found}),
        "stable": [task.hash for task in found] == [task.hash for task in again],
        "chosen": [task.key for task in taskset.include(keys=[found[2].key])],
        "shuffled": sorted(task.key for task in taskset.shuffle(seed=1).take(100)) == sorted(t.key for t in found),
        "data": found[0].data.model_dump(mode="json"),
    }


def trace_of(task, *said):
    """A trace whose messages were written here."""
    told = TraceTask(type=type(task).__name__, data=task.data, key=task.key, hash=task.hash)
    trace = Trace(task=told, agent=AgentInfo(config=vf.AgentConfig()), state=vf.State())
    for message in (UserMessage(content=task.data.prompt), *said):
        parent = len(trace.nodes) - 1 if trace.nodes else None
        trace.nodes.append(MessageNode(parent=parent, message=message, sampled=message.role == "assistant"))
    return trace


async def scores(task, key, wrong):
    call = ToolCall(id="c1", name="search", arguments='{"query": "river"}')
    looked = (AssistantMessage(tool_calls=[call]), ToolMessage(tool_call_id="c1", content=f"results with {key}"))
    written = {
        "right": (*looked, AssistantMessage(content=key)),
        "after a thought": (*looked, AssistantMessage(content=f"<think>{wrong}?</think>\n{key}")),
        "wrong": (*looked, AssistantMessage(content=wrong)),
        "unfinished": looked,
        "with a call": (AssistantMessage(content=key, tool_calls=[call]),),
        "silent": (),
        "corrected": (AssistantMessage(content=key), UserMessage(content="Sure?"), AssistantMessage(content=wrong)),
    }
    found = {}
    for name, said in written.items():
        trace = trace_of(task, *said)
        await task.score(trace)
        record = trace.to_record()
        found[name] = {
            "reward": trace.reward,
            "metrics": trace.metrics,
            "key": trace.task.key,
            "leaked": key in json.dumps(record["task"]),
        }
    return found


class Model(BaseHTTPRequestHandler):
    """Searches, reads what it finds first, and answers what it was told to."""

    answer = ""

    def do_POST(self):
        messages = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"]
        results = [m["content"] for m in messages if m["role"] == "tool"]
        message = {"role": "assistant", "content": ""}
        if not results:
            message["tool_calls"] = [self.call("search", query="river", top_k=2)]
        elif len(results) == 1:
            message["tool_calls"] = [self.call("visit", url=json.loads(results[0])["results"][0]["url"])]
        else:
            message["content"] = self.answer
        choice = {
            "index": 0,
            "message": message,
            "finish_reason": "tool_calls" if message.get("tool_calls") else "stop",
        }
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        body = {"id": "r", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}
        sent = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def call(self, name, **arguments):
        return {"id": f"c-{name}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}

    def log_message(self, *_):
        pass


async def rollout(package, url, answer):
    """One episode by verifiers' own runner: its interception, our server's tools, our reward."""
    Model.answer = answer
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        config = SingleAgentEnvConfig(
            taskset={"id": package, "split": "train", "tools": {"url": url}},
            agent={"harness": {"id": "verifiers_plugins"}, "runtime": {"type": "subprocess"}},
        )
        env = SingleAgentEnv(config)
        task = next(iter(env.taskset))
        client = EvalClientConfig(base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key_var="NO_KEY")
        async with env.serving():
            episode = await env.run_episode(task, ModelContext(model="m", client=client))
    finally:
        server.shutdown()
    (trace,) = episode.traces
    return {
        "ok": episode.ok,
        "errors": [error.message for error in (*episode.errors, *trace.errors)],
        "reward": trace.reward,
        "metrics": trace.metrics,
        "key": trace.task.key,
        "tools": sorted(tool.name for tool in trace.tools),
        "results": [message.content for message in trace.tool_messages],
    }


async def main(release, url, key, wrong, package):
    taskset = SearchTaskset(SearchConfig(release=release, split="train", tools={"url": url}))
    return {
        "tasks": tasks(taskset),
        "scores": await scores(next(iter(taskset)), key, wrong),
        "rollouts": [await rollout(package, url, answer) for answer in (key, wrong)],
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(main(*sys.argv[1:])), default=str))
