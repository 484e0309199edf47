"""The taskset in verifiers' own environment: tasks and keys, written traces scored, whole rollouts by its runner."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from tests.pipeline.served_environment import ROOT, consume, served

from datagen.agents.toolbox import hits_to_json
from datagen.environment.tasks import TaskBank
from datagen.web.snapshot import Snapshot
from datagen.web.snapshot_web import SnapshotWeb

pytestmark = pytest.mark.pipeline
WRONG = "Nobody At All"


@pytest.fixture(scope="module")
def bank(small_release) -> TaskBank:
    return TaskBank.open(small_release)


@pytest.fixture(scope="module")
def seen(small_web, small_release, bank, tmp_path_factory) -> dict:
    """What verifiers made of the taskset and of the package that is exported, with a server for the tools."""
    package = tmp_path_factory.mktemp("export") / "package"
    command = [sys.executable, "-m", "datagen.cli", "export", small_release, "--to", "verifiers", "--out", package]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    key = bank.answer(bank.number("train", 0)).text
    paths = f"{ROOT / 'src'}:{package}"
    with served(small_web, "--mcp", "--open") as address:
        given = (small_release, f"{address}/mcp", key, WRONG, "datagen-search")
        return consume("verifiers", "verifiers_taskset.py", *given, PYTHONPATH=paths)


def test_every_question_is_a_task_under_its_own_id(seen, bank):
    count = bank.splits["train"]
    ids = [bank.public(number)["id"] for number in range(count)]
    tasks = seen["tasks"]

    assert tasks["keys"] == ids
    assert tasks["idx"] == list(range(count))
    assert tasks["hashes"] == count
    assert tasks["stable"]
    assert tasks["chosen"] == [ids[2]]
    assert tasks["shuffled"]


def test_a_task_carries_the_question_and_nothing_of_the_answer(seen, bank):
    data = seen["tasks"]["data"]
    answer = bank.answer(0)

    assert data["prompt"] == bank.public(0)["question"]
    assert not any(form in json.dumps(data) for form in (answer.text, answer.canonical, *answer.aliases))
    assert not any(score["leaked"] for score in seen["scores"].values())


def test_a_written_trace_is_worth_what_its_last_message_says(seen):
    rewards = {name: score["reward"] for name, score in seen["scores"].items()}

    assert rewards == {name: float(name in ("right", "after a thought")) for name in rewards}


def test_metrics_count_the_calls_and_whether_there_was_an_answer(seen):
    assert seen["scores"]["right"]["metrics"] == {"answered": 1.0, "searches": 1.0, "visits": 0.0}
    assert seen["scores"]["unfinished"]["metrics"] == {"answered": 0.0, "searches": 1.0, "visits": 0.0}
    assert seen["scores"]["silent"]["metrics"] == {"answered": 0.0, "searches": 0.0, "visits": 0.0}


def test_a_whole_rollout_of_the_exported_package_uses_our_tools_and_our_reward(seen, small_web, bank):
    right, wrong = seen["rollouts"]
    web = SnapshotWeb(Snapshot.open(small_web))

    assert (right["errors"], right["ok"], right["reward"]) == ([], True, 1.0)
    assert (wrong["errors"], wrong["ok"], wrong["reward"]) == ([], True, 0.0)
    assert right["key"] == bank.public(0)["id"]
    assert right["tools"] == ["search", "visit"]
    assert right["metrics"] == {"answered": 1.0, "searches": 1.0, "visits": 1.0}
    assert right["results"][0] == hits_to_json(web.search("river", 2))
