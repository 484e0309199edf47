"""verifiers (v1): an installable package that names a taskset, with the questions that it needs.

    pyproject.toml                         depends on verifiers and datagen
    datagen_search/__init__.py             __all__ = ["Taskset"]: the split and the folder are filled in
    datagen_search/release/data/qa/*.parquet     what `datagen.environment.tasks.TaskBank` reads: questions and keys

The taskset gives the policy a question and nothing else of a row; the key is looked up when an attempt is scored. Tools
are the MCP endpoint of `datagen serve SNAPSHOT --mcp --open`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from datasets import Features

from datagen.dataset.exports.reading import ReleaseTables
from datagen.dataset.exports.truth import QUESTION_COLUMNS
from datagen.dataset.exports.wording import filled
from datagen.dataset.exports.writing import ExportFolder
from datagen.errors import ExportError
from datagen.records.schema import TABLES

COLUMNS = tuple(name for name in QUESTION_COLUMNS if name != "difficulty")
TASK_ROW = Features({name: TABLES["questions"][name] for name in COLUMNS})
_PACKAGE = re.compile(r"[a-z][a-z0-9_]*")


def write(folder: ExportFolder, *, name: str) -> None:
    """`name` is that of the package as well."""
    release = folder.release
    package = f"{name.replace('-', '_')}_search"
    if not _PACKAGE.fullmatch(package):
        raise ExportError(f"{name!r} cannot name a package; pass --name with lower-case letters, digits and dashes.")
    for split in release.splits("questions"):
        folder.table(f"{package}/release/data/qa/{split}-00000-of-00001.parquet", TASK_ROW, task_rows(release, split))
    values = {"package": package, "snapshot": release.snapshot, "rows": folder.rows}
    folder.text(f"{package}/__init__.py", filled("verifiers_init.py", **values))
    folder.text("pyproject.toml", filled("verifiers_pyproject.toml", **values))
    folder.text("README.md", filled("verifiers.md", **values))


def task_rows(release: ReleaseTables, split: str) -> Iterator[dict[str, Any]]:
    for row in release.rows("questions", split, COLUMNS):
        yield dict(row)
