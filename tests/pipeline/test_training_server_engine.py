"""Sampling over HTTP from a server with a real model: tokens are exact, bounds hold, and what breaks is told or mended."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from contextlib import ExitStack, asynccontextmanager

import pytest
import torch
from tests.pipeline.training_server import PROMPT, FixedWeights, teacher_forced, tiny_model, trained_adapter, until

from datagen.clients.retrying import Patience
from datagen.errors import ConfigError, EngineError
from datagen.training.asynchronous import PoolSettings, RolloutPool
from datagen.training.engines.adapters import AdapterFolder
from datagen.training.engines.base import Sampling
from datagen.training.engines.practice_model import PracticeModel
from datagen.training.engines.practice_server import running
from datagen.training.engines.server import ServerEngine
from datagen.training.engines.server_lines import ServerLines
from datagen.training.engines.weight_sync import AdapterSync
from datagen.training.rollout import Rollout

pytestmark = pytest.mark.pipeline
torch.set_num_threads(1)

QUICK = Patience(first=0.02, longest=0.1, jitter=0.01)
EIGHT = Sampling(max_tokens=8)


@pytest.fixture
def server():
    with running(PracticeModel(tiny_model(), name="base")) as running_server:
        yield running_server


@asynccontextmanager
async def engine_for(*servers, sync=None, **more):
    lines = ServerLines([server.url for server in servers])
    engine = ServerEngine(
        lines, sync(lines) if sync else FixedWeights("base"), **({"patience": QUICK, "retry_seconds": 1.0} | more)
    )
    try:
        yield engine
    finally:
        await engine.close()


def ask(server, prompt=PROMPT, sampling=EIGHT, **more):
    async def asked():
        async with engine_for(server, **more) as engine:
            return await engine.generate(prompt, sampling)

    return asyncio.run(asked())


def test_tokens_go_in_as_they_are_and_the_next_turn_repeats_what_came_back(server):
    async def life():
        async with engine_for(server) as engine:
            first = await engine.generate(PROMPT, EIGHT, session="s")
            longer = (*PROMPT, *first.token_ids, 7, 7)
            return first, longer, await engine.generate(longer, EIGHT, session="s")

    first, longer, second = asyncio.run(life())
    bodies = server.seen.bodies()

    assert [body["prompt"] for body in bodies] == [list(PROMPT), list(longer)]
    assert len(first.token_ids) == len(first.logprobs) == 8
    assert (first.cached_tokens, second.cached_tokens) == (0, len(PROMPT) + 7)
    assert (first.finish_reason, first.version) == ("length", 0)


@pytest.mark.parametrize(
    "sampling",
    [Sampling(12, seed=3), Sampling(12, temperature=0.6, seed=3), Sampling(12, temperature=1.7, seed=4)],
    ids=["one", "colder", "warmer"],
)
def test_log_probabilities_are_those_of_the_distribution_that_was_drawn_from(server, sampling):
    completion = ask(server, sampling=sampling)

    expected = teacher_forced(tiny_model(), PROMPT, completion.token_ids, temperature=sampling.temperature)
    assert torch.allclose(torch.tensor(completion.logprobs), expected, atol=1e-5)


def test_a_cut_distribution_is_told_as_it_was_cut(server):
    completion = ask(server, sampling=Sampling(12, top_p=0.6, seed=3))

    ids = torch.tensor([[*PROMPT, *completion.token_ids]])
    whole = tiny_model()(input_ids=ids).logits[0, len(PROMPT) - 1 : -1].detach().softmax(-1)
    kept = [_nucleus(row, 0.6) for row in whole]
    expected = [float((row[token] / row.sum()).log()) for row, token in zip(kept, completion.token_ids, strict=True)]
    assert completion.logprobs == pytest.approx(expected, abs=1e-4)


def _nucleus(row: torch.Tensor, mass: float) -> torch.Tensor:
    """The likeliest tokens that together have this mass; the others are 0."""
    kept = torch.zeros_like(row)
    for token in row.argsort(descending=True).tolist():
        if kept.sum() >= mass:
            break
        kept[token] = row[token]
    return kept


def test_greedy_takes_the_likeliest_token_and_tells_its_log_probability_at_temperature_one(server):
    completion = ask(server, sampling=Sampling(6, temperature=0.0))

    assert torch.allclose(
        torch.tensor(completion.logprobs), teacher_forced(tiny_model(), PROMPT, completion.token_ids), atol=1e-5
    )
    ids = torch.tensor([[*PROMPT, *completion.token_ids[:-1]]])
    assert tiny_model()(input_ids=ids).logits[0, len(PROMPT) - 1 :].argmax(-1).tolist() == list(completion.token_ids)


def test_a_turn_ends_with_the_token_it_was_told_to_stop_at():
    with running(PracticeModel(tiny_model(), name="base")) as server:
        whole = ask(server, sampling=Sampling(12, seed=5))
        stop = whole.token_ids[6]
        cut = ask(server, sampling=Sampling(12, seed=5, stop=(stop,)))

    assert cut.finish_reason == "stop"
    assert cut.token_ids == whole.token_ids[: whole.token_ids.index(stop) + 1]


def test_what_the_models_own_settings_would_cut_off_is_drawn_all_the_same():
    greedy_by_default = {"top_k": 1, "top_p": 0.1, "temperature": 0.1}
    with running(PracticeModel(tiny_model(), name="base"), defaults=greedy_by_default) as server:
        completion = ask(server, sampling=Sampling(16, seed=1))

    assert torch.allclose(
        torch.tensor(completion.logprobs), teacher_forced(tiny_model(), PROMPT, completion.token_ids), atol=1e-5
    )
    assert min(completion.logprobs) < -2


def test_a_stop_token_that_nobody_asked_for_is_an_error():
    every_token = {"stop_token_ids": list(range(64))}
    with (
        running(PracticeModel(tiny_model(), name="base"), defaults=every_token) as server,
        pytest.raises(EngineError, match="--generation-config vllm"),
    ):
        ask(server)


def test_a_server_that_gives_what_training_needs_passes(server):
    async def life():
        async with engine_for(server) as engine:
            await engine.preflight(PROMPT)

    asyncio.run(life())


@pytest.mark.parametrize(
    ("model", "more", "strikes", "told"),
    [
        ({"logprobs_mode": "raw_logprobs"}, {}, None, "--logprobs-mode processed_logprobs"),
        ({}, {}, "no_ids", "no token ids"),
        ({}, {}, "no_logprobs", "0 log-probabilities for 8 tokens"),
        ({}, {"ignores": ["seed"]}, None, "4 seeds gave the same 16 tokens"),
        ({}, {"ignores": ["temperature"]}, None, "greedy sampling gave"),
        ({}, {"ignores": ["stop_token_ids"]}, None, "told to stop at token"),
        ({}, {}, "error", "status 500"),
    ],
)
def test_a_server_that_cannot_be_trained_on_is_refused_with_what_to_do(model, more, strikes, told):
    with running(PracticeModel(tiny_model(), name="base", **model), **more) as server:
        if strikes:
            server.strike(strikes, times=9)

        async def life():
            async with engine_for(server) as engine:
                await engine.preflight(PROMPT)

        with pytest.raises(ConfigError) as refused:
            asyncio.run(life())

    assert told in str(refused.value)
    assert server.url in str(refused.value)
    assert "vllm serve" in str(refused.value)


def test_no_server_at_all_is_refused_too():
    with running(PracticeModel(tiny_model(), name="base")) as gone:
        pass

    async def life():
        async with engine_for(gone) as engine:
            await engine.preflight(PROMPT)

    with pytest.raises(ConfigError, match=r"the connection to http://127\.0\.0\.1:\d+/v1/completions failed"):
        asyncio.run(life())


def test_no_more_requests_are_under_way_than_allowed(server):
    server.delay_seconds = 0.02

    async def life():
        async with engine_for(server, at_once=3) as engine:
            await asyncio.gather(*(engine.generate(PROMPT, Sampling(2, seed=seed)) for seed in range(12)))
            return engine.counts

    assert asyncio.run(life())["answered"] == 12
    assert server.seen.most_at_once == 3


@pytest.mark.parametrize("fault", ["error", "drop", "cut", "throttle"])
def test_a_request_that_breaks_on_the_way_is_sent_again_and_gives_the_same_tokens(server, fault):
    expected = ask(server, sampling=Sampling(8, seed=2))
    server.strike(fault, times=2)

    async def life():
        async with engine_for(server) as engine:
            return await engine.generate(PROMPT, Sampling(8, seed=2)), engine.counts["retried"]

    completion, retried = asyncio.run(life())

    assert completion.token_ids == expected.token_ids
    assert retried == 2


def test_a_request_that_the_server_refuses_is_not_sent_again(server):
    with pytest.raises(EngineError, match="prompt has to be a list of token ids"):
        ask(server, prompt=(-4,))

    assert len(server.seen.bodies()) == 1


def test_a_reply_that_the_server_broke_off_is_no_completion(server):
    server.strike("abort")

    with pytest.raises(EngineError, match="finish_reason 'abort'"):
        ask(server)


def test_a_call_that_takes_too_long_ends_in_time(server):
    server.delay_seconds = 5

    with pytest.raises(EngineError, match=r"no whole answer within 0\.1 seconds"):
        ask(server, call_seconds=0.1)


def test_an_attempt_that_is_given_up_is_given_up_on_the_server_too(server):
    async def life():
        async with engine_for(server) as engine:
            request = asyncio.create_task(engine.generate(PROMPT, Sampling(400, seed=1)))
            await until(lambda: server.seen.at_once == 1)
            request.cancel()
            await asyncio.gather(request, return_exceptions=True)
            await until(lambda: server.seen.at_once == 0)

    asyncio.run(life())


def test_a_server_that_dies_fails_who_waits_and_serves_who_comes_when_it_is_back(server):
    server.delay_seconds = 0.05

    async def life():
        async with engine_for(server, retry_seconds=0.3) as engine:
            waiting = [asyncio.create_task(engine.generate(PROMPT, Sampling(4, seed=n))) for n in range(5)]
            await until(lambda: server.seen.at_once == 5)
            await asyncio.to_thread(server.die)
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
            await asyncio.to_thread(server.come_back)
            return outcomes, await engine.generate(PROMPT, Sampling(4, seed=1))

    outcomes, later = asyncio.run(life())

    assert [type(outcome) for outcome in outcomes] == [EngineError] * 5
    assert "See whether" in str(outcomes[0])
    assert len(later.token_ids) == 4


def test_a_server_that_is_back_within_the_time_for_retries_costs_nothing(server):
    async def life():
        async with engine_for(server, retry_seconds=10) as engine:
            await asyncio.to_thread(server.die)
            waiting = [asyncio.create_task(engine.generate(PROMPT, Sampling(4, seed=n))) for n in range(3)]
            await asyncio.sleep(0.1)
            await asyncio.to_thread(server.come_back)
            return await asyncio.gather(*waiting)

    assert all(len(completion.token_ids) == 4 for completion in asyncio.run(life()))


def test_a_server_that_was_started_again_gets_its_adapter_before_it_is_asked(server, tmp_path):
    trained_adapter(7, tmp_path / "new", steps=3)

    async def life():
        sync = lambda lines: AdapterSync(lines, "base", AdapterFolder(tmp_path / "shared"))  # noqa: E731
        async with engine_for(server, sync=sync) as engine:
            await engine.sync.publish(1, tmp_path / "new")
            before = await engine.generate(PROMPT, EIGHT)
            await asyncio.to_thread(server.die)
            await asyncio.to_thread(server.come_back)
            assert server.model.adapters == {}
            return before, await engine.generate(PROMPT, EIGHT)

    before, after = asyncio.run(life())

    assert (before.version, after.version) == (1, 1)
    assert before.token_ids == after.token_ids
    assert before.logprobs == pytest.approx(after.logprobs, abs=1e-5)


@pytest.fixture
def pair():
    with ExitStack() as stack:
        yield [stack.enter_context(running(PracticeModel(tiny_model(), name="base"))) for _ in range(2)]


def prompts_of(server) -> list[tuple[int, ...]]:
    return [tuple(body["prompt"]) for body in server.seen.bodies()]


def test_a_conversation_stays_with_one_server_and_a_group_begins_on_one(pair):
    async def conversation(engine, number):
        prompt = (number,)
        for turn in range(3):
            completion = await engine.generate(
                prompt, Sampling(2, seed=turn), session=f"s{number}", share=f"g{number // 2}"
            )
            prompt = (*prompt, *completion.token_ids)
        await engine.release(f"s{number}")

    async def life():
        async with engine_for(*pair) as engine:
            await asyncio.gather(*(conversation(engine, number) for number in range(60)))
            return engine.counts

    counts = asyncio.run(life())
    first, second = ({prompt[0] // 2 for prompt in prompts_of(server)} for server in pair)

    assert not first & second
    assert first  # ports decide which groups: of 30, chance leaves none to a server once in 10^9
    assert second
    assert counts["moved"] == 0
    assert counts["cached_tokens"] > 0


def test_a_conversation_moves_when_its_server_dies_and_everything_is_answered(pair):
    async def life():
        async with engine_for(*pair, retry_seconds=5) as engine:
            for number in range(24):
                await engine.generate((number, 1), Sampling(2), session=f"s{number}")
            await asyncio.to_thread(pair[0].die)
            await asyncio.gather(
                *(engine.generate((number, 1, 2), Sampling(2), session=f"s{number}") for number in range(24))
            )
            return engine.counts

    counts = asyncio.run(life())

    assert counts["answered"] == 48
    assert counts["failed"] == 0
    assert counts["moved"] == len({prompt[0] for prompt in prompts_of(pair[0]) if len(prompt) == 2}) > 0


def test_the_practice_server_is_a_command(tmp_path):
    tiny_model().save_pretrained(tmp_path / "model")
    command = [sys.executable, "-m", "datagen.training.engines.practice_server", tmp_path / "model", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            url = process.stdout.readline().strip()

            async def life():
                lines = ServerLines([url])
                engine = ServerEngine(lines, FixedWeights(str(tmp_path / "model")))
                await engine.preflight(PROMPT)
                completion = await engine.generate(PROMPT, EIGHT)
                await engine.close()
                return completion

            completion = asyncio.run(life())
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0

    expected = teacher_forced(tiny_model(), PROMPT, completion.token_ids)
    assert torch.allclose(torch.tensor(completion.logprobs), expected, atol=1e-5)


class Asked:
    def __init__(self, name):
        self.id = name


def test_in_a_run_seeds_are_unique_and_attempts_that_a_fault_cost_stay_out_of_the_groups(server):
    """Pool, engine and server together; two requests are lost for good, and nothing else is."""

    async def life():
        async with engine_for(server, retry_seconds=0.0, at_once=6) as engine:

            async def attempt(question, number, seed, version):
                completion = await engine.generate((int(question.id), 3), Sampling(4, seed=seed), session=f"{seed}")
                await engine.release(f"{seed}")
                reward = float(completion.token_ids[0] % 2)
                return Rollout(question.id, f"{number}", (), reward, reward > 0, "answered", completion.version)

            async with RolloutPool(attempt, PoolSettings(groups=5, attempts=4, at_once=9), seed=3) as pool:
                pool.submit([Asked(str(number)) for number in range(5)])
                server.strike("drop", times=2)
                return await pool.take(), pool.stats()

    groups, stats = asyncio.run(life())
    rewards = [[one.reward for one in group.rollouts] for group in groups]
    seeds = [body["seed"] for body in server.seen.bodies()]

    assert len(seeds) == len(set(seeds)) == 20
    assert [len(group) for group in rewards] == [4] * 5
    assert sum(reward is None for group in rewards for reward in group) == stats.failed == 2
    assert server.seen.most_at_once <= 6
    assert len({reward for group in rewards for reward in group if reward is not None}) == 2
