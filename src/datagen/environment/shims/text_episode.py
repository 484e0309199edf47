"""An episode for trainers that exchange text with an environment: calls in, results out, a score at the end.

    episode = TextEpisode(RemoteTools.from_environment(), truth)
    episode.step('I look it up. <tool_call>{"name": "search", "arguments": {"query": "..."}}</tool_call>')
                                                                       Step(results=('{"results": ...}',), done=False)
    episode.step("<think>All checked.</think> Harlan Rovers")            Step(results=(), done=True, score=1.0)

A turn without a call ends the episode, as it does in the tool loops of trainers that have one. A call that cannot be read
is answered with an error, for the policy to mend. What a page says stands inside JSON in which `<` is escaped, so a result
can neither close its own frame nor open a call.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from datagen.environment.shims.grading import score

_CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)
MAX_TURNS = 64
MAX_CALLS_PER_TURN = 16


class Tools(Protocol):
    """`RemoteTools`, or anything else that answers calls."""

    def begin(self) -> str: ...

    def call(self, episode: str, tool: str, arguments: Mapping[str, Any]) -> str: ...


@dataclass(frozen=True, slots=True)
class Step:
    """What became of one turn."""

    results: tuple[str, ...]
    done: bool
    score: float = 0.0
    correct: bool = False
    answered: bool = False


class TextEpisode:
    """One rollout. It begins its episode at the server with the first call."""

    def __init__(self, tools: Tools, truth: Mapping[str, Any] | str, *, max_turns: int = MAX_TURNS) -> None:
        self._tools = tools
        self._truth = truth
        self._max_turns = max_turns
        self._turns = 0
        self._handle: str | None = None

    def step(self, action: str) -> Step:
        """Run the calls of a turn, or grade the turn that has none."""
        self._turns += 1
        said = action.rpartition("</think>")[2]
        calls = _CALL.findall(said)
        if not calls or self._turns >= self._max_turns:
            found = score(action, self._truth)
            return Step((), True, found.score, found.correct, found.answer is not None)
        return Step(tuple(self._answer(call) for call in calls[:MAX_CALLS_PER_TURN]), False)

    def _answer(self, text: str) -> str:
        try:
            call = json.loads(text)
            name, arguments = call["name"], call["arguments"]
            arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
        except (ValueError, KeyError, TypeError):
            return _mistake('A call is {"name": ..., "arguments": {...}} between <tool_call> and </tool_call>.')
        if not isinstance(name, str) or not isinstance(arguments, dict):
            return _mistake("The name of a call is text, and its arguments are one JSON object.")
        if self._handle is None:
            self._handle = self._tools.begin()
        return self._tools.call(self._handle, name, arguments)


def _mistake(message: str) -> str:
    return json.dumps({"error": "bad_arguments", "message": message}).replace("<", "\\u003c")


def framed(results: tuple[str, ...]) -> str:
    """Results as Qwen's and Hermes' chat templates print them inside a turn."""
    return "\n".join(f"<tool_response>\n{result}\n</tool_response>" for result in results)


def framed_turn(results: tuple[str, ...]) -> str:
    """The same as whole text between two assistant turns, in ChatML, for trainers that paste raw text."""
    return f"<|im_end|>\n<|im_start|>user\n{framed(results)}<|im_end|>\n<|im_start|>assistant\n"
