"""OpenRLHF: lines of JSON for its keys, and an agent function.

    rl/train.jsonl            prompt, label, datasource, task_id
    sft/train.jsonl           messages
    preferences/train.jsonl   prompt, chosen, rejected
    agent.py                  AgentExecutor: runs calls through `datagen serve`, grades the last turn

OpenRLHF templates a prompt by itself and knows no tools, so the system message describes them. `label` is JSON text with
what the reward reads; OpenRLHF hands it to `step` of the agent and to nobody else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from datagen.dataset.exports.conversations import (
    attempt_messages,
    continuation,
    conversation,
    described_prompt_of,
    own_words,
    plain,
    verified_attempts,
)
from datagen.dataset.exports.reading import ReleaseTables
from datagen.dataset.exports.truth import questions, truth_of
from datagen.dataset.exports.wording import filled
from datagen.dataset.exports.writing import ExportFolder
from datagen.records.trajectory_rows import events_of


def write(folder: ExportFolder, *, name: str) -> None:
    release = folder.release
    for split in release.splits("questions"):
        folder.lines(f"rl/{split}.jsonl", rl_rows(release, split, name))
    for split in release.splits("trajectories"):
        folder.lines(f"sft/{split}.jsonl", sft_rows(release, split))
    for split in release.splits("preferences"):
        folder.lines(f"preferences/{split}.jsonl", preference_rows(release, split))
    folder.text("agent.py", filled("openrlhf_agent.py"))
    folder.text("README.md", filled("openrlhf.md", rows=folder.rows, snapshot=release.snapshot))


def rl_rows(release: ReleaseTables, split: str, name: str) -> Iterator[dict[str, Any]]:
    for row in questions(release, split):
        yield {
            "prompt": described_prompt_of(row["question"]),
            "label": json.dumps({"task_id": row["id"], **truth_of(row)}, ensure_ascii=False),
            "datasource": f"{name}/{row['recipe']}",
            "task_id": row["id"],
        }


def sft_rows(release: ReleaseTables, split: str) -> Iterator[dict[str, Any]]:
    for row in verified_attempts(release, split):
        messages = described_prompt_of(row["question"]) + attempt_messages(row)[2:]
        yield {"messages": plain(messages), "task_id": row["question_id"], "trajectory_id": row["id"]}


def preference_rows(release: ReleaseTables, split: str) -> Iterator[dict[str, Any]]:
    for row in release.rows("preferences", split):
        start = conversation(row["question"], events_of(row["prefix"]))[2:]
        yield {
            "prompt": plain(described_prompt_of(row["question"]) + start),
            "chosen": plain(own_words(continuation(events_of(row["chosen"])))),
            "rejected": plain(own_words(continuation(events_of(row["rejected"])))),
            "task_id": row["question_id"],
            "kind": row["kind"],
            "rule": row["rule"],
        }
