"""Rooms with servers: an unfit one is refused before anything is trained, and new weights go the way that the config says."""

from __future__ import annotations

import asyncio
import copy
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from tests.pipeline.training_server import PROMPT, other_model, teacher_forced, tiny_model

from datagen.config.training import EngineConfig
from datagen.errors import ConfigError, EngineError
from datagen.training.engine_room import EngineRoom
from datagen.training.engines.base import Sampling
from datagen.training.engines.practice_model import PracticeModel
from datagen.training.engines.practice_server import running
from datagen.training.framing.compact import MARKS, CompactFraming
from datagen.training.models import tiny_qwen3
from datagen.training.policy_folder import TrainedPolicy
from datagen.training.recording.stream import read_metrics
from datagen.training.running import train
from datagen.training.tokenizer import CompactTokenizer

pytestmark = pytest.mark.pipeline
torch.set_num_threads(1)


def policy() -> TrainedPolicy:
    tokenizer = CompactTokenizer.train(["a town by a river"], size=400, marks=MARKS)
    return TrainedPolicy(copy.deepcopy(tiny_model()), CompactFraming(tokenizer), {})


@contextmanager
def room_for(server, policy, folder, *, sync, **more):
    section = EngineConfig(kind="server", urls=(server.url,), model="base", sync=sync)
    room = EngineRoom.of(section, policy, folder, **more)
    try:
        yield room
    finally:
        room.close()


def become_other(policy: TrainedPolicy) -> None:
    with torch.no_grad():
        for mine, other in zip(policy.model.parameters(), other_model().parameters(), strict=True):
            mine.copy_(other)


@pytest.mark.parametrize(
    ("sync", "route", "unused"),
    [("weights", "/update_weights", "/collective_rpc"), ("reload", "/collective_rpc", "/update_weights")],
)
def test_new_weights_go_the_way_that_the_config_says(tmp_path, sync, route, unused):
    learned = policy()
    with running(PracticeModel(copy.deepcopy(tiny_model()), name="base")) as server:
        with room_for(server, learned, tmp_path, sync=sync) as room:
            room.renew(0)
            become_other(learned)
            room.renew(1)
            completion = room.wait(room.engine.generate(PROMPT, Sampling(6)))
        paths = [call.path for call in server.seen.calls]

    assert completion.version == 1
    expected = teacher_forced(other_model(), PROMPT, completion.token_ids)
    assert torch.allclose(torch.tensor(completion.logprobs), expected, atol=1e-4)
    assert route in paths
    assert unused not in paths


def test_a_server_that_cannot_be_trained_on_is_refused_when_the_room_opens(tmp_path):
    unfit = PracticeModel(tiny_model(), name="base", logprobs_mode="raw_logprobs")
    with (
        running(unfit) as server,
        pytest.raises(ConfigError, match="start it with --logprobs-mode processed_logprobs"),
        room_for(server, policy(), tmp_path, sync="weights"),
    ):
        raise AssertionError("the room has opened")


def test_a_server_that_takes_no_weights_in_this_way_is_refused_when_the_room_opens(tmp_path):
    with running(PracticeModel(tiny_model(), name="base")) as server:
        server.strike("error", path="/init_weight_transfer_engine", times=9)
        with (
            pytest.raises(EngineError, match="init_weight_transfer_engine"),
            room_for(server, policy(), tmp_path, sync="weights"),
        ):
            raise AssertionError("the room has opened")


def test_a_way_that_does_not_fit_the_model_is_refused_and_the_others_are_named(tmp_path):
    with (
        pytest.raises(ConfigError, match='"weights" and "reload" are for those of which all weights are trained'),
        running(PracticeModel(tiny_model(), name="base")) as server,
        room_for(server, policy(), tmp_path, sync="adapter"),
    ):
        raise AssertionError("the room has opened")


def test_no_more_requests_are_under_way_than_the_room_was_opened_for(tmp_path):
    async def asked(engine):
        await asyncio.gather(*(engine.generate(PROMPT, Sampling(2, seed=seed)) for seed in range(8)))

    with running(PracticeModel(tiny_model(), name="base")) as server:
        server.delay_seconds = 0.02
        with room_for(server, policy(), tmp_path, sync="reload", at_once=2) as room:
            room.wait(asked(room.engine))

        assert server.seen.most_at_once == 2


def test_a_training_whose_servers_run_ahead_says_how_long_it_waited_and_how_old_attempts_were(
    tiny_training, tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))  # the config names a function in `training_rewards`
    served = tiny_qwen3(400, layers=2, hidden=32, heads=2, ffn=48, positions=1024, seed=7)
    with running(PracticeModel(served.eval(), name="base")) as server:
        train(
            tiny_training(
                "training.sft=none",
                "training.rl.updates=3",
                "training.rl.minibatches=1",
                "training.rl.staleness=1",
                "training.evaluation.final_modes=[]",
                "training.evaluation.every=0",
                f'training.engine={{kind = "server", urls = ["{server.url}"], model = "base", sync = "weights"}}',
            ),
            quiet=True,
            report=False,
        )

    values = [line.values for line in read_metrics(tmp_path / "run")]
    # How long it waits and how far it runs ahead is up to the machine, but never by more than one version.
    assert all(0 <= one["waiting"] <= 1 for one in values)
    assert values[0]["staleness_max"] == 0
    assert all(one["staleness_max"] in (0, 1) for one in values)
    assert all(0 < one["generation_s"] <= one["attempt_s"] for one in values)
    # What the server draws from is what the learner computes.
    assert values[0]["logprob_gap_max"] < 1e-3
