"""TRL: rows for `GRPOTrainer` with `environment_factory`, for `SFTTrainer`, and for `DPOTrainer`.

    rl/train.parquet            prompt, task_id, split, recipe, difficulty       no truth: see below
    sft/train.parquet           messages, tools (JSON text)
    preferences/train.parquet   prompt, chosen, rejected, tools, kind, rule
    grading.parquet             task_id -> what a reward needs
    train.py                    one script for the three

GRPO hands every column of a row to `reset(**row)` of the environment, so rows hold no answer: the environment grades by
the id of the task, with a release or a server that keeps the answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from datasets import Features, Value

from datagen.dataset.exports.conversations import (
    DECODED_MESSAGES,
    PROMPT,
    attempt_messages,
    continuation,
    conversation,
    full,
    own_words,
    prompt_of,
    verified_attempts,
)
from datagen.dataset.exports.reading import ReleaseTables
from datagen.dataset.exports.tools import tools_text_with_returns
from datagen.dataset.exports.truth import DIFFICULTY, GRADING, difficulty_of, grading_rows, questions
from datagen.dataset.exports.wording import filled
from datagen.dataset.exports.writing import ExportFolder
from datagen.records.trajectory_rows import events_of

STRING = Value("string")
RL_ROW = Features({"prompt": PROMPT, "task_id": STRING, "split": STRING, "recipe": STRING, "difficulty": DIFFICULTY})
SFT_ROW = Features({"messages": DECODED_MESSAGES, "tools": STRING, "task_id": STRING, "trajectory_id": STRING})
PREFERENCE_ROW = Features(
    {
        "prompt": DECODED_MESSAGES,
        "chosen": DECODED_MESSAGES,
        "rejected": DECODED_MESSAGES,
        "tools": STRING,
        "task_id": STRING,
        "kind": STRING,
        "rule": STRING,
    }
)


def write(folder: ExportFolder, *, name: str) -> None:
    release = folder.release
    for split in release.splits("questions"):
        folder.table(f"rl/{split}.parquet", RL_ROW, rl_rows(release, split))
    for split in release.splits("trajectories"):
        folder.table(f"sft/{split}.parquet", SFT_ROW, sft_rows(release, split))
    for split in release.splits("preferences"):
        folder.table(f"preferences/{split}.parquet", PREFERENCE_ROW, preference_rows(release, split))
    folder.table("grading.parquet", GRADING, grading_rows(release))
    folder.text("train.py", filled("trl_train.py"))
    folder.text("README.md", filled("trl.md", name=name, rows=folder.rows, snapshot=release.snapshot))


def rl_rows(release: ReleaseTables, split: str) -> Iterator[dict[str, Any]]:
    for row in questions(release, split):
        yield {
            "prompt": prompt_of(row["question"]),
            "task_id": row["id"],
            "split": split,
            "recipe": row["recipe"],
            "difficulty": difficulty_of(row),
        }


def sft_rows(release: ReleaseTables, split: str) -> Iterator[dict[str, Any]]:
    tools = tools_text_with_returns()
    for row in verified_attempts(release, split):
        messages = full(attempt_messages(row))
        yield {"messages": messages, "tools": tools, "task_id": row["question_id"], "trajectory_id": row["id"]}


def preference_rows(release: ReleaseTables, split: str) -> Iterator[dict[str, Any]]:
    tools = tools_text_with_returns()
    for row in release.rows("preferences", split):
        yield {
            "prompt": full(conversation(row["question"], events_of(row["prefix"]))),
            "chosen": full(own_words(continuation(events_of(row["chosen"])))),
            "rejected": full(own_words(continuation(events_of(row["rejected"])))),
            "tools": tools,
            "task_id": row["question_id"],
            "kind": row["kind"],
            "rule": row["rule"],
        }
