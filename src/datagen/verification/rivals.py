"""Where no certificate excludes other answers, somebody has to look for one and fail.

Every seeker of the cast searches `rival_attempts` times for another entity that meets all clues, each time in a fresh
context. One that names anything but the key ends the candidate: whether the rival is real or the question only reads that
way, it cannot be kept. A search that did not understand the question, or did not come to an end, does not count.

Failing to find is weaker than a proof, so the row says which it has: `certificate` null and `rivals_tried` k.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from datagen.records.question import Attempt, Verdict
from datagen.synthesis.draft import Draft
from datagen.verification.gate import NO_RIVAL_SEARCH, GateContext, failed
from datagen.verification.grading import graded, is_right


class RivalsReason(StrEnum):
    FOUND = "rival_found"
    NOBODY_SEARCHES = NO_RIVAL_SEARCH
    UNFINISHED = "rival_search_failed"


class Rivals:
    name = "rivals"
    cost = 40

    def work(self, draft: Draft, context: GateContext) -> Draft:
        """Search for rivals, round after round; the first that is found ends it."""
        if draft.certificate is not None or not context.rival_seekers:
            return draft
        known, spend, tries = draft.answer.text, dict(draft.spend), list[Attempt]()
        rounds = range(context.settings.rival_attempts)
        for attempt, seeker in ((number, seeker) for number in rounds for seeker in context.rival_seekers):
            found = seeker.seek(draft.question, known, context.web, attempt)
            tries.append(graded(draft.question, draft.answer, found, context.judge))
            spend["searches"] = spend.get("searches", 0) + found.searches
            spend["visits"] = spend.get("visits", 0) + found.visits
            if found.answer is not None and not tries[-1].correct:
                break
        return replace(draft, rivals=tuple(tries), spend=spend)

    def check(self, draft: Draft, context: GateContext) -> Verdict:
        if draft.certificate is not None:
            return Verdict(self.name, passed=True, detail="the certificate excludes rivals")
        if not context.rival_seekers:
            return failed(self.name, RivalsReason.NOBODY_SEARCHES, "nobody in the cast searches for rivals")
        verdict = self._verdict(draft)
        searches, visits = (sum(getattr(t, verb) for t in draft.rivals) for verb in ("searches", "visits"))
        return replace(verdict, searches=searches, visits=visits)

    def _verdict(self, draft: Draft) -> Verdict:
        for attempt in draft.rivals:
            if attempt.answer is not None and not is_right(draft.answer, attempt):
                detail = f"{attempt.solver} found {attempt.answer!r} beside the key {draft.answer.text!r}"
                return failed(self.name, RivalsReason.FOUND, detail)
        tried = rivals_tried(draft)
        if not tried:
            detail = f"none of {len(draft.rivals)} searches came to an end"
            return failed(self.name, RivalsReason.UNFINISHED, detail)
        return Verdict(self.name, passed=True, detail=f"{tried} searches found no other answer")


def rivals_tried(draft: Draft) -> int | None:
    """Searches that came to an end and found nothing else; None where a certificate makes them needless."""
    if draft.certificate is not None:
        return None
    return sum(attempt.failure not in ("parse", "budget") for attempt in draft.rivals)
