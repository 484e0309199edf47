"""The environment as a plain class: what TRL takes as `environment_factory`, without a server and without its libraries.

    factory = search_environment("out/demo/snapshot", "out/demo/release")
    GRPOTrainer(..., train_dataset=rows, environment_factory=factory)         # rows carry `prompt` and `task_id`

    environment = factory()
    environment.reset(task_id="qa1-...")                "Which club ...?"     the question, where no prompt said it yet
    environment.search("football club harbour town")    '{"results": [...]}'
    environment.visit("https://...")                    '{"page_id": ..., "text": ...}'
    environment.answer("Harlan Rovers")                 '{"answered": true}'
    environment.get_reward()                            1.0

TRL makes a tool of every public method except `reset` and `get_reward`, and reads its name, types and docstring, so the
classes here have no other public method. It hands a whole dataset row to `reset`: rows must name their task and nothing
more, for the key is looked up in the release, on this side. Instances are many and short-lived; a process opens its
snapshot and its release once. Everything is deterministic: no clock, no chance, equal calls give equal texts.

Where a policy should end with a message rather than with a tool call, `final="text"` gives a class without `answer`, and
`answer_reward` goes among the trainer's `reward_funcs`: it grades the last assistant message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from typing import Literal as OneOf

from datagen.agents.budget import Budget
from datagen.agents.toolbox import BUDGET_SPENT
from datagen.environment.core import BAD_ARGUMENTS, CoreSettings, Json, SearchCore, error, to_text
from datagen.environment.tasks import MAX_ANSWER_CHARS, TaskBank
from datagen.errors import ConfigError

EPISODE_OVER = "episode_over"
NO_EPISODE = "no_episode"


@dataclass(frozen=True, slots=True)
class EnvironmentSettings:
    """What every episode of a factory has in common."""

    budget: Budget = field(default_factory=Budget)
    core: CoreSettings = field(default_factory=CoreSettings)
    final: OneOf["tool", "text"] = "tool"
    """Whether the answer is a call of `answer` or the last message."""


@dataclass(frozen=True, slots=True)
class EnvironmentFactory:
    """Makes environments when called without arguments. It holds paths only, so it can be pickled to other processes."""

    snapshot: str
    release: str
    settings: EnvironmentSettings

    def __call__(self) -> Episode:
        core, bank = _opened(self.snapshot, self.release, self.settings.core)
        kind = SearchEnvironment if self.settings.final == "tool" else TextSearchEnvironment
        return kind(core, bank, self.settings.budget)


def search_environment(
    snapshot: object, release: object, settings: EnvironmentSettings | None = None
) -> EnvironmentFactory:
    """A factory over the snapshot folder and the release folder. Both are opened now, so that a wrong path fails here."""
    factory = EnvironmentFactory(str(snapshot), str(release), settings or EnvironmentSettings())
    factory()
    return factory


@lru_cache(maxsize=4)
def _opened(snapshot: str, release: str, settings: CoreSettings) -> tuple[SearchCore, TaskBank]:
    from datagen.web.snapshot import Snapshot
    from datagen.web.snapshot_web import SnapshotWeb

    return SearchCore(SnapshotWeb(Snapshot.open(snapshot)), settings), TaskBank.open(release)


class Episode:
    """One attempt at one task. What is private here holds the key; what is public is for the policy."""

    __slots__ = ("_answer", "_bank", "_budget", "_core", "_number", "_searches", "_visits")
    _how_to_end = "Answer now."

    def __init__(self, core: SearchCore, bank: TaskBank, budget: Budget) -> None:
        self._core, self._bank, self._budget = core, bank, budget
        self._number: int | None = None
        self._searches = 0
        self._visits = 0
        self._answer: str | None = None

    def __repr__(self) -> str:
        task = "no task" if self._number is None else self._bank.public(self._number)["id"]
        return f"<{type(self).__name__} {task}: {self._searches} searches, {self._visits} visits>"

    def reset(self, task_id: str, **row: Any) -> str | None:
        """Begin the task that a dataset row names. Returns the question, unless the row's prompt has it already."""
        self._number = self._bank.number_of(task_id)
        self._searches = self._visits = 0
        self._answer = None
        if self._number is None:
            raise ConfigError(
                f"The release has no task {task_id!r}. Export the rows from the release that the environment was given: "
                "`datagen export RELEASE --to trl --out DIR`."
            )
        question = str(self._bank.public(self._number)["question"])
        return None if question in _text_of(row.get("prompt")) else question

    def search(self, query: str, top_k: int = 8) -> str:
        """Search the web. Returns the best pages with a snippet of each.

        Args:
            query: Words to look for; no query syntax.
            top_k: How many results, 1 to 20.

        """
        refused = self._refusal(self._searches >= self._budget.searches, "searches")
        if refused:
            return to_text(refused)
        result = self._core.search(query, top_k)
        # As with this package's own agents, only a call that was understood is paid for.
        self._searches += result.get("error") != BAD_ARGUMENTS
        return to_text(result)

    def visit(self, url: str, offset: int = 0, goal: str = "") -> str:
        """Read a page. Returns its text, its links as [start, end, address] of words in the text, and next_offset.

        Args:
            url: Address of a page, as a result or a link has it.
            offset: Where to go on reading: next_offset of the window before.
            goal: What you look for on the page; a long page is then answered with its passages about that.

        """
        refused = self._refusal(self._visits >= self._budget.visits, "visits")
        if refused:
            return to_text(refused)
        result = self._core.visit(url, offset, goal)
        self._visits += result.get("error") != BAD_ARGUMENTS
        return to_text(result)

    def _refusal(self, spent: bool, what: str) -> Json | None:
        if self._number is None:
            return error(NO_EPISODE, "No task was begun.")
        if self._answer is not None:
            return error(EPISODE_OVER, "The answer was given; nothing more can be done.")
        return error(BUDGET_SPENT, f"No {what} are left. {self._how_to_end}") if spent else None

    def _grade(self, answer: str | None) -> float | None:
        return None if self._number is None else self._bank.grade(self._number, answer).reward


class SearchEnvironment(Episode):
    """An episode that ends with a call of `answer`."""

    __slots__ = ()
    _how_to_end = "Call `answer` now."

    def answer(self, answer: str) -> str:
        """Give the final answer. This ends the task; there is one try.

        Args:
            answer: The answer alone: a name, a date or a number, without a sentence around it.

        """
        refused = self._refusal(False, "")
        if refused:
            return to_text(refused)
        if not isinstance(answer, str) or not 1 <= len(answer) <= MAX_ANSWER_CHARS:
            return to_text(error(BAD_ARGUMENTS, f"answer must be text of 1 to {MAX_ANSWER_CHARS} characters."))
        self._answer = answer
        return to_text({"answered": True})

    def get_reward(self) -> float | None:
        """1.0 for a right answer, 0.0 for a wrong one or none at all; None where nobody can tell."""
        return self._grade(self._answer)


class TextSearchEnvironment(Episode):
    """An episode that ends with a message; `answer_reward` grades it."""

    __slots__ = ()


def answer_reward(completions: Sequence[object], environments: Sequence[Episode], **_: object) -> list[float | None]:
    """A reward function for TRL: the last assistant message of each completion against the task of its environment.

    Only a completion that ends with an assistant's message has an answer; a result of a tool that happens to hold the
    key earns nothing. What stands before the end of a thought is no answer either.
    """
    # The key stays behind the episode's own method; a reward function sees texts and numbers.
    return [
        environment._grade(_last_said(completion))  # noqa: SLF001
        for completion, environment in zip(completions, environments, strict=True)
    ]


def stated_answer(text: str) -> str | None:
    """The answer that a last message states: all of it behind its thoughts, unless that is no answer but an essay."""
    answer = text.rpartition("</think>")[2].strip()
    return answer if 1 <= len(answer) <= MAX_ANSWER_CHARS else None


def _last_said(completion: object) -> str | None:
    if isinstance(completion, str):
        return stated_answer(completion)
    if not isinstance(completion, Sequence) or not completion or not isinstance(completion[-1], Mapping):
        return None
    last = completion[-1]
    text = last.get("content")
    if last.get("role") != "assistant" or last.get("tool_calls") or not isinstance(text, str):
        return None
    return stated_answer(text)


def _text_of(prompt: object) -> str:
    """The words of a prompt, whether it is a text or a conversation."""
    if isinstance(prompt, str):
        return prompt
    if not isinstance(prompt, Sequence):
        return ""
    contents = (message.get("content") for message in prompt if isinstance(message, Mapping))
    return "\n".join(content for content in contents if isinstance(content, str))
