"""SkyRL: Parquet for its generator, and an environment for its gym.

    rl/train.parquet    data_source, prompt, env_class, reward_spec.ground_truth, extra_info
    sft/train.parquet   messages
    env.py              registers `datagen_search` with skyrl_gym

SkyRL hands `reward_spec` to the environment's constructor, which runs beside the trainer; prompts do not hold it. Its
text environments know no tools, so the system message describes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from datasets import Features, Value

from datagen.dataset.exports.conversations import (
    PROMPT,
    attempt_messages,
    described_prompt_of,
    plain,
    verified_attempts,
)
from datagen.dataset.exports.reading import ReleaseTables
from datagen.dataset.exports.truth import DIFFICULTY, TRUTH, difficulty_of, questions, truth_of
from datagen.dataset.exports.wording import filled
from datagen.dataset.exports.writing import ExportFolder

ENV_CLASS = "datagen_search"
STRING = Value("string")
RL_ROW = Features(
    {
        "data_source": STRING,
        "prompt": PROMPT,
        "env_class": STRING,
        "reward_spec": {"method": STRING, "ground_truth": TRUTH},
        "extra_info": {
            "index": Value("int64"),
            "split": STRING,
            "task_id": STRING,
            "recipe": STRING,
            "difficulty": DIFFICULTY,
        },
    }
)
SFT_ROW = Features({"messages": PROMPT, "task_id": STRING, "trajectory_id": STRING})


def write(folder: ExportFolder, *, name: str) -> None:
    release = folder.release
    for split in release.splits("questions"):
        folder.table(f"rl/{split}.parquet", RL_ROW, rl_rows(release, split, name))
    for split in release.splits("trajectories"):
        folder.table(f"sft/{split}.parquet", SFT_ROW, sft_rows(release, split))
    folder.text("env.py", filled("skyrl_env.py", env_class=ENV_CLASS))
    folder.text("README.md", filled("skyrl.md", rows=folder.rows, snapshot=release.snapshot, env_class=ENV_CLASS))


def rl_rows(release: ReleaseTables, split: str, name: str) -> Iterator[dict[str, Any]]:
    for index, row in enumerate(questions(release, split)):
        yield {
            "data_source": f"{name}/{row['recipe']}",
            "prompt": described_prompt_of(row["question"]),
            "env_class": ENV_CLASS,
            "reward_spec": {"method": "rule", "ground_truth": truth_of(row)},
            "extra_info": {
                "index": index,
                "split": split,
                "task_id": row["id"],
                "recipe": row["recipe"],
                "difficulty": difficulty_of(row),
            },
        }


def sft_rows(release: ReleaseTables, split: str) -> Iterator[dict[str, Any]]:
    for row in verified_attempts(release, split):
        messages = described_prompt_of(row["question"]) + attempt_messages(row)[2:]
        yield {"messages": plain(messages), "task_id": row["question_id"], "trajectory_id": row["id"]}
