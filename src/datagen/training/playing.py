"""A trained policy as a player: it attempts, it solves, and it guesses, wherever a cast names it.

    [cast.checkpoints.searcher]                 open_player("searcher", section)
    path = "out/train/demo/model"                   .policy()     attempts with every word of it logged
                                                    .solver()     one answer, and what it took
                                                    .guesser()    answers at once, without tools

Whoever calls a player waits in a thread of its own; all of them are served by one event loop, so that the engine samples for
many questions together. Draws depend on the player's name, the question, and the number of the try, so equal calls get
equal answers.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar
from typing import Literal as OneOf

from datagen.agents.budget import Budget, Limits
from datagen.agents.roles import Policy, SamplingGuesser, Solver
from datagen.config.cast import CheckpointConfig
from datagen.errors import EngineError
from datagen.records.ids import content_id, seed_for
from datagen.records.question import Answer, Attempt
from datagen.records.trajectory import Termination, Trajectory, Transcript
from datagen.rollouts.collect import Task
from datagen.training.engines.base import Engine, Sampling
from datagen.training.engines.sampler import LocalEngine
from datagen.training.episodes import EpisodeLimits, Episodes
from datagen.training.framing.base import Framing
from datagen.training.policy_folder import open_policy
from datagen.web.tools import Hit, Web, Window

T = TypeVar("T")
Failure = OneOf["parse", "retrieval", "reading", "ambiguous", "budget"]
FAILURES: dict[Termination, Failure] = {"malformed": "parse", "answered": "retrieval", "gave_up": "retrieval"}
"""Why there is no answer, by how the attempt ended; whatever is not here ran out of something."""


def open_player(name: str, section: CheckpointConfig) -> Player:
    """The policy of a checkpoint folder, ready to play."""
    opened = open_policy(section.path, section.device)
    return Player(name, section, opened.framing, LocalEngine(opened.model, max_batch=section.max_batch))


class Player:
    """One set of weights in any number of roles. Implements `pipeline.trained.TrainedPlayer`."""

    def __init__(self, name: str, section: CheckpointConfig, framing: Framing, engine: Engine) -> None:
        self.name = name
        self.section = section
        self._framing = framing
        self._engine = engine
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name=f"player-{name}", daemon=True).start()

    def policy(self) -> Policy:
        return PlayingPolicy(self)

    def solver(self, budget: Budget, number: int = 0) -> Solver:
        return PlayingSolver(self, budget, number)

    def guesser(self) -> SamplingGuesser:
        return PlayingGuesser(self)

    def attempt(
        self, question: str, web: Web, *, role: str, number: int, limits: Limits, tools: bool = True
    ) -> Transcript:
        """One attempt at a question that nobody grades; waits for it."""
        task = Task(content_id("pl1", {"question": question}), question, "", Answer("", "entity", ""), ())
        turns = self.section.turns if limits.turns is None else min(limits.turns, self.section.turns)
        spend = EpisodeLimits(
            replace(limits, turns=turns if tools else 1), self.section.turn_tokens, self.section.context_tokens
        )
        seed = seed_for("play", self.name, role, question, number) >> 1
        sampling = Sampling(temperature=self.section.temperature, seed=seed)
        episodes = Episodes(web, self._framing, spend, _ungraded)
        made = self._wait(
            episodes.attempt(
                self._engine, task, number=number, sampling=sampling, tools=tools, name=f"{role}-{task.id}-{number}"
            )
        )
        assert made.transcript is not None, "an attempt keeps what was done"
        return made.transcript

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


class PlayingPolicy:
    """Attempts questions; everything is logged."""

    def __init__(self, player: Player) -> None:
        self.name = player.name
        self._player = player

    def roll_out(self, question: str, web: Web, *, attempt: int, limits: Limits) -> Transcript:
        return self._player.attempt(question, web, role="policy", number=attempt, limits=limits)


class PlayingSolver:
    """Answers through the tools, once."""

    def __init__(self, player: Player, budget: Budget, number: int) -> None:
        self.name = player.name
        self._player = player
        self._budget = budget
        self._number = number

    def solve(self, question: str, web: Web) -> Attempt:
        """Raises `EngineError` where the engine or a tool broke."""
        script = self._player.attempt(question, web, role="solver", number=self._number, limits=Limits(self._budget))
        if script.termination == "error":
            raise EngineError(f"{self.name} could not attempt a question: {script.detail}")
        calls = [event.tool for event in script.events if event.kind == "call"]
        opened = [shown.url for event in script.events if event.tool == "visit" for shown in event.documents]
        answer = (script.answer or "").strip() or None
        return Attempt(
            solver=self.name,
            answer=answer,
            failure=None if answer else FAILURES.get(script.termination, "budget"),
            searches=calls.count("search"),
            visits=calls.count("visit"),
            urls=tuple(dict.fromkeys(opened)),
        )


class PlayingGuesser:
    """Answers from what the weights know."""

    def __init__(self, player: Player) -> None:
        self.name = player.name
        self._player = player

    def guess(self, question: str, attempts: int) -> tuple[str, ...]:
        """Distinct answers, in the order in which they were given."""
        return tuple(dict.fromkeys(answer for _, answer in self.samples(question, attempts) if answer))

    def samples(self, question: str, attempts: int, first: int = 0) -> tuple[tuple[str, str | None], ...]:
        """(name, answer) of each try; None where there was no answer."""
        return tuple((self.name, self._sample(question, number)) for number in range(first, first + attempts))

    def _sample(self, question: str, number: int) -> str | None:
        limits = Limits(Budget(searches=0, visits=0))
        script = self._player.attempt(question, NoWeb(), role="guesser", number=number, limits=limits, tools=False)
        if script.termination == "error":
            raise EngineError(f"{self.name} could not guess: {script.detail}")
        return (script.answer or "").strip() or None


class NoWeb:
    """A web that nobody may look at."""

    def search(self, query: str, top_k: int = 5) -> list[Hit]:
        raise EngineError(f"a guess without tools searched for {query!r} ({top_k} results)")

    def visit(self, url: str, offset: int = 0) -> Window:
        raise EngineError(f"a guess without tools visited {url} at {offset}")


def _ungraded(task: Task, number: int, transcript: Transcript) -> Trajectory:
    """Who plays is not told the answer."""
    return Trajectory(
        id=f"{task.id}-{number}",
        question_id=task.id,
        question=task.question,
        expected="",
        recipe="",
        policy="",
        attempt=number,
        transcript=transcript,
        correct=None,
        answer_check="none",
    )
