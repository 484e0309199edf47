"""Log-probabilities at trained tokens: equal to a plain log_softmax, gradients included, in little memory."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.training_samples import rows, small_model
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from datagen.errors import ConfigError
from datagen.training.head import token_logprobs
from datagen.training.models import TokenScorer
from datagen.training.packing import bins, to_batch

torch.set_num_threads(1)

PLACES, WIDTH, WORDS = 13, 8, 37


def inputs(*, seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(seed)
    hidden = torch.randn(PLACES, WIDTH).to(dtype).requires_grad_()
    weight = torch.randn(WORDS, WIDTH).to(dtype).requires_grad_()
    bias = torch.randn(WORDS).to(dtype).requires_grad_()
    return hidden, weight, bias, torch.randint(0, WORDS, (PLACES,))


def plain(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    logits = hidden.float() @ weight.float().T
    if bias is not None:
        logits = logits + bias
    log_all = torch.log_softmax(logits / temperature, dim=-1)
    return log_all.gather(1, targets[:, None])[:, 0], -(log_all.exp() * log_all).sum(-1)


def slopes(tensors: list[Tensor], loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, tensors))


@given(
    rows_per_chunk=st.integers(1, PLACES + 3),
    temperature=st.sampled_from([0.5, 1.0, 1.7]),
    with_bias=st.booleans(),
    trained=st.booleans(),
    seed=st.integers(0, 5),
)
@settings(max_examples=60, deadline=None)
def test_values_and_gradients_are_those_of_a_plain_log_softmax(rows_per_chunk, temperature, with_bias, trained, seed):
    hidden, weight, bias, targets = inputs(seed=seed)
    given_bias = bias if with_bias else None
    learned = [hidden, weight, *([bias] if with_bias else [])]
    factors = torch.randn(PLACES)
    wanted, wanted_entropy = plain(hidden, weight, given_bias, targets, temperature)
    wanted_slopes = slopes(learned, (wanted * factors).sum() + (wanted_entropy * factors.flip(0)).sum() * trained)
    found, entropy = token_logprobs(
        hidden, weight, targets, bias=given_bias, temperature=temperature,
        entropy="trained" if trained else "measured", elements=rows_per_chunk * WORDS,
    )  # fmt: skip
    loss = (found * factors).sum()
    found_slopes = slopes(learned, loss + (entropy * factors.flip(0)).sum() if trained else loss)

    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(entropy, wanted_entropy, atol=1e-5, rtol=1e-5)
    for one, other in zip(found_slopes, wanted_slopes, strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-4)


def test_a_measured_entropy_has_no_gradient_and_one_that_is_not_asked_for_is_none():
    hidden, weight, _, targets = inputs()
    _, measured = token_logprobs(hidden, weight, targets, entropy="measured")
    _, none = token_logprobs(hidden, weight, targets)

    assert measured is not None
    assert not measured.requires_grad
    assert none is None


def test_a_frozen_head_gets_no_gradient_and_hidden_states_still_do():
    hidden, weight, _, targets = inputs()
    weight.requires_grad_(False)
    token_logprobs(hidden, weight, targets, elements=3 * WORDS)[0].sum().backward()

    assert weight.grad is None
    assert hidden.grad is not None


def test_the_gradient_of_a_half_precision_weight_is_added_up_in_single():
    # 4096 equal contributions of one token each: added up in bfloat16 the sum stops growing at 256 of them.
    count = 4096
    hidden = torch.ones(count, 1, dtype=torch.bfloat16)
    weight = torch.zeros(2, 1, dtype=torch.bfloat16, requires_grad=True)
    targets = torch.zeros(count, dtype=torch.int64)
    token_logprobs(hidden, weight, targets, elements=2)[0].sum().backward()

    assert weight.grad.flatten().tolist() == [count / 2, -count / 2]


def test_half_precision_is_within_its_rounding_of_single():
    hidden, weight, _, targets = inputs(dtype=torch.bfloat16)
    found, _ = token_logprobs(hidden, weight, targets)
    wanted, _ = plain(hidden, weight, None, targets, 1.0)

    # Products of rounded numbers are summed in float32, so nothing is lost beyond the inputs' own rounding.
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    assert found.dtype == torch.float32


class LargestTensor(TorchDispatchMode):
    """The most elements that any result of an operation has."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for one in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(one, Tensor):
                self.elements = max(self.elements, one.numel())
        return out


@pytest.mark.parametrize("entropy", ["none", "measured", "trained"])
def test_no_tensor_of_forward_or_backward_is_larger_than_a_chunk(entropy):
    count, words = 512, 300
    hidden = torch.randn(count, 4, requires_grad=True)
    weight = torch.randn(words, 4, requires_grad=True)
    with LargestTensor() as largest:
        logprobs, entropies = token_logprobs(
            hidden, weight, torch.randint(0, words, (count,)), entropy=entropy, elements=16 * words
        )
        (logprobs.sum() + (entropies.sum() if entropy == "trained" else 0)).backward()

    assert largest.elements == 16 * words


@pytest.mark.parametrize("tie", [True, False])
def test_tied_and_untied_heads_have_the_gradients_of_the_models_own(tie):
    model = small_model(tie=tie)
    [one] = rows([19])
    ids = torch.from_numpy(one.input_ids)
    places = torch.from_numpy(one.trained[1:]).nonzero()[:, 0]
    torch.log_softmax(model(ids[None]).logits[0], -1)[places].gather(1, ids[1:][places, None]).sum().backward()
    wanted = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    TokenScorer(model, layout="packed")(to_batch(bins([one], tokens=100)[0]))[0].sum().backward()

    assert ("lm_head.weight" in wanted) == (not tie)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, wanted[name], atol=2e-5, rtol=1e-4)


def test_the_temperature_is_that_of_the_distribution_tokens_were_drawn_from():
    model = small_model()
    [part] = bins(rows([12]), tokens=100)
    batch = to_batch(part)
    found, _ = TokenScorer(model, layout="packed", temperature=0.6)(batch)
    logits = model(batch.input_ids).logits[0][batch.sources] / 0.6
    wanted = torch.log_softmax(logits, -1).gather(1, batch.targets[:, None])[:, 0]

    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    with pytest.raises(ConfigError, match="above 0"):
        TokenScorer(model, layout="packed", temperature=0.0)
