"""From groups to rows: RAPO's order, its figures, and each of its parts alone."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.errors import ConfigError, TrainingError
from datagen.records.ids import rng_for
from datagen.training.assembly import AssemblySettings, assemble, pool_settings, replay_store
from datagen.training.curriculum import QuestionPool
from datagen.training.learner import Learner
from datagen.training.models import tiny_qwen3
from datagen.training.objectives.presets import Algorithm, preset
from datagen.training.optimizers import OptimizerSettings
from datagen.training.replay import ReplaySettings, ReplayStore
from datagen.training.resampling import Refill, carries_signal
from datagen.training.rollout import Group, Rollout, Sampled
from datagen.training.state_files import read_state, write_state

torch.set_num_threads(1)

QUICK = settings(max_examples=60, deadline=None)
RAPO = preset("rapo")
SCALED = preset("rapo", prune=None, replay=None)
PLAIN = preset("rapo", prune=None, replay=None, scale=False)
CANONICAL = (1.0, 0.1, 0.1, 0.1, 0.1)
FAILED = (0.1,) * 5
SOLVED = (1.0,) * 5


def sampled(tokens: int, seed: int = 0, *, written: int | None = None) -> Sampled:
    """The last `written` of the tokens are the model's, all but the first if left out."""
    marks = np.arange(tokens) >= tokens - (tokens - 1 if written is None else written)
    logprobs = np.where(marks, -np.random.default_rng(seed).random(tokens), 0).astype(np.float32)
    return Sampled(np.arange(tokens) + 10 * seed, marks, logprobs)


def attempt(question: str, number: int, reward: float | None, *lengths: int, name: str = "", **more) -> Rollout:
    parts = tuple(sampled(length, number) for length in lengths or (4,))
    correct = None if reward is None else reward >= 0.5
    grade = {"reward": reward, "correct": correct, "termination": "answered"} | more
    return Rollout(question, name or f"{question}/{number}", parts, **grade)


def group(question: str, *rewards: float | None, **more) -> Group:
    return Group(question, tuple(attempt(question, n, reward, **more) for n, reward in enumerate(rewards)))


def weight_of(done, rollout_id: str) -> float:
    return sum(float(row.rl_weight.sum()) for row in done.rows if row.rollout_id == rollout_id)


def values(done, question: str, count: int = 5) -> list[float]:
    return [done.advantages[f"{question}/{number}"] for number in range(count)]


def stocked(*questions: str, version: int = 0, algorithm: Algorithm = RAPO) -> ReplayStore:
    store = replay_store(algorithm, seed=1)
    kept = [group(question, 1.0, 0.1, version=version) for question in questions]
    renamed = [
        Group(one.question_id, tuple(dataclasses.replace(r, rollout_id=f"old {r.rollout_id}") for r in one.rollouts))
        for one in kept
    ]
    store.keep(store.successes(renamed))
    return store


# The figures of spec fathom §2.6 --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [
        (CANONICAL, [2, -0.5, -0.5, -0.5, -0.5]),
        ((1, 1, 0.1, 0.1, 0.1), [1.2247, 1.2247, -0.8165, -0.8165, -0.8165]),
        ((1, 1, 1, 1, 0.1), [0.5, 0.5, 0.5, 0.5, -2]),
        (SOLVED, [0] * 5),
        ((0.1, 0.1, 0.1, 0, 0), [0.8165, 0.8165, 0.8165, -1.2247, -1.2247]),
    ],
)
def test_advantages_are_those_of_the_paper(rewards, expected):
    # A good neighbour: a batch without one is skipped.
    done = assemble([group("q", *rewards), group("r", 1.0, 0.1)], PLAIN)

    assert values(done, "q") == pytest.approx(expected, abs=5e-5)


def test_four_good_groups_of_32_scale_eightfold():
    groups = [group(f"g{n}", *CANONICAL) for n in range(4)] + [group(f"t{n}", *FAILED) for n in range(28)]

    done = assemble(groups, SCALED)

    assert done.statistics["advantage_scale"] == 8
    assert values(done, "g2") == pytest.approx([16, -4, -4, -4, -4])
    assert [float(row.advantage.max()) for row in done.rows[:1]] == pytest.approx([16])


def test_to_the_letter_of_the_paper_the_size_of_a_group_is_scaled_with():
    groups = [group(f"g{number}", *CANONICAL) for number in range(4)]
    groups += [group(f"t{number}", *FAILED) for number in range(28)]
    done = assemble(groups, preset("rapo", replay=None, scale_by="attempts"))

    assert done.statistics["advantage_scale"] == 5 / 4
    assert values(done, "g0") == pytest.approx([2 * 5 / 4, *[-0.5 * 5 / 4] * 4])
    with pytest.raises(ConfigError, match="scale_by is 'G'; choose groups or attempts"):
        preset("rapo", scale_by="G")


def test_a_lone_good_group_is_scaled_up_to_the_cap():
    groups = [group("good", *CANONICAL), *(group(f"t{n}", *SOLVED) for n in range(31))]

    assert assemble(groups, SCALED).statistics["advantage_scale"] == 32
    assert assemble(groups, dataclasses.replace(SCALED, max_scale=4.0)).statistics["advantage_scale"] == 4


def test_a_solved_group_is_not_good_and_is_pruned_at_the_end_of_the_epoch():
    pool = QuestionPool(["q", "r"], pool_settings(RAPO, batch=2, seed=0))
    done = assemble([group("q", *SOLVED), group("r", *CANONICAL)], RAPO, store=replay_store(RAPO, seed=0))
    pool.tally(done.tallies)

    assert done.statistics["good_groups"] == 1
    assert pool.end_epoch().pruned == ("q",)


def test_a_failed_group_of_mixed_form_is_good_and_replay_fires_all_the_same():
    rewards = (0.1, 0.1, 0.1, 0.0, 0.0)
    done = assemble([group("q", *rewards)], RAPO, store=stocked("q"))

    assert assemble([group("q", *rewards)], RAPO, store=stocked("r")).statistics["good_groups"] == 1
    assert done.statistics["replayed"] == 1
    assert max(done.advantages.values()) > 1.9


# The order ------------------------------------------------------------------------------------------------------------


def test_successes_are_counted_before_replay_puts_one_in():
    done = assemble([group("q", *FAILED)], RAPO, store=stocked("q"))

    assert done.tallies == {"q": (0, 5)}
    assert done.statistics["replayed"] == 1
    assert done.statistics["success"] == 0
    assert done.statistics["reward"] == pytest.approx(0.1)


def test_good_groups_are_counted_after_replay():
    groups = [group("q", *FAILED), group("r", *FAILED), group("s", *SOLVED), group("t", *SOLVED)]
    done = assemble(groups, RAPO, store=stocked("q"))

    assert done.statistics["good_groups"] == 1
    assert done.statistics["advantage_scale"] == 4
    assert (done.statistics["zero_variance"], done.statistics["tied_wrong"], done.statistics["tied_right"]) == (
        1,
        0.5,
        0.5,
    )
    assert sorted(done.advantages[row.rollout_id] for row in done.rows) == pytest.approx([-2, -2, -2, -2, 8])


def test_a_success_of_this_batch_mends_no_group_of_this_batch_but_one_of_the_next():
    store = replay_store(RAPO, seed=0)
    failed = group("q", *FAILED)
    solved = Group("q", (attempt("q", 10, 1.0), attempt("q", 11, 0.1)))

    first = assemble([failed, solved], RAPO, store=store)
    second = assemble([failed], RAPO, store=store)

    assert (first.statistics["replayed"], second.statistics["replayed"]) == (0, 1)
    assert store.counts["unmended"] == 1


def test_successes_are_kept_even_if_the_batch_is_skipped_and_replayed_ones_are_not_kept_again():
    store = replay_store(RAPO, seed=0)
    skipped = assemble([group("q", *SOLVED, version=3)], RAPO, store=store)
    assemble([group("q", *FAILED, version=7)], RAPO, store=store, now=7)

    assert skipped.skipped
    assert store.counts["stored"] == 1
    assert store.state_dict()["kept"][0]["version"] == 3


# Each part alone ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("replay", [False, True])
def test_scaling_and_replay_work_alone_and_together(scale, replay):
    algorithm = preset("rapo", scale=scale, **({} if replay else {"replay": None}))
    groups = [group("q", *FAILED), group("r", *CANONICAL), group("s", *SOLVED), group("t", *SOLVED)]
    done = assemble(groups, algorithm, store=stocked("q"))

    assert done.statistics["replayed"] == replay
    assert done.statistics["advantage_scale"] == (4 / (2 if replay else 1) if scale else 1)
    assert len(done.rows) == (10 if replay else 5)


def test_an_algorithm_without_pruning_makes_a_pool_that_prunes_nothing():
    solved = {"q": (5, 5), "r": (0, 5)}
    pruned = []
    for algorithm in (RAPO, PLAIN):
        pool = QuestionPool(["q", "r"], pool_settings(algorithm, batch=2, seed=0))
        pool.tally(solved)
        pruned.append(pool.end_epoch().pruned)

    assert pruned == [("q",), ()]


def test_the_papers_letter_reaches_counts_and_replay():
    literal = preset("rapo", success="reward")
    done = assemble([group("q", *FAILED), group("r", *CANONICAL)], literal, store=replay_store(literal, seed=0))

    assert done.tallies["q"] == (5, 5)
    assert replay_store(literal, seed=0).settings.success == "reward"


def test_an_algorithm_that_replays_refuses_to_run_without_a_store():
    with pytest.raises(ConfigError, match="has no store"):
        assemble([group("q", *CANONICAL)], RAPO)


def test_without_a_good_group_the_update_is_skipped():
    for algorithm in (SCALED, PLAIN, preset("grpo")):
        done = assemble([group("q", *FAILED), group("r", *SOLVED)], algorithm)

        assert (done.skipped, done.rows) == (True, ())
    assert "advantage_scale" not in assemble([group("q", *FAILED)], SCALED).statistics


# Weights --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("aggregation", ["sequence_mean", "token_mean"])
def test_dropping_rows_without_a_gradient_changes_no_denominator(aggregation):
    algorithm = preset("rapo", prune=None, replay=None, aggregation=aggregation)
    groups = [group("q", *CANONICAL), group("r", *SOLVED), group("s", *FAILED)]
    few = assemble(groups, algorithm)
    all_of_them = assemble(groups, algorithm, settings=AssemblySettings(drop_zero=False))

    assert (len(few.rows), len(all_of_them.rows)) == (5, 15)
    assert sum(float(row.rl_weight.sum()) for row in all_of_them.rows) == pytest.approx(1)
    kept = {row.rollout_id: row for row in all_of_them.rows}
    for row in few.rows:
        assert np.array_equal(row.rl_weight, kept[row.rollout_id].rl_weight)
        assert np.array_equal(row.advantage, kept[row.rollout_id].advantage)
    assert few.statistics == all_of_them.statistics


@pytest.mark.parametrize("setting", [{"kl_coef": 0.1}, {"loss.entropy_coef": 0.01}])
def test_rows_with_an_advantage_of_0_stay_where_a_divergence_or_entropy_gives_them_a_gradient(setting):
    algorithm = preset("grpo", **setting)
    done = assemble([group("q", *CANONICAL), group("r", *SOLVED)], algorithm)

    assert len(done.rows) == 10
    assert not assemble([group("r", *SOLVED)], algorithm).skipped
    assert done.statistics["carrying"] == 5


def test_the_divergence_has_its_coefficient_at_every_weight():
    done = assemble([group("q", *CANONICAL)], preset("grpo", kl_coef=0.25))
    filled = done.with_reference([np.full(len(row), -1.0, np.float32) for row in done.rows])

    assert done.needs_reference
    assert all(np.array_equal(row.kl_weight, np.float32(0.25) * row.rl_weight) for row in done.rows)
    assert all((row.ref_logprobs == -1).all() for row in filled.rows)
    assert assemble([group("q", *CANONICAL)], preset("grpo")).rows[0].kl_weight is None


def test_an_attempt_in_several_sequences_weighs_as_much_as_any_other():
    rollouts = (attempt("q", 0, 1.0, 4, 7, 3), attempt("q", 1, 0.1, 9))
    done = assemble([Group("q", rollouts)], PLAIN)

    assert [row.rollout_id for row in done.rows] == ["q/0", "q/0", "q/0", "q/1"]
    assert weight_of(done, "q/0") == pytest.approx(0.5)
    assert weight_of(done, "q/1") == pytest.approx(0.5)


def test_only_what_the_model_wrote_has_weight_advantage_and_a_row():
    silent = Rollout("q", "q/9", (sampled(5, written=0),), 0.1, False, "answered")
    rollouts = (Rollout("q", "q/0", (sampled(6, written=2),), 1.0, True, "answered"), attempt("q", 1, 0.1), silent)
    done = assemble([Group("q", rollouts)], PLAIN)

    (row, _) = done.rows
    assert (row.rl_weight != 0).tolist() == (row.advantage != 0).tolist() == [False] * 4 + [True] * 2
    assert set(done.advantages) == {"q/0", "q/1", "q/9"}


def test_attempts_without_a_grade_have_no_row_and_are_in_no_denominator():
    rollouts = [attempt("q", n, reward) for n, reward in enumerate((1.0, 0.1))]
    alone = assemble([Group("q", tuple(rollouts))], PLAIN)
    beside = assemble([Group("q", (*rollouts, attempt("q", 2, None, 50, termination="error")))], PLAIN)

    assert "q/2" not in beside.advantages
    assert [row.rl_weight.tolist() for row in beside.rows] == [row.rl_weight.tolist() for row in alone.rows]
    assert (beside.statistics["missing"], beside.statistics["carrying"]) == (1, 2)


def test_an_attempt_without_graded_siblings_gets_no_advantage_and_is_counted():
    done = assemble([group("q", 1.0, None, None), group("r", *CANONICAL)], PLAIN)

    assert done.advantages["q/0"] == 0
    assert done.statistics["singletons"] == 1


def test_cut_off_attempts_train_nothing_under_the_overlong_filter_but_are_compared():
    rollouts = (attempt("q", 0, 1.0), attempt("q", 1, 0.1, termination="context"), attempt("q", 2, 0.1))
    done = assemble([Group("q", rollouts)], dataclasses.replace(PLAIN, filter_overlong=True))

    assert [row.rollout_id for row in done.rows] == ["q/0", "q/2"]
    assert done.advantages["q/0"] == pytest.approx(2**0.5)
    assert weight_of(done, "q/0") == pytest.approx(0.5)
    assert done.statistics["truncated"] == pytest.approx(1 / 3)


def test_overlong_attempts_are_charged_before_they_are_compared():
    algorithm = preset("dapo", advantage={"scale": "none"}, dynamic_sampling=False)
    rollouts = (attempt("q", 0, 1.0, 3), attempt("q", 1, 1.0, 11))  # of 10 written tokens the last 2 cost
    done = assemble([Group("q", rollouts)], algorithm, settings=AssemblySettings(token_cap=10))

    assert done.advantages == pytest.approx({"q/0": 0.5, "q/1": -0.5})
    assert done.statistics["reward"] == 1
    with pytest.raises(ConfigError, match="token_cap"):
        assemble([Group("q", rollouts)], algorithm)


def test_minibatches_have_their_own_denominators_and_the_scale_of_the_batch():
    groups = [group("a", *CANONICAL), group("b", *FAILED), group("c", *CANONICAL), group("d", *FAILED)]
    done = assemble(groups, SCALED, settings=AssemblySettings(minibatches=2))

    assert [{row.group_id for row in part} for part in done.minibatches] == [{"a"}, {"c"}]
    assert weight_of(done, "a/0") == pytest.approx(1 / 10)
    assert done.statistics["advantage_scale"] == 2
    assert len(assemble(groups[:2], SCALED, settings=AssemblySettings(minibatches=2)).minibatches) == 1


# What the ratio is taken to -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampled_from", ["recompute", "behaviour"])
@pytest.mark.parametrize("replayed_from", ["recompute", "behaviour"])
def test_old_log_probabilities_are_the_engines_or_are_asked_for(sampled_from, replayed_from):
    algorithm = preset("rapo", **{"replay.ratio": replayed_from})
    store = stocked("q", algorithm=algorithm)
    done = assemble([group("q", *FAILED)], algorithm, store=store, settings=AssemblySettings(old_logprobs=sampled_from))

    replayed = [place for place, row in enumerate(done.rows) if "<-" in row.rollout_id]
    fresh = [place for place in range(5) if place not in replayed]
    asked = (replayed if replayed_from == "recompute" else []) + (fresh if sampled_from == "recompute" else [])
    assert done.pending == tuple(sorted(asked))
    (row,) = (done.rows[place] for place in replayed)
    assert row.sampler_logprobs is None
    if replayed_from == "behaviour":
        assert np.array_equal(row.old_logprobs, sampled(4, 0).logprobs)
    for row in (done.rows[place] for place in fresh):
        engines = row.old_logprobs if sampled_from == "behaviour" else row.sampler_logprobs
        assert engines.sum() < 0

    filled = done.filled([np.full(4, -7.0, np.float32) for _ in done.pending])
    assert filled.pending == ()
    assert all((filled.rows[place].old_logprobs == -7).all() for place in asked)


def test_rows_say_which_weights_wrote_them():
    done = assemble([group("q", *FAILED, version=9)], RAPO, store=stocked("q", version=4), now=9)

    assert sorted(row.model_version for row in done.rows) == [4, 9, 9, 9, 9]


def test_a_success_that_is_too_old_is_not_replayed():
    algorithm = preset("rapo", **{"replay.max_age": 3})
    for now, replayed in ((7, 1), (8, 0)):
        store = stocked("q", version=4, algorithm=algorithm)
        done = assemble([group("q", *FAILED)], algorithm, store=store, now=now)

        assert done.statistics["replayed"] == replayed
    assert store.counts["expired"] == 1


# Sampling on ----------------------------------------------------------------------------------------------------------


def test_dynamic_sampling_keeps_the_first_wanted_groups_with_a_signal_and_counts_all():
    algorithm = preset("dapo", overlong=None)
    filling = Refill(wanted=2, max_resamples=10)
    rounds = [[group("a", *FAILED), group("b", *CANONICAL)], [group("c", *SOLVED)], [group("d", *CANONICAL)] * 1]
    while filling.wants_more:
        filling.add(rounds[filling.rounds])
    extra = [group("e", *CANONICAL)]
    done = assemble([*filling.groups, *extra], algorithm, settings=AssemblySettings(wanted=2))

    assert filling.statistics() == {
        "resampling/rounds": 2,
        "resampling/groups": 4,
        "resampling/good_groups": 2,
        "resampling/short": 0,
    }
    assert {row.group_id for row in done.rows} == {"b", "d"}
    assert sum(float(row.rl_weight.sum()) for row in done.rows) == pytest.approx(1)
    assert set(done.tallies) == set("abcde")
    assert (done.statistics["groups"], done.statistics["compared_groups"]) == (5, 2)


def test_sampling_on_ends_after_the_rounds_it_may_take_and_the_batch_is_short():
    filling = Refill(wanted=2, max_resamples=3)
    while filling.wants_more:
        filling.add([group(f"q{filling.rounds}", *FAILED)])

    assert (filling.rounds, filling.statistics()["resampling/short"]) == (4, 2)


def test_a_failed_group_that_replay_can_mend_need_not_be_sampled_again():
    filling = Refill(wanted=1)
    filling.add([group("q", *FAILED)], store=stocked("q"))

    assert not filling.wants_more


def test_equal_rewards_are_no_signal_though_their_deviation_is_not_0_in_floats():
    assert np.std([0.1] * 3) != 0
    assert not carries_signal(group("q", 0.1, 0.1, 0.1))
    assert not carries_signal(group("q", 1.0, None))


# Identity, order and ranks --------------------------------------------------------------------------------------------

rewards = st.sampled_from([None, 0.0, 0.1, 0.3, 0.6, 1.0])
batches = st.lists(st.lists(rewards, min_size=1, max_size=6), min_size=1, max_size=7)


def batch_of(rows: Sequence[Sequence[float | None]]) -> list[Group]:
    return [
        Group(
            f"q{number}",
            tuple(attempt(f"q{number}", n, reward, 2 + (3 * n + number) % 5) for n, reward in enumerate(row)),
        )
        for number, row in enumerate(rows)
    ]


algorithms = st.sampled_from([RAPO, SCALED, preset("grpo"), preset("cispo"), preset("dapo", overlong=None)])


@QUICK
@given(batches, algorithms, st.randoms(use_true_random=False))
def test_no_order_of_groups_or_attempts_changes_a_bit_of_any_advantage(rows, algorithm, chance: random.Random):
    groups = batch_of(rows)
    turned = [Group(one.question_id, tuple(chance.sample(one.rollouts, len(one.rollouts)))) for one in groups]
    chance.shuffle(turned)

    one, other = (assemble(each, algorithm, store=stocked("q0", "q2")) for each in (groups, turned))

    assert one.advantages == other.advantages
    assert {row.rollout_id: row.rl_weight.tolist() for row in one.rows} == {
        row.rollout_id: row.rl_weight.tolist() for row in other.rows
    }
    assert one.tallies == other.tallies


@QUICK
@given(batches, st.lists(st.integers(0, 5), max_size=4))
def test_attempts_without_a_grade_never_change_what_others_get(rows, broken):
    groups = batch_of(rows)
    more = [
        Group(one.question_id, (*one.rollouts, *(attempt(one.question_id, 50 + n, None) for n in broken[:1])))
        for one in groups
    ]

    assert assemble(more, SCALED).advantages == assemble(groups, SCALED).advantages


@QUICK
@given(batches, algorithms, st.integers(2, 3))
def test_ranks_together_make_the_rows_that_one_would_make(rows, algorithm, ranks):
    groups = batch_of(rows)
    alone_store = stocked("q0", "q2")
    alone = assemble(groups, algorithm, store=alone_store)
    shares = [groups[rank::ranks] for rank in range(ranks)]
    stores = [stocked("q0", "q2") for _ in shares]
    told = on_ranks(shares, algorithm, stores)

    assert {row.rollout_id: stream(row) for done in told for row in done.rows} == {
        row.rollout_id: stream(row) for row in alone.rows
    }
    assert all(done.statistics == pytest.approx(alone.statistics) for done in told)
    assert all((done.tallies, done.skipped) == (alone.tallies, alone.skipped) for done in told)
    assert all(plain(store.state_dict()) == plain(alone_store.state_dict()) for store in stores)


def plain(state):
    """With lists for arrays, so that states can be compared."""
    if isinstance(state, dict):
        return {name: plain(value) for name, value in state.items()}
    return state.tolist() if isinstance(state, np.ndarray) else state


def stream(row) -> tuple[list[float], list[float]]:
    return row.rl_weight.tolist(), row.advantage.tolist()


def on_ranks(shares, algorithm, stores):
    """Each rank in a thread, meeting the others where they gather."""
    from concurrent.futures import ThreadPoolExecutor
    from threading import Barrier

    barrier, board = Barrier(len(shares)), [None] * len(shares)

    def rank(number: int):
        def gather(value):
            board[number] = value
            barrier.wait(10)
            everyone = list(board)
            barrier.wait(10)
            return everyone

        return assemble(shares[number], algorithm, store=stores[number], gather=gather)

    with ThreadPoolExecutor(len(shares)) as pool:
        return list(pool.map(rank, range(len(shares))))


def test_an_attempt_in_the_wrong_group_and_a_name_given_twice_are_refused():
    with pytest.raises(TrainingError, match="stands in the group of r"):
        assemble([Group("r", group("q", *CANONICAL).rollouts)], PLAIN)
    with pytest.raises(TrainingError, match="two attempts of a batch are called q/0"):
        assemble([group("q", 1.0, 0.1), group("q", 1.0, 0.1)], PLAIN)


def test_statistics_are_of_what_was_sampled():
    rollouts = (
        attempt("q", 0, 1.0, 5, searches=2, visits=1, turns=4, version=3),
        attempt("q", 1, 0.1, 9, searches=1, visits=0, turns=2, parse_failures=2, termination="turns", version=5),
        attempt("q", 2, None, termination="error"),
    )
    told = assemble([Group("q", rollouts)], PLAIN, now=5).statistics

    expected = {
        "groups": 1, "good_groups": 1, "zero_variance": 0, "missing": 1, "carrying": 2, "reward": 0.55, "success": 0.5,
        "tokens_per_rollout": 6, "truncated": 0.5, "tool_calls": 2, "turns": 3, "parse_failures": 1, "staleness": 1,
        "advantage_scale": 1, "infrastructure_failures": 1 / 3, "staleness_max": 2,
    }  # fmt: skip
    assert {name: told[name] for name in expected} == pytest.approx(expected)


def test_tied_groups_are_told_apart_by_their_answers():
    groups = [group("a", *SOLVED), group("b", *FAILED), group("c", *FAILED), group("d", *CANONICAL)]
    told = assemble(groups, PLAIN).statistics

    assert (told["zero_variance"], told["tied_right"], told["tied_wrong"]) == (0.75, 0.25, 0.5)


def test_the_age_of_what_was_replayed_is_told():
    done = assemble([group("q", *FAILED, version=9)], RAPO, store=stocked("q", version=4), now=9)

    assert (done.statistics["replayed"], done.statistics["replay_age"]) == (1, 5)


def test_of_nothing_measured_nothing_is_told():
    done = assemble([group("q", None, None, termination="error")], PLAIN)

    assert done.skipped
    assert done.statistics["missing"] == 2
    assert not {"reward", "zero_variance", "tool_calls"} & done.statistics.keys()


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(ConfigError, match="recompute or behaviour"):
        AssemblySettings(old_logprobs="sampler")
    with pytest.raises(ConfigError, match="0 updates"):
        AssemblySettings(minibatches=0)
    assert ReplaySettings().success == RAPO.success


# Resuming -------------------------------------------------------------------------------------------------------------


class Run:
    """Reinforcement without a model: grades are drawn by question and update, so that two runs are alike."""

    def __init__(self, algorithm: Algorithm) -> None:
        self.algorithm = algorithm
        self.pool = QuestionPool([f"q{n}" for n in range(10)], pool_settings(algorithm, batch=4, seed=5))
        self.store = replay_store(algorithm, seed=5)
        self.updates = 0

    def step(self) -> list[tuple[str, list[float], list[float]]]:
        if self.pool.epoch_done:
            self.pool.end_epoch()
        sampled = []
        for question in self.pool.draw():
            chance = rng_for("grades", question, self.updates)
            # The seldom solved, the often solved, and all between.
            rate = int(question[1:]) / 9
            grades = [1.0 if chance.random() < rate else 0.1 for _ in range(3)]
            sampled.append(
                Group(
                    question,
                    tuple(
                        attempt(question, n, grade, name=f"{question}/{self.updates}/{n}", version=self.updates)
                        for n, grade in enumerate(grades)
                    ),
                )
            )
        done = assemble(sampled, self.algorithm, store=self.store, epoch=self.pool.epoch, now=self.updates)
        self.pool.tally(done.tallies)
        self.updates += 1
        return [(row.rollout_id, *stream(row)) for row in done.rows]

    def state(self):
        return {"updates": self.updates, "pool": self.pool.state_dict(), "store": self.store.state_dict()}

    def load(self, state) -> None:
        self.updates = state["updates"]
        self.pool.load_state_dict(state["pool"])
        self.store.load_state_dict(state["store"])


@pytest.mark.parametrize("stop", range(0, 20, 3))
def test_a_run_that_resumes_makes_the_rows_of_one_that_never_stopped(tmp_path, stop):
    algorithm = preset("rapo", **{"prune.recycle_after": 1, "replay.max_age": 9})
    whole, first, second = Run(algorithm), Run(algorithm), Run(algorithm)
    expected = [whole.step() for _ in range(20)]
    made = [first.step() for _ in range(stop)]
    write_state(tmp_path, "run", first.state())
    second.load(read_state(tmp_path, "run"))
    made += [second.step() for _ in range(20 - stop)]

    assert made == expected
    assert plain(second.state()) == plain(whole.state())
    assert whole.store.counts["replayed"] > 2
    assert whole.pool.recycled > 0


# With a learner -------------------------------------------------------------------------------------------------------


def learner_of() -> Learner:
    torch.manual_seed(0)
    model = tiny_qwen3(61, layers=2, hidden=32, heads=4, kv_heads=2, head_dim=8, ffn=48, init_std=0.2, tie=True, seed=0)
    return Learner(model, optimizer=OptimizerSettings(learning_rate=1e-2), clip_norm=None)


def weights_after(done) -> torch.Tensor:
    learner = learner_of()
    for part in done.minibatches:
        learner.step(part, RAPO.loss)
    return torch.cat([one.detach().flatten() for one in learner.model.parameters()])


def test_an_update_is_the_same_with_and_without_the_rows_that_have_no_gradient():
    groups = [group("q", *CANONICAL, version=1), group("r", *SOLVED), group("s", *FAILED)]
    few, every = (assemble(groups, SCALED, settings=AssemblySettings(drop_zero=drop)) for drop in (True, False))

    assert len(few.rows) < len(every.rows)
    assert torch.allclose(weights_after(few), weights_after(every), atol=1e-5)


def test_asking_the_learner_for_log_probabilities_is_taking_the_ratio_to_itself_in_the_first_update():
    store = stocked("q")
    chosen = AssemblySettings(old_logprobs="recompute")
    done = assemble([group("q", *FAILED), group("r", *CANONICAL)], RAPO, store=store, settings=chosen)
    filled = done.filled(learner_of().logprobs([done.rows[place] for place in done.pending]))

    assert len(done.pending) == 10
    assert torch.allclose(weights_after(done), weights_after(filled), atol=1e-5)
