"""A harness by the id `verifiers_plugins`; it runs its loop in this process."""

import json

import httpx
import verifiers.v1 as vf
from mcp import Client
from verifiers.v1.runtimes import ProgramResult

__all__ = ["PlainHarness"]


class PlainHarnessConfig(vf.HarnessConfig):
    pass


class PlainHarness(vf.Harness[PlainHarnessConfig]):
    """Asks the model, calls the tools that it asks for, and stops at the first message without a call."""

    APPENDS_SYSTEM_PROMPT = True
    SUPPORTS_MCP = True
    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    async def launch(self, ctx, trace, runtime, endpoint, secret, mcp_urls, data):
        system, prompt = self.resolve_prompt(data)
        messages = [{"role": "system", "content": system}, {"role": "user", "content": prompt}]
        (url,) = mcp_urls.values()
        headers = {"Authorization": f"Bearer {secret}"}
        async with Client(url) as tools, httpx.AsyncClient(headers=headers, timeout=60) as model:
            offered = [
                {
                    "type": "function",
                    "function": {"name": tool.name, "description": tool.description, "parameters": tool.input_schema},
                }
                for tool in (await tools.list_tools()).tools
            ]
            while True:
                body = {"model": ctx.model, "messages": messages, "tools": offered}
                reply = await model.post(f"{endpoint.rstrip('/')}/chat/completions", json=body)
                reply.raise_for_status()
                said = reply.json()["choices"][0]["message"]
                messages.append(said)
                if not said.get("tool_calls"):
                    return ProgramResult(exit_code=0, stdout="", stderr="")
                for call in said["tool_calls"]:
                    arguments = json.loads(call["function"]["arguments"])
                    result = await tools.call_tool(call["function"]["name"], arguments)
                    text = result.content[0].text
                    messages.append({"role": "tool", "tool_call_id": call["id"], "content": text})
