"""Questions to attempt, each over the web that it was made from.

    found = open_questions(("out/demo/release",), split="test", snapshot="out/demo/snapshot", count=400)
    found.tasks["qa1-5f…"].question                  what a policy sees
    found.web.search("stadiums in Veltrin")          where it looks

A task knows every page that states a clue of its question, read from the facts behind the snapshot where it has them: the
policy never sees them, its grades rest on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from datagen.dataset import streaming
from datagen.errors import ConfigError
from datagen.records.question_rows import ANSWER_COLUMNS
from datagen.rollouts.collect import Task
from datagen.rollouts.restatements import Restatements
from datagen.web.snapshot import Snapshot
from datagen.web.snapshot_web import SnapshotWeb
from datagen.web.tools import Web

COLUMNS = ("id", "question", *ANSWER_COLUMNS, "recipe", "certificate", "evidence", "hops", "tree")
"""What grading needs of a question."""


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """Questions over one web."""

    web: Web
    tasks: Mapping[str, Task]
    """By question id, in the order of the table."""
    snapshot: str
    """Digest of the snapshot."""

    def only(self, ids: Sequence[str]) -> QuestionSet:
        """These questions alone, in this order."""
        return QuestionSet(self.web, {name: self.tasks[name] for name in ids}, self.snapshot)


def open_questions(
    sources: Sequence[str], *, split: str, snapshot: str, recipes: Sequence[str] = (), count: int | None = None
) -> QuestionSet:
    """The questions of release folders or files, the first `count` of them, over a snapshot.

    Raises `ConfigError` where none is left.
    """
    found: dict[str, dict[str, Any]] = {}
    for row in read_rows(sources, split):
        if not recipes or row["recipe"] in recipes:
            found.setdefault(str(row["id"]), row)  # ids are content: the same question twice is one
    rows = list(found.values())[:count]
    if not rows:
        of = f" of the recipes {', '.join(recipes)}" if recipes else ""
        raise ConfigError(f"{', '.join(sources)} has no questions{of} in the split {split!r}.")
    opened = Snapshot.open(Path(snapshot))
    has_facts = any((opened.folder / "knowledge").glob("facts-*.parquet"))
    facts = Restatements.read(opened.folder, rows) if has_facts else None
    tasks = {str(row["id"]): Task.of(row, facts) for row in rows}
    return QuestionSet(_web(str(opened.folder)), tasks, opened.digest)


def read_rows(sources: Sequence[str], split: str) -> list[dict[str, Any]]:
    """Rows of the questions table in their order, with what grading needs."""
    return list(streaming.stream(sources, table="qa", split=split, columns=COLUMNS, shuffle=False))


@lru_cache(maxsize=4)
def _web(folder: str) -> Web:
    """Several sets over one snapshot share its index."""
    return SnapshotWeb(Snapshot.open(Path(folder)))
