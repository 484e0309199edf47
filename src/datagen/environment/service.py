"""What a client may ask of an environment, whatever protocol it speaks: calls counted by episode, tasks, one grading.

    service.search({"query": "largest country in Africa", "episode": handle})      {"results": [...]}
    service.reset({"split": "train", "index": 3})                                  {"episode": ..., "task": {...}, ...}
    service.reward({"episode": handle, "answer": "Algeria"})                       {"reward": 1.0, "correct": True, ...}

Every method takes the object that a client sent and returns the object to send back; a result with an `error` is what a
skin may want to translate. Two kinds are told apart. What a policy brings about (arguments that do not fit, a page that is
not there, a spent budget) is a result that it should see. What its trainer brings about (an episode that never was, or that
is over) is a fault of the call and must not be taken for something that the policy did: `FAULTS` names those.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from datagen.agents.budget import Budget
from datagen.environment.core import BAD_ARGUMENTS, Json, SearchCore, error, unknown_fields
from datagen.environment.episodes import (
    EPISODE_EXPIRED,
    EPISODE_GRADED,
    UNKNOWN_EPISODE,
    Episode,
    EpisodeFault,
    EpisodeTable,
    Tool,
)
from datagen.environment.tasks import TaskBank

EPISODE_REQUIRED = "episode_required"
UNKNOWN_TASK = "unknown_task"
NO_TASKS = "no_tasks"
FAULTS = frozenset({EPISODE_EXPIRED, EPISODE_GRADED, UNKNOWN_EPISODE, EPISODE_REQUIRED, UNKNOWN_TASK, NO_TASKS})
"""Codes of errors that a trainer has to mend; a policy could not."""
MAX_LISTED = 1_000
_SEARCH = frozenset({"query", "top_k", "episode"})
_VISIT = frozenset({"url", "offset", "goal", "max_chars", "episode"})
_RETRIEVE = frozenset({"query", "queries", "topk", "return_scores", "episode"})
_RESET = frozenset({"split", "index", "task_id", "searches", "visits"})
_REWARD = frozenset({"episode", "answer"})
_EPISODE = frozenset({"episode"})


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """What a deployment decides about episodes."""

    budget: Budget = field(default_factory=Budget)
    """Of an episode that asks for none; one that asks gets at most this."""
    open_to_all: bool = False
    """Whether calls without an episode are answered, uncounted."""
    gradings: int = 1
    """Answers of one episode that are graded."""


class Service:
    """One core, one table of episodes, and the tasks of a release if there is one."""

    def __init__(
        self,
        core: SearchCore,
        episodes: EpisodeTable,
        tasks: TaskBank | None = None,
        settings: ServiceSettings | None = None,
    ) -> None:
        self.core = core
        self.episodes = episodes
        self.tasks = tasks
        self.settings = settings or ServiceSettings()

    def search(self, raw: Mapping[str, Any]) -> Json:
        query, top_k = raw.get("query"), raw.get("top_k")
        return (
            unknown_fields(raw, _SEARCH)
            or self.core.search_fault(query, top_k)
            or self._uncounted(raw, "search")
            or self.core.search(query, top_k)
        )

    def visit(self, raw: Mapping[str, Any]) -> Json:
        asked = raw.get("url"), raw.get("offset"), raw.get("goal"), raw.get("max_chars")
        return (
            unknown_fields(raw, _VISIT)
            or self.core.visit_fault(*asked)
            or self._uncounted(raw, "visit")
            or self.core.visit(*asked)
        )

    def retrieve(self, raw: Mapping[str, Any]) -> Json | list[str]:
        """What is wrong, or the queries to answer one by one with `core.documents`: a batch may take a while."""
        if ("query" in raw) == ("queries" in raw):
            return error(BAD_ARGUMENTS, "Pass either query, a text, or queries, a list of texts.")
        queries = [raw["query"]] if "query" in raw else raw["queries"]
        wrong = unknown_fields(raw, _RETRIEVE) or self.core.retrieve_fault(
            queries, raw.get("topk"), raw.get("return_scores")
        )
        return wrong or self._uncounted(raw, "search", len(queries)) or list(queries)

    def reset(self, raw: Mapping[str, Any]) -> Json:
        """Begin an episode: on the task at (split, index) or with an id, or on none."""
        wrong = unknown_fields(raw, _RESET)
        if wrong:
            return wrong
        limits = self.settings.budget
        searches, visits = raw.get("searches", limits.searches), raw.get("visits", limits.visits)
        for name, value, most in (("searches", searches, limits.searches), ("visits", visits, limits.visits)):
            if not _is_whole(value) or not 0 <= value <= most:
                return error(BAD_ARGUMENTS, f"{name} must be a whole number from 0 to {most:,}.")
        number, wrong = self._task_asked_for(raw)
        if wrong:
            return wrong
        handle = self.episodes.begin(number, Budget(searches, visits), self.settings.gradings)
        task = None if number is None or self.tasks is None else self.tasks.public(number)
        return {"episode": handle, "task": task, "budget": {"searches": searches, "visits": visits}}

    def reward(self, raw: Mapping[str, Any]) -> Json:
        """Grade the answer of an episode; null is the answer of an attempt that gave none."""
        wrong = unknown_fields(raw, _REWARD)
        answer = raw.get("answer")
        if wrong or not (answer is None or isinstance(answer, str)):
            return wrong or error(BAD_ARGUMENTS, "answer must be text, or null for an attempt without one.")
        try:
            held = self.episodes.look(raw.get("episode"))
            if held.task is None or self.tasks is None:
                return error(NO_TASKS, "This episode has no task, so nothing can be graded.")
            held = self.episodes.take_grading(raw.get("episode"))
        except EpisodeFault as fault:
            return error(fault.code, str(fault))
        assert held.task is not None
        assert self.tasks is not None
        grade = self.tasks.grade(held.task, answer)
        return {"reward": grade.reward, "correct": grade.correct, "how": grade.how, **_counts(held)}

    def episode(self, raw: Mapping[str, Any]) -> Json:
        """Where an episode stands."""
        wrong = unknown_fields(raw, _EPISODE)
        if wrong:
            return wrong
        try:
            held = self.episodes.look(raw.get("episode"))
        except EpisodeFault as fault:
            return error(fault.code, str(fault))
        task = None if held.task is None or self.tasks is None else self.tasks.public(held.task)
        return {"task": task, "gradings_left": held.gradings_left, **_counts(held)}

    def list_tasks(self, split: str | None = None, start: int = 0, count: int = 100) -> Json:
        """The splits with their sizes; with a split, the public part of its tasks from `start` on."""
        splits = {} if self.tasks is None else self.tasks.splits
        if split is None:
            return {"splits": splits}
        if self.tasks is None or split not in splits:
            return error(UNKNOWN_TASK, f"There is no split of this name; there are: {', '.join(splits) or 'none'}.")
        if start < 0 or not 1 <= count <= MAX_LISTED:
            return error(BAD_ARGUMENTS, f"start must be 0 or more, and count a number from 1 to {MAX_LISTED:,}.")
        places = range(start, min(start + count, splits[split]))
        numbers = (self.tasks.number(split, place) for place in places)
        return {
            "split": split,
            "total": splits[split],
            "tasks": [self.tasks.public(number) for number in numbers if number is not None],
        }

    def _uncounted(self, raw: Mapping[str, Any], tool: Tool, times: int = 1) -> Json | None:
        """Count a call that is about to be made; an error where it may not be."""
        handle = raw.get("episode")
        if handle is None:
            if self.settings.open_to_all:
                return None
            return error(EPISODE_REQUIRED, "Calls belong to an episode here: begin one with reset, and pass it on.")
        try:
            self.episodes.spend(handle, tool, times)
        except EpisodeFault as fault:
            return error(fault.code, str(fault))
        return None

    def _task_asked_for(self, raw: Mapping[str, Any]) -> tuple[int | None, Json | None]:
        task_id, split, index = raw.get("task_id"), raw.get("split"), raw.get("index")
        if task_id is None and split is None and index is None:
            return None, None
        if self.tasks is None:
            return None, error(NO_TASKS, "This server has no tasks; it was started without a release.")
        if task_id is not None:
            if split is not None or index is not None or not isinstance(task_id, str):
                return None, error(BAD_ARGUMENTS, "Name a task by task_id, a text, or by split and index, not by both.")
            number = self.tasks.number_of(task_id)
        else:
            if not isinstance(split, str) or not _is_whole(index):
                return None, error(BAD_ARGUMENTS, "split must be text, and index a whole number; the two go together.")
            number = self.tasks.number(split, index)  # type: ignore[arg-type]
        return number, None if number is not None else error(UNKNOWN_TASK, "There is no such task; see the list.")


def _counts(held: Episode) -> Json:
    return {
        "searches": held.searches,
        "visits": held.visits,
        "budget": {"searches": held.budget.searches, "visits": held.budget.visits},
    }


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
