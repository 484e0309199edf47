"""verl's tools: `BaseTool`s that ask a running `datagen serve`, named in the `tools.yaml` of an export.

verl makes an instance for every call and hands over the rollout's `agent_data`, so that is where the handle of the
episode is kept: all calls of a rollout, of either tool and also at once, are counted together.
"""

from __future__ import annotations

import asyncio
from typing import Any

from verl.tools.base_tool import BaseTool
from verl.tools.schemas import OpenAIFunctionToolSchema, ToolResponse

from datagen.environment.shims.remote import DEFAULT_URL, RemoteTools

_EPISODE = "datagen_episode"


class _Tool(BaseTool):  # type: ignore[misc]
    def __init__(self, config: dict[str, Any], tool_schema: OpenAIFunctionToolSchema) -> None:
        super().__init__(config, tool_schema)
        token = RemoteTools.from_environment().token
        self._tools = RemoteTools(str(config.get("url") or DEFAULT_URL), token)

    async def execute(
        self, instance_id: str, parameters: dict[str, Any], **kwargs: Any
    ) -> tuple[ToolResponse, float, dict[str, Any]]:
        """The tool's text; calls themselves earn nothing."""
        del instance_id
        episode = await self._episode(kwargs.get("agent_data"))
        text = await asyncio.to_thread(self._tools.call, episode, self.name, parameters)
        return ToolResponse(text=text), 0.0, {}

    async def _episode(self, agent_data: Any) -> str:
        begun: asyncio.Task[str] | None = getattr(agent_data, _EPISODE, None)
        if begun is None:
            begun = asyncio.ensure_future(asyncio.to_thread(self._tools.begin))
            if agent_data is not None:
                setattr(agent_data, _EPISODE, begun)
        return await begun


class SearchTool(_Tool):
    """`search(query, top_k)`."""


class VisitTool(_Tool):
    """`visit(url, offset, goal)`."""
