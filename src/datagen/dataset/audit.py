"""Hold accepted questions against the complete truth of the synthetic web they were made from.

A certificate is a claim about a world that pages describe with gaps, errors and old values. Here the world itself is
asked: does the formula have exactly one answer in it, and is that the key? Precision must be 1; anything else is a fault
of the evaluator, of reading, or of the web's own promise that trusted pages do not lie.

Rows without a certificate claim less, so what the world says about them is counted apart: it measures how much a search for
rivals is worth. Formulas with a relation in free words cannot be put to the world and are only counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from datagen.knowledge.formula import IsA, Query, query_from_dict, walk_clues
from datagen.knowledge.literals import parse_literal
from datagen.knowledge.truth import Truth

UNPROVED = frozenset({"not_unique", "several_answers", "possible_rivals", "open_class"})
"""Reasons of rejects that a certificate stopped."""


@dataclass(frozen=True, slots=True)
class Audited:
    """What the world says about a set of questions; `faults` name the question and what differs."""

    questions: int
    """Rows with a certificate."""
    second_answers: int
    wrong_answers: int
    faults: tuple[str, ...]
    unproved: int = 0
    """Candidates that the certificate could not prove unique."""
    lost_to_caution: int = 0
    """Those of them that have exactly one answer in the world: what silence and doubt cost."""
    uncertified: int = 0
    """Rows without a certificate."""
    uncertified_checked: int = 0
    """Those of them whose formula the world can evaluate."""
    uncertified_refuted: int = 0
    """Those of these that have another answer, or a second one."""

    @property
    def precision(self) -> float | None:
        return None if not self.questions else 1 - (self.second_answers + self.wrong_answers) / self.questions


def audit(rows: Iterable[Mapping[str, Any]], truth: Truth, rejects: Iterable[Mapping[str, Any]] = ()) -> Audited:
    """Evaluate every row's formula over the truth, and those of rejects that were stopped for want of a proof."""
    questions = second = wrong = 0
    faults: list[str] = []
    held = list(rows)
    for row in held:
        if row["certificate"] is None:
            continue
        questions += 1
        query = query_from_dict(json.loads(row["tree"]))
        roots = truth.evaluate(query.root)
        proven = set(row["certificate"]["answer_set"])
        if not proven <= roots:
            wrong += 1
            faults.append(
                f"{row['id']}: {sorted(proven)} does not satisfy the question in the world: {row['question']}"
            )
        elif roots != proven:
            second += 1
            faults.append(f"{row['id']}: the world has {len(roots)} answers, {sorted(roots)[:4]}: {row['question']}")
        elif query.ask is not None and not _value_is_true(row, truth, query.ask, query.ask_as_of):
            wrong += 1
            faults.append(f"{row['id']}: {row['answer']!r} is not the {query.ask} of {sorted(proven)} in the world")
    unproved = [r for r in rejects if r["reason"] in UNPROVED and r["tree"] is not None]
    lost = sum(len(truth.evaluate(query_from_dict(json.loads(r["tree"])).root)) == 1 for r in unproved)
    return Audited(questions, second, wrong, tuple(faults), len(unproved), lost, *_audit_uncertified(held, truth))


def _audit_uncertified(rows: Iterable[Mapping[str, Any]], truth: Truth) -> tuple[int, int, int]:
    """How many there are, how many of them the world can evaluate, and how many of these it refutes."""
    found = [(row, query_from_dict(json.loads(row["tree"]))) for row in rows if row["certificate"] is None]
    checked = [(row, query) for row, query in found if row["answer_entity"] and _is_known(query, truth)]
    refuted = sum(truth.evaluate(query.root) != {row["answer_entity"]} for row, query in checked if query.ask is None)
    return len(found), sum(query.ask is None for _, query in checked), refuted


def _is_known(query: Query, truth: Truth) -> bool:
    clues = [clue for _, clue in walk_clues(query.root)]
    return all(isinstance(clue, IsA) or clue.relation in truth.catalogue.relations for clue in clues)


def _value_is_true(row: Mapping[str, Any], truth: Truth, ask: str, day: str | None) -> bool:
    said = parse_literal(row["answer_canonical"], row["answer_type"], row["answer_unit"] or "")
    return said is not None and all(
        fact.literal is not None and said.low <= fact.literal.high and fact.literal.low <= said.high
        for fact in truth.stated(row["certificate"]["answer_set"][0], ask)
        if fact.holds_on(day)
    )
