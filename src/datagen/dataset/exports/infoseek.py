"""InfoSeek: its research trees, question-answer pairs, conversations, and RL rows (spec infoseek_webexplorer §1.9).

    data/InfoSeek-train.jsonl      root, all_tree_list, vertices, question_id      with --snapshot
    data/InfoSeekQA-train.jsonl    question, answer, question_id
    data/Trajectory-RFT-train.jsonl    conversation, question_id; the last assistant message holds the whole run
    rl/train.parquet               prompt, data_source, reward_model.ground_truth.target, extra_info.index

Conversations are verified attempts in InfoSeek's tags, which its trainer masks by: what stands in <information> has no loss.
A formula does not name its inner entities. Their names and addresses are found on the snapshot, so trees need one. The
root's question is the final one; earlier states of a tree are not kept, so `all_tree_list` holds it alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datasets import Features, List, Value

from datagen.dataset.exports.conversations import PROMPT, verified_attempts
from datagen.dataset.exports.infoseek_trees import count_nodes, tree_of
from datagen.dataset.exports.reading import ReleaseTables
from datagen.dataset.exports.truth import questions, truth_of
from datagen.dataset.exports.wording import filled
from datagen.dataset.exports.writing import ExportFolder
from datagen.dataset.quality.widths import open_graph
from datagen.errors import ExportError
from datagen.knowledge.graph import FactGraph
from datagen.records.trajectory_rows import events_of
from datagen.rollouts.dialects import DIALECTS
from datagen.web.snapshot import Snapshot

DIALECT = DIALECTS["infoseek"]
OPTIONS = frozenset({"snapshot"})
STRING = Value("string")
RL_ROW = Features(
    {
        "data_source": STRING,
        "prompt": PROMPT,
        "ability": STRING,
        "reward_model": {"style": STRING, "ground_truth": {"target": List(STRING)}},
        "extra_info": {"index": Value("int64"), "split": STRING, "task_id": STRING},
    }
)


def write(folder: ExportFolder, *, name: str, snapshot: Path | None = None) -> None:
    release = folder.release
    graph = None if snapshot is None else _graph(release, snapshot)
    for split in release.splits("questions"):
        folder.lines(f"data/InfoSeekQA-{split}.jsonl", qa_rows(release, split))
        folder.table(f"rl/{split}.parquet", RL_ROW, rl_rows(release, split, name))
        if graph is not None:
            folder.lines(f"data/InfoSeek-{split}.jsonl", tree_rows(release, split, graph))
    for split in release.splits("trajectories"):
        folder.lines(f"data/Trajectory-RFT-{split}.jsonl", conversation_rows(release, split))
    folder.text("README.md", filled("infoseek.md", name=name, rows=folder.rows, snapshot=release.snapshot))


def tree_rows(release: ReleaseTables, split: str, graph: FactGraph) -> Iterator[dict[str, Any]]:
    for row in questions(release, split, "tree", "certificate"):
        tree = tree_of(row, graph)
        if tree is not None:
            yield {"root": tree, "all_tree_list": [tree], "vertices": count_nodes(tree), "question_id": row["id"]}


def qa_rows(release: ReleaseTables, split: str) -> Iterator[dict[str, Any]]:
    for row in questions(release, split):
        yield {"question": row["question"], "answer": row["answer"], "question_id": row["id"]}


def conversation_rows(release: ReleaseTables, split: str) -> Iterator[dict[str, Any]]:
    for row in verified_attempts(release, split):
        messages = DIALECT.render(row["question"], events_of(row["events"])).messages
        yield {"conversation": [dict(message) for message in messages], "question_id": row["question_id"]}


def rl_rows(release: ReleaseTables, split: str, name: str) -> Iterator[dict[str, Any]]:
    for index, row in enumerate(questions(release, split)):
        yield {
            "data_source": name,
            "prompt": [dict(message) for message in DIALECT.render(row["question"], ()).messages[:2]],
            "ability": "fact-reasoning",
            "reward_model": {"style": "rule", "ground_truth": {"target": truth_of(row)["target"]}},
            "extra_info": {"index": index, "split": split, "task_id": row["id"]},
        }


def _graph(release: ReleaseTables, folder: Path) -> FactGraph:
    snapshot = Snapshot.open(folder)
    if release.snapshot and snapshot.digest != release.snapshot:
        raise ExportError(
            f"{folder} is snapshot {snapshot.digest}, and the release was made from {release.snapshot}; pass that one."
        )
    return open_graph(snapshot)
