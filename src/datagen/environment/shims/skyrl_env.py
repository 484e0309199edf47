"""SkyRL's environment: a text environment of its gym over `datagen serve`."""

from __future__ import annotations

from typing import Any

from skyrl_gym.envs.base_text_env import BaseTextEnv, BaseTextEnvStepOutput

from datagen.environment.shims.remote import RemoteTools
from datagen.environment.shims.text_episode import MAX_TURNS, TextEpisode, framed

_TOOLS = RemoteTools.from_environment()


class SearchEnv(BaseTextEnv):  # type: ignore[misc]
    """One rollout; `extras` are the other columns of the row."""

    def __init__(self, env_config: Any = None, extras: dict[str, Any] | None = None) -> None:
        super().__init__()
        del env_config
        row = extras or {}
        self.max_turns = int(row.get("max_turns") or MAX_TURNS)
        self._episode = TextEpisode(_TOOLS, row["reward_spec"]["ground_truth"], max_turns=self.max_turns)

    def step(self, action: str) -> BaseTextEnvStepOutput:
        self.turns += 1
        done = self._episode.step(action)
        shown = [] if done.done else [{"role": "user", "content": framed(done.results)}]
        metadata = {"correct": done.correct, "answered": done.answered}
        return BaseTextEnvStepOutput(observations=shown, reward=done.score, done=done.done, metadata=metadata)
