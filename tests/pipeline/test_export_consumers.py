"""Exports are loaded by those who read them: verl's datasets, tools and reward loading, TRL's trainers, verifiers' loader."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.pipeline.served_environment import consume, served

from datagen import storage
from datagen.dataset.exports import export
from datagen.dataset.exports.reading import ReleaseTables
from datagen.dataset.exports.tools import TOOLS
from datagen.dataset.exports.truth import questions

pytestmark = pytest.mark.pipeline


@pytest.fixture(scope="module")
def exported(small_release, tmp_path_factory):
    """`exported("trl")`: the small release as that trainer reads it."""

    def make(target: str) -> Path:
        folder = tmp_path_factory.mktemp("exports") / target
        return export(small_release, target, folder).folder

    return make


def table(folder: Path, name: str) -> list[dict]:
    return storage.read_parquet(folder / name).to_pylist()


# --- verl -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def verl(exported, small_web):
    """The export, and what verl made of it."""
    folder = exported("verl")
    with served(small_web) as address:
        return folder, consume("verl", "verl_reads.py", folder, address)


def test_verl_reads_every_question_and_hands_tools_the_task_alone(verl):
    folder, found = verl
    rows = table(folder, "rl/train.parquet")
    first = found["rollouts"]["first"]

    assert found["rollouts"]["rows"] == len(rows)
    assert first["raw_prompt"] == rows[0]["prompt"]
    assert first["agent_name"] == "tool_agent"
    assert first["tools_kwargs"] == rows[0]["extra_info"]["tools_kwargs"]


def test_verl_shows_the_tools_of_the_conversations_and_measures_prompts_with_them(verl):
    folder, found = verl

    assert found["rollouts"]["tool_schemas"] == list(TOOLS)
    assert json.loads(table(folder, "sft/train.parquet")[0]["tools"]) == list(TOOLS)
    assert found["rollouts"]["dropped_by_a_short_limit"] == found["rollouts"]["rows"]


def test_verl_finds_the_reward_and_it_tells_right_from_wrong(verl):
    _, found = verl
    count = found["rollouts"]["rows"]

    assert found["rewards"] == {
        "right": [1.0] * count,
        "wrong": [0.0] * count,
        "only in a result": [0.0] * count,
        "no answer": [0.0] * count,
    }


def test_verl_takes_the_loss_on_what_the_model_wrote(verl):
    folder, found = verl
    seen = found["conversations"]

    assert seen["rows"] == len(table(folder, "sft/train.parquet"))
    turns = [part for part in seen["trained"].split("<|im_end|>") if part.strip()]
    assert len(turns) == len(seen["written"])
    for turn, message in zip(turns, seen["written"], strict=True):
        assert turn.strip().startswith(message["content"])
        for call in message["tool_calls"] or ():
            assert json.dumps(json.loads(call["function"]["arguments"]), ensure_ascii=False) in turn
    assert "<tool_response>" in seen["whole"]
    assert "<tool_response>" not in seen["trained"]
    assert '"name": "visit"' in seen["whole"].partition("<|im_start|>user")[0]


def test_verls_tools_ask_the_server_within_one_episode(verl):
    _, found = verl
    first, second, page, missing, mistaken = found["calls"]["results"]

    assert len(first["results"]) == 2
    assert len(second["results"]) == 8
    assert page["url"] == first["results"][0]["url"]
    assert missing["error"] == "not_found"
    assert mistaken["error"] == "bad_arguments"


# --- TRL --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trl(exported, small_web, small_release, tmp_path_factory):
    """The export, and what its train.py did with TRL."""
    folder = exported("trl")
    return folder, consume("trl", "trl_trains.py", folder, small_web, small_release, tmp_path_factory.mktemp("trained"))


def losses(run: dict) -> list[float]:
    return [entry["loss"] for entry in run["log"] if "loss" in entry]


def test_trl_learns_from_the_conversations(trl):
    _, found = trl

    assert len(losses(found["sft"])) == 20
    assert losses(found["sft"])[-1] < 0.9 * losses(found["sft"])[0]


def test_trl_trains_on_the_pairs(trl):
    _, found = trl

    assert len(losses(found["dpo"])) == 3
    assert losses(found["dpo"])[0] == pytest.approx(0.6931, abs=1e-3)


def test_trl_rolls_out_in_our_environment_and_its_policy_calls_the_tools(trl):
    _, found = trl
    steps = [entry for entry in found["grpo"]["log"] if "loss" in entry]

    assert len(steps) == 3
    assert all(step["tools/call_frequency"] > 0 for step in steps)
    assert all(step["tools/failure_frequency"] == 0 for step in steps)
    assert all(step["rewards/answer_reward/mean"] is not None for step in steps)


def test_trl_reads_off_the_environment_the_tools_that_conversations_carry(trl):
    folder, found = trl

    assert json.loads(table(folder, "sft/train.parquet")[0]["tools"]) == found["tools"]


def test_every_template_of_trl_that_knows_tools_prints_calls_once_and_leaves_results_out_of_the_loss(trl):
    _, found = trl

    assert len(found["templates"]) >= 8
    for name, seen in found["templates"].items():
        assert seen == {"calls": True, "encoded_twice": False, "nulls": False, "answer": True, "results": False}, name


def test_rows_that_reach_reset_hold_no_answer(trl, small_release):
    folder, found = trl
    answers = {row["id"]: row for row in questions(ReleaseTables.open(small_release), "train")}

    assert set(found["rl_columns"]) == {"prompt", "task_id", "split", "recipe", "difficulty"}
    for row in table(folder, "rl/train.parquet"):
        text = json.dumps(row, ensure_ascii=False)
        known = answers[row["task_id"]]
        assert all(form not in text for form in (known["answer"], *known["answer_aliases"]))


# --- verifiers --------------------------------------------------------------------------------------------------------


def test_verifiers_loads_the_package_by_its_id_and_grades_with_it(exported, small_release):
    rows = {row["id"]: row for row in questions(ReleaseTables.open(small_release), "train")}
    answers = {key: row["answer"] for key, row in rows.items()}

    found = consume("verifiers", "verifiers_loads.py", exported("verifiers"), json.dumps(answers))

    assert found["class"] == "ReleaseTaskset"
    assert found["keys"] == list(answers)
    assert found["toolsets"] == ["SearchToolset"]
    assert found["rewards"] == {"right": [1.0] * len(rows), "wrong": [0.0] * len(rows)}
    assert [data["prompt"] for data in found["data"]] == [row["question"] for row in rows.values()]
    assert all(answers[data["id"]] not in json.dumps(data, ensure_ascii=False) for data in found["data"])


# --- OpenRLHF and SkyRL -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def text_rollouts(exported, small_web):
    with served(small_web) as address:
        return consume("verl", "text_rollouts.py", exported("openrlhf"), exported("skyrl"), address)


def test_openrlhf_runs_a_rollout_turn_by_turn_and_trains_on_the_models_tokens(text_rollouts):
    found = text_rollouts["openrlhf"]
    right = found["right"]

    assert (right["reward"], right["scores"], found["wrong"]["reward"]) == (1.0, 1.0, 0.0)
    assert found["prompt"].endswith("<|im_start|>assistant\n")
    assert len(right["trained"]) == 3
    assert all("<tool_response>" not in text for text in right["trained"])
    assert right["text"].count("<tool_response>") == 3
    assert "<|im_end|><|im_end|>" not in right["text"]
    assert "".join(right["trained"]) != right["text"]


def test_skyrl_makes_the_environment_by_its_id_and_steps_it_to_a_reward(text_rollouts):
    found = text_rollouts["skyrl"]

    assert found["env_class"] == "datagen_search"
    assert [step["done"] for step in found["right"]["steps"]] == [False, False, True]
    assert [step["reward"] for step in found["right"]["steps"]] == [0.0, 0.0, 1.0]
    assert found["wrong"]["steps"][-1] == {
        "reward": 0.0,
        "done": True,
        "metadata": {"correct": False, "answered": True},
    }
    assert found["right"]["shown"][0].count("<tool_response>") == 2
