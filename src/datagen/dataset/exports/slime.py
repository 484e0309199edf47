"""slime: lines of JSON for `--prompt-data`, with a rollout function and a reward function.

    rl/train.jsonl    prompt, label, metadata {task_id, split, recipe}, tools (JSON text)
    sft/train.jsonl   messages, tools (JSON text)
    rollout.py        generate(args, sample, sampling_params), reward_func(args, sample)

`label` is what the reward reads; `metadata` reaches the rollout and names the task only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from datagen.dataset.exports.conversations import attempt_messages, plain, prompt_of, verified_attempts
from datagen.dataset.exports.reading import ReleaseTables
from datagen.dataset.exports.tools import tools_text
from datagen.dataset.exports.truth import questions, truth_of
from datagen.dataset.exports.wording import filled
from datagen.dataset.exports.writing import ExportFolder


def write(folder: ExportFolder, *, name: str) -> None:
    release = folder.release
    for split in release.splits("questions"):
        folder.lines(f"rl/{split}.jsonl", rl_rows(release, split, name))
    for split in release.splits("trajectories"):
        folder.lines(f"sft/{split}.jsonl", sft_rows(release, split))
    folder.text("rollout.py", filled("slime_rollout.py"))
    folder.text("README.md", filled("slime.md", rows=folder.rows, snapshot=release.snapshot))


def rl_rows(release: ReleaseTables, split: str, name: str) -> Iterator[dict[str, Any]]:
    tools = tools_text()
    for row in questions(release, split):
        yield {
            "prompt": prompt_of(row["question"]),
            "label": json.dumps({"task_id": row["id"], **truth_of(row)}, ensure_ascii=False),
            "metadata": {"task_id": row["id"], "split": split, "data_source": f"{name}/{row['recipe']}"},
            "tools": tools,
        }


def sft_rows(release: ReleaseTables, split: str) -> Iterator[dict[str, Any]]:
    tools = tools_text()
    for row in verified_attempts(release, split):
        messages = plain(attempt_messages(row))
        yield {"messages": messages, "tools": tools, "metadata": {"task_id": row["question_id"]}}
