"""verl: Parquet that its `RLHFDataset` and `MultiTurnSFTDataset` read, a tool config, and `compute_score`.

    rl/train.parquet    data_source, agent_name, ability, prompt, reward_model.ground_truth, extra_info
    sft/train.parquet   messages, tools (JSON text)
    tools.yaml          search and visit as `BaseTool`s that ask `datagen serve`
    reward.py           compute_score(data_source, solution_str, ground_truth, extra_info)

verl hands `reward_model` to the reward and nothing else; `tools_kwargs`, which tools get, names the task and no more.
Schemas of tools come from `tools.yaml`, not from rows. In SFT rows they are JSON text, because as structs `search` would
gain the arguments of `visit`; `datagen.environment.shims.verl_sft` reads them back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from datasets import Features, List, Value

from datagen.dataset.exports.conversations import (
    MESSAGES,
    PROMPT,
    attempt_messages,
    full,
    prompt_of,
    verified_attempts,
)
from datagen.dataset.exports.reading import ReleaseTables
from datagen.dataset.exports.tools import TOOLS, tools_text
from datagen.dataset.exports.truth import DIFFICULTY, TRUTH, difficulty_of, questions, truth_of
from datagen.dataset.exports.wording import filled
from datagen.dataset.exports.writing import ExportFolder

STRING = Value("string")
KWARGS = {"create_kwargs": {"task_id": STRING}}
RL_ROW = Features(
    {
        "data_source": STRING,
        "agent_name": STRING,
        "ability": STRING,
        "prompt": PROMPT,
        "reward_model": {"style": STRING, "ground_truth": TRUTH},
        "extra_info": {
            "index": Value("int64"),
            "split": STRING,
            "task_id": STRING,
            "recipe": STRING,
            "difficulty": DIFFICULTY,
            "need_tools_kwargs": Value("bool"),
            "tools_kwargs": {"search": KWARGS, "visit": KWARGS},
            "tool_selection": List(STRING),
        },
    }
)
SFT_ROW = Features({"messages": MESSAGES, "tools": STRING, "task_id": STRING, "trajectory_id": STRING})


def write(folder: ExportFolder, *, name: str) -> None:
    release = folder.release
    for split in release.splits("questions"):
        folder.table(f"rl/{split}.parquet", RL_ROW, rl_rows(release, split, name))
    for split in release.splits("trajectories"):
        folder.table(f"sft/{split}.parquet", SFT_ROW, sft_rows(release, split))
    folder.text("tools.yaml", filled("verl_tools.yaml", tools=TOOLS))
    folder.text("reward.py", filled("verl_reward.py"))
    folder.text("README.md", filled("verl.md", rows=folder.rows, snapshot=release.snapshot))


def rl_rows(release: ReleaseTables, split: str, name: str) -> Iterator[dict[str, Any]]:
    for index, row in enumerate(questions(release, split)):
        kwargs = {"create_kwargs": {"task_id": row["id"]}}
        yield {
            "data_source": f"{name}/{row['recipe']}",
            "agent_name": "tool_agent",
            "ability": "search",
            "prompt": prompt_of(row["question"]),
            "reward_model": {"style": "rule", "ground_truth": truth_of(row)},
            "extra_info": {
                "index": index,
                "split": split,
                "task_id": row["id"],
                "recipe": row["recipe"],
                "difficulty": difficulty_of(row),
                "need_tools_kwargs": True,
                "tools_kwargs": {"search": kwargs, "visit": kwargs},
                "tool_selection": ["search", "visit"],
            },
        }


def sft_rows(release: ReleaseTables, split: str) -> Iterator[dict[str, Any]]:
    tools = tools_text()
    for row in verified_attempts(release, split):
        messages = full(attempt_messages(row))
        yield {"messages": messages, "tools": tools, "task_id": row["question_id"], "trajectory_id": row["id"]}
