"""The environment as a class, over the folders of a real snapshot and release."""

from __future__ import annotations

import json
import pickle

import pytest

from datagen.agents.budget import Budget
from datagen.agents.symbolic.page_memory import Competence
from datagen.agents.symbolic.topdown import TopDownSolver
from datagen.agents.toolbox import hits_from_json, window_from_json
from datagen.environment.local import EnvironmentSettings, Episode, search_environment
from datagen.environment.tasks import TaskBank
from datagen.errors import PageNotFoundError, ReleaseError, SnapshotError
from datagen.language.parse import Parser
from datagen.web.snapshot import Snapshot

pytestmark = pytest.mark.pipeline
SETTINGS = EnvironmentSettings(Budget(200, 600))


class EnvironmentWeb:
    """A `Web` whose verbs are the tools of an episode."""

    def __init__(self, episode: Episode) -> None:
        self._episode = episode

    def search(self, query: str, top_k: int = 5):
        return hits_from_json(json.loads(self._episode.search(query, top_k)))

    def visit(self, url: str, offset: int = 0):
        raw = json.loads(self._episode.visit(url, offset))
        if raw.get("error") == "not_found":
            raise PageNotFoundError(raw["message"])
        return window_from_json(raw)


def test_a_solver_earns_its_reward_through_the_tools_alone(small_web, small_release):
    catalogue = Snapshot.open(small_web).catalogue()
    solver = TopDownSolver(Competence.of(catalogue, Parser(catalogue)), SETTINGS.budget)
    environment = search_environment(small_web, small_release, SETTINGS)()
    bank = TaskBank.open(small_release)
    rewards = []

    for number in range(3):
        question = environment.reset(task_id=bank.public(number)["id"])
        attempt = solver.solve(question, EnvironmentWeb(environment))
        environment.answer(attempt.answer)
        rewards.append(environment.get_reward())

    assert rewards == [1.0, 1.0, 1.0]


def test_a_process_opens_its_folders_once_however_many_episodes_it_plays(small_web, small_release):
    factory = search_environment(small_web, small_release)
    first, second = factory(), pickle.loads(pickle.dumps(factory))()

    assert first is not second
    assert first._core is second._core
    assert first._bank is second._bank


def test_wrong_folders_are_named_before_anything_is_trained(small_web, small_release, tmp_path):
    with pytest.raises(SnapshotError):
        search_environment(tmp_path, small_release)
    with pytest.raises(ReleaseError, match="is no release"):
        search_environment(small_web, tmp_path)
