"""The tasks of a release: questions that clients may read, and answers that stay here.

    bank = TaskBank.open("out/demo/release")
    bank.splits                                 {"train": 903, "validation": 43, "test": 54}
    bank.public(bank.number("test", 0))         {"id": "qa1-...", "split": "test", "index": 0, "question": "...", ...}
    bank.grade(number, "Yobwimel Gidoun")       Grade(correct=True, how="exact")

`public` is the only way out for a row, and it copies named columns; answers, aliases, evidence and the certificate are
never among them. Tasks are numbered over all splits, in the order of the release's files, so that an episode can carry
its task as one whole number.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datagen.errors import ReleaseError
from datagen.records.question import Answer
from datagen.records.question_rows import ANSWER_COLUMNS, answer_of
from datagen.rollouts.rewards import check_answer
from datagen.storage import local_path

PUBLIC = ("id", "question", "recipe")
SPLITS = ("train", "validation", "test")
MAX_ANSWER_CHARS = 400
"""An answer is a name or a value; an essay that holds it somewhere is none."""


@dataclass(frozen=True, slots=True)
class Grade:
    """What an answer is worth. `correct` is None where nobody could tell; such an attempt has no reward at all."""

    correct: bool | None
    how: str

    @property
    def reward(self) -> float | None:
        return None if self.correct is None else float(self.correct)


class TaskBank:
    """Questions by number, by id, and by (split, index)."""

    def __init__(self, tables: Mapping[str, pa.Table]) -> None:
        """`tables` holds the columns of `PUBLIC` and `ANSWER_COLUMNS` for each split."""
        self.splits = {name: table.num_rows for name, table in tables.items()}
        starts = itertools.accumulate(self.splits.values(), initial=0)
        self._first = dict(zip(self.splits, starts, strict=False))
        parts = [table.select([*PUBLIC, *ANSWER_COLUMNS]) for table in tables.values()]
        self._table: pa.Table = pa.concat_tables(parts).combine_chunks() if parts else pa.table({})
        self._numbers = {name: n for n, name in enumerate(self._table.column("id").to_pylist())} if parts else {}

    @classmethod
    def open(cls, folder: str | Path) -> TaskBank:
        """The questions of a release folder."""
        path = local_path(folder)
        found = {split: sorted((path / "data" / "qa").glob(f"{split}-*.parquet")) for split in SPLITS}
        if not any(found.values()):
            raise ReleaseError(
                f"{path} is no release: it has no questions under data/qa. `datagen run CONFIG` writes one."
            )
        columns = [*PUBLIC, *ANSWER_COLUMNS]
        return cls(
            {
                split: pa.concat_tables([pq.read_table(name, columns=columns) for name in names])
                for split, names in found.items()
                if names
            }
        )

    @classmethod
    def of_rows(cls, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> TaskBank:
        """Tasks from rows of the questions table, by split."""
        from datagen.records.schema import arrow_schema

        full = arrow_schema("questions")
        schema = pa.schema([full.field(name) for name in (*PUBLIC, *ANSWER_COLUMNS)])
        kept = {
            split: [{name: row[name] for name in schema.names} for row in part] for split, part in rows.items() if part
        }
        return cls({split: pa.Table.from_pylist(part, schema=schema) for split, part in kept.items()})

    def __len__(self) -> int:
        return len(self._numbers)

    def number(self, split: str, index: int) -> int | None:
        """The task at a place of a split."""
        return self._first[split] + index if 0 <= index < self.splits.get(split, 0) else None

    def number_of(self, task_id: str) -> int | None:
        return self._numbers.get(task_id)

    def public(self, number: int) -> dict[str, Any]:
        """All that a client may know of a task."""
        split = next(name for name in reversed(self._first) if self._first[name] <= number)
        row = self._row(number, PUBLIC)
        return {"id": row.pop("id"), "split": split, "index": number - self._first[split], **row}

    def grade(self, number: int, answer: str | None) -> Grade:
        """Whether an answer is right; words alone decide, as nobody but the server knows the key."""
        if answer is not None and len(answer) > MAX_ANSWER_CHARS:
            return Grade(False, "too_long")
        checked = check_answer(self.answer(number), answer)
        return Grade(checked.correct, checked.how)

    def answer(self, number: int) -> Answer:
        """For graders on this side of the wire; nothing that comes from here may be sent."""
        return answer_of(self._row(number, ANSWER_COLUMNS))

    def _row(self, number: int, columns: Sequence[str]) -> dict[str, Any]:
        return {name: self._table.column(name)[number].as_py() for name in columns}
