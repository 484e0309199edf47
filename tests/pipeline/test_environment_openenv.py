"""The environment as OpenEnv serves it, in OpenEnv's environment: tasks over HTTP, episodes over WebSockets."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tests.pipeline.served_environment import consume, consumer_python, surroundings

from datagen.agents.toolbox import hits_to_json
from datagen.environment.tasks import TaskBank
from datagen.web.snapshot import Snapshot
from datagen.web.snapshot_web import SnapshotWeb

pytestmark = pytest.mark.pipeline
WRONG = "Nobody At All"
STARTING_SECONDS = 60


@contextmanager
def openenv(snapshot: Path, release: Path, log: Path) -> Iterator[str]:
    """The application under uvicorn, in the consumer's environment."""
    python = consumer_python("openenv")
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    command = [python, "-m", "uvicorn", "--factory", "datagen.environment.openenv:app", "--port", str(port)]
    folders = surroundings(DATAGEN_SNAPSHOT=str(snapshot), DATAGEN_RELEASE=str(release))
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out, env=folders) as server:
        try:
            address = f"http://127.0.0.1:{port}"
            until = time.monotonic() + STARTING_SECONDS
            while not answers(address):
                assert server.poll() is None, log.read_text()[-4000:]
                assert time.monotonic() < until, log.read_text()[-4000:]
                time.sleep(0.1)
            yield address
        finally:
            server.terminate()


def answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def bank(small_release) -> TaskBank:
    return TaskBank.open(small_release)


@pytest.fixture(scope="module")
def seen(small_web, small_release, bank, tmp_path_factory) -> dict:
    """What OpenEnv's clients saw of one server."""
    with openenv(small_web, small_release, tmp_path_factory.mktemp("openenv") / "log") as address:
        return consume("openenv", "openenv_episode.py", address, key(bank), WRONG)


def key(bank: TaskBank) -> str:
    return bank.answer(bank.number("train", 0)).text


def test_tasks_are_listed_without_their_answers(seen, bank):
    tasks = seen["tasks"]

    assert tasks["splits"] == list(bank.splits)
    assert tasks["num_tasks"] == bank.splits["train"]
    assert tasks["task"] == bank.public(0)
    assert tasks["range"] == 3
    assert (tasks["past_the_end"], tasks["no_such_split"]) == (400, 400)
    assert key(bank) not in json.dumps(tasks)


def test_an_episode_shows_the_question_and_the_same_results_as_everywhere(seen, small_web, bank):
    right = seen["right"]
    web = SnapshotWeb(Snapshot.open(small_web))

    assert right["begun"]["metadata"]["question"] == bank.public(0)["question"]
    assert right["tools"] == ["answer", "search", "visit"]
    assert right["results"][1] == hits_to_json(web.search("river", 2))


def test_mistakes_are_results_with_a_code(seen):
    codes = [json.loads(result or "{}").get("error") for result in seen["right"]["results"]]

    assert codes == [None, None, "bad_arguments", "unknown_tool", None, "episode_over"]


def test_the_reward_stands_beside_the_answer_and_the_policy_is_not_told(seen):
    right, wrong = seen["right"], seen["wrong"]

    assert right["rewards"] == [None, None, None, None, 1.0, None]
    assert wrong["rewards"] == [None, None, None, None, 0.0, None]
    assert right["done"] == [False, False, False, False, True, True]
    assert right["results"] == wrong["results"]


def test_the_key_never_comes_over_the_wire(seen, bank):
    assert key(bank) not in json.dumps([seen["tasks"], seen["wrong"], seen["right"], seen["mcp"]])


def test_without_a_task_the_seed_chooses(seen, bank):
    assert seen["chosen"] == [0, 2 % bank.splits["train"], 1]


def test_sessions_beside_one_another_have_episodes_of_their_own(seen):
    assert seen["many"] == 16


def test_over_its_mcp_route_the_tools_say_that_no_task_was_begun(seen):
    assert seen["mcp"]["tools"] == ["answer", "search", "visit"]
    assert "no_episode" in json.dumps(seen["mcp"]["said"])
