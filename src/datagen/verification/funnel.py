"""The funnel: gates in order of cost, the first failure ends the candidate, and everything is counted.

    draft ── unique ── necessity ── leak ── dates ── sources ── … ── prior ── oracle ── agreement ── rivals ──► accepted
              └─────────┴───────────┴──────────────────── the first that fails ─────────────────────────────► rejected

A rejected draft keeps the verdicts it had collected and what it had spent, so the rejects table can say which gate
costs what. Accepted drafts are put to the guessers once more (`prior.audited`), and to solvers that are on trial
(`agreement.tried`), which stops nothing. `duplicates` is not among the gates: it compares accepted drafts with each other, see its module.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from datagen.records.question import Verdict
from datagen.synthesis.draft import Draft, Rejected
from datagen.verification.agreement import Agreement, tried
from datagen.verification.answer_type import AnswerTypeGate
from datagen.verification.contamination import Contamination
from datagen.verification.dates import Dates
from datagen.verification.gate import Gate, GateContext, WorkingGate
from datagen.verification.leak import Leak
from datagen.verification.necessity import Necessity
from datagen.verification.oracle import Oracle
from datagen.verification.prior import Prior, audited
from datagen.verification.rivals import Rivals
from datagen.verification.shortcut import Shortcut
from datagen.verification.sources import RELAXED, Sources
from datagen.verification.unique import Unique

ACCEPTED = "accepted"


@dataclass(frozen=True, slots=True)
class Accepted:
    """A draft that passed every gate, with their verdicts in the order they were given."""

    draft: Draft
    verdicts: tuple[Verdict, ...]

    @property
    def relaxed_gates(self) -> tuple[str, ...]:
        return tuple(v.gate for v in self.verdicts if v.reason == RELAXED)


def standard_gates() -> tuple[Gate, ...]:
    """Every gate of the house, cheap ones first."""
    gates: list[Gate] = [
        Unique(),
        Necessity(),
        Leak(),
        Dates(),
        Sources(),
        Contamination(),
        AnswerTypeGate(),
        Shortcut(),
        Prior(),
        Oracle(),
        Agreement(),
        Rivals(),
    ]
    return tuple(sorted(gates, key=lambda gate: gate.cost))


def run_gates(draft: Draft, gates: Sequence[Gate], context: GateContext) -> Accepted | Rejected:
    """Put a draft through the gates, in the order given."""
    verdicts: list[Verdict] = []
    for gate in gates:
        if isinstance(gate, WorkingGate):
            draft = gate.work(draft, context)
        verdict = gate.check(draft, context)
        if not isinstance(gate, WorkingGate):
            draft = _charged(draft, verdict)
        verdicts.append(verdict)
        if not verdict.passed:
            return Rejected(
                candidate=draft.candidate,
                recipe=draft.recipe,
                gate=verdict.gate,
                reason=verdict.reason,
                detail=verdict.detail,
                draft=draft,
                verdicts=tuple(verdicts),
                spend=draft.spend,
            )
    return Accepted(audited(tried(draft, context), context), tuple(verdicts))


def _charged(draft: Draft, verdict: Verdict) -> Draft:
    """The draft with the tool calls of a gate on its bill."""
    if not verdict.searches and not verdict.visits:
        return draft
    spend = dict(draft.spend)
    spend["searches"] = spend.get("searches", 0) + verdict.searches
    spend["visits"] = spend.get("visits", 0) + verdict.visits
    return replace(draft, spend=spend)


@dataclass
class FunnelCounts:
    """How many candidates ended where: (recipe, gate, reason) -> count; accepted ones under ("…", "accepted", "ok")."""

    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def add(self, outcome: Accepted | Rejected) -> None:
        if isinstance(outcome, Accepted):
            self.counts[outcome.draft.recipe, ACCEPTED, "ok"] += 1
        else:
            self.counts[outcome.recipe, outcome.gate, outcome.reason] += 1

    def merge(self, others: Iterable[FunnelCounts]) -> None:
        for other in others:
            self.counts.update(other.counts)

    def rows(self) -> list[dict[str, str | int]]:
        """Table rows, most frequent first within a recipe; ties in alphabetical order."""
        ordered = sorted(self.counts.items(), key=lambda item: (item[0][0], -item[1], item[0]))
        return [{"recipe": r, "gate": g, "reason": why, "count": n} for (r, g, why), n in ordered]

    def acceptance(self, recipe: str) -> float:
        """Accepted share of a recipe's candidates; 0.0 where there were none."""
        total = sum(n for (r, _, _), n in self.counts.items() if r == recipe)
        return self.counts[recipe, ACCEPTED, "ok"] / total if total else 0.0
