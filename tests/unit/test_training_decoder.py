"""The forward passes behind the sampler held to transformers, and how tokens are drawn from their logits."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.sampled_models import SHAPE, VOCABULARY, gpt2, made, prompt_of, qwen3
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from datagen.training.engines.base import Sampling
from datagen.training.engines.decoder import LeanDecoder, fits
from datagen.training.engines.decoder_generic import CacheDecoder
from datagen.training.engines.sampler_draw import draw, noise, rules
from datagen.training.engines.sampler_rows import common

torch.set_num_threads(1)


def sliding() -> Any:
    return qwen3(use_sliding_window=True, sliding_window=16, max_window_layers=1)


@pytest.mark.parametrize(
    ("kind", "config", "other"),
    [
        (Qwen3ForCausalLM, Qwen3Config, {"head_dim": 16}),
        (Qwen3ForCausalLM, Qwen3Config, {"head_dim": 8, "num_key_value_heads": 3, "tie_word_embeddings": True}),
        (Qwen2ForCausalLM, Qwen2Config, {}),
        (LlamaForCausalLM, LlamaConfig, {"num_key_value_heads": 3}),
        (
            LlamaForCausalLM,
            LlamaConfig,
            {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}},
        ),
    ],
)
def test_the_lean_forward_gives_the_logits_of_transformers(kind: Any, config: Any, other: dict[str, Any]) -> None:
    model = made(kind, config(**(SHAPE | other)))
    assert fits(model)
    assert_logits_of_transformers(model, LeanDecoder(model))


@pytest.mark.parametrize("build", [gpt2, sliding, qwen3])
def test_the_generic_forward_gives_the_logits_of_transformers(build: Any) -> None:
    model = build()
    assert fits(model) == (build is qwen3)
    assert_logits_of_transformers(model, CacheDecoder(model))


def assert_logits_of_transformers(model: Any, decoder: Any) -> None:
    """Sequences that are read in two pieces, then decoded by turns, never all of them at once."""
    sequences = [prompt_of(length, length) for length in (50, 131, 7, 290, 20)]
    rows = [decoder.allocate(len(s)) for s in sequences]
    decoder.extend(rows, [s[:3] for s in sequences])
    decoder.extend(rows[:4], [s[3 : len(s) // 2 + 2] for s in sequences[:4]])
    with torch.no_grad():
        expected = [model(torch.tensor([s])).logits[0] for s in sequences]
    for turn in range(8):
        left = [
            n for n, s in enumerate(sequences) if len(rows[n].tokens) < len(s) and not (n % 2 == 0 and turn % 3 == 1)
        ]
        places = [len(rows[n].tokens) for n in left]
        logits = decoder.step([rows[n] for n in left], [sequences[n][p] for n, p in zip(left, places, strict=True)])
        for got, n, place in zip(logits, left, places, strict=True):
            torch.testing.assert_close(got, expected[n][place], atol=1e-4, rtol=0)


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    logits = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05])).repeat(20_000, 1)
    numbers = noise(1, 20_000)
    for given_p, expected in ((1.0, [0.5, 0.3, 0.15, 0.05]), (0.75, [0.625, 0.375, 0, 0]), (0.4, [1, 0, 0, 0])):
        one = rules([Sampling(top_p=given_p)] * 20_000, torch.device("cpu"))
        tokens, logprobs = draw(logits, one, numbers)
        np.testing.assert_allclose(np.bincount(tokens, minlength=4) / 20_000, expected, atol=0.012)
        torch.testing.assert_close(logprobs.exp(), torch.tensor(expected, dtype=torch.float32)[tokens])


def test_rows_of_one_batch_keep_their_own_rules() -> None:
    logits = torch.randn(6, 50, generator=torch.Generator().manual_seed(0))
    each = [
        Sampling(),
        Sampling(temperature=0),
        Sampling(temperature=0.5),
        Sampling(top_p=0.3),
        Sampling(),
        Sampling(top_p=0.9),
    ]
    numbers = noise(3, 6)
    tokens, logprobs = draw(logits, rules(each, torch.device("cpu")), numbers)
    for n, one in enumerate(each):
        alone = draw(logits[n : n + 1], rules([one], torch.device("cpu")), numbers[n : n + 1])
        assert (tokens[n], logprobs[n]) == pytest.approx((alone[0].item(), alone[1].item()))
    assert tokens[1] == logits[1].argmax()
    assert logprobs[1] == pytest.approx(torch.log_softmax(logits[1], -1).max().item())


@given(st.integers(-(2**63), 2**64), st.integers(1, 50), st.integers(0, 50))
def test_noise_depends_on_seed_and_place_alone(seed: int, count: int, more: int) -> None:
    assert noise(seed, count).tolist() == noise(seed, count + more)[:count].tolist()
    assert noise(seed, count).tolist() != noise(seed + 1, count).tolist()


@given(st.lists(st.integers(0, 2)), st.lists(st.integers(0, 2)), st.lists(st.integers(0, 2)))
def test_the_common_prefix_is_the_longest(start: list[int], one: list[int], other: list[int]) -> None:
    one, other = start + one, start + other
    expected = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    assert common(one, other) == expected


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 300), st.booleans()), min_size=1, max_size=25))
def test_rows_keep_their_tokens_whatever_comes_and_goes(actions: list[tuple[int, int, bool]]) -> None:
    """Rows are allocated, freed, grown and moved together in any order: what each of them says next stays the same."""
    model = qwen3()
    decoder = LeanDecoder(model)
    rows: dict[int, Any] = {}
    for name, size, leaves in actions:
        if leaves and name in rows:
            decoder.free(rows.pop(name))
        elif name not in rows:
            rows[name] = decoder.allocate(size + 8)
            decoder.extend([rows[name]], [prompt_of(size, size)])
        used = [row for n, row in rows.items() if (n + size) % 2 and len(row.tokens) < row.capacity]
        if used:
            decoder.step(used, [size % VOCABULARY] * len(used))
    left = [row for row in rows.values() if len(row.tokens) < row.capacity]
    if left:
        logits = decoder.step(left, [1] * len(left))
        for row, got in zip(left, logits, strict=True):
            with torch.no_grad():
                expected = model(torch.tensor([row.tokens])).logits[0, -1]
            torch.testing.assert_close(got, expected, atol=1e-4, rtol=0)
    assert decoder.held == sum(row.capacity for row in rows.values())
