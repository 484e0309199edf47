"""One update: the same whatever the bins, exact after a resume, and none at all where the gradient is not finite."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.training_samples import Imitation, Surrogate, row, rows, small_model
from torch import nn

from datagen.errors import CheckpointError, ConfigError, TrainingError
from datagen.training.learner import Alone, Learner
from datagen.training.models import tiny_qwen3, with_lora
from datagen.training.optimizers import OptimizerSettings
from datagen.training.rows import TrainRow, with_streams
from datagen.training.tokens import Loss

torch.set_num_threads(1)

LENGTHS = [9, 33, 2, 17, 40, 5, 21]


class Gradients(Alone):
    """Keeps the gradient that a step was about to use."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale
        self.kept: list[torch.Tensor] = []

    def norm(self, gradients):
        self.kept = [one.clone() for one in gradients]
        return super().norm(gradients)


def learner(model: nn.Module | None = None, **changes) -> Learner:
    options = {"optimizer": OptimizerSettings(learning_rate=1e-2), "tokens_per_bin": 64} | changes
    return Learner(small_model() if model is None else model, **options)


def weights(one: Learner) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in one.model.parameters()]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def gradient(given_rows, objective, **changes) -> list[torch.Tensor]:
    kept = Gradients()
    learner(reduction=kept, **changes).step(given_rows, objective)
    return kept.kept


@given(budget=st.integers(2, 200), layout=st.sampled_from(["packed", "padded"]))
@settings(max_examples=12, deadline=None)
def test_accumulation_over_any_bins_gives_the_gradient_of_one_bin(budget, layout):
    objective = Surrogate(bonus=0.1)
    wanted = gradient(rows(LENGTHS), objective, tokens_per_bin=10_000)
    found = gradient(rows(LENGTHS), objective, tokens_per_bin=budget, layout=layout)

    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_the_gradient_is_the_one_of_a_loss_written_by_hand():
    model = small_model()
    given_rows = rows([12, 7])
    loss = torch.zeros(())
    for one in given_rows:
        ids = torch.from_numpy(one.input_ids)
        logprobs = torch.log_softmax(model(ids[None]).logits[0], -1)[:-1].gather(1, ids[1:, None])[:, 0]
        loss = loss - (torch.from_numpy(one.ce_weight[1:]) * logprobs).sum()
    loss.backward()
    kept = Gradients()
    one = learner(reduction=kept, clip_norm=None)
    one.step(given_rows, Imitation())
    found = dict(zip(map(id, one.optimizer.parameters), kept.kept, strict=True))

    for mine, parameter in zip(one.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(found[id(mine)], parameter.grad, atol=1e-5, rtol=1e-4)


def test_a_report_says_what_was_computed():
    one = learner(tokens_per_bin=80, layout="padded")
    given_rows = rows(LENGTHS)
    report = one.step(given_rows, Imitation())

    assert report.version == one.version == 1
    assert report.rows == len(LENGTHS)
    assert report.trained_tokens == sum(int(each.trained.sum()) for each in given_rows)
    assert report.forwarded_tokens == sum(LENGTHS)
    assert 0 < report.padding_share < 0.5
    assert report.bins > 1
    assert report.learning_rate == 1e-2
    assert report.seconds > 0
    nll = [
        -logprobs[each.trained].sum() for logprobs, each in zip(learner().logprobs(given_rows), given_rows, strict=True)
    ]
    assert report.measures["nll"] == pytest.approx(sum(nll) / report.trained_tokens, rel=1e-5)


def test_rows_without_a_trained_token_cost_nothing():
    empty = TrainRow(np.arange(500) % 61, rl_weight=np.zeros(500, dtype=np.float32), rollout_id="empty")
    report = learner().step([*rows([9]), empty], Imitation())

    assert (report.rows, report.forwarded_tokens) == (1, 9)
    with pytest.raises(TrainingError, match="none of 1 rows has a trained token"):
        learner().step([empty], Imitation())


def test_an_objective_that_finds_nothing_to_learn_moves_nothing():
    one = learner()
    before = weights(one)
    report = one.step(rows([9, 8]), Nothing())

    assert (report.grad_norm, report.loss) == (0, 0)
    assert same(before, weights(one))


@dataclass(frozen=True)
class Nothing:
    needs_entropy: bool = False

    def __call__(self, tokens):
        return Loss(torch.zeros(()), {})


def test_gradients_are_clipped_to_their_length_and_reported_before_it():
    free, bound = learner(clip_norm=None), learner(clip_norm=1e-4)
    loose = free.step(rows(LENGTHS), Imitation())
    tight = bound.step(rows(LENGTHS), Imitation())

    assert tight.grad_norm == loose.grad_norm > 1e-4
    assert (tight.clipped, loose.clipped) == (True, False)
    with pytest.raises(ConfigError, match="above 0"):
        learner(clip_norm=0.0)


def test_the_rate_follows_the_schedule_of_updates():
    one = learner(optimizer=OptimizerSettings(learning_rate=1.0e-3, warmup=2, schedule="linear", total=4, floor=0.0))

    assert [one.step(rows([9]), Imitation()).learning_rate for _ in range(4)] == [5e-4, 1e-3, 1e-3, 5e-4]


def test_logprobs_are_in_the_order_of_rows_and_zero_elsewhere():
    given_rows = rows(LENGTHS)
    found = learner(tokens_per_bin=50).logprobs(given_rows)
    alone = [learner(tokens_per_bin=50, layout="padded").logprobs([one])[0] for one in given_rows]

    for one, logprobs, wanted in zip(given_rows, found, alone, strict=True):
        assert logprobs.dtype == np.float32
        np.testing.assert_allclose(logprobs, wanted, atol=1e-5)
        assert (logprobs[~one.trained] == 0).all()
        assert (logprobs[one.trained] < 0).all()


@pytest.mark.parametrize("layout", ["packed", "padded"])
def test_entropies_are_those_of_the_whole_distribution_at_trained_tokens(layout):
    one, given = learner(layout=layout), rows([9, 30, 5])
    for each, found in zip(given, one.entropies(given), strict=True):
        with torch.no_grad():
            logits = one.model(input_ids=torch.from_numpy(each.input_ids)[None]).logits[0, :-1].float()
        wanted = torch.distributions.Categorical(logits=logits).entropy().numpy()
        np.testing.assert_allclose(found[1:], np.where(each.trained[1:], wanted, 0), atol=1e-5)


def test_logprobs_need_no_advantages_and_rows_without_trained_tokens_stay_zero():
    bare = with_streams(row(8, seed=1), advantage=None, old_logprobs=None)
    empty = TrainRow(np.arange(5))
    first, second = learner().logprobs([bare, empty])

    assert (first[bare.trained] < 0).all()
    assert second.tolist() == [0] * 5


def test_a_policy_compared_with_itself_has_ratio_one():
    one = learner()
    given_rows = rows(LENGTHS)
    fresh = [
        with_streams(each, old_logprobs=old) for each, old in zip(given_rows, one.logprobs(given_rows), strict=True)
    ]
    without = [with_streams(each, old_logprobs=None) for each in given_rows]

    assert one.measure(fresh, Surrogate())["ratio"] == pytest.approx(1, abs=1e-5)
    assert one.measure(without, Surrogate())["ratio"] == 1


def test_measuring_changes_nothing():
    one = learner()
    before = weights(one)
    found = one.measure(rows(LENGTHS), Imitation())
    report = one.step(rows(LENGTHS), Imitation())

    assert found["loss"] == pytest.approx(report.loss, rel=1e-6)
    assert found["nll"] == pytest.approx(report.measures["nll"], rel=1e-6)
    assert not same(before, weights(one))
    twin = learner()
    twin.measure(rows(LENGTHS), Imitation())
    assert same(before, weights(twin))
    assert twin.version == 0


@dataclass(frozen=True)
class Broken:
    """Finite at first; from the second bin on its value, or its gradient, is not."""

    how: str
    needs_entropy: bool = False

    def __call__(self, tokens):
        loss = Imitation()(tokens).value
        if self.how == "value":
            return Loss(loss + torch.tensor(float("nan")), {})
        if self.how == "gradient":
            # sqrt has an infinite slope at 0: the value is finite and the gradient is not.
            return Loss(loss + ((tokens.logprobs - tokens.logprobs.detach()).abs().sum()).sqrt(), {})
        raise TrainingError("advantages are not finite.")


@pytest.mark.parametrize("kind", ["adamw", "muon"])
@pytest.mark.parametrize("how", ["value", "gradient", "objective"])
def test_an_update_that_is_not_finite_is_not_made_and_names_its_rollouts(how, kind):
    one = learner(optimizer=OptimizerSettings(kind=kind, learning_rate=1e-2), tokens_per_bin=1000)
    one.step(rows(LENGTHS), Imitation())
    before, state = weights(one), copy.deepcopy(one.state_dict())
    with pytest.raises(TrainingError, match=r"rollout-0, rollout-1, rollout-2"):
        one.step(rows(LENGTHS), Broken(how))

    assert same(before, weights(one))
    assert one.version == 1
    assert all(parameter.grad is None for parameter in one.model.parameters())
    twin = learner(optimizer=OptimizerSettings(kind=kind, learning_rate=1e-2), tokens_per_bin=1000)
    twin.load_state_dict(state)
    for each in (one, twin):
        each.step(rows(LENGTHS), Imitation())
    assert same(weights(one), weights(twin))


def test_the_rollout_whose_own_number_is_not_finite_is_named_alone():
    bad = row(20, seed=50, name="the-bad-one")
    advantage = bad.advantage.copy()
    advantage[-1] = np.nan
    with pytest.raises(TrainingError, match=r"rollouts the-bad-one, whose advantage is not finite"):
        learner(tokens_per_bin=1000).step([*rows(LENGTHS), with_streams(bad, advantage=advantage)], Surrogate())


def test_many_rollouts_are_counted_rather_than_named():
    with pytest.raises(TrainingError, match=r"rollout-0, .* and 4 more"):
        learner(tokens_per_bin=1000).step(rows([5] * 12), Broken("value"))


@pytest.mark.parametrize("kind", ["adamw", "muon"])
@pytest.mark.parametrize("adapters", [False, True])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_resumed_learner_makes_the_same_updates_to_the_bit(kind, adapters, precision):
    settings_ = OptimizerSettings(kind=kind, learning_rate=1e-2, schedule="cosine", warmup=2, total=9, weight_decay=0.1)

    def fresh(seed: int) -> Learner:
        model = small_model()
        return learner(
            with_lora(model, rank=2, alpha=4, seed=seed) if adapters else model,
            optimizer=settings_,
            precision=precision,
        )

    one = fresh(0)
    for number in range(3):
        one.step(rows(LENGTHS, seed=number), Surrogate())
    other = fresh(1)
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    reports = [[each.step(rows(LENGTHS, seed=number), Surrogate()) for number in (3, 4)] for each in (one, other)]

    assert other.version == 5
    assert [each.loss for each in reports[0]] == [each.loss for each in reports[1]]
    assert all(torch.equal(a, b) for a, b in zip(one.weights.parameters(), other.weights.parameters(), strict=True))
    assert same(weights(one), weights(other))


def test_the_state_of_another_model_is_refused_before_anything_changes():
    one = learner()
    before = weights(one)
    other = learner(tiny_qwen3(61, layers=1, hidden=32, heads=4, ffn=48))
    with pytest.raises(CheckpointError, match="belongs to another model"):
        one.load_state_dict(other.state_dict())

    assert same(before, weights(one))


@pytest.mark.parametrize("adapters", [False, True])
def test_updates_that_half_precision_would_lose_add_up_on_single_precision_copies(adapters):
    model = with_lora(small_model(), rank=2, alpha=4) if adapters else small_model()
    one = learner(model, precision="bfloat16", optimizer=OptimizerSettings(learning_rate=2e-5))
    masters = [parameter.detach().clone() for parameter in one.weights.parameters()]
    working = [parameter.detach().clone() for parameter in model.parameters()]
    for _ in range(2):
        one.step(rows(LENGTHS), Imitation())
    moved = sum(int((a != b).sum()) for a, b in zip(masters, one.weights.parameters(), strict=True))
    shown = sum(int((a != b).sum()) for a, b in zip(working, model.parameters(), strict=True))

    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert {parameter.dtype for parameter in one.weights.parameters()} == {torch.float32}
    # Adapters begin at 0, where half precision is fine enough for any step.
    assert 0 < shown < (0.6 if adapters else 0.3) * moved
    trained = dict(model.named_parameters())
    assert all(torch.equal(trained[name], master.bfloat16()) for name, master in one.weights.named_parameters())


def test_the_learner_of_a_later_stage_goes_on_with_the_single_precision_copies():
    model = small_model()
    first = learner(model, precision="bfloat16", optimizer=OptimizerSettings(learning_rate=2e-5))
    first.step(rows(LENGTHS), Imitation())
    left = [one.detach().clone() for one in first.weights.parameters()]
    second = learner(model, precision="bfloat16", optimizer=OptimizerSettings(learning_rate=2e-5))

    assert same(left, list(second.weights.parameters()))
    assert second.step(rows(LENGTHS), Imitation()).grad_norm > 0
    assert not same(left, list(second.weights.parameters()))


def test_half_precision_comes_near_single_precision():
    wanted = gradient(rows(LENGTHS), Imitation(), clip_norm=None)
    found = gradient(rows(LENGTHS), Imitation(), clip_norm=None, precision="bfloat16")
    flat_wanted, flat_found = (torch.cat([one.flatten() for one in each]) for each in (wanted, found))

    assert torch.cosine_similarity(flat_wanted, flat_found, dim=0) > 0.99


class TwoRanks(Alone):
    """The rank with fewer bins beside another that has three more, whose gradients are averaged."""

    scale = 2.0

    def most(self, count):
        return count + 3

    def sums(self, values):
        return {name: 2 * value for name, value in values.items()} | {"sum:other": 6.0, "count:other": 3.0}


def test_a_rank_with_fewer_bins_computes_along_without_a_gradient():
    single, double = learner(clip_norm=None), learner(clip_norm=None, reduction=TwoRanks())
    one = single.step(rows(LENGTHS), Imitation())
    two = double.step(rows(LENGTHS), Imitation())

    assert two.grad_norm == pytest.approx(2 * one.grad_norm, rel=1e-5)
    assert two.loss == pytest.approx(2 * one.loss, rel=1e-6)
    assert two.measures == {"nll": pytest.approx(one.measures["nll"]), "other": 2.0}
    # AdamW divides by the size of the gradient, so both ranks' doubled one makes the same update.
    for mine, wanted in zip(double.logprobs(rows([9, 8])), single.logprobs(rows([9, 8])), strict=True):
        np.testing.assert_allclose(mine, wanted, atol=1e-3)


class Worst(Imitation):
    """Reports how unlikely the least likely token is, and a figure that no bin has."""

    def __call__(self, tokens):
        loss = super().__call__(tokens)
        return Loss(loss.value, loss.measures, {"worst": -tokens.logprobs.min(), "none": torch.tensor(-torch.inf)})


def test_of_peaks_the_largest_of_all_bins_is_reported_and_none_where_there_is_none():
    given = rows(LENGTHS)
    one, many = learner(tokens_per_bin=10_000), learner(tokens_per_bin=40)
    expected = -min(float(found.min()) for found in one.logprobs(given))
    whole, parts = one.step(given, Worst()), many.step(given, Worst())

    assert parts.bins > whole.bins == 1
    assert whole.measures["worst"] == pytest.approx(expected, rel=1e-5)
    assert parts.measures["worst"] == pytest.approx(expected, rel=1e-5)
    assert "none" not in whole.measures
    assert whole.memory_mb > 10


class RefusingNeighbour(TwoRanks):
    """The other rank could not use its rows."""

    def sums(self, values):
        return dict(values) | {"refusals": values["refusals"] + 1}


def test_an_update_that_another_rank_refuses_is_not_made_here():
    one = learner(reduction=RefusingNeighbour())
    before = weights(one)
    with pytest.raises(TrainingError, match="update 1 was refused on another rank"):
        one.step(rows(LENGTHS), Imitation())

    assert same(before, weights(one))
    assert all(parameter.grad is None for parameter in one.model.parameters())


class Waiting(Alone):
    """Counts what the other ranks would wait for."""

    told = 0

    def sums(self, values):
        self.told += 1
        return dict(values)


def test_a_rank_that_refuses_its_rows_tells_the_others_before_it_raises():
    waiting = Waiting()
    with pytest.raises(TrainingError, match=r"advantages are not finite\. Nothing was changed"):
        learner(reduction=waiting).step(rows(LENGTHS), Broken("objective"))

    assert waiting.told == 1


def test_checkpointed_activations_change_no_update():
    reports = [learner(checkpointing=checkpointing).step(rows(LENGTHS), Surrogate()) for checkpointing in (False, True)]

    assert reports[0].grad_norm == pytest.approx(reports[1].grad_norm, rel=1e-5)


def test_imitation_learns_to_copy_in_seconds():
    rng = np.random.default_rng(0)
    length, words = 6, 16

    def copies(count: int) -> list[TrainRow]:
        """Words, a mark, and the words again; the second time is trained."""
        made = []
        for _ in range(count):
            given_words = rng.integers(1, words, length)
            weight = np.zeros(2 * length + 1, dtype=np.float32)
            weight[length + 1 :] = 1 / (count * length)
            made.append(TrainRow(np.concatenate([given_words, [0], given_words]), ce_weight=weight))
        return made

    one = learner(
        tiny_qwen3(words, layers=2, hidden=48, heads=2, ffn=64, seed=1),
        optimizer=OptimizerSettings(kind="muon", learning_rate=3e-3, schedule="cosine", warmup=10, total=250),
        tokens_per_bin=4096, entropy=False,
    )  # fmt: skip
    first = one.step(copies(32), Imitation()).measures["nll"]
    for _ in range(249):
        one.step(copies(32), Imitation())
    unseen = one.measure(copies(64), Imitation())["nll"]

    assert first > 2.5
    assert unseen < 0.1


def test_a_description_says_what_is_trained_and_which_attention_is_used():
    said = learner(with_lora(small_model(), rank=2, alpha=4)).describe()

    assert said["attention"] == "rows"
    assert said["adapters"] is True
    assert 0 < said["trained_parameters"] < said["parameters"]
