"""Trainers on other machines reach a running `datagen serve`: what a policy may see comes back, the rest is raised."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.pipeline.served_environment import served

from datagen.environment.shims.remote import RemoteTools
from datagen.environment.shims.text_episode import TextEpisode
from datagen.errors import ConfigError, ConnectionLostError, InvalidRequestError

pytestmark = pytest.mark.pipeline
TRUTH = {"target": ["Nobody"], "type": "entity", "canonical": "Nobody", "unit": ""}


@pytest.fixture(scope="module")
def address(small_web):
    with served(small_web, "--searches", "4") as url:
        yield url


def call(name: str, **arguments: object) -> str:
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


def test_a_rollout_searches_reads_and_ends(address):
    episode = TextEpisode(RemoteTools(address), TRUTH)

    found = json.loads(episode.step(call("search", query="register of towns", top_k=2)).results[0])
    page = json.loads(episode.step(call("visit", url=found["results"][0]["url"])).results[0])
    unknown, mistaken = episode.step(call("open", url="x") + call("search", words="x")).results

    assert page["title"] == found["results"][0]["title"]
    assert json.loads(unknown)["error"] == "unknown_tool"
    assert json.loads(mistaken)["error"] == "bad_arguments"
    assert episode.step("Nobody").score == 1.0


def test_calls_are_counted_by_episode_from_any_thread(address):
    tools = RemoteTools(address)
    handle = tools.begin()

    with ThreadPoolExecutor(4) as pool:
        texts = list(pool.map(lambda n: tools.call(handle, "search", {"query": f"town {n}"}), range(6)))

    assert sorted("error" in json.loads(text) for text in texts) == [False] * 4 + [True] * 2
    assert "results" in json.loads(tools.call(tools.begin(), "search", {"query": "town"}))


def test_a_fault_of_the_trainer_is_raised_and_not_shown_to_the_policy(address):
    with pytest.raises(InvalidRequestError, match="unknown_episode"):
        RemoteTools(address).call("made up", "search", {"query": "town"})


def test_an_argument_of_a_policy_cannot_name_another_episode(address):
    tools = RemoteTools(address)

    assert "results" in json.loads(tools.call(tools.begin(), "search", {"query": "town", "episode": "made up"}))


def test_a_server_that_is_not_there_is_no_wrong_answer():
    with pytest.raises(ConnectionLostError, match="datagen serve"):
        RemoteTools("http://127.0.0.1:1").begin()
    with pytest.raises(ConfigError, match="no address of a server"):
        RemoteTools("127.0.0.1").begin()


def test_the_address_and_the_token_come_from_the_environment(small_web, monkeypatch):
    with served(small_web, "--token-env", "SERVED_TOKEN", env={"SERVED_TOKEN": "a-token-of-many-characters"}) as url:
        monkeypatch.setenv("DATAGEN_URL", url)
        with pytest.raises(InvalidRequestError, match="401"):
            RemoteTools.from_environment().begin()
        monkeypatch.setenv("DATAGEN_TOKEN", "a-token-of-many-characters")
        tools = RemoteTools.from_environment()

        assert tools.begin()
        assert "a-token-of-many-characters" not in repr(tools)
