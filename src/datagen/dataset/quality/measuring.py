"""From the figures of single questions and attempts to the metrics of a set.

A metric is a ratio of two sums over parts, and a part belongs to a question, so that every metric can be split alike:

    mean words          parts (question, its words, 1)
    low-width clues     parts (question, its clues that at most two things meet, its clues)
    accuracy            parts (question of the attempt, 1 if right, 1)

What cannot be counted is None with a sentence that says why. It is never 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from datagen.dataset.quality.figures import QuestionFigures
from datagen.dataset.quality.published import BY_KEY
from datagen.dataset.quality.retrieval import FirstStage
from datagen.dataset.quality.signatures import AttemptSignature
from datagen.dataset.quality.widths import LOW, Widths

Part = tuple[str, float, float]
"""Question id, numerator, denominator."""
Groups = Mapping[str, str]
"""Question id -> the group that it is split into."""

NO_PROOF = "no question has a certificate to count this from"
NO_SNAPSHOT = "pass the snapshot with --snapshot"
NO_ATTEMPTS = "the release has no trajectories"
MOST_VERTICES = 7


@dataclass(frozen=True, slots=True)
class Measured:
    """One metric of this set. `n` counts what it was taken over: questions, clues, attempts."""

    key: str
    value: float | None
    n: int = 0
    solver: str = ""
    """Whose attempts, for what depends on it."""
    reason: str = ""
    """Why there is no value."""
    by_vertices: Mapping[str, float] = field(default_factory=dict)


def vertices_groups(figures: Iterable[QuestionFigures]) -> dict[str, str]:
    """Questions by their vertices, large ones together as in InfoSeek's table."""
    groups = {f.id: f.vertices for f in figures if f.vertices is not None}
    return {id_: f"{MOST_VERTICES}+" if count >= MOST_VERTICES else str(count) for id_, count in groups.items()}


def measured(key: str, parts: Iterable[Part], groups: Groups, *, reason: str = "", solver: str = "") -> Measured:
    """A metric from its parts; with none, the reason for it."""
    listed = list(parts)
    total = sum(of for _, _, of in listed)
    if not total:
        return Measured(key, None, solver=solver, reason=reason or NO_PROOF)
    split: dict[str, list[Part]] = {}
    for part in listed:
        if part[0] in groups:
            split.setdefault(groups[part[0]], []).append(part)
    ratios = {name: _ratio(key, split[name]) for name in sorted(split) if sum(of for _, _, of in split[name])}
    return Measured(key, _ratio(key, listed), round(total), solver, by_vertices=ratios)


def _ratio(key: str, parts: Sequence[Part]) -> float:
    scale = 100 if BY_KEY[key].unit == "%" else 1
    return round(scale * sum(part for _, part, _ in parts) / sum(of for _, _, of in parts), 3)


# --- questions --------------------------------------------------------------------------------------------------------

_MEANS: dict[str, Callable[[QuestionFigures], float | None]] = {
    "vertices": lambda f: f.vertices,
    "depth": lambda f: f.depth,
    "branching": lambda f: f.branching,
    "leaves": lambda f: f.leaves,
    "question_words": lambda f: f.words,
    "question_characters": lambda f: f.characters,
    "answer_words": lambda f: f.answer_words,
    "answer_digits": lambda f: f.answer_digits,
    "question_years": lambda f: f.year,
    "capitals": lambda f: f.capitals,
    "exposed_constants": lambda f: f.constants,
    "answer_leak": lambda f: f.leaks,
    "dependency": lambda f: f.depth,
    "route_dependency": lambda f: f.route_dependency,
    "evidence_pages": lambda f: f.pages,
    "one_page": lambda f: None if f.least_pages is None else f.least_pages == 1,
    "co_coverage": lambda f: None if f.covered is None or not f.clues else f.covered / f.clues,
}
"""Metrics that are a mean over questions."""

_RATIOS: dict[str, Callable[[QuestionFigures], tuple[float | None, float | None]]] = {
    "attribute_share": lambda f: (f.attributes, f.vertices),
    "claims_per_thing": lambda f: (f.clues, f.things),
    "dispersion": lambda f: (f.first_pages, f.clues),
    "least_dispersion": lambda f: (f.least_pages, f.clues),
}
"""Metrics that are a ratio of sums over questions."""


def of_questions(figures: Sequence[QuestionFigures], groups: Groups) -> list[Measured]:
    """All that rows of questions tell by themselves."""
    found = [
        measured(key, ((f.id, float(value), 1) for f in figures if (value := of(f)) is not None), groups)
        for key, of in _MEANS.items()
    ]
    for key, pair in _RATIOS.items():
        parts = ((f.id, *pair(f)) for f in figures)
        known = ((id_, part, of) for id_, part, of in parts if part is not None and of)
        found.append(measured(key, known, groups))
    tries = ((f.id, f.oracle[1], f.oracle[0]) for f in figures if f.oracle is not None)
    return [*found, measured("oracle", tries, groups, reason="the run did not ask its oracle gate")]


# --- attempts ---------------------------------------------------------------------------------------------------------

_SIGNATURES: dict[str, Callable[[AttemptSignature], float | None]] = {
    "accuracy": lambda a: a.correct,
    "calls": lambda a: a.calls,
    "solving_cost": lambda a: a.calls if a.correct else None,
    "hit_time": lambda a: a.hit_turn if a.correct else None,
    "hit_calls": lambda a: a.hit_calls if a.correct else None,
    "prior_shortcut": lambda a: a.shortcut if a.correct else None,
}


def of_attempts(attempts: Sequence[AttemptSignature], groups: Groups) -> list[Measured]:
    """Signatures by policy."""
    found: list[Measured] = []
    for policy in sorted({a.policy for a in attempts}):
        mine = [a for a in attempts if a.policy == policy]
        for key, of in _SIGNATURES.items():
            parts = ((a.question_id, float(value), 1) for a in mine if (value := of(a)) is not None)
            found.append(measured(key, parts, groups, reason="no attempt of it was right", solver=policy))
    return found


def of_gates(figures: Sequence[QuestionFigures], groups: Groups) -> list[Measured]:
    """What can be said without trajectories: what the solvers of the gates spent, each of whom had to be right."""
    missing = [
        Measured(key, None, reason=NO_ATTEMPTS) for key in ("accuracy", "hit_time", "hit_calls", "prior_shortcut")
    ]
    solvers = sorted({solver for f in figures for solver, _ in f.gate_calls})
    if not solvers:
        return [*missing, *(Measured(key, None, reason=NO_ATTEMPTS) for key in ("calls", "solving_cost"))]
    spent = [
        measured(
            key,
            ((f.id, calls, 1) for f in figures for name, calls in f.gate_calls if name == solver),
            groups,
            solver=f"{solver}, at the gate",
        )
        for key in ("calls", "solving_cost")
        for solver in solvers
    ]
    return [*missing, *spent]


# --- with the snapshot ------------------------------------------------------------------------------------------------

SNAPSHOT_KEYS = ("low_width", "low_width_branches", "gold_pages", "recall_5", "recall_100", "recall_1000", "ndcg_10")


def without_snapshot() -> list[Measured]:
    return [Measured(key, None, reason=NO_SNAPSHOT) for key in SNAPSHOT_KEYS]


def of_widths(widths: Sequence[Widths], groups: Groups) -> list[Measured]:
    """Shares of clues that leave nearly nothing else."""
    stated = ((w.question_id, sum(size <= LOW for size in w.stated), len(w.stated)) for w in widths)
    branches = ((w.question_id, sum(size <= LOW for size in w.branches), len(w.branches)) for w in widths)
    return [measured("low_width", stated, groups), measured("low_width_branches", branches, groups)]


def of_first_stage(found: Sequence[FirstStage], groups: Groups) -> list[Measured]:
    """What one query finds."""
    reason = "no question lists evidence that the snapshot has"
    parts: dict[str, list[Part]] = {
        "gold_pages": [(f.question_id, f.gold_pages, 1) for f in found],
        "ndcg_10": [(f.question_id, f.ndcg, 1) for f in found],
    }
    for cut in (5, 100, 1_000):
        parts[f"recall_{cut}"] = [(f.question_id, f.recall[cut], 1) for f in found]
    return [measured(key, listed, groups, reason=reason) for key, listed in parts.items()]
