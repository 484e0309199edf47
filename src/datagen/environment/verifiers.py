"""The tasks of a release as a verifiers taskset: `load` yields questions, rewards grade the last message.

    datagen serve out/demo/snapshot --mcp --open        the tools; prints http://127.0.0.1:8321
    taskset = SearchTaskset(SearchConfig(release="out/demo/release", split="train",
                                         tools={"url": "http://127.0.0.1:8321/mcp"}))
    task = next(iter(taskset))
    task.key                "qa1-..."    the id of the question, the same in every export and every version of this module
    task.data.prompt        the question

A task's data travels with its traces, to disk and between processes, so it holds what a policy may know; the key is looked
up in the release when an attempt is scored. Tools are a server that runs already: it has the snapshot open once, and none
of its libraries has to live beside those of verifiers, which clash with ours. This module is the only one to import them.

`datagen export RELEASE --to verifiers` writes the small package that names a taskset of this kind by an id.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import verifiers.v1 as vf

from datagen.environment.local import stated_answer
from datagen.environment.tasks import TaskBank
from datagen.errors import ConfigError

__all__ = ["SearchTaskset"]

INSTRUCTIONS = (
    "Answer the question with the two tools: search finds pages, visit reads them. Names, dates and places in the question "
    "are hidden behind descriptions, so work out what each one means and check every one on pages that you read. When you "
    "are sure, end with a message that holds the answer alone: a name, a date or a number, without a sentence around it."
)


class SearchTaskConfig(vf.TaskConfig):  # type: ignore[misc]
    release: str = ""
    """Folder of the release whose keys grade; the taskset fills this in."""


class SearchConfig(vf.TasksetConfig):  # type: ignore[misc]
    release: str = ""
    """Folder of a release."""
    split: str = "train"
    """Which of its splits."""
    task: SearchTaskConfig = SearchTaskConfig()
    tools: vf.SharedToolsetConfig = vf.SharedToolsetConfig()
    """`url` is the address of `datagen serve SNAPSHOT --mcp --open`, with /mcp at its end."""


class SearchData(vf.TaskData):  # type: ignore[misc]
    split: str
    """Where the question stands in the release; its `id` names it."""


class SearchTask(vf.Task[SearchData, vf.State, SearchTaskConfig]):  # type: ignore[misc]
    """One question and how an attempt at it is scored."""

    @property
    def key(self) -> str:
        return str(self.data.id)

    @vf.reward  # type: ignore[untyped-decorator]
    async def correct(self, trace: vf.Trace) -> float:
        """1 for the right answer in the last message, else 0."""
        bank = _bank(self.config.release)
        number = bank.number_of(self.key)
        if number is None:
            raise ConfigError(
                f"The release {self.config.release} has no task {self.key}; it was loaded from another one."
            )
        grade = bank.grade(number, final_answer(trace)).reward
        assert grade is not None  # only a judge can fail, and here words and values decide
        return grade

    @vf.metric  # type: ignore[untyped-decorator]
    async def answered(self, trace: vf.Trace) -> float:
        return float(final_answer(trace) is not None)

    @vf.metric  # type: ignore[untyped-decorator]
    async def searches(self, trace: vf.Trace) -> float:
        return _calls(trace, "search")

    @vf.metric  # type: ignore[untyped-decorator]
    async def visits(self, trace: vf.Trace) -> float:
        return _calls(trace, "visit")


class SearchToolset(vf.Toolset[vf.SharedToolsetConfig, vf.State]):  # type: ignore[misc]
    """`search` and `visit` of a server that runs already."""

    TOOL_PREFIX = None

    def register(self, mcp: Any) -> None:
        raise ConfigError(
            f"{mcp.name} would have to serve the snapshot itself. Run `datagen serve SNAPSHOT --mcp --open` and set "
            "tools.url to its address with /mcp at the end."
        )


class SearchTaskset(vf.Taskset[SearchTask, SearchConfig]):  # type: ignore[misc]
    """The questions of one split, in the order of the release."""

    def load(self) -> Iterator[SearchTask]:
        bank = _bank(self.config.release)
        if self.config.split not in bank.splits:
            raise ConfigError(f"The release has no split {self.config.split!r}; it has {', '.join(bank.splits)}.")
        config = self.config.task.model_copy(update={"release": self.config.release})
        for index in range(bank.splits[self.config.split]):
            number = bank.number(self.config.split, index)
            assert number is not None
            shown = bank.public(number)
            yield SearchTask(
                SearchData(id=shown["id"], split=shown["split"], prompt=shown["question"], system_prompt=INSTRUCTIONS),
                config,
            )

    @classmethod
    def toolsets(cls, config: SearchConfig) -> list[vf.Toolset]:
        return [SearchToolset(config.tools)]


def final_answer(trace: vf.Trace) -> str | None:
    """The answer in the last message of the assistant; a message that still calls tools has none."""
    said = trace.assistant_messages
    if not said or said[-1].tool_calls:
        return None
    return stated_answer(trace.last_reply)


def _calls(trace: vf.Trace, name: str) -> float:
    return float(sum(call.name == name for message in trace.assistant_messages for call in message.tool_calls or ()))


@lru_cache(maxsize=8)
def _bank(release: str) -> TaskBank:
    if not release:
        raise ConfigError("Name the folder of a release: --env.taskset.release out/demo/release")
    return TaskBank.open(release)
