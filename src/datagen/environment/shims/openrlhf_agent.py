"""OpenRLHF's agent: runs the calls of a turn through `datagen serve` and grades the turn that has none.

OpenRLHF pastes what `step` returns into the text as it is, so the turn's frame is written here: ChatML, which Qwen and
many others speak. Its `label` is the truth as JSON text.
"""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from openrlhf.utils.agent import AgentInstanceBase, MultiTurnAgentExecutor

from datagen.environment.shims.remote import RemoteTools
from datagen.environment.shims.text_episode import TextEpisode, framed_turn

_TOOLS = RemoteTools.from_environment()
_END = "<|im_end|>"


class SearchAgent(AgentInstanceBase):  # type: ignore[misc]
    """One rollout."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self._episode: TextEpisode | None = None

    async def reset(self, states: dict[str, Any], **_: Any) -> dict[str, Any]:
        self._episode = TextEpisode(_TOOLS, states["label"])
        return {"observation": states["observation"]}

    async def step(self, states: dict[str, Any], **_: Any) -> dict[str, Any]:
        assert self._episode is not None, "OpenRLHF resets an agent before its first step"
        text = str(states["action_text"]).removesuffix(_END)
        done = await asyncio.to_thread(self._episode.step, text)
        reward = np.float64(done.score)  # OpenRLHF asks for `.item()`
        # The model's own end mark stays where it wrote one, and is not written twice.
        ended = str(states["action_text"]).endswith(_END)
        feedback = "" if done.done else framed_turn(done.results).removeprefix(_END if ended else "")
        return {
            "rewards": reward,
            "scores": reward,
            "environment_feedback": feedback,
            "done": done.done,
            "sampling_params": states.get("sampling_params"),
            "extra_logs": {
                "correct": np.float64(done.correct),
                "answered": np.float64(done.answered),
            },
        }


class AgentExecutor(MultiTurnAgentExecutor):  # type: ignore[misc]
    """What `--train.agent_func_path` looks for."""

    def __init__(self) -> None:
        super().__init__(SearchAgent)
