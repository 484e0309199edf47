"""The store of successes: what goes in, when it comes back, and that nothing of it is lost on the way."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.errors import CheckpointError, ConfigError
from datagen.training.replay import BYTES_PER_TOKEN, ReplaySettings, ReplayStore
from datagen.training.rollout import Group, Rollout, Sampled
from datagen.training.state_files import read_state, write_state

QUICK = settings(max_examples=60, deadline=None)
TOKENS = 6
WRONG = (0.1, False)
RIGHT = (1.0, True)
UNKNOWN = (None, None)


def sampled(seed: int, tokens: int = TOKENS) -> Sampled:
    rng = np.random.default_rng(seed)
    written = np.arange(tokens) % 3 != 0
    return Sampled(rng.integers(0, 500, tokens), written, np.where(written, -rng.random(tokens), 0).astype(np.float32))


def attempt(question: str, number: int, grade, *, version: int = 0, parts: int = 1) -> Rollout:
    reward, correct = grade
    sequences = tuple(sampled(1000 * number + part) for part in range(parts))
    name = f"{question}/{version}/{number}"
    return Rollout(
        question, name, sequences, reward, correct, "answered", version, turns=3, rewards={"vanilla": reward}
    )


def group(question: str, *grades, version: int = 0, parts: int = 1) -> Group:
    return Group(
        question, tuple(attempt(question, n, grade, version=version, parts=parts) for n, grade in enumerate(grades))
    )


def store_of(*groups: Group, seed: int = 0, **chosen) -> ReplayStore:
    store = ReplayStore(ReplaySettings(**chosen), seed=seed)
    store.keep(store.successes(groups))
    return store


def put(store: ReplayStore, *groups: Group) -> int:
    return store.keep(store.successes(groups))


def told(store: ReplayStore) -> dict:
    """The state with lists for arrays, which can be compared."""
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in store.state_dict().items()
    }


def replayed(group: Group) -> list[Rollout]:
    return [rollout for rollout in group.rollouts if rollout.replayed]


grades = st.sampled_from([WRONG, RIGHT, UNKNOWN, (0.5, True), (0.6, False)])
groups = st.builds(
    lambda question, graded, version, parts: group(question, *graded, version=version, parts=parts),
    st.sampled_from(["a", "b", "c", "d"]),
    st.lists(grades, min_size=1, max_size=4),
    st.integers(0, 9),
    st.integers(1, 3),
)


# When it fires -------------------------------------------------------------------------------------------------------


def test_a_group_that_failed_gets_the_stored_success_in_place_of_one_attempt():
    store = store_of(group("q", WRONG, RIGHT))
    failed = group("q", *[WRONG] * 5, version=9)
    before = told(store)

    mended = store.replace(failed, epoch=1, now=9)

    (success,) = replayed(mended)
    assert len(mended.rollouts) == 5
    assert (success.reward, success.correct, success.version) == (1.0, True, 0)
    assert np.array_equal(success.sequences[0].logprobs, sampled(1000).logprobs)
    assert sum(rollout in failed.rollouts for rollout in mended.rollouts) == 4
    assert told(store) == before


def test_replay_fires_on_wrong_answers_though_their_rewards_differ():
    store = store_of(group("q", RIGHT, WRONG))
    failed = group("q", WRONG, WRONG, WRONG, (0.0, False), (0.0, False))

    assert len(replayed(store.replace(failed, epoch=1, now=0))) == 1


def test_replay_does_not_fire_on_equal_rewards_where_the_answers_are_right():
    store = store_of(group("q", RIGHT, WRONG))
    solved = group("q", *[RIGHT] * 5)

    assert store.replace(solved, epoch=1, now=0) is solved


def test_one_right_answer_keeps_the_group_as_it_is():
    store = store_of(group("q", RIGHT, WRONG))
    mixed = group("q", WRONG, WRONG, RIGHT)

    assert store.replace(mixed, epoch=1, now=0) is mixed


def test_a_group_without_a_stored_success_stays_as_it_is():
    failed = group("q", WRONG, WRONG)

    assert store_of(group("p", RIGHT, WRONG)).replace(failed, epoch=0, now=0) is failed


def test_ungraded_attempts_fail_nothing_and_are_never_replaced():
    store = store_of(group("q", RIGHT, WRONG))
    broken, lone = group("q", UNKNOWN, UNKNOWN), group("q", UNKNOWN, WRONG, UNKNOWN)
    partly = group("q", WRONG, UNKNOWN, WRONG)

    assert store.replace(broken, epoch=1, now=0) is broken
    assert store.replace(lone, epoch=1, now=0) is lone
    for epoch in range(20):
        assert store.replace(partly, epoch=epoch, now=0).rollouts[1] is partly.rollouts[1]


def test_the_attempt_that_makes_way_is_drawn_from_seed_question_and_epoch_alone():
    failed = group("q", *[WRONG] * 5)
    turned = Group("q", failed.rollouts[::-1])
    store = store_of(group("q", RIGHT, WRONG))

    def leaver(groups: Group, epoch: int, of: ReplayStore = store) -> str:
        (success,) = replayed(of.replace(groups, epoch=epoch, now=0))
        return success.rollout_id

    lots = [leaver(failed, epoch) for epoch in range(100)]
    assert lots == [leaver(turned, epoch) for epoch in range(100)]
    assert len(Counter(lots)) == 5
    assert lots != [leaver(failed, epoch, store_of(group("q", RIGHT, WRONG), seed=1)) for epoch in range(100)]


# What is kept --------------------------------------------------------------------------------------------------------


def test_the_newest_success_is_kept_whenever_it_comes_in():
    store = ReplayStore()
    for version in (3, 5, 4):
        put(store, group("q", WRONG, RIGHT, version=version))

    (success,) = replayed(store.replace(group("q", WRONG, WRONG), epoch=1, now=6))
    assert success.version == 5
    assert store.counts["stored"] == 2


def test_of_two_that_are_equally_new_the_one_that_comes_in_later_is_kept():
    store = ReplayStore()
    for number in (0, 1):
        put(store, Group("q", (attempt("q", number, RIGHT),)))

    (success,) = replayed(store.replace(group("q", WRONG, WRONG), epoch=1, now=0))
    assert success.rollout_id.endswith("<-q/0/1")


@pytest.mark.parametrize("order", [1, -1])
def test_of_equally_new_successes_the_same_is_kept_in_any_order(order):
    attempts = group("q", RIGHT, WRONG, RIGHT).rollouts[::order]
    store = store_of(Group("q", attempts))

    (success,) = replayed(store.replace(group("q", WRONG, WRONG), epoch=1, now=0))
    assert success.rollout_id.endswith("<-q/0/2")


def test_a_replayed_success_is_not_stored_again():
    store = store_of(group("q", RIGHT, WRONG))
    mended = store.replace(group("q", WRONG, WRONG, version=8), epoch=1, now=8)
    before = told(store)

    assert put(store, mended) == 0
    assert told(store) == before


def test_the_two_readings_of_a_success_differ_on_partial_credit_and_on_the_tie():
    half_right, half_wrong = (0.5, True), (0.6, False)

    by_answer, by_reward = (ReplayStore(ReplaySettings(success=reading)) for reading in ("answer", "reward"))
    grades = (RIGHT, WRONG, half_right, half_wrong, UNKNOWN)
    attempts = group("q", *grades).rollouts

    assert [by_answer.succeeded(one) for one in attempts] == [True, False, True, False, None]
    assert [by_reward.succeeded(one) for one in attempts] == [True, False, False, True, None]


def test_a_success_that_is_too_old_is_dropped_and_counted():
    store = store_of(group("q", RIGHT, WRONG, version=10), max_age=5)
    failed = group("q", WRONG, WRONG)

    assert store.expire(15) == 0
    assert replayed(store.replace(failed, epoch=1, now=15))
    assert store.replace(failed, epoch=2, now=16) is failed
    assert store.expire(16) == 1
    assert (len(store), store.bytes, store.counts["expired"]) == (0, 0, 1)


def test_memory_is_bounded_and_the_longest_stored_make_way():
    room_for_three = 3 * TOKENS * BYTES_PER_TOKEN
    store = ReplayStore(ReplaySettings(max_bytes=room_for_three))
    for question in "abcd":
        put(store, group(question, RIGHT, WRONG))
    put(store, group("b", RIGHT, WRONG, version=1))
    put(store, group("e", RIGHT, WRONG))

    assert [question in store for question in "abcde"] == [False, True, False, True, True]
    assert store.bytes == room_for_three
    assert store.counts["evicted"] == 2


def test_a_success_larger_than_all_memory_is_not_kept_and_drives_out_nothing():
    store = ReplayStore(ReplaySettings(max_bytes=TOKENS * BYTES_PER_TOKEN))
    put(store, group("a", RIGHT, WRONG))

    assert put(store, group("b", RIGHT, WRONG, parts=2)) == 0
    assert put(store, group("a", RIGHT, WRONG, parts=2, version=1)) == 0
    assert ("a" in store, len(store), store.counts["evicted"]) == (True, 1, 2)


def test_what_is_kept_does_not_change_with_the_arrays_it_came_from():
    source = group("q", RIGHT, WRONG)
    store = store_of(source)
    expected = source.rollouts[0].sequences[0].input_ids.copy()
    source.rollouts[0].sequences[0].input_ids[:] = 0

    (success,) = replayed(store.replace(group("q", WRONG, WRONG), epoch=1, now=0))
    assert np.array_equal(success.sequences[0].input_ids, expected)


@QUICK
@given(
    st.lists(groups, max_size=8, unique_by=lambda one: one.rollouts[0].rollout_id),
    st.integers(1, 4),
    st.sampled_from([80, 200, 1 << 20]),
)
def test_successes_that_ranks_gathered_make_the_store_of_one_rank(batch, ranks, max_bytes):
    alone, shared = (ReplayStore(ReplaySettings(max_bytes=max_bytes)) for _ in range(2))
    put(alone, *batch)
    shared.keep(success for rank in range(ranks) for success in shared.successes(batch[rank::ranks]))

    assert told(shared) == told(alone)


def test_an_attempt_whose_context_was_rewritten_comes_back_in_all_its_parts():
    store = store_of(group("q", RIGHT, WRONG, parts=3))

    (success,) = replayed(store.replace(group("q", WRONG, WRONG), epoch=1, now=0))
    assert len(success.sequences) == 3


# Where it stands -----------------------------------------------------------------------------------------------------


@QUICK
@given(
    st.lists(groups, max_size=8),
    st.lists(groups, max_size=8),
    st.sampled_from([None, 2]),
    st.sampled_from([100, 300, 1 << 20]),
)
def test_a_store_goes_on_exactly_from_its_state(before, after, max_age, max_bytes):
    chosen = ReplaySettings(max_age=max_age, max_bytes=max_bytes)
    store, later = ReplayStore(chosen, seed=3), ReplayStore(chosen, seed=3)
    for one in before:
        store.expire(4)
        put(store, one)
    state = json.loads(json.dumps(told(store)))
    later.load_state_dict(state)

    assert told(later) == state
    assert (later.bytes, later.counts, len(later)) == (store.bytes, store.counts, len(store))
    for number, one in enumerate(after):
        here, there = (one_store.replace(one, epoch=number, now=8) for one_store in (store, later))
        assert all(map(same, here.rollouts, there.rollouts))
        assert put(store, one) == put(later, one)
        assert store.expire(number) == later.expire(number)
    assert told(later) == told(store)


def same(one: Rollout, other: Rollout) -> bool:
    plain = [dataclasses.replace(rollout, sequences=()) for rollout in (one, other)]
    fields = [{name: getattr(rollout, name) for name in Rollout.__dataclass_fields__} for rollout in plain]
    return fields[0] == fields[1] and all(
        np.array_equal(getattr(mine, name), getattr(theirs, name))
        and getattr(mine, name).dtype == getattr(theirs, name).dtype
        for mine, theirs in zip(one.sequences, other.sequences, strict=True)
        for name in ("input_ids", "written", "logprobs")
    )


def test_a_checkpoint_keeps_a_store_to_the_bit(tmp_path):
    store, later = store_of(group("q", RIGHT, WRONG, parts=2), group("p", RIGHT, WRONG)), ReplayStore()
    write_state(tmp_path, "replay", store.state_dict())
    later.load_state_dict(read_state(tmp_path, "replay"))

    assert told(later) == told(store)
    failed = group("q", WRONG, WRONG)
    assert all(map(same, *(one.replace(failed, epoch=1, now=0).rollouts for one in (store, later))))


def test_a_state_that_was_cut_off_is_refused_and_the_store_stays_as_it_was():
    store = store_of(group("q", RIGHT, WRONG))
    before = told(store)

    with pytest.raises(CheckpointError, match="6 tokens"):
        store.load_state_dict(before | {"logprobs": []})
    with pytest.raises(CheckpointError, match="seed"):
        store.load_state_dict(before | {"seed": 5})
    with pytest.raises(CheckpointError, match="no state of a replay store"):
        store.load_state_dict({})
    assert told(store) == before


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(ConfigError, match="answer or reward"):
        ReplaySettings(success="both")
    with pytest.raises(ConfigError, match="max_age"):
        ReplaySettings(max_age=-1)
