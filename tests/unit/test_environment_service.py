"""What is counted, what is graded, and what never leaves."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.league_tasks import IDS, RIGHT, league_bank, league_core

from datagen.agents.budget import Budget
from datagen.environment.episodes import EpisodeTable
from datagen.environment.service import FAULTS, Service, ServiceSettings
from datagen.environment.tasks import TaskBank

TASK = IDS["club by ground"]
CORE, BANK = league_core(), league_bank()
SMALL = st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.lists(st.integers(), max_size=2)
KEYS = ["query", "top_k", "url", "offset", "goal", "max_chars", "episode", "queries", "topk", "return_scores", "split", "index",
        "task_id", "searches", "visits", "answer", "x"]  # fmt: skip


@pytest.fixture
def service(tmp_path) -> Service:
    table = EpisodeTable.create(tmp_path / "episodes", slots=64)
    return Service(CORE, table, BANK, ServiceSettings(Budget(3, 2)))


def begin(service, **asked) -> str:
    return service.reset({"task_id": TASK} | asked)["episode"]


def test_a_call_that_does_not_fit_costs_nothing_and_one_that_finds_nothing_does(service):
    episode = begin(service)

    assert service.search({"query": "", "episode": episode})["error"] == "bad_arguments"
    assert service.search({"query": "x", "limit": 3, "episode": episode})["error"] == "bad_arguments"
    assert service.visit({"url": "https://nowhere.example/", "episode": episode})["error"] == "not_found"
    held = service.episode({"episode": episode})

    assert (held["searches"], held["visits"]) == (0, 1)


def test_the_budget_ends_each_tool_by_itself(service):
    episode = begin(service)

    codes = [service.search({"query": "club", "episode": episode}).get("error") for _ in range(4)]
    assert codes == [None, None, None, "budget_spent"]
    assert "results" not in service.search({"query": "club", "episode": episode})
    assert service.visit({"url": "https://nowhere.example/", "episode": episode})["error"] == "not_found"


def test_an_episode_may_ask_for_less_than_the_server_gives_and_not_for_more(service):
    assert service.reset({"searches": 1, "visits": 0})["budget"] == {"searches": 1, "visits": 0}
    assert service.reset({"searches": 4})["error"] == service.reset({"visits": True})["error"] == "bad_arguments"


def test_without_an_episode_nothing_is_answered_unless_the_server_is_open(tmp_path, service):
    table = EpisodeTable.create(tmp_path / "open", slots=8)
    open_one = Service(CORE, table, BANK, ServiceSettings(open_to_all=True))

    assert service.search({"query": "club"})["error"] == "episode_required"
    assert "results" in open_one.search({"query": "club"})
    assert open_one.search({"query": "club", "episode": "made-up"})["error"] == "unknown_episode"


def test_each_query_of_a_batch_is_a_search_and_a_batch_that_passes_the_budget_is_refused_without_cost(service):
    episode = begin(service)

    assert service.retrieve({"queries": ["a", "b"], "episode": episode}) == ["a", "b"]
    assert service.retrieve({"queries": ["c", "d"], "episode": episode})["error"] == "budget_spent"
    assert service.episode({"episode": episode})["searches"] == 2
    assert service.retrieve({"query": "c", "episode": episode}) == ["c"]
    assert (
        service.retrieve({})["error"] == service.retrieve({"query": "a", "queries": ["a"]})["error"] == "bad_arguments"
    )


def test_an_answer_is_graded_once_and_a_second_try_learns_nothing(service):
    episode = begin(service)

    assert service.reward({"episode": episode, "answer": "No such club"})["reward"] == 0.0
    assert service.reward({"episode": episode, "answer": RIGHT})["error"] == "episode_graded"
    assert service.reward({"episode": begin(service), "answer": RIGHT})["reward"] == 1.0
    assert service.reward({"episode": begin(service), "answer": None})["reward"] == 0.0
    assert service.reward({"episode": begin(service), "answer": f"{'x ' * 300}{RIGHT}"})["reward"] == 0.0


def test_what_does_not_fit_leaves_the_one_grading_unspent(service):
    episode = begin(service)

    assert service.reward({"episode": episode, "answer": 5})["error"] == "bad_arguments"
    assert service.reward({"episode": episode, "answer": RIGHT})["reward"] == 1.0
    assert service.reward({"episode": service.reset({})["episode"], "answer": RIGHT})["error"] == "no_tasks"


def test_tasks_are_named_by_id_or_by_place(service):
    by_id = service.reset({"task_id": TASK})["task"]

    assert service.reset({"split": by_id["split"], "index": by_id["index"]})["task"] == by_id
    assert service.reset({"split": "train", "index": 10**6})["error"] == "unknown_task"
    assert service.reset({"task_id": "qa1-x"})["error"] == "unknown_task"
    assert service.reset({"split": "train"})["error"] == "bad_arguments"
    assert service.list_tasks("nix")["error"] == "unknown_task"
    assert service.list_tasks("train", 0, 10**6)["error"] == "bad_arguments"


def test_no_answer_alias_or_key_is_in_anything_that_is_said_about_tasks(service):
    said = [service.list_tasks()] + [service.list_tasks(split, 0, 1_000) for split in BANK.splits]
    for number in range(len(BANK)):
        public = BANK.public(number)
        said.append(service.reset({"task_id": public["id"]}))
        said.append(service.episode({"episode": said[-1]["episode"]}))
        said.append(service.reward({"episode": said[-2]["episode"], "answer": "wrong"}))
        assert set(public) == {"id", "split", "index", "question", "recipe"}

    text = json.dumps(said, ensure_ascii=False).casefold()
    for number in range(len(BANK)):
        answer = BANK.answer(number)
        for form in {answer.text, answer.canonical, *answer.aliases, answer.key or answer.text}:
            # A question may state a year or a name that is another one's answer; nothing but its words may.
            allowed = sum(BANK.public(n)["question"].casefold().count(form.casefold()) for n in range(len(BANK)))
            assert text.count(form.casefold()) == 0 or allowed, form


@given(st.dictionaries(st.sampled_from(KEYS), SMALL, max_size=5))
@settings(deadline=None)
def test_whatever_object_a_client_sends_it_gets_an_object_back(shared, raw):
    for call in (shared.search, shared.visit, shared.retrieve, shared.reset, shared.reward, shared.episode):
        result = call(raw)
        if isinstance(result, dict) and "error" in result:
            assert result["error"] in FAULTS | {"bad_arguments", "not_found"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Service:
    table = EpisodeTable.create(tmp_path_factory.mktemp("shared") / "episodes", slots=64)
    return Service(CORE, table, BANK, ServiceSettings(open_to_all=True))


def test_a_bank_numbers_its_tasks_over_all_splits():
    rows = {"train": [ROW | {"id": "a"}, ROW | {"id": "b"}], "test": [ROW | {"id": "c"}], "validation": []}
    bank = TaskBank.of_rows(rows)

    assert bank.splits == {"train": 2, "test": 1}
    assert [bank.public(n)["id"] for n in range(3)] == ["a", "b", "c"]
    assert (bank.number("test", 0), bank.number("test", 1), bank.number("train", -1)) == (2, None, None)
    assert bank.public(2)["split"] == "test"
    assert [bank.grade(0, text).reward for text in ("1901", "founded in 1902", None)] == [1.0, 0.0, 0.0]


ROW = {
    "question": "In which year?", "recipe": "infoseek", "answer": "1901", "answer_type": "date", "answer_aliases": [],
    "answer_canonical": "1901", "answer_entity": None, "answer_entity_type": None, "answer_unit": "",
}  # fmt: skip
