"""The sampler in this process, held to transformers."""

import asyncio
import copy
from collections.abc import Coroutine
from typing import Any

import numpy as np
import pytest
import torch
from tests.unit.sampled_models import VOCABULARY, gpt2, prompt_of, qwen3
from transformers import MambaConfig, MambaForCausalLM

from datagen.errors import ConfigError, EngineError
from datagen.training.engines.base import Completion, Sampling
from datagen.training.engines.sampler import LocalEngine
from datagen.training.engines.sampler_rows import common

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model() -> Any:
    return qwen3()


def run(*calls: Coroutine[Any, Any, Completion]) -> list[Completion]:
    async def together() -> list[Completion]:
        return await asyncio.gather(*calls)

    return asyncio.run(together())


def sampling(seed: int, **other: Any) -> Sampling:
    return Sampling(**({"max_tokens": 12, "stop": (3, 4, 5), "seed": seed} | other))


async def conversation(engine: LocalEngine, number: int, *, session: bool, share: bool) -> list[int]:
    """Four turns with results between them that differ in length; all tokens at the end."""
    tokens = prompt_of(20, number // 4)
    names = {"session": f"s{number}" if session else "", "share": f"q{number // 4}" if share else ""}
    for turn in range(4):
        done = await engine.generate(tokens, sampling(number * 10 + turn, top_p=0.9 if number % 3 else 1.0), **names)
        for _ in range(number % 3):
            await asyncio.sleep(0)
        tokens = [*tokens, *done.token_ids, *prompt_of(10 + 7 * number % 50, number + 100 * turn)]
    await engine.release(f"s{number}")
    return tokens


def conversations(engine: LocalEngine, *, session: bool = True, share: bool = True, backwards: bool = False) -> Any:
    async def all_of_them() -> list[list[int]]:
        numbers = range(16)[:: -1 if backwards else 1]
        done = await asyncio.gather(*(conversation(engine, n, session=session, share=share) for n in numbers))
        return done[:: -1 if backwards else 1]

    return asyncio.run(all_of_them())


def assert_same(one: list[Completion], other: list[Completion]) -> None:
    """The same tokens; rounding differs with what else was read and when."""
    assert [done.token_ids for done in one] == [done.token_ids for done in other]
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_allclose(mine.logprobs, theirs.logprobs, atol=1e-4)


def forced(model: Any, prompt: list[int], done: Completion, temperature: float = 1.0) -> torch.Tensor:
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *done.token_ids]])).logits[0, len(prompt) - 1 : -1]
    return torch.log_softmax(logits / temperature, -1).gather(1, torch.tensor(done.token_ids)[:, None])[:, 0]


@pytest.mark.parametrize("build", [qwen3, gpt2])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_logprobs_are_those_of_a_teacher_forced_pass(build: Any, temperature: float) -> None:
    model = build()
    engine = LocalEngine(model)
    prompts = [prompt_of(5 + 9 * n, n) for n in range(12)]
    calls = [engine.generate(p, sampling(n, temperature=temperature)) for n, p in enumerate(prompts)]
    for prompt, done in zip(prompts, run(*calls), strict=True):
        expected = forced(model, prompt, done, temperature)
        torch.testing.assert_close(torch.tensor(done.logprobs), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("build", [qwen3, gpt2])
def test_greedy_tokens_are_those_of_transformers_generate(build: Any) -> None:
    model = build()
    engine = LocalEngine(model)
    prompts = [prompt_of(4 + 5 * n, n) for n in range(6)]
    done = run(*(engine.generate(p, sampling(n, temperature=0, stop=())) for n, p in enumerate(prompts)))
    for prompt, completion in zip(prompts, done, strict=True):
        ids = torch.tensor([prompt])
        expected = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False)
        assert list(completion.token_ids) == expected[0, len(prompt) :].tolist()
        torch.testing.assert_close(
            torch.tensor(completion.logprobs), forced(model, prompt, completion), atol=1e-4, rtol=0
        )


@pytest.mark.parametrize("build", [qwen3, gpt2])
def test_sessions_shares_order_and_batch_size_change_no_token(build: Any) -> None:
    model = build()
    plain = conversations(LocalEngine(model), session=False, share=False)
    assert len({tuple(tokens) for tokens in plain}) == 16
    assert conversations(LocalEngine(model)) == plain
    assert conversations(LocalEngine(model), session=False) == plain
    assert conversations(LocalEngine(model), backwards=True) == plain
    assert conversations(LocalEngine(model, max_batch=3)) == plain
    assert conversations(LocalEngine(model, max_batch=1), share=False) == plain


def test_the_same_requests_give_the_same_bits(model: Any) -> None:
    async def logprobs(engine: LocalEngine) -> list[tuple[float, ...]]:
        calls = [engine.generate(prompt_of(9 * n + 2, n), sampling(n, stop=(7,))) for n in range(10)]
        return [done.logprobs for done in await asyncio.gather(*calls)]

    engine = LocalEngine(model)
    first = asyncio.run(logprobs(engine))
    conversations(engine)
    engine.refresh(1)
    assert asyncio.run(logprobs(engine)) == asyncio.run(logprobs(LocalEngine(model))) == first


def test_a_later_turn_reads_only_what_is_new(model: Any) -> None:
    engine = LocalEngine(model)
    first = run(engine.generate(prompt_of(30), sampling(1), session="a"))[0]
    later = [*prompt_of(30), *first.token_ids, *prompt_of(40, 5)]
    again = run(engine.generate(later, sampling(2), session="a"))[0]
    assert (first.cached_tokens, again.cached_tokens) == (0, 30 + len(first.token_ids) - 1)  # the last was never read
    assert_same(run(LocalEngine(model).generate(later, sampling(2))), [again])


def test_a_rewritten_context_is_read_from_where_it_differs(model: Any) -> None:
    engine = LocalEngine(model)
    run(engine.generate(prompt_of(30), sampling(1), session="a"))
    rewritten = [*prompt_of(30)[:11], *prompt_of(20, 6)]
    again = run(engine.generate(rewritten, sampling(2), session="a"))[0]
    assert again.cached_tokens == common(prompt_of(30), rewritten)
    assert_same(run(LocalEngine(model).generate(rewritten, sampling(2))), [again])


def test_a_group_reads_its_prompt_once(model: Any) -> None:
    engine = LocalEngine(model)
    done = run(*(engine.generate(prompt_of(200), sampling(n), session=f"s{n}", share="q") for n in range(8)))
    assert [c.cached_tokens for c in done] == [0] + [199] * 7
    late = run(engine.generate([*prompt_of(150), *prompt_of(30, 3)], sampling(9), session="late", share="q"))[0]
    assert late.cached_tokens >= 150


def test_a_prompt_longer_than_a_turn_reads_is_read_in_pieces(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = [(prompt_of(300, n // 2), sampling(n), f"q{n // 2}") for n in range(6)]
    whole, pieces = LocalEngine(model), LocalEngine(model)
    expected = run(*(whole.generate(p, s, share=q) for p, s, q in calls))
    monkeypatch.setattr("datagen.training.engines.sampler.READ_TOKENS", 64)
    assert_same(run(*(pieces.generate(p, s, share=q) for p, s, q in calls)), expected)


def test_the_stop_token_is_the_last_and_the_limit_holds(model: Any) -> None:
    engine = LocalEngine(model)
    every = range(VOCABULARY)
    stopped, some, cut = run(
        engine.generate(prompt_of(9), sampling(1, stop=tuple(every))),
        engine.generate(prompt_of(9), sampling(1, stop=tuple(every[::4]), max_tokens=200)),
        engine.generate(prompt_of(9), sampling(1, stop=(), max_tokens=17)),
    )
    assert (len(stopped.token_ids), stopped.finish_reason) == (1, "stop")
    assert some.finish_reason == "stop"
    assert [t % 4 == 0 for t in some.token_ids] == [False] * (len(some.token_ids) - 1) + [True]
    assert (len(cut.token_ids), len(cut.logprobs), cut.finish_reason) == (17, 17, "length")
    assert cut.token_ids[: len(some.token_ids)] == some.token_ids[:17]


def test_a_completion_ends_where_the_context_does(model: Any) -> None:
    engine = LocalEngine(model)
    done = run(engine.generate(prompt_of(1020), sampling(1, stop=())))[0]
    assert (len(done.token_ids), done.finish_reason) == (4, "length")


@pytest.mark.parametrize(
    ("prompt", "said"),
    [([], "is empty"), ([1] * 1024, "no room"), ([1, VOCABULARY], "knows 120"), ([1] * 900, "Raise it")],
)
def test_a_prompt_that_cannot_be_served_is_refused_alone(model: Any, prompt: list[int], said: str) -> None:
    engine = LocalEngine(model, max_tokens=512)

    async def both() -> list[Any]:
        wanted = (engine.generate([1, 2], sampling(1)), engine.generate(prompt, sampling(2)))
        return await asyncio.gather(*wanted, return_exceptions=True)

    good, refused = asyncio.run(both())
    assert isinstance(good, Completion)
    assert isinstance(refused, ConfigError)
    assert said in str(refused)


def test_conversations_that_were_evicted_are_read_again_and_give_the_same_tokens(model: Any) -> None:
    plain = conversations(LocalEngine(model))
    for limits in ({"max_tokens": 1024}, {"max_sessions": 2}):
        engine = LocalEngine(model, **limits)
        assert conversations(engine) == plain
        assert engine.evicted > 0
        assert engine._decoder.held == 0


def test_released_and_cancelled_requests_leave_no_memory_behind(model: Any) -> None:
    engine = LocalEngine(model)

    async def give_up() -> None:
        calls = [
            asyncio.create_task(engine.generate(prompt_of(20), sampling(n, max_tokens=500, stop=()), session=f"s{n}"))
            for n in range(4)
        ]
        for _ in range(5):
            await asyncio.sleep(0)
        calls[0].cancel()
        await engine.release("s1")
        done = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(done[0], asyncio.CancelledError)
        assert [len(c.token_ids) for c in done[1:]] == [500] * 3
        for n in (0, 2, 3):
            await engine.release(f"s{n}")
        await engine.release("never heard of")

    asyncio.run(give_up())
    assert engine._decoder.held == 0


def test_two_requests_of_one_session_at_once_do_not_disturb_each_other(model: Any) -> None:
    engine = LocalEngine(model)
    calls = [engine.generate(prompt_of(20, n), sampling(n), session="a") for n in (1, 2)]
    alone = [run(LocalEngine(model).generate(prompt_of(20, n), sampling(n)))[0].token_ids for n in (1, 2)]
    assert [done.token_ids for done in run(*calls)] == alone


def test_after_a_refresh_nothing_of_the_old_weights_is_used() -> None:
    model = qwen3()
    engine = LocalEngine(model, version=3)
    first = run(engine.generate(prompt_of(30), sampling(1), session="a", share="q"))[0]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.2)
    engine.refresh(4)
    later = [*prompt_of(30), *first.token_ids, *prompt_of(10, 2)]
    again = run(engine.generate(later, sampling(2), session="a", share="q"))[0]
    assert (first.version, again.version, again.cached_tokens, engine.version) == (3, 4, 0, 4)
    torch.testing.assert_close(torch.tensor(again.logprobs), forced(model, later, again), atol=1e-4, rtol=0)


def test_requests_under_way_go_on_under_the_new_weights_and_keep_their_first_version() -> None:
    model = qwen3()
    before, engine = copy.deepcopy(model), LocalEngine(model, version=1)

    async def refreshed_in_between() -> Completion:
        call = asyncio.create_task(engine.generate(prompt_of(30), sampling(1, max_tokens=20, stop=())))
        for _ in range(8):
            await asyncio.sleep(0)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1.2)
        engine.refresh(2)
        return await call

    done = asyncio.run(refreshed_in_between())
    old, new = forced(before, prompt_of(30), done), forced(model, prompt_of(30), done)
    got = torch.tensor(done.logprobs)
    first_new = int(((got - old).abs() > 1e-4).nonzero()[0])
    assert done.version == 1
    assert 0 < first_new < 20
    torch.testing.assert_close(got[first_new:], new[first_new:], atol=1e-4, rtol=0)


def test_a_copy_of_other_precision_follows_the_weights_at_refresh() -> None:
    model = qwen3()
    engine = LocalEngine(model, dtype=torch.float64)
    call = {"prompt": prompt_of(30), "sampling": sampling(1, temperature=0)}
    first = run(engine.generate(**call))[0]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.2)
    assert run(engine.generate(**call))[0].logprobs == first.logprobs
    engine.refresh(1)
    again = run(engine.generate(**call))[0]
    torch.testing.assert_close(torch.tensor(again.logprobs), forced(model, call["prompt"], again), atol=1e-4, rtol=0)


def test_bfloat16_weights_are_sampled_from() -> None:
    model = qwen3().to(torch.bfloat16)
    done = run(*(LocalEngine(model).generate(prompt_of(30), sampling(n, stop=())) for n in range(2)))
    for completion in done:
        expected = forced(model.float(), prompt_of(30), completion)
        assert (torch.tensor(completion.logprobs) - expected).abs().mean() < 0.3
        model.to(torch.bfloat16)


@pytest.mark.parametrize("build", [qwen3, gpt2])
def test_weights_that_are_no_numbers_break_every_request_until_a_refresh(build: Any) -> None:
    model = build()
    engine = LocalEngine(model, max_batch=2)
    expected = run(engine.generate(prompt_of(9), sampling(1)))[0]
    sound = copy.deepcopy(model.state_dict())

    async def all_of_them() -> list[Any]:
        calls = [engine.generate(prompt_of(9, n), sampling(n), session=f"s{n}") for n in range(5)]
        return await asyncio.gather(*calls, return_exceptions=True)

    next(model.parameters()).data.fill_(float("nan"))
    engine.refresh(1)
    assert [type(done) for done in asyncio.run(all_of_them())] == [EngineError] * 5
    with pytest.raises(EngineError, match=r"broke at version 1: FloatingPointError.*refresh"):
        run(engine.generate(prompt_of(9), sampling(1)))
    model.load_state_dict(sound)
    engine.refresh(2)
    assert run(engine.generate(prompt_of(9), sampling(1)))[0].token_ids == expected.token_ids
    assert all(isinstance(done, Completion) for done in asyncio.run(all_of_them()))


def test_dropout_of_a_model_in_training_is_off_while_sampling_and_on_again_after() -> None:
    model = gpt2()
    expected = run(LocalEngine(model).generate(prompt_of(9), sampling(1)))[0]
    model.train()
    model.lm_head.eval()
    assert run(LocalEngine(model).generate(prompt_of(9), sampling(1)))[0] == expected
    assert model.training
    assert model.transformer.drop.training
    assert not model.lm_head.training


def test_adapters_take_part() -> None:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    adapted = get_peft_model(
        qwen3(), LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"], lora_dropout=0.5)
    )
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.5)
    adapted.train()
    done = run(LocalEngine(adapted).generate(prompt_of(30), sampling(1, stop=())))[0]
    adapted.eval()
    torch.testing.assert_close(torch.tensor(done.logprobs), forced(adapted, prompt_of(30), done), atol=1e-4, rtol=0)


def test_a_model_with_a_recurrent_state_is_refused() -> None:
    config = MambaConfig(vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=1, state_size=4)
    with pytest.raises(ConfigError, match="mamba"):
        LocalEngine(MambaForCausalLM(config))
