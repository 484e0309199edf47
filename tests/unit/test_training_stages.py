"""What one stage takes over from the one before."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from datagen import storage
from datagen.training.checkpoints import STATE_NAME
from datagen.training.course import DONE_NAME, StageFolder
from datagen.training.replay import ReplaySettings, ReplayStore
from datagen.training.rollout import Rollout, Sampled
from datagen.training.stages import _carry
from datagen.training.state_files import write_state

torch.set_num_threads(1)


def success(question: str, **rewards: float | None) -> Rollout:
    ids = np.arange(6)
    part = Sampled(ids, ids > 2, np.zeros(6, np.float32))
    return Rollout(question, f"{question}/0", (part,), 1.0, True, "answered", rewards=rewards)


def left_by(folder: Path, *kept: Rollout) -> StageFolder:
    """A stage that is over, and what its store held."""
    store = ReplayStore()
    store.keep(kept)
    stage = StageFolder(folder)
    (stage.checkpoints / "last").mkdir(parents=True)
    write_state(stage.checkpoints / "last", STATE_NAME, {"parts": {"replay": store.state_dict()}})
    storage.write_json(str(folder / DONE_NAME), {"checkpoint": "last"})
    return stage


def carried(left: StageFolder, reward: str, *, before: str, **settings) -> dict[str, float | None]:
    store = ReplayStore(ReplaySettings(**settings))
    _carry(store, left, reward, before=before)
    state = store.state_dict()
    assert store.bytes == 13 * len(state["input_ids"])
    return {entry["question_id"]: entry["reward"] for entry in state["kept"]}


def test_successes_come_along_with_their_reward_under_the_form_of_the_new_stage(tmp_path):
    left = left_by(tmp_path, success("a", fathom=1.0, fathom_steps=0.7), success("b", fathom=1.0, fathom_steps=None))

    # Nobody could tell what b is worth under the new form, so it is no success of the new stage.
    assert carried(left, "step", before="vanilla") == {"a": 0.7}
    assert carried(left, "vanilla", before="vanilla") == {"a": 1.0, "b": 1.0}


def test_a_success_that_is_none_under_the_new_form_stays_behind(tmp_path):
    left = left_by(tmp_path, success("a", fathom_steps=0.7), success("b", fathom_steps=0.4))

    assert carried(left, "step", before="vanilla", success="reward") == {"a": 0.7}


@pytest.mark.parametrize(("before", "kept"), [("mine:worth", {"a": 1.0}), ("vanilla", {})])
def test_a_function_of_ones_own_takes_over_what_it_gave_itself(tmp_path, before, kept):
    assert carried(left_by(tmp_path, success("a", fathom=1.0)), "mine:worth", before=before) == kept


def test_a_stage_without_replay_leaves_nothing(tmp_path):
    left = left_by(tmp_path, dataclasses.replace(success("a"), reward=None, correct=None))
    write_state(left.checkpoints / "last", STATE_NAME, {"parts": {}})

    assert carried(left, "step", before="vanilla") == {}
