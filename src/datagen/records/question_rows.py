"""What readers of the questions table need of a row, as records again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datagen.records.question import Answer

ANSWER_COLUMNS = (
    "answer",
    "answer_aliases",
    "answer_type",
    "answer_canonical",
    "answer_entity",
    "answer_entity_type",
    "answer_unit",
)
"""What `answer_of` reads, and what no policy may see."""


def answer_of(row: Mapping[str, Any]) -> Answer:
    """The gradable answer of a question's row."""
    return Answer(
        text=row["answer"],
        type=row["answer_type"],
        canonical=row["answer_canonical"],
        aliases=tuple(row["answer_aliases"] or ()),
        key=row["answer_entity"],
        entity_type=row["answer_entity_type"],
        unit=row["answer_unit"] or "",
    )
