"""The environment as a class for TRL: what becomes a tool, what an episode may do, and that the key stays inside."""

from __future__ import annotations

import inspect
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.league_tasks import IDS, RIGHT, league_bank, league_core
from tests.unit.practice_league import league_web, words

from datagen.agents.budget import Budget
from datagen.agents.toolbox import hits_to_json, window_to_json
from datagen.environment.local import (
    EnvironmentFactory,
    EnvironmentSettings,
    SearchEnvironment,
    TextSearchEnvironment,
    answer_reward,
    stated_answer,
)
from datagen.errors import ConfigError

TASK = IDS["club by ground"]
CORE, BANK = league_core(), league_bank()


def begun(kind=SearchEnvironment, *, searches: int = 40, visits: int = 120):
    environment = kind(CORE, BANK, Budget(searches, visits))
    environment.reset(task_id=TASK)
    return environment


def code(text: str) -> str | None:
    return json.loads(text).get("error")


def tools_of(kind) -> set[str]:
    """Public methods of the class but `reset` and `get_reward`, which is how TRL finds tools."""
    found = (name for name, _ in inspect.getmembers(kind, predicate=inspect.isfunction))
    return {name for name in found if not name.startswith("_")} - {"reset", "get_reward"}


def test_tools_are_search_visit_and_answer_and_without_an_answer_tool_there_is_no_reward():
    assert tools_of(SearchEnvironment) == {"search", "visit", "answer"}
    assert tools_of(TextSearchEnvironment) == {"search", "visit"}
    assert not hasattr(TextSearchEnvironment, "get_reward")


@pytest.mark.parametrize("name", ["search", "visit", "answer"])
def test_every_argument_of_a_tool_is_typed_and_described(name):
    method = getattr(SearchEnvironment, name)
    described = inspect.getdoc(method).partition("Args:")[2]
    parameters = [p for p in inspect.signature(method).parameters.values() if p.name != "self"]

    assert parameters
    assert all(p.annotation in ("str", "int") and f"{p.name}: " in described for p in parameters)


def test_results_are_those_of_the_toolbox_to_the_letter():
    environment, web = begun(), league_web()

    assert environment.search("club northern league", top_k=3) == hits_to_json(web.search("club northern league", 3))
    url = web.search("Harlan Rovers", 1)[0].url
    assert environment.visit(url) == window_to_json(web.visit(url))
    assert code(environment.visit("https://nowhere.example/")) == "not_found"


def test_the_question_is_returned_unless_the_prompt_says_it():
    environment, question = begun(), words("club by ground")

    assert environment.reset(task_id=TASK, prompt=[{"role": "user", "content": "Answer this: "}]) == question
    assert environment.reset(task_id=TASK) == question
    assert environment.reset(task_id=TASK, prompt=[{"role": "user", "content": f"Answer: {question}"}]) is None
    assert environment.reset(task_id=TASK, prompt=f"Answer: {question}") is None


def test_a_right_answer_earns_one_a_wrong_one_and_none_earn_nothing():
    environment = begun()
    assert environment.get_reward() == 0.0
    assert environment.answer(RIGHT) == '{"answered":true}'
    assert environment.get_reward() == 1.0

    environment.reset(task_id=TASK)
    assert environment.get_reward() == 0.0
    environment.answer("Ost United")
    assert environment.get_reward() == 0.0


def test_the_first_answer_is_the_answer():
    environment = begun()
    environment.answer("Ost United")

    assert code(environment.answer(RIGHT)) == "episode_over"
    assert code(environment.search("anything")) == "episode_over"
    assert environment.get_reward() == 0.0


def test_a_taken_answer_looks_the_same_whether_it_is_right_or_wrong():
    assert begun().answer(RIGHT) == begun().answer("Ost United")


def test_budgets_are_exact_and_mistakes_are_free():
    environment = begun(searches=2, visits=1)
    url = league_web().search("Harlan Rovers", 1)[0].url

    assert code(environment.search("")) == "bad_arguments"
    assert code(environment.search("x", top_k="many")) == "bad_arguments"
    assert [code(environment.search("club")) for _ in range(3)] == [None, None, "budget_spent"]
    assert [code(environment.visit(url)) for _ in range(2)] == [None, "budget_spent"]
    assert "Call `answer` now." in environment.search("club")
    assert code(environment.answer(RIGHT)) is None


def test_a_reset_gives_a_fresh_budget():
    environment = begun(searches=1)
    environment.search("club")
    environment.reset(task_id=TASK)

    assert code(environment.search("club")) is None


def test_tools_before_a_reset_say_so_and_earn_nothing():
    environment = SearchEnvironment(CORE, BANK, Budget())

    assert code(environment.search("club")) == code(environment.answer(RIGHT)) == "no_episode"
    assert environment.get_reward() is None


def test_a_row_of_another_release_is_refused_with_the_next_command():
    with pytest.raises(ConfigError, match="datagen export RELEASE --to trl"):
        begun().reset(task_id="qa1-unknown")


def test_nothing_that_is_public_names_the_key():
    environment = begun(SearchEnvironment)
    public = {name: getattr(environment, name) for name in dir(environment) if not name.startswith("_")}
    seen = [repr(environment), str(environment), repr(public), environment.reset(task_id=TASK)]

    assert set(public) == {"search", "visit", "answer", "get_reward", "reset"}
    assert not any(RIGHT in text or "The Rovers" in text for text in seen)
    assert not hasattr(environment, "__dict__")


def test_what_else_a_row_carries_is_not_kept():
    environment = begun()
    environment.reset(task_id=TASK, answer="Ost United", evidence=["x"], prompt="Go")

    environment.answer("Ost United")
    assert environment.get_reward() == 0.0


def test_a_factory_is_paths_and_settings_and_goes_to_other_processes():
    factory = EnvironmentFactory("snapshot", "release", EnvironmentSettings(final="text"))

    assert pickle.loads(pickle.dumps(factory)) == factory


def test_without_an_answer_tool_the_last_message_of_the_assistant_is_graded():
    says = {
        "alone": [{"role": "assistant", "content": RIGHT}],
        "after thoughts": [{"role": "assistant", "content": f"<think>Ost United?</think>\n{RIGHT}"}],
        "as text": f"I looked.</think> {RIGHT}",
        "wrong": [{"role": "assistant", "content": "Ost United"}],
        "in a thought": [{"role": "assistant", "content": f"<think>{RIGHT}</think> unknown"}],
        "earlier": [{"role": "assistant", "content": RIGHT}, {"role": "assistant", "content": "unknown"}],
        "in a result": [{"role": "assistant", "content": "", "tool_calls": [{}]}, {"role": "tool", "content": RIGHT}],
        "with a call": [{"role": "assistant", "content": RIGHT, "tool_calls": [{"function": {"name": "search"}}]}],
        "an essay": [{"role": "assistant", "content": f"{RIGHT} " * 100}],
        "nothing": [],
    }
    environments = [begun(TextSearchEnvironment) for _ in says]

    rewards = answer_reward(completions=list(says.values()), environments=environments, prompts=[], log_metric=None)

    assert dict(zip(says, rewards, strict=True)) == {
        name: float(name in ("alone", "after thoughts", "as text")) for name in says
    }


@given(st.text(max_size=30), st.one_of(st.integers(), st.none(), st.text(max_size=3)))
def test_nothing_that_a_policy_passes_raises(text, number):
    environment = begun()

    for result in (
        environment.search(text, number),
        environment.visit(text, number),
        environment.visit(number, 0, text),
        environment.answer(number),
        environment.answer(text),
    ):
        json.loads(result)


@given(st.text(max_size=500))
def test_a_stated_answer_is_short_and_stands_behind_the_thoughts(text):
    stated = stated_answer(text)

    assert stated is None or (1 <= len(stated) <= 400 and "</think>" not in stated and stated in text)
