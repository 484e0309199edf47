"""What questions cost, and how lucky a guess without search is: figures over accepted and rejected rows.

Rejects are paid for as well, so a cost per accepted row is all spend divided by accepted rows. What nobody measured is
None all the way: a total that leaves something out would read as a price.

    row called no model       its tokens and money are null because there were none: counts as 0 beside rows that did
    row called one, unpriced  the sum of money is None
    no row called any         everything about models is None

Closed-book rates, before and after the gates:

    before    share of candidates at the prior gate that any guess of any guesser hit; all of them were dropped
    after     share of the audit's guesses on accepted questions that hit; they stop nothing, so this is what is left
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

COUNTS = ("searches", "visits", "calls", "judge_calls", "corrections")
MEASURED = {
    "input_tokens": "calls",
    "output_tokens": "calls",
    "cost_usd": "calls",
    "judge_input_tokens": "judge_calls",
    "judge_output_tokens": "judge_calls",
    "judge_cost_usd": "judge_calls",
}
"""Sums that may be unknown, and the count of calls that they belong to."""
MONEY_DIGITS = 8


def spending(accepted: Sequence[Row], rejects: Sequence[Row]) -> dict[str, Any]:
    """Totals over all candidates, the same per accepted row, and corrections per 100 calls."""
    spends = [row["spend"] or {} for rows in (accepted, rejects) for row in rows]
    total: dict[str, int | float | None] = {key: sum(int(s.get(key) or 0) for s in spends) for key in COUNTS}
    total |= {key: _sum(spends, key, calls) for key, calls in MEASURED.items()}
    calls = (total["calls"] or 0) + (total["judge_calls"] or 0)
    return {
        "accepted": len(accepted),
        "candidates": len(spends),
        "total": total,
        "per_accepted": {key: _divided(value, len(accepted)) for key, value in total.items()},
        "on_rejects": {key: sum(int((row["spend"] or {}).get(key) or 0) for row in rejects) for key in COUNTS},
        "corrections_per_100_calls": round(100 * (total["corrections"] or 0) / calls, 3) if calls else None,
    }


def _sum(spends: Sequence[Row], key: str, calls: str) -> int | float | None:
    measured = [spend.get(key) for spend in spends if spend.get(calls)]
    if not measured or None in measured:
        return None
    total = sum(value for value in measured if value is not None)
    return round(total, MONEY_DIGITS) if isinstance(total, float) else total


def _divided(value: float | None, count: int) -> float | None:
    return None if value is None or not count else round(value / count, MONEY_DIGITS)


def closed_book(accepted: Sequence[Row], rejects: Iterable[Row], gate_order: Sequence[str]) -> dict[str, Any]:
    """How often guessers without tools hit, before their gate and on what passed every gate."""
    stopped = Counter(str(row["gate"]) for row in rejects)
    later = gate_order[list(gate_order).index("prior") :] if "prior" in gate_order else ()
    reached = len(accepted) + sum(stopped[gate] for gate in later)
    records = [record for row in accepted for record in row["closed_book"] or ()]
    names = dict.fromkeys(str(record["guesser"]) for record in records)
    samples, hits = (sum(int(r[key] or 0) for r in records) for key in ("audit_samples", "audit_hits"))
    return {
        "reached": reached,
        "hit": stopped["prior"],
        "before": _rate(stopped["prior"], reached),
        "audit_samples": samples,
        "audit_hits": hits,
        "after": _rate(hits, samples),
        "by_guesser": {name: _of_guesser([r for r in records if r["guesser"] == name]) for name in sorted(names)},
    }


def _of_guesser(records: Sequence[Row]) -> dict[str, Any]:
    total = {key: sum(int(r[key] or 0) for r in records) for key in ("samples", "audit_samples", "audit_hits")}
    return {**total, "after": _rate(total["audit_hits"], total["audit_samples"])}


def _rate(hits: int, of: int) -> float | None:
    return round(hits / of, 4) if of else None
