"""New weights really reach the sampler, and a publication that fails leaves servers in a state that is told."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import pytest
import torch
from safetensors.torch import load_file
from tests.pipeline.training_server import (
    PROMPT,
    other_model,
    teacher_forced,
    tiny_model,
    trained_adapter,
    until,
)

from datagen.clients.retrying import Patience
from datagen.errors import EngineError
from datagen.training.engines.adapters import AdapterFolder
from datagen.training.engines.base import Sampling
from datagen.training.engines.practice_model import PracticeModel
from datagen.training.engines.practice_server import running
from datagen.training.engines.server import ServerEngine
from datagen.training.engines.server_lines import ServerLines
from datagen.training.engines.transports import FileTransport
from datagen.training.engines.weight_sync import AdapterSync, ReloadSync, TransferSync

pytestmark = pytest.mark.pipeline
torch.set_num_threads(1)

TOKEN = 21
"""The one that the canary adapter makes likelier."""


@contextmanager
def served(count: int = 1, *, tied: bool = False, **more):
    """As many servers as are asked for."""
    if not count:
        yield []
        return
    with (
        running(PracticeModel(tiny_model(tied=tied), name="base"), **more) as server,
        served(count - 1, tied=tied) as rest,
    ):
        yield [server, *rest]


@asynccontextmanager
async def engine_for(servers, sync):
    lines = ServerLines([server.url for server in servers])
    engine = ServerEngine(lines, sync(lines), patience=Patience(0.02, 0.1, 0.01), retry_seconds=1.0)
    try:
        yield engine
    finally:
        await engine.close()


def adapters(folder: Path, **more):
    return lambda lines: AdapterSync(lines, "base", AdapterFolder(folder / "shared", **more))


def transfer(folder: Path, **more):
    return lambda lines: TransferSync(lines, "base", FileTransport(folder / "weights", **more))


@pytest.fixture(scope="module")
def canary(tmp_path_factory):
    folder = tmp_path_factory.mktemp("canary")
    return trained_adapter(TOKEN, folder), folder


async def share_of(engine, token: int, draws: int = 60) -> float:
    completions = await asyncio.gather(*(engine.generate(PROMPT, Sampling(3, seed=seed)) for seed in range(draws)))
    return sum(completion.token_ids.count(token) for completion in completions) / (3 * draws)


def agrees(completion, model) -> bool:
    expected = teacher_forced(model, PROMPT, completion.token_ids)
    return torch.allclose(torch.tensor(completion.logprobs), expected, atol=1e-4)


# Adapters


def test_a_token_that_an_adapter_makes_likelier_is_sampled_more_once_it_is_published(canary, tmp_path):
    async def life(servers):
        async with engine_for(servers, adapters(tmp_path)) as engine:
            before = await share_of(engine, TOKEN)
            await engine.sync.publish(1, canary[1])
            return before, await share_of(engine, TOKEN), await engine.generate(PROMPT, Sampling(8))

    with served() as servers:
        before, after, completion = asyncio.run(life(servers))

    assert before < 0.1
    assert after > 0.5
    assert completion.version == 1
    assert agrees(completion, canary[0])


def test_an_adapter_can_come_as_tensors(canary, tmp_path):
    config = json.loads((canary[1] / "adapter_config.json").read_text())
    tensors = load_file(canary[1] / "adapter_model.safetensors")

    async def life(servers):
        async with engine_for(servers, adapters(tmp_path, config=config)) as engine:
            await engine.sync.publish(4, tensors)
            return await engine.generate(PROMPT, Sampling(8))

    with served() as servers:
        completion = asyncio.run(life(servers))

    assert completion.version == 4
    assert agrees(completion, canary[0])


def test_every_version_has_a_name_of_its_own_and_old_ones_go(canary, tmp_path):
    async def life(servers):
        async with engine_for(servers, adapters(tmp_path)) as engine:
            for version in range(1, 5):
                await engine.sync.publish(version, canary[1])
            return engine.sync.serving.model

    with served() as servers:
        newest = asyncio.run(life(servers))
        loaded = list(servers[0].model.adapters)
        asked = [body["lora_name"] for body in servers[0].seen.bodies("/v1/load_lora_adapter")]

    assert len(set(asked)) == 4
    assert [name[:14] for name in loaded] == ["policy-v000003", "policy-v000004"]
    assert loaded[-1] == newest
    assert sorted(path.name for path in (tmp_path / "shared").iterdir()) == loaded


def test_other_weights_under_the_same_version_have_another_name(canary, tmp_path):
    """After a return to an earlier checkpoint, training comes to the same version for the second time."""
    trained_adapter(3, tmp_path / "other", steps=1)
    folder = AdapterFolder(tmp_path / "shared")

    first, again, other = folder.place(1, canary[1]), folder.place(1, canary[1]), folder.place(1, tmp_path / "other")

    assert first == again
    assert first.name != other.name


def test_weights_swapped_under_one_name_meet_the_keys_and_values_of_the_old_ones(canary, tmp_path):
    """Why names are versioned: this is what vLLM does, and the practice server with it."""
    trained_adapter(3, tmp_path / "first", steps=5)
    greedy = {"model": "a", "prompt": list(PROMPT), "max_tokens": 4, "temperature": 0, "logprobs": 0}

    with served() as (server,), httpx.Client(base_url=server.url, trust_env=False) as http:
        for folder in (tmp_path / "first", canary[1]):
            loading = {"lora_name": "a", "lora_path": str(folder), "load_inplace": True}
            http.post("/v1/load_lora_adapter", json=loading).raise_for_status()
            swapped = http.post("/v1/completions", json=greedy).json()["choices"][0]
        http.post("/v1/load_lora_adapter", json={"lora_name": "b", "lora_path": str(canary[1])}).raise_for_status()
        fresh = http.post("/v1/completions", json=greedy | {"model": "b"}).json()["choices"][0]

    off = {
        name: (
            torch.tensor(one["logprobs"]["token_logprobs"]) - teacher_forced(canary[0], PROMPT, one["token_ids"])
        ).abs()
        for name, one in (("swapped", swapped), ("fresh", fresh))
    }
    assert off["fresh"].max() < 1e-4
    assert off["swapped"].max() > 1e-3


def test_a_request_under_way_ends_with_the_adapter_it_began_with(canary, tmp_path):
    trained_adapter(3, tmp_path / "first", steps=5)

    async def life(servers):
        async with engine_for(servers, adapters(tmp_path)) as engine:
            await engine.sync.publish(1, tmp_path / "first")
            early = asyncio.create_task(engine.generate(PROMPT, Sampling(300, seed=1)))
            await until(lambda: servers[0].seen.at_once == 1)
            await engine.sync.publish(2, canary[1])
            late = await engine.generate(PROMPT, Sampling(4, seed=1))
            return (await early).version, late.version

    with served() as servers:
        assert asyncio.run(life(servers)) == (1, 2)


def test_an_adapter_that_cannot_be_loaded_leaves_the_old_version_in_use(canary, tmp_path):
    async def life(servers):
        async with engine_for(servers, adapters(tmp_path)) as engine:
            await engine.sync.publish(1, canary[1])
            servers[1].strike("error", path="/v1/load_lora_adapter")
            with pytest.raises(EngineError, match=r"go on with version 1.*VLLM_ALLOW_RUNTIME_LORA_UPDATING"):
                await engine.sync.publish(2, canary[1])
            first = (await engine.generate(PROMPT, Sampling(2))).version
            await engine.sync.publish(2, canary[1])
            return first, (await engine.generate(PROMPT, Sampling(2))).version

    with served(2) as servers:
        assert asyncio.run(life(servers)) == (1, 2)


def test_a_server_that_is_away_when_an_adapter_is_published_gets_it_when_it_is_back(canary, tmp_path):
    async def life(servers):
        async with engine_for(servers, adapters(tmp_path)) as engine:
            await asyncio.to_thread(servers[1].die)
            await engine.sync.publish(1, canary[1])
            await asyncio.to_thread(servers[1].come_back)
            return await asyncio.gather(
                *(engine.generate(PROMPT, Sampling(4, seed=n), session=f"s{n}") for n in range(16))
            )

    with served(2) as servers:
        completions = asyncio.run(life(servers))
        answered = [len(server.seen.bodies()) for server in servers]

    assert all(agrees(completion, canary[0]) for completion in completions)
    assert min(answered) > 0


# All weights


def weights_of(model) -> dict[str, torch.Tensor]:
    return {name: weight.detach() for name, weight in model.named_parameters()}


@pytest.mark.parametrize(("phases", "tied"), [("four_phase", False), ("two_phase", False), ("four_phase", True)])
def test_all_weights_arrive_in_pieces_in_the_phases_that_the_server_knows(tmp_path, phases, tied):
    new = other_model(tied=tied)

    async def life(servers):
        async with engine_for(servers, transfer(tmp_path, piece_bytes=20_000)) as engine:
            before = await engine.generate(PROMPT, Sampling(6))
            await engine.sync.publish(3, weights_of(new))
            return before, await engine.generate(PROMPT, Sampling(6))

    with served(tied=tied, phases=phases) as servers:
        before, after = asyncio.run(life(servers))
        paths = [call.path for call in servers[0].seen.calls]

    assert agrees(before, tiny_model(tied=tied))
    assert agrees(after, new)
    assert (before.version, after.version) == (0, 3)
    assert paths.count("/update_weights") > 1
    four = phases == "four_phase"
    wanted = ["/pause", "/init_weight_transfer_engine", *(["/start_weight_update"] * four), "/update_weights"]
    wanted += [*(["/finish_weight_update"] * four), "/reset_prefix_cache", "/resume"]
    assert [path for path in dict.fromkeys(paths) if path in wanted] == wanted


def test_the_servers_are_told_of_the_transport_once(tmp_path):
    async def life(servers):
        async with engine_for(servers, transfer(tmp_path)) as engine:
            for version in (1, 2):
                await engine.sync.publish(version, weights_of(tiny_model()))

    with served(2) as servers:
        asyncio.run(life(servers))

        assert [len(server.seen.bodies("/init_weight_transfer_engine")) for server in servers] == [1, 1]
    assert len(list((tmp_path / "weights").iterdir())) == 1


def test_a_request_under_way_stands_still_and_goes_on_with_the_new_weights(tmp_path):
    new = other_model()

    async def life(servers):
        async with engine_for(servers, transfer(tmp_path)) as engine:
            early = asyncio.create_task(engine.generate(PROMPT, Sampling(120, seed=1)))
            await until(lambda: servers[0].seen.at_once == 1)
            await engine.sync.publish(1, weights_of(new))
            return await early

    with served() as servers:
        completion = asyncio.run(life(servers))

    told = torch.tensor(completion.logprobs)
    off_new, off_old = (
        (teacher_forced(model, PROMPT, completion.token_ids) - told).abs() for model in (new, tiny_model())
    )
    changed = int((off_new > 1e-4).nonzero().max()) + 1 if (off_new > 1e-4).any() else 0
    assert completion.version == 0
    assert changed < len(completion.token_ids)
    assert (off_old[:changed] < 1e-4).all()  # old weights up to the pause, and keys and values anew after it


@pytest.mark.parametrize("path", ["/pause", "/init_weight_transfer_engine", "/start_weight_update"])
def test_a_phase_that_fails_before_weights_are_written_leaves_the_old_version_in_use(tmp_path, path):
    async def life(servers):
        async with engine_for(servers, transfer(tmp_path)) as engine:
            servers[1].strike("error", path=path)
            with pytest.raises(EngineError, match=r"did not arrive.*Servers were resumed and go on with version 0"):
                await engine.sync.publish(1, weights_of(other_model()))
            assert not any(server.model.paused for server in servers)
            before = await engine.generate(PROMPT, Sampling(4))
            await engine.sync.publish(1, weights_of(other_model()))
            return before, await engine.generate(PROMPT, Sampling(4))

    with served(2) as servers:
        before, after = asyncio.run(life(servers))

    assert (before.version, after.version) == (0, 1)
    assert agrees(before, tiny_model())
    assert agrees(after, other_model())


@pytest.mark.parametrize("path", ["/update_weights", "/finish_weight_update", "/reset_prefix_cache"])
def test_a_phase_that_fails_between_two_versions_keeps_servers_paused_until_weights_come_again(tmp_path, path):
    async def life(servers):
        async with engine_for(servers, transfer(tmp_path)) as engine:
            servers[1].strike("error", path=path)
            with pytest.raises(EngineError, match="hold a mix of version 0 and version 1 and stay paused"):
                await engine.sync.publish(1, weights_of(other_model()))
            assert all(server.model.paused for server in servers)
            with pytest.raises(EngineError, match="hold a mix"):
                await engine.generate(PROMPT, Sampling(4))
            servers[0].strike("error", path="/pause")
            with pytest.raises(EngineError, match="hold a mix"):
                await engine.sync.publish(1, weights_of(other_model()))
            await engine.sync.publish(1, weights_of(other_model()))
            assert not any(server.model.paused for server in servers)
            return await engine.generate(PROMPT, Sampling(4))

    with served(2) as servers:
        completion = asyncio.run(life(servers))

    assert completion.version == 1
    assert agrees(completion, other_model())


def test_resuming_is_tried_again_and_a_server_that_stays_paused_is_named(tmp_path):
    async def life(servers):
        async with engine_for(servers, transfer(tmp_path)) as engine:
            servers[1].strike("error", path="/resume", times=2)
            await engine.sync.publish(1, weights_of(other_model()))
            assert not servers[1].model.paused
            servers[1].strike("error", path="/resume", times=3)
            with pytest.raises(EngineError, match=f"version 2 arrived, but {servers[1].url} may still be paused"):
                await engine.sync.publish(2, weights_of(other_model()))

    with served(2) as servers:
        asyncio.run(life(servers))

        assert [server.model.paused for server in servers] == [False, True]


def test_weights_that_the_model_does_not_have_are_refused_by_the_server(tmp_path):
    async def life(servers):
        async with engine_for(servers, transfer(tmp_path)) as engine:
            with pytest.raises(EngineError, match=r"no weight model\.other of shape"):
                await engine.sync.publish(1, {"model.other": torch.zeros(3)})

    with served() as servers:
        asyncio.run(life(servers))


def test_a_server_that_lost_its_weights_gets_no_requests_until_the_next_publication(tmp_path):
    async def life(servers):
        async with engine_for(servers, transfer(tmp_path)) as engine:
            await engine.sync.publish(1, weights_of(other_model()))
            await engine.generate(PROMPT, Sampling(2))
            for act in (servers[0].die, servers[0].come_back):
                await asyncio.to_thread(act)
            with pytest.raises(EngineError, match="came back without the weights of version 1"):
                await engine.generate(PROMPT, Sampling(2))
            with pytest.raises(EngineError, match="no server has the weights of version 1"):
                await engine.generate(PROMPT, Sampling(2))
            await engine.sync.publish(2, weights_of(other_model()))
            return await engine.generate(PROMPT, Sampling(2))

    with served() as servers:
        completion = asyncio.run(life(servers))

    assert completion.version == 2
    assert agrees(completion, other_model())


def test_a_server_that_was_started_again_unnoticed_is_found_out_by_its_first_reply(tmp_path):
    """It answers at once, over a new connection and with its first weights: the other one takes over."""

    async def life(servers):
        async with engine_for(servers, transfer(tmp_path)) as engine:
            await engine.sync.publish(1, weights_of(other_model()))
            for number in range(8):
                await engine.generate((number, 1), Sampling(2), session=f"s{number}")
            for act in (servers[0].die, servers[0].come_back):
                await asyncio.to_thread(act)
            return await asyncio.gather(
                *(engine.generate((number, 1, 2), Sampling(4), session=f"s{number}") for number in range(8))
            )

    with served(2) as servers:
        completions = asyncio.run(life(servers))
        asked_again = [body["prompt"] for body in servers[0].seen.bodies() if len(body["prompt"]) == 3]

    assert asked_again
    for number, completion in enumerate(completions):
        expected = teacher_forced(other_model(), (number, 1, 2), completion.token_ids)
        assert torch.allclose(torch.tensor(completion.logprobs), expected, atol=1e-4)


def test_a_server_whose_connection_broke_but_which_kept_its_weights_goes_on(tmp_path):
    async def life(servers):
        async with engine_for(servers, transfer(tmp_path)) as engine:
            await engine.sync.publish(1, weights_of(other_model()))
            servers[0].strike("drop")
            return await engine.generate(PROMPT, Sampling(4))

    with served() as servers:
        completion = asyncio.run(life(servers))

    assert completion.version == 1
    assert agrees(completion, other_model())


def test_a_checkpoint_folder_is_read_again_and_also_by_a_server_that_was_started_again(tmp_path):
    other_model().save_pretrained(tmp_path / "checkpoint")

    async def life(servers):
        async with engine_for(servers, lambda lines: ReloadSync(lines, "base")) as engine:
            await engine.sync.publish(5, tmp_path / "checkpoint")
            first = await engine.generate(PROMPT, Sampling(4))
            for act in (servers[0].die, servers[0].come_back):
                await asyncio.to_thread(act)
            return first, await engine.generate(PROMPT, Sampling(4, seed=2))

    with served() as servers:
        first, second = asyncio.run(life(servers))

    assert (first.version, second.version) == (5, 5)
    assert agrees(first, other_model())
    assert agrees(second, other_model())


def test_a_checkpoint_that_is_not_there_leaves_a_sentence(tmp_path):
    async def life(servers):
        async with engine_for(servers, lambda lines: ReloadSync(lines, "base")) as engine:
            with pytest.raises(EngineError, match=r"there are no weights at .*nowhere"):
                await engine.sync.publish(1, tmp_path / "nowhere")

    with served() as servers:
        asyncio.run(life(servers))


def test_new_requests_never_find_what_older_weights_left_even_where_the_cache_stays(tmp_path):
    """The salt does it alone: this server says that it reset its cache and keeps it."""

    class Keeps(PracticeModel):
        def reset_prefix_cache(self, *, running):
            pass

    async def life(server):
        async with engine_for([server], transfer(tmp_path)) as engine:
            await engine.generate(PROMPT, Sampling(4))
            await engine.sync.publish(1, weights_of(other_model()))
            return await engine.generate(PROMPT, Sampling(4))

    with running(Keeps(tiny_model(), name="base")) as server:
        completion = asyncio.run(life(server))

    assert completion.cached_tokens == 0
    assert agrees(completion, other_model())
