"""One attempt of a policy that is trained: turns of tokens on one side, the two tools on the other.

    rollout = await Episodes(web, framing, limits, grade).attempt(engine, task, number=3, seed=17)

    prompt ──► engine ──► tokens of a turn ──► events ──► tools ──► tokens of results ──► engine ──► ... ──► graded

What the engine wrote goes back to it as it was written. An engine or a tool that breaks ends the attempt in "error": it has
no grade and no reward, and whoever compares attempts leaves it out. A call that the policy gets wrong is an error message
to the policy, as it is everywhere else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from datagen.agents.budget import Budget, Limits
from datagen.agents.desk import Answered, Desk
from datagen.clients.chat import ToolCall
from datagen.errors import EngineError
from datagen.records.trajectory import Event, Generation, Termination, Trajectory, Transcript
from datagen.rollouts.collect import Task
from datagen.training.engines.base import Completion, Engine, Sampling
from datagen.training.framing.base import Context, Framing, Talk
from datagen.training.rollout import Rollout
from datagen.web.tools import Web

log = logging.getLogger(__name__)

Grade = Callable[[Task, int, Transcript], Trajectory]
"""(task, number of the attempt, what was done) to the graded attempt."""
INFRASTRUCTURE = frozenset({"not_fetched", "timed_out"})
"""Errors of tools that are nobody's mistake."""


@dataclass(frozen=True, slots=True)
class EpisodeLimits:
    """What one attempt may spend."""

    budget: Limits = field(default_factory=Limits)
    turn_tokens: int = 256
    """Tokens of one turn."""
    context_tokens: int = 4_096
    """Tokens of the whole context; an attempt that would pass them ends."""
    malformed: int = 1
    """Turns that are neither call nor answer, after which the attempt ends."""
    tool_seconds: float | None = None
    """After which a tool counts as broken; unset for webs in this process, which always return."""

    @property
    def turns(self) -> int:
        """Assistant turns: as many as there are calls, and one for the answer, where nothing else is said."""
        limit = self.budget.turns
        return limit if limit is not None else self.budget.budget.searches + self.budget.budget.visits + 1


@dataclass(slots=True)
class _State:
    """An attempt under way."""

    session: str
    talk: Talk
    desk: Desk
    context: Context = field(default_factory=Context)
    events: list[Event] = field(default_factory=list)
    generations: list[Generation] = field(default_factory=list)
    version: int | None = None
    malformed: int = 0
    answer: str | None = None


@dataclass(frozen=True)
class Episodes:
    """Makes and grades attempts. One object serves any number of attempts at once."""

    web: Web
    framing: Framing
    limits: EpisodeLimits
    grade: Grade
    reward: Callable[[Trajectory], float | None] = lambda graded: graded.rewards.get("fathom")
    """The one number that is trained on; None for attempts that nobody could grade."""

    async def attempt(
        self,
        engine: Engine,
        task: Task,
        *,
        number: int,
        sampling: Sampling,
        tools: bool = True,
        name: str = "",
    ) -> Rollout:
        """One attempt. `sampling.seed` is that of the attempt; every turn draws from a seed of its own.

        Without `tools` the model has one turn to answer from what it knows, and nothing to search with.
        """
        session = name or f"{task.id}-{number}-{sampling.seed}"
        budget = self.limits.budget.budget if tools else Budget(0, 0)
        state = _State(session, self.framing.begin(task.question), Desk(self.web, budget, "answer"))
        state.context.add(state.talk.opening(tools=tools), written=False)
        try:
            turns = self.limits.turns if tools else 1
            ended, detail = await self._turns(engine, task, state, sampling, turns=turns)
        except EngineError as exc:
            ended, detail = "error", str(exc)
        finally:
            await engine.release(session)
        return self._graded(task, number, state, ended, detail)

    async def _turns(
        self, engine: Engine, task: Task, state: _State, sampling: Sampling, *, turns: int
    ) -> tuple[Termination, str]:
        for turn in range(turns):
            room = min(self.limits.turn_tokens, self.limits.context_tokens - len(state.context))
            if room <= 0:
                return "context", ""
            wanted = replace(sampling, max_tokens=room, stop=self.framing.stop, seed=turn_seed(sampling.seed, turn))
            completion = await engine.generate(state.context.input_ids, wanted, session=state.session, share=task.id)
            said = self._said(state, completion, turn)
            if said[-1].kind == "answer":
                state.answer = said[-1].text
                return "answered", ""
            if said[-1].kind == "malformed":
                state.malformed += 1
                if state.malformed >= self.limits.malformed:
                    return "malformed", ""
            results = await self._results([event for event in said if event.kind == "call"], state.desk)
            state.events += results
            broken = next((event for event in results if event.error in INFRASTRUCTURE), None)
            if broken is not None:
                return "error", f"{broken.tool} broke: {broken.error}"
            state.context.add(state.talk.show(results), written=False)
        return "turns", ""

    def _said(self, state: _State, completion: Completion, turn: int) -> tuple[Event, ...]:
        """What was written, put into the context and the log."""
        prompt = len(state.context)
        state.context.add(completion.token_ids, completion.logprobs, written=True)
        state.version = completion.version if state.version is None else min(state.version, completion.version)
        state.generations.append(
            Generation(
                turn,
                completion.token_ids,
                completion.logprobs,
                prompt_tokens=prompt,
                finish_reason=completion.finish_reason,
                model_version=str(completion.version),
            )
        )
        said = state.talk.read(completion.token_ids, turn) or (Event(turn, "malformed"),)
        state.events += said
        return said

    async def _results(self, calls: Sequence[Event], desk: Desk) -> list[Event]:
        """The results of one turn's calls, in their order."""
        return [await self._result(call, desk) for call in calls]

    async def _result(self, call: Event, desk: Desk) -> Event:
        asked = ToolCall(call.call_id or "", call.tool or "", call.arguments or "{}")
        if self.limits.tool_seconds is None:
            answered = desk.answer(asked)
        else:
            answered = await self._within(desk, asked, self.limits.tool_seconds)
        return Event(
            call.turn,
            "result",
            answered.text,
            call_id=call.call_id,
            tool=call.tool,
            error=answered.error,
            documents=answered.documents,
        )

    async def _within(self, desk: Desk, asked: ToolCall, seconds: float) -> Answered:
        """In a thread, so that a slow page holds up nobody else; one that never returns is left behind."""
        try:
            return await asyncio.wait_for(asyncio.to_thread(desk.answer, asked), seconds)
        except TimeoutError:
            log.warning("%s did not return within %g s", asked.name, seconds)
            return Answered(f'{{"error": "timed_out", "message": "no reply within {seconds:g} s"}}', error="timed_out")

    def _graded(self, task: Task, number: int, state: _State, ended: Termination, detail: str) -> Rollout:
        script = Transcript(
            tuple(state.events),
            state.answer,
            ended,
            generations=tuple(state.generations),
            output_tokens=sum(state.context.written),
            detail=detail,
        )
        graded = self.grade(task, number, script)
        calls = [event.tool for event in script.events if event.kind == "call"]
        return Rollout(
            question_id=task.id,
            rollout_id=state.session,
            sequences=(state.context.sampled(),) if script.generations else (),
            reward=None if graded.correct is None else self.reward(graded),
            correct=graded.correct,
            termination=ended,
            version=state.version or 0,
            turns=len(script.generations),
            searches=calls.count("search"),
            visits=calls.count("visit"),
            parse_failures=sum(event.kind == "malformed" for event in script.events),
            transcript=script,
            rewards=dict(graded.rewards),
        )


def turn_seed(seed: int, turn: int) -> int:
    """Every turn of an attempt has a seed of its own, so that no two requests of a run share one."""
    return (seed * 1_000_003 + turn * 7_919 + 1) % (2**63 - 1)
