"""What a reward reads of a question, and nothing else of an export does.

    {"target": ["Žonisk Expedition", ...], "type": "entity", "canonical": "Žonisk Expedition", "unit": ""}

`target` lists every form that is right, for trainers whose own scorers compare words; the rest is what ours needs to
compare dates as dates and numbers with their units. Where a trainer hands whole rows to an environment (`reset(**row)`
of TRL), the truth is in a table of its own, and rows carry the id of the task.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from datasets import Features, List, Value

from datagen.dataset.exports.reading import ReleaseTables, Row
from datagen.knowledge.answer_forms import accepted_forms
from datagen.records.question import Answer
from datagen.records.question_rows import ANSWER_COLUMNS, answer_of

STRING, INT = Value("string"), Value("int32")
TRUTH = {"target": List(STRING), "type": STRING, "canonical": STRING, "unit": STRING}
GRADING = Features({"task_id": STRING, "split": STRING, **TRUTH})
QUESTION_COLUMNS = ("id", "question", *ANSWER_COLUMNS, "recipe", "difficulty")
DIFFICULTY = {"vertices": INT, "depth": INT, "clues": INT, "min_documents": INT}


def questions(release: ReleaseTables, split: str, *more: str) -> Iterator[Row]:
    """Questions with the columns that exports need, and `more`."""
    return release.rows("questions", split, [*QUESTION_COLUMNS, *more])


def truth_of(row: Row) -> dict[str, Any]:
    answer: Answer = answer_of(row)
    return {
        "target": list(accepted_forms(answer)),
        "type": answer.type,
        "canonical": answer.canonical,
        "unit": answer.unit,
    }


def difficulty_of(row: Row) -> dict[str, Any]:
    """Figures for a curriculum; none of them says what the answer is."""
    known = row["difficulty"] or {}
    return {name: known.get(name) for name in DIFFICULTY}


def grading_rows(release: ReleaseTables) -> Iterator[dict[str, Any]]:
    """The truth of every task, for a reward that is handed ids."""
    for split in release.splits("questions"):
        for row in questions(release, split):
            yield {"task_id": row["id"], "split": split, **truth_of(row)}
