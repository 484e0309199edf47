"""Search and visit over MCP with whatever version of the SDK is installed here: `mcp_client.py URL EPISODE`."""

import asyncio
import json
import sys
from importlib.metadata import version


async def talk(session, episode):
    tools = sorted(tool.name for tool in (await session.list_tools()).tools)
    found = (await session.call_tool("search", {"query": "river", "episode": episode})).content[0].text
    results = json.loads(found)["results"]
    page = json.loads(
        (await session.call_tool("visit", {"url": results[0]["url"], "episode": episode})).content[0].text
    )
    missing = await session.call_tool("visit", {"url": "https://nowhere.example/", "episode": episode})
    return {
        "sdk": version("mcp"),
        "tools": tools,
        "results": len(results),
        "text": len(page["text"]),
        "refused": json.loads(missing.content[0].text)["error"],
        "first": found,
    }


async def main(url, episode):
    if version("mcp").startswith("1."):
        from mcp import ClientSession
        from mcp.client.streamable_http import streamablehttp_client

        async with streamablehttp_client(url) as (read, write, _), ClientSession(read, write) as session:
            await session.initialize()
            return await talk(session, episode)
    from mcp import Client

    async with Client(url) as client:
        return await talk(client, episode)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(main(*sys.argv[1:]))))
