"""Time: the newest evidence is recent enough, and no clue speaks of a day that its evidence does not reach.

A clue on a relation that changes carries the day it speaks of (`as_of`). A page from before that day cannot state it:
the coach may have gone in between. So each dated clue needs a page published on or after its day, each clue on a
changing relation needs a day at all, and where the recipe wants something recent, at least one piece of evidence has
to be as new as the cutoff. Without a certificate the hops stand in for the evidence; a relation that the catalogue does not know
carries a day only where its hop gives one.
"""

from __future__ import annotations

from enum import StrEnum

from datagen.knowledge.catalogue import Catalogue
from datagen.knowledge.formula import Clue, IsA, Query, walk_clues
from datagen.records.question import Verdict
from datagen.synthesis.draft import Draft
from datagen.verification.gate import GateContext, failed, passed


class DatesReason(StrEnum):
    STALE = "stale_date"
    UNDATED_VOLATILE = "undated_volatile_clue"
    UNDATED_EVIDENCE = "undated_evidence"
    TOO_OLD = "nothing_after_cutoff"
    NO_CUTOFF = "no_cutoff_configured"


class Dates:
    name = "dates"
    cost = 3

    def check(self, draft: Draft, context: GateContext) -> Verdict:
        undated = _undated_volatile(draft.query, context.catalogue)
        if undated is not None:
            detail = f"{undated} changes over time and the question gives no day for it"
            return failed(self.name, DatesReason.UNDATED_VOLATILE, detail)
        stale = self._stale(draft) if draft.certificate else self._stale_hop(draft)
        if stale is not None:
            return stale
        if draft.recipe not in context.settings.fresh_recipes or context.settings.cutoff is None:
            return passed(self.name)
        newest = newest_evidence(draft)
        if newest is None or newest < context.settings.cutoff:
            detail = f"the newest evidence is of {newest}, before the cutoff {context.settings.cutoff}"
            return failed(self.name, DatesReason.TOO_OLD, detail)
        return passed(self.name, f"newest evidence {newest}")

    def _stale(self, draft: Draft) -> Verdict | None:
        published: dict[int, list[str]] = {}
        for evidence in draft.certificate.evidence if draft.certificate else ():
            published.setdefault(evidence.clue, []).append(evidence.published_at or "")
        for index, (_, clue) in enumerate(walk_clues(draft.query.root)):
            day = _day(clue)
            if day is not None and index in published:
                stale = self._too_early("clue", day, max(published[index]))
                if stale is not None:
                    return stale
        return None

    def _stale_hop(self, draft: Draft) -> Verdict | None:
        verdicts = (self._too_early("hop", hop.as_of, hop.published_at or "") for hop in draft.hops if hop.as_of)
        return next((verdict for verdict in verdicts if verdict is not None), None)

    def _too_early(self, what: str, day: str, newest: str) -> Verdict | None:
        """The failure of something that speaks of a day which its newest page does not reach."""
        if not newest:
            detail = f"the {what} speaks of {day}, its evidence carries no date"
            return failed(self.name, DatesReason.UNDATED_EVIDENCE, detail)
        if newest < day:
            detail = f"the {what} speaks of {day}, its newest evidence is of {newest}"
            return failed(self.name, DatesReason.STALE, detail)
        return None


def newest_evidence(draft: Draft) -> str | None:
    """The newest day (ISO) on which a page behind a clue or a hop was published."""
    days = [e.published_at for e in draft.certificate.evidence] if draft.certificate else []
    days += [hop.published_at for hop in draft.hops]
    return max((d for d in days if d), default=None)


def _day(clue: Clue) -> str | None:
    return None if isinstance(clue, IsA) else clue.as_of


def _undated_volatile(query: Query, catalogue: Catalogue) -> str | None:
    for _, clue in walk_clues(query.root):
        if not isinstance(clue, IsA) and _changes(clue.relation, catalogue) and clue.as_of is None:
            return clue.relation
    if query.ask is not None and _changes(query.ask, catalogue) and query.ask_as_of is None:
        return query.ask
    return None


def _changes(relation: str, catalogue: Catalogue) -> bool:
    return relation in catalogue.relations and catalogue.relations[relation].changes
