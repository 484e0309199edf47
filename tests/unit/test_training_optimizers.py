"""Which weights get which optimiser, how rates move, and that a saved state goes on to the bit."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.training_samples import small_model
from torch import nn

from datagen.errors import CheckpointError, ConfigError, TrainingError
from datagen.training.models import outer_parameters
from datagen.training.optimizers import Optimizer, OptimizerSettings

torch.set_num_threads(1)


def made(settings: OptimizerSettings, model: nn.Module) -> Optimizer:
    return Optimizer(model.parameters(), settings, outer=outer_parameters(model))


def with_gradients(model: nn.Module, seed: int) -> None:
    torch.manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)


def test_settings_survive_pickling():
    settings_ = OptimizerSettings(kind="muon", schedule="linear", warmup=3, total=9)

    assert pickle.loads(pickle.dumps(settings_)) == settings_


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "sgd"}, "choose one of adamw, muon"),
        ({"schedule": "step"}, "choose one of constant, linear, cosine"),
        ({"schedule": "cosine"}, "total is None"),
        ({"schedule": "linear", "warmup": 5, "total": 5}, "more updates than the warm-up"),
        ({"floor": 1.5}, "between 0 and 1"),
        ({"learning_rate": -1.0}, "at least 0"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        OptimizerSettings(**changes)


def test_a_constant_rate_rises_over_the_warm_up_and_stays():
    factors = [OptimizerSettings(warmup=4).factor(update) for update in range(7)]

    assert factors == [0.25, 0.5, 0.75, 1, 1, 1, 1]


def test_a_linear_rate_falls_to_its_floor_and_stays_there():
    falling = OptimizerSettings(schedule="linear", total=4, floor=0.2)

    assert [round(falling.factor(update), 6) for update in range(6)] == [1, 0.8, 0.6, 0.4, 0.2, 0.2]


def test_a_cosine_rate_is_halfway_in_the_middle():
    falling = OptimizerSettings(schedule="cosine", warmup=10, total=30, floor=0.1)

    assert falling.factor(10) == 1
    assert math.isclose(falling.factor(20), 0.55)
    assert math.isclose(falling.factor(30), 0.1)


@given(st.sampled_from(["constant", "linear", "cosine"]), st.integers(0, 20), st.integers(1, 50), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_rates_rise_then_never_rise_again_and_never_leave_their_bounds(schedule, warmup, length, floor):
    one = OptimizerSettings(schedule=schedule, warmup=warmup, total=warmup + length, floor=floor)
    factors = [one.factor(update) for update in range(warmup + length + 5)]
    top = max(warmup - 1, 0)

    assert all(0 < factor <= 1 + 1e-12 for factor in factors[: warmup + 1])
    assert factors[: top + 1] == sorted(factors[: top + 1])
    assert factors[warmup:] == sorted(factors[warmup:], reverse=True)
    assert min(factors[warmup:]) >= floor - 1e-12


def test_muon_has_the_matrices_inside_the_blocks_and_adamw_the_rest():
    model = small_model(tie=False)
    muon, adamw = made(OptimizerSettings(kind="muon"), model).parts
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    in_muon = {names[id(one)] for group in muon.param_groups for one in group["params"]}
    in_adamw = {names[id(one)] for group in adamw.param_groups for one in group["params"]}

    assert isinstance(muon, torch.optim.Muon)
    assert in_muon == {name for name in names.values() if ".layers." in name and "norm" not in name}
    assert in_muon | in_adamw == set(names.values())
    assert in_muon & in_adamw == set()


def test_decay_shrinks_matrices_inside_the_blocks_alone():
    model = small_model(tie=False)
    before = {name: one.detach().clone() for name, one in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    made(OptimizerSettings(learning_rate=0.1, weight_decay=0.5), model).step(0)

    for name, parameter in model.named_parameters():
        inside = ".layers." in name and "norm" not in name
        torch.testing.assert_close(parameter, before[name] * (0.95 if inside else 1.0))


def test_a_step_of_adamw_is_the_one_of_the_paper():
    weight = nn.Parameter(torch.tensor([2.0]))
    one = Optimizer([weight], OptimizerSettings(learning_rate=0.1, betas=(0.9, 0.99), warmup=2))
    weight.grad = torch.tensor([3.0])
    one.step(0)

    # The first step is the rate times the sign; in warm-up the rate is half.
    torch.testing.assert_close(weight.detach(), torch.tensor([1.95]))
    assert one.rate(0) == 0.05


def test_a_step_of_muon_is_close_to_a_rotation():
    torch.manual_seed(0)
    weight = nn.Parameter(torch.zeros(16, 16))
    weight.grad = torch.randn(16, 16)
    Optimizer([weight], OptimizerSettings(kind="muon", muon_learning_rate=1.0)).step(0)
    values = torch.linalg.svdvals(weight.detach())

    # Newton-Schulz of 5 steps brings singular values near 1, not to 1 (K. Jordan 2024); small ones may lag.
    assert 0.3 < float(values.median()) < 1.3
    assert float(values.max()) < 1.3


def test_matched_to_adamw_an_update_of_muon_has_a_root_mean_square_of_a_fifth():
    torch.manual_seed(0)
    weight = nn.Parameter(torch.zeros(16, 64))
    weight.grad = torch.randn(16, 64)
    Optimizer([weight], OptimizerSettings(kind="muon", muon_learning_rate=1.0, match_adamw=True)).step(0)

    assert 0.15 < float(weight.detach().square().mean().sqrt()) < 0.25


def test_what_needs_no_gradient_is_left_alone():
    model = small_model()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(TrainingError, match="nothing to train"):
        made(OptimizerSettings(), model)


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_saved_state_goes_on_to_the_bit(kind):
    settings_ = OptimizerSettings(kind=kind, learning_rate=1e-2, schedule="cosine", total=20, weight_decay=0.1)
    model = small_model()
    one = made(settings_, model)
    for update in range(3):
        with_gradients(model, update)
        one.step(update)
    other_model = copy.deepcopy(model)
    other = made(settings_, other_model)
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    for update in range(3, 6):
        for each, by in ((model, one), (other_model, other)):
            with_gradients(each, update)
            by.step(update)

    for parameter, twin in zip(model.parameters(), other_model.parameters(), strict=True):
        assert torch.equal(parameter, twin)


def test_the_state_of_another_optimiser_or_model_is_refused():
    model = small_model()
    one = made(OptimizerSettings(), model)
    with pytest.raises(CheckpointError, match="holds the state of muon, but the optimiser is adamw"):
        one.load_state_dict(made(OptimizerSettings(kind="muon"), model).state_dict())
    weight = nn.Parameter(torch.zeros(2, 2))
    with pytest.raises(CheckpointError, match="belongs to another model"):
        one.load_state_dict(Optimizer([weight], OptimizerSettings()).state_dict())
