"""Every solver, each in a fresh context, must find the key through the tools, and must have had to work for it.

Solvers are picked by difference, not by number: one starts from the constants and climbs, one gathers candidates of the
asked class and sifts. A solver that gives up or finds something else ends the candidate, because a question that only
one road answers may as well be wrong. Which cast member proposed and which verified stays on the row.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from enum import StrEnum

from datagen.errors import ConfigError, EngineError
from datagen.records.question import Attempt, Verdict
from datagen.synthesis.draft import Draft
from datagen.verification.gate import GateContext
from datagen.verification.grading import graded, is_right

log = logging.getLogger(__name__)


class AgreementReason(StrEnum):
    UNSOLVED_PARSE = "unsolved_parse"
    UNSOLVED_RETRIEVAL = "unsolved_retrieval"
    UNSOLVED_READING = "unsolved_reading"
    UNSOLVED_AMBIGUOUS = "unsolved_ambiguous"
    UNSOLVED_BUDGET = "unsolved_budget"
    UNSOLVED = "unsolved"
    OTHER_ANSWER = "other_answer"
    TOO_EASY = "too_few_tool_calls"
    NO_ATTEMPT = "no_attempt"


class Agreement:
    name = "agreement"
    cost = 30

    def work(self, draft: Draft, context: GateContext) -> Draft:
        """Let the solvers try, in order; the first that misses ends it, since the draft is lost then anyway."""
        if not context.solvers:
            raise ConfigError("the agreement gate needs solvers; name a cast in the config that has some.")
        attempts: list[Attempt] = []
        for solver in context.solvers:
            attempt = solver.solve(draft.question, context.web)
            attempts.append(graded(draft.question, draft.answer, attempt, context.judge))
            if not attempts[-1].correct:
                break
        spend = dict(draft.spend)
        spend["searches"] = spend.get("searches", 0) + sum(a.searches for a in attempts)
        spend["visits"] = spend.get("visits", 0) + sum(a.visits for a in attempts)
        return replace(draft, attempts=tuple(attempts), verifiers=tuple(s.name for s in context.solvers), spend=spend)

    def check(self, draft: Draft, context: GateContext) -> Verdict:
        if not draft.attempts:
            return self._failed(draft, AgreementReason.NO_ATTEMPT, "no solver tried")
        for attempt in draft.attempts:
            if attempt.answer is None:
                detail = f"{attempt.solver} gave up: {attempt.failure}"
                reason = f"unsolved_{attempt.failure}" if attempt.failure else "unsolved"
                return self._failed(draft, AgreementReason(reason), detail)
            if not is_right(draft.answer, attempt):
                detail = f"{attempt.solver} says {attempt.answer!r}, the key is {draft.answer.text!r}"
                return self._failed(draft, AgreementReason.OTHER_ANSWER, detail)
        for attempt in draft.attempts:
            calls = attempt.searches + attempt.visits
            if calls < context.settings.min_tool_calls:
                detail = f"{attempt.solver} needed {calls} tool call(s)"
                return self._failed(draft, AgreementReason.TOO_EASY, detail)
        return self._verdict(draft, passed=True)

    def _failed(self, draft: Draft, reason: AgreementReason, detail: str) -> Verdict:
        return replace(self._verdict(draft, passed=False), reason=reason.value, detail=detail)

    def _verdict(self, draft: Draft, *, passed: bool) -> Verdict:
        return Verdict(
            self.name,
            passed=passed,
            searches=sum(a.searches for a in draft.attempts),
            visits=sum(a.visits for a in draft.attempts),
        )


def tried(draft: Draft, context: GateContext) -> Draft:
    """An accepted draft with the tries of solvers that stop nothing; those that an engine broke say nothing and are not kept."""
    made: list[Attempt] = []
    for solver in context.trial_solvers:
        try:
            attempt = solver.solve(draft.question, context.web)
        except EngineError as exc:
            log.warning("a try of %s at candidate %d broke: %s", solver.name, draft.candidate, exc)
            continue
        made.append(graded(draft.question, draft.answer, attempt, context.judge))
    return replace(draft, attempts=(*draft.attempts, *made))
