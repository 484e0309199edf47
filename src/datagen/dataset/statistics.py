"""Figures about a question set, counted from its own rows: the source of the card, the report and the plots.

Definitions follow spec infoseek_webexplorer §4 where it has one. Nothing here is estimated: what the rows do not carry is
absent from the result.

    dispersion        distinct evidence pages / clues (FORT R_ev)

Figures on certificates are taken over the rows that have one. Where pages are counted, the hops of a row without a
certificate stand in for its evidence.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean, median
from typing import Any

Row = Mapping[str, Any]

YEAR = re.compile(r"\b(1[0-9]|20)\d\d\b")


@dataclass(frozen=True, slots=True)
class Summary:
    """Five numbers of one measured quantity."""

    count: int
    mean: float
    median: float
    low: float
    high: float


def summarise(values: Sequence[float]) -> Summary | None:
    if not values:
        return None
    return Summary(len(values), round(mean(values), 3), float(median(values)), float(min(values)), float(max(values)))


@dataclass(frozen=True, slots=True)
class FunnelRow:
    """One step of the funnel: how many candidates entered it, how many it stopped, and why."""

    recipe: str
    gate: str
    entered: int
    stopped: int
    reasons: Mapping[str, int]


def funnel(accepted: Iterable[Row], rejects: Iterable[Row], gate_order: Sequence[str]) -> list[FunnelRow]:
    """Candidates by recipe and gate, in the order the gates run; gates not in `gate_order` come first, by name."""
    stopped: dict[str, Counter[tuple[str, str]]] = {}
    kept: Counter[str] = Counter(str(row["recipe"]) for row in accepted)
    for row in rejects:
        stopped.setdefault(str(row["recipe"]), Counter())[(str(row["gate"]), str(row["reason"]))] += 1
    rank = {gate: index for index, gate in enumerate(gate_order)}
    rows: list[FunnelRow] = []
    for recipe in sorted(kept.keys() | stopped.keys()):
        counts = stopped.get(recipe, Counter())
        left = kept[recipe] + sum(counts.values())
        for gate in sorted({g for g, _ in counts}, key=lambda g: (rank.get(g, -1), g)):
            reasons = {r: n for (g, r), n in sorted(counts.items()) if g == gate}
            rows.append(FunnelRow(recipe, gate, left, sum(reasons.values()), reasons))
            left -= sum(reasons.values())
        rows.append(FunnelRow(recipe, "accepted", left, 0, {}))
    return rows


def describe(rows: Sequence[Row]) -> dict[str, Any]:
    """Distributions and shares of a set of `questions` rows; an empty set gives only its count."""
    if not rows:
        return {"rows": 0}
    return {
        "rows": len(rows),
        "by_recipe": _counts(r["recipe"] for r in rows),
        "by_mode": _counts(f"{r['recipe']}: {r['mode']}" for r in rows if r["mode"]),
        "answer_type": _counts(r["answer_type"] for r in rows),
        "answer_entity_type": _counts(r["answer_entity_type"] for r in rows if r["answer_entity_type"]),
        "certified": _counts("certified" if r["certificate"] else "uncertified" for r in rows),
        "rivals_tried": _counts(r["rivals_tried"] for r in rows if r["certificate"] is None),
        "wording": _counts(r["wording"] for r in rows if r["wording"]),
        "models": _counts(name for r in rows for name in _lineage(r, "models")),
        "prompts": _counts(name for r in rows for name in _lineage(r, "prompts")),
        "histograms": _histograms(rows),
        "summaries": {k: asdict(v) for k, v in _summaries(rows).items() if v is not None},
        "shares": _shares(rows),
        "source_kinds": _counts(e["source_kind"] for r in rows for e in _sources(r)),
        "hosts": _counts(e["host"] for r in rows for e in _sources(r)),
        "excluded_by": _excluded(rows),
        "obfuscations": _counts(o["kind"] for r in rows for o in r["obfuscations"]),
        "median_sizes": median_sizes(rows),
        "without_one_clue": without_one_clue(rows),
    }


def certificates(rows: Iterable[Row]) -> list[Mapping[str, Any]]:
    """The certificates of the rows that have one."""
    return [row["certificate"] for row in rows if row["certificate"]]


def _sources(row: Row) -> Sequence[Row]:
    found: Sequence[Row] = row["evidence"] if row["certificate"] else row["hops"]
    return found


def _lineage(row: Row, key: str) -> Sequence[str]:
    return (row["lineage"] or {}).get(key) or ()


def stopped_by_gate(rejects: Iterable[Row]) -> dict[str, int]:
    """Candidates by what ended them: a recipe's stage, a gate, "endpoint", "reply" or "error"; most frequent first."""
    return _counts(row["gate"] for row in rejects)


def solver_failures(rejects: Iterable[Row]) -> dict[str, int]:
    """Why the solvers missed questions that every cheaper gate had passed, most frequent first."""
    return _counts(row["reason"] for row in rejects if row["gate"] == "agreement")


def _counts(values: Iterable[object]) -> dict[str, int]:
    return dict(sorted(Counter(str(v) for v in values).items(), key=lambda kv: (-kv[1], kv[0])))


def _histograms(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    keys = ("vertices", "depth", "clues", "min_documents", "dependency_depth", "minimal_subset_size")
    counts = {k: Counter(r["difficulty"][k] for r in rows if r["difficulty"][k] is not None) for k in keys}
    return {k: {str(v): n for v, n in sorted(seen.items())} for k, seen in counts.items()}


def _summaries(rows: Sequence[Row]) -> dict[str, Summary | None]:
    attempts = [a for r in rows for a in r["attempts"]]
    return {
        "question_words": summarise([len(r["question"].split()) for r in rows]),
        "question_characters": summarise([len(r["question"]) for r in rows]),
        "answer_words": summarise([len(r["answer"].split()) for r in rows]),
        "hosts_per_question": summarise([r["n_hosts"] for r in rows]),
        "exposed_constants": summarise([len(c["exposed_constants"]) for c in certificates(rows)]),
        "searches_per_solve": summarise([a["searches"] for a in attempts]),
        "visits_per_solve": summarise([a["visits"] for a in attempts]),
        "tool_calls_per_solve": summarise([a["searches"] + a["visits"] for a in attempts]),
    }


def _shares(rows: Sequence[Row]) -> dict[str, float]:
    shares = {
        "explicit_year_in_question": _share(bool(YEAR.search(r["question"])) for r in rows),
        "digit_in_answer": _share(any(c.isdigit() for c in r["answer"]) for r in rows),
        "answer_verbatim_in_question": _share(r["answer"].casefold() in r["question"].casefold() for r in rows),
        "several_hosts": _share(r["n_hosts"] > 1 for r in rows),
        "certified": _share(r["certificate"] is not None for r in rows),
    }
    proofs = certificates(rows)
    if not proofs:
        return shares
    documents = sum(len({e["page_id"] for e in r["evidence"]}) for r in rows if r["certificate"])
    closed = _share(c["mode"] == "closed_world" for c in proofs)
    return shares | {
        "closed_world": closed,
        "dispersion": round(documents / sum(len(c["clues"]) for c in proofs), 4),
    }


def _share(flags: Iterable[bool]) -> float:
    values = list(flags)
    return round(sum(values) / len(values), 4) if values else 0.0


def _excluded(rows: Sequence[Row]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for proof in certificates(rows):
        total.update({k: v or 0 for k, v in (proof["excluded_by"] or {}).items()})
    return dict(sorted(total.items()))


NECESSITY_BINS = ((2, "2"), (3, "3"), (5, "4-5"), (10, "6-10"), (30, "11-30"), (100, "31-100"))


def without_one_clue(rows: Sequence[Row]) -> dict[str, int]:
    """Clues by how many entities could match if that clue alone were missing."""
    counts = {name: 0 for _, name in NECESSITY_BINS} | {">100": 0, "no bound": 0}
    for proof in certificates(rows):
        for size in proof["necessity"]:
            name = next((name for limit, name in NECESSITY_BINS if size <= limit), ">100")
            counts["no bound" if size < 0 else name] += 1
    return counts


def median_sizes(rows: Sequence[Row]) -> list[float | None]:
    """Median candidate-set size after the first, second, ... root clue; None where half or more are unbounded."""
    steps: list[list[int]] = []
    for proof in certificates(rows):
        for index, size in enumerate(proof["sizes"]):
            if index == len(steps):
                steps.append([])
            steps[index].append(size)
    return [None if sum(s < 0 for s in step) * 2 >= len(step) else float(median(_bounded(step))) for step in steps]


def _bounded(step: list[int]) -> list[float]:
    return [float("inf") if size < 0 else float(size) for size in step]
