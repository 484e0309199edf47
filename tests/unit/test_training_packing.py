"""Bins: what goes into them, and that a model sees the same rows in them as alone."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.training_samples import llama, row, rows, small_model
from torch import nn

from datagen.errors import ConfigError, TrainingError
from datagen.training.attention import describe_attention
from datagen.training.models import TokenScorer
from datagen.training.packing import bins, check_streams, to_batch, with_trained_tokens
from datagen.training.precision import Masters
from datagen.training.rows import TrainRow, with_streams

torch.set_num_threads(1)

LAYOUTS = ("packed", "padded")
lengths = st.lists(st.integers(2, 90), min_size=1, max_size=30)
layouts = st.sampled_from(LAYOUTS)


def plain(length: int, bundle: str = "") -> TrainRow:
    return TrainRow(np.zeros(length, dtype=np.int64), bundle=bundle)


@given(lengths, st.integers(2, 200), layouts)
@settings(max_examples=80, deadline=None)
def test_every_row_is_in_one_bin_in_its_order(sizes, budget, layout):
    given_rows = [plain(size) for size in sizes]
    parts = bins(given_rows, tokens=budget, layout=layout)

    assert sorted(place for part in parts for place in part.places) == list(range(len(sizes)))
    for part in parts:
        assert list(part.places) == sorted(part.places)
        assert all(given_rows[place] is one for place, one in zip(part.places, part.rows, strict=True))


@given(lengths, st.integers(2, 200), layouts)
@settings(max_examples=80, deadline=None)
def test_no_bin_is_above_the_budget_unless_it_holds_one_row(sizes, budget, layout):
    for part in bins([plain(size) for size in sizes], tokens=budget, layout=layout):
        assert part.area <= budget or len(part.rows) == 1


@given(
    st.lists(st.tuples(st.integers(2, 60), st.integers(0, 5)), min_size=1, max_size=24), st.integers(2, 150), layouts
)
@settings(max_examples=80, deadline=None)
def test_rows_of_a_bundle_share_a_bin(sizes, budget, layout):
    given_rows = [plain(size, f"pair {number}" if number else "") for size, number in sizes]
    parts = bins(given_rows, tokens=budget, layout=layout)

    homes = {(one.bundle, number) for number, part in enumerate(parts) for one in part.rows if one.bundle}
    assert max(Counter(bundle for bundle, _ in homes).values(), default=1) == 1
    assert sum(len(part.rows) for part in parts) == len(sizes)


@given(lengths, st.integers(90, 400))
@settings(max_examples=60, deadline=None)
def test_packed_bins_are_at_least_half_full_on_average(sizes, budget):
    # Best fit never opens a bin while the row fits into an open one, so two bins together hold more than one budget.
    parts = bins([plain(size) for size in sizes], tokens=budget)

    assert all(one.tokens + other.tokens > budget for one, other in pairwise(parts))


@given(lengths, st.integers(90, 400))
@settings(max_examples=60, deadline=None)
def test_packed_bins_have_no_padding_and_padded_ones_count_theirs(sizes, budget):
    given_rows = [plain(size) for size in sizes]

    assert sum(part.area for part in bins(given_rows, tokens=budget)) == sum(sizes)
    for part in bins(given_rows, tokens=budget, layout="padded"):
        assert to_batch(with_targets(part)).input_ids.numel() == part.area


def with_targets(part):
    """The same bin, of rows with a trained token: tensors of a bin need one."""
    trained = [with_streams(one, ce_weight=np.eye(1, len(one), 1, dtype=np.float32)[0]) for one in part.rows]
    return type(part)(tuple(trained), part.places, part.layout)


def test_padded_bins_hold_rows_of_like_lengths():
    sizes = [10, 100] * 20
    parts = bins([plain(size) for size in sizes], tokens=400, layout="padded")

    assert sum(part.area for part in parts) < 1.1 * sum(sizes)


def test_the_example_of_the_module_is_packed_as_it_says():
    parts = bins([plain(size) for size in (700, 90, 300, 250, 120)], tokens=1000)

    assert [part.places for part in parts] == [(0, 2), (1, 3, 4)]


def test_a_row_above_the_budget_has_a_bin_of_its_own():
    parts = bins([plain(5), plain(50), plain(5)], tokens=20)

    assert [part.places for part in parts] == [(1,), (0, 2)]


def test_a_layout_or_a_budget_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="choose one of packed, padded"):
        bins([plain(5)], tokens=20, layout="square")
    with pytest.raises(ConfigError, match="at least 1"):
        bins([plain(5)], tokens=0)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_targets_and_streams_come_in_the_order_of_rows(layout):
    given_rows = rows([7, 12, 5])
    [part] = bins(given_rows, tokens=1000, layout=layout)
    batch = to_batch(part)
    masks = [one.trained for one in given_rows]

    assert batch.targets.tolist() == [
        int(x) for one, m in zip(given_rows, masks, strict=True) for x in one.input_ids[m]
    ]
    assert batch.trained.rows.tolist() == [number for number, m in enumerate(masks) for _ in range(m.sum())]
    tokens = batch.trained.beside(torch.zeros(len(batch.targets)), None)
    for name, stream in (("rl_weight", "rl_weight"), ("advantages", "advantage"), ("old_logprobs", "old_logprobs")):
        wanted = np.concatenate([getattr(one, stream)[m] for one, m in zip(given_rows, masks, strict=True)])
        assert getattr(tokens, name).numpy().tolist() == wanted.tolist()
    before = batch.input_ids.flatten()[batch.sources]
    assert before.tolist() == [
        int(x) for one, m in zip(given_rows, masks, strict=True) for x in one.input_ids[:-1][m[1:]]
    ]


def test_a_row_without_old_logprobs_is_compared_with_the_model_as_it_is():
    given_rows = [row(6, seed=1), with_streams(row(6, seed=2), old_logprobs=None)]
    [part] = bins(given_rows, tokens=100)
    batch = to_batch(part)
    logprobs = torch.full((len(batch.targets),), -1.5, requires_grad=True)
    tokens = batch.trained.beside(logprobs, None)

    second = tokens.rows == 1
    assert tokens.old_logprobs[second].tolist() == [-1.5] * int(second.sum())
    assert not tokens.old_logprobs.requires_grad
    assert tokens.old_logprobs[~second].tolist() == given_rows[0].old_logprobs[given_rows[0].trained].tolist()


def test_engines_logprobs_are_there_where_a_row_has_them_and_the_old_ones_elsewhere():
    first = row(6, seed=1)
    first = with_streams(first, sampler_logprobs=first.old_logprobs - 1)
    second = row(6, seed=2)
    [part] = bins([first, second], tokens=100)
    batch = to_batch(part)
    tokens = batch.trained.beside(torch.zeros(len(batch.targets)), None)
    mine = tokens.rows == 0

    assert tokens.sampler_logprobs[mine].tolist() == first.sampler_logprobs[first.trained].tolist()
    assert tokens.sampler_logprobs[~mine].tolist() == second.old_logprobs[second.trained].tolist()
    assert to_batch(bins([second], tokens=100)[0]).trained.beside(torch.zeros(1), None).sampler_logprobs is None


def test_pairs_are_numbered_within_a_bin():
    given_rows = [
        row(6, seed=1, bundle="b"), row(6, seed=2), row(6, seed=3, bundle="a"), row(5, seed=4, bundle="b", chosen=False)
    ]  # fmt: skip
    [part] = bins(given_rows, tokens=100)
    trained = to_batch(part).trained

    assert trained.pair.tolist() == [0, -1, 1, 0]
    assert trained.chosen.tolist() == [True, True, True, False]


def test_weights_that_need_numbers_a_row_lacks_are_refused():
    with pytest.raises(TrainingError, match="'rollout-3' has a rl_weight but no advantage"):
        check_streams([with_streams(row(6, seed=3), advantage=None)])
    one = row(6, seed=3)
    with pytest.raises(TrainingError, match="kl_weight but no ref_logprobs"):
        check_streams([with_streams(one, kl_weight=one.rl_weight)])


def test_rows_without_trained_tokens_are_left_out_but_not_half_of_a_pair():
    half = [row(6, seed=1, bundle="p"), plain(6, "p")]

    assert with_trained_tokens([plain(6), *half, plain(6, "q")]) == half


def scored(model: nn.Module, given_rows: list[TrainRow], *, tokens: int, layout: str) -> tuple[torch.Tensor, dict]:
    """Log-probabilities in the order of rows, and the gradient of a weighted sum of them."""
    scorer = TokenScorer(model, layout=layout)
    model.zero_grad()
    found = {}
    for part in bins(given_rows, tokens=tokens, layout=layout):
        batch = to_batch(part)
        logprobs, _ = scorer(batch)
        (logprobs * batch.trained.streams[0]).sum().backward()
        found |= {place: logprobs[batch.trained.rows == n].detach() for n, place in enumerate(part.places)}
    flat = torch.cat([found[place] for place in sorted(found)])
    return flat, {name: one.grad.clone() for name, one in model.named_parameters()}


@pytest.mark.parametrize("make", [small_model, llama])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_in_bins_give_what_rows_alone_give_with_their_gradients(make, layout):
    given_rows = rows([9, 33, 2, 17, 40, 5, 21])
    model = make()
    alone, alone_slope = scored(model, given_rows, tokens=1, layout="padded")
    # One bin for all, and bins of several rows.
    for budget in (1000, 64):
        together, slope = scored(model, given_rows, tokens=budget, layout=layout)

        assert torch.allclose(together, alone, atol=1e-5, rtol=0)
        for name, wanted in alone_slope.items():
            assert torch.allclose(slope[name], wanted, atol=1e-5 * max(1, float(wanted.abs().max()))), name


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("window", [None, 6])
def test_rows_in_one_call_on_a_gpu_give_what_rows_alone_give_in_single_precision(window):
    from transformers import Qwen3Config, Qwen3ForCausalLM

    given_rows = rows([30, 4, 19, 60])
    config = Qwen3Config(
        vocab_size=61, hidden_size=64, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=32, use_sliding_window=window is not None, sliding_window=window,
        max_window_layers=1, initializer_range=0.1,
    )  # fmt: skip
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(config)
    for parameter in model.parameters():
        parameter.data = parameter.data.bfloat16().float()
    [alone] = bins(given_rows, tokens=1000, layout="padded")
    wanted, _ = TokenScorer(model, layout="padded")(to_batch(alone))
    Masters(model)
    model.cuda()
    [part] = bins(given_rows, tokens=1000)
    found, _ = TokenScorer(model, layout="packed")(to_batch(part, "cuda"))
    found.sum().backward()

    assert describe_attention("cuda", torch.bfloat16) == "varlen"
    # On a CPU half precision is within 0.016 here, and rows that saw each other would be 1.6 apart.
    assert torch.allclose(found.cpu(), wanted, atol=0.05)


def test_rows_alone_give_what_the_models_own_head_gives():
    one = row(23, seed=5)
    model = small_model()
    logits = model(torch.from_numpy(one.input_ids)[None]).logits[0]
    wanted = torch.log_softmax(logits, -1)[:-1].gather(1, torch.from_numpy(one.input_ids)[1:, None])[:, 0]
    found, _ = scored(model, [one], tokens=100, layout="packed")

    assert torch.allclose(found, wanted[torch.from_numpy(one.trained[1:])], atol=1e-5)


def test_layers_with_a_window_see_only_the_window_in_packed_rows():
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=61, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, use_sliding_window=True, sliding_window=6, max_window_layers=1,
        initializer_range=0.2,
    )  # fmt: skip
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(config)
    given_rows = rows([30, 4, 19])
    wanted, _ = scored(model, given_rows, tokens=1, layout="padded")
    found, _ = scored(model, given_rows, tokens=1000, layout="packed")

    assert "sliding_attention" in config.layer_types
    assert torch.allclose(found, wanted, atol=1e-5)


def test_generation_is_the_same_after_rows_were_packed():
    model = small_model().eval()
    prompt = torch.tensor([[5, 9, 11, 4], [7, 7, 2, 30]])
    options = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 0, "attention_mask": torch.ones_like(prompt)}
    before = model.generate(prompt, **options)
    scored(model, rows([9, 12]), tokens=100, layout="packed")

    assert model.generate(prompt, **options).tolist() == before.tolist()


def test_a_model_that_mixes_tokens_without_attention_is_not_packed():
    from transformers import MambaConfig, MambaForCausalLM

    model = MambaForCausalLM(MambaConfig(vocab_size=61, hidden_size=16, num_hidden_layers=1, state_size=4))
    with pytest.raises(ConfigError, match=r"cannot be exchanged.*'padded'"):
        TokenScorer(model, layout="packed")
