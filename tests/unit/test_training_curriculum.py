"""Which questions are drawn: each once per epoch, exactly on after a stop, and those that are solved no longer."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.dataset.streaming import Curriculum
from datagen.errors import TrainingError
from datagen.training.curriculum import PoolSettings, QuestionPool, count_successes
from datagen.training.rollout import Group, Rollout, Sampled

QUESTIONS = [f"q{number:02d}" for number in range(20)]
QUICK = settings(max_examples=60, deadline=None)


def attempt(question: str, number: int, reward: float | None, *, correct: bool | None = None, replayed: bool = False):
    ids = np.array([1, 2, 3])
    part = Sampled(ids, ids > 1, np.array([0.0, -0.5, -0.5], np.float32))
    right = None if reward is None else reward >= 0.5 if correct is None else correct
    return Rollout(question, f"{question}/{number}", (part,), reward, right, "answered", replayed=replayed)


def group(question: str, *rewards: float | None) -> Group:
    return Group(question, tuple(attempt(question, number, reward) for number, reward in enumerate(rewards)))


def whole_epoch(pool: QuestionPool) -> list[list[str]]:
    batches = []
    while not pool.epoch_done:
        batches.append(pool.draw())
    return batches


def flat(batches: list[list[str]]) -> list[str]:
    return [question for batch in batches for question in batch]


@QUICK
@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 5))
def test_every_question_comes_once_in_every_epoch_in_another_order(count, batch, seed):
    pool = QuestionPool([f"q{n}" for n in range(count)], PoolSettings(batch=batch, seed=seed))

    epochs = []
    for _ in range(3):
        epochs.append(flat(whole_epoch(pool)))
        pool.end_epoch()

    assert all(sorted(drawn) == sorted(pool.questions) for drawn in epochs)
    if count > 8:  # three equal orders of nine come once in 10**11
        assert len({tuple(drawn) for drawn in epochs}) > 1


def test_the_draws_depend_on_the_questions_and_the_seed_and_not_on_the_order_they_are_given_in():
    forth, back, other = (
        whole_epoch(QuestionPool(ids, PoolSettings(batch=6, seed=seed)))
        for ids, seed in ((QUESTIONS, 1), (QUESTIONS[::-1], 1), (QUESTIONS, 2))
    )

    assert forth == back != other
    assert [len(batch) for batch in forth] == [6, 6, 6, 2]


def test_a_drawn_out_epoch_says_what_to_call_next():
    pool = QuestionPool(QUESTIONS, PoolSettings(batch=20))
    pool.draw()

    with pytest.raises(TrainingError, match="end_epoch"):
        pool.draw()


@QUICK
@given(st.integers(0, 11), st.integers(0, 7))
def test_a_resume_in_the_middle_of_an_epoch_draws_what_was_left(drawn, seed):
    def run(pool: QuestionPool, draws: int) -> list[list[str]]:
        seen = []
        for _ in range(draws):
            if pool.epoch_done:
                pool.end_epoch()
            batch = pool.draw()
            # Those whose number and epoch add up to an even number are solved.
            pool.tally({q: (5 * ((int(q[1:]) + pool.epoch) % 2 == 0), 5) for q in batch})
            seen.append(batch)
        return seen

    config = PoolSettings(batch=4, seed=seed, recycle_after=1, min_pool=3)
    whole = QuestionPool(QUESTIONS, config)
    straight = run(whole, 16)
    first = QuestionPool(QUESTIONS, config)
    before = run(first, drawn)
    state = json.loads(json.dumps(first.state_dict()))
    second = QuestionPool(QUESTIONS, config)
    second.load_state_dict(state)

    assert second.state_dict() == state
    assert before + run(second, 16 - drawn) == straight
    assert second.state_dict() == whole.state_dict()


def test_questions_that_were_under_way_at_a_checkpoint_are_drawn_again_first():
    pool = QuestionPool(QUESTIONS, PoolSettings(batch=4, seed=3))
    done, under_way = pool.draw(), pool.draw()
    state = pool.state_dict(undone=under_way)
    later = QuestionPool(QUESTIONS, PoolSettings(batch=4, seed=3))
    later.load_state_dict(state)

    assert later.draw() == under_way
    assert sorted(done + under_way + flat(whole_epoch(later))) == QUESTIONS


def test_a_state_of_other_questions_or_another_seed_is_refused():
    state = QuestionPool(QUESTIONS, PoolSettings(seed=1)).state_dict()

    with pytest.raises(TrainingError, match="questions"):
        QuestionPool(QUESTIONS[1:], PoolSettings(seed=1)).load_state_dict(state)
    with pytest.raises(TrainingError, match="seed 1, here it is 2"):
        QuestionPool(QUESTIONS, PoolSettings(seed=2)).load_state_dict(state)
    with pytest.raises(TrainingError, match="position"):
        QuestionPool(QUESTIONS, PoolSettings(seed=1)).load_state_dict(
            {k: v for k, v in state.items() if k != "position"}
        )


# Pruning -------------------------------------------------------------------------------------------------------------


def test_five_of_five_is_pruned_and_four_of_five_is_not():
    pool = QuestionPool(["a", "b", "c"])
    whole_epoch(pool)
    pool.tally(count_successes([group("a", 1, 1, 1, 1, 1), group("b", 1, 1, 1, 1, 0.1), group("c", *[0.1] * 5)]))

    ended = pool.end_epoch()

    assert (ended.pruned, ended.judged, ended.active) == (("a",), 3, 2)
    assert sorted(flat(whole_epoch(pool))) == ["b", "c"]
    assert pool.statistics()["pool/pruned"] == 1


def test_nine_of_ten_is_the_rate_at_which_a_question_leaves():
    pool = QuestionPool(["a", "b"])
    pool.tally({"a": (9, 10), "b": (89, 100)})

    assert pool.end_epoch().pruned == ("a",)


def test_nothing_is_pruned_where_pruning_is_off():
    pool = QuestionPool(["a", "b"], PoolSettings(prune=False))
    pool.tally({"a": (5, 5), "b": (5, 5)})

    assert pool.end_epoch().pruned == ()
    assert sorted(flat(whole_epoch(pool))) == ["a", "b"]


def test_tallies_of_one_epoch_say_nothing_in_the_next():
    pool = QuestionPool(["a", "b"], PoolSettings(threshold=0.9))
    pool.tally({"a": (0, 5)})
    pool.end_epoch()
    pool.tally({"a": (5, 5)})

    assert pool.end_epoch().pruned == ("a",)


def test_the_papers_letter_prunes_what_was_well_formed_and_wrong():
    wrong_but_well_formed = [group("a", *[0.1] * 5)]

    assert count_successes(wrong_but_well_formed, by="reward") == {"a": (5, 5)}
    assert count_successes(wrong_but_well_formed, by="answer") == {"a": (0, 5)}


def test_attempts_without_a_grade_are_no_attempts_and_one_success_alone_prunes_nothing():
    counted = count_successes([group("a", 1, None, 1, None, 1), group("b", 1, None, None, None, None)])
    pool = QuestionPool(["a", "b"])
    pool.tally(counted)

    assert counted == {"a": (3, 3), "b": (1, 1)}
    assert pool.end_epoch().pruned == ("a",)


def test_replayed_successes_are_not_counted():
    replayed = Group("a", (attempt("a", 0, 0.1), attempt("a", 1, 1.0, replayed=True)))

    assert count_successes([replayed]) == {"a": (0, 1)}


def test_two_groups_of_one_question_are_counted_together():
    assert count_successes([group("a", 1, 0.1), group("a", 1, 1)]) == {"a": (3, 4)}


def test_a_pruned_question_comes_back_after_the_epochs_it_was_left_out_for():
    pool = QuestionPool(["a", "b"], PoolSettings(recycle_after=2))
    held = []
    for _ in range(5):
        held.append(sorted(flat(whole_epoch(pool))))
        if pool.epoch == 0:
            pool.tally({"a": (5, 5)})
        pool.end_epoch()

    assert held == [["a", "b"], ["b"], ["b"], ["a", "b"], ["a", "b"]]
    assert pool.statistics()["pool/recycled"] == 1


def test_a_pruned_question_stays_out_for_good_unless_it_is_to_be_recycled():
    pool = QuestionPool(["a", "b"])
    pool.tally({"a": (5, 5)})

    assert [pool.end_epoch().active for _ in range(4)] == [1, 1, 1, 1]


def test_of_a_pool_that_is_all_solved_the_hardest_stay():
    pool = QuestionPool(["a", "b", "c", "d"], PoolSettings(threshold=0.5, min_pool=2))
    pool.tally({"a": (9, 10), "b": (6, 10), "c": (10, 10), "d": (7, 10)})

    ended = pool.end_epoch()

    assert (ended.pruned, ended.spared, ended.active) == (("a", "c"), ("b", "d"), 2)


@QUICK
@given(
    st.lists(st.dictionaries(st.sampled_from(QUESTIONS), st.integers(0, 5)), min_size=1, max_size=6),
    st.integers(1, 25),
    st.sampled_from([None, 1, 2]),
)
def test_the_pool_never_falls_below_its_floor(epochs, floor, recycle):
    pool = QuestionPool(QUESTIONS, PoolSettings(min_pool=floor, recycle_after=recycle, threshold=0.6))
    for solved in epochs:
        pool.tally({question: (count, 5) for question, count in solved.items()})
        ended = pool.end_epoch()

        assert ended.active >= min(floor, len(QUESTIONS))
        assert len(flat(whole_epoch(pool))) == ended.active


def test_a_tally_of_a_question_that_the_pool_lacks_is_refused():
    with pytest.raises(ValueError, match="'x'"):
        QuestionPool(["a"]).tally({"x": (1, 1)})


def test_the_loaders_curriculum_may_take_questions_out_and_weigh_them_as_well():
    curriculum = Curriculum()
    curriculum.prune(["a"])
    curriculum.reweight({"b": 2})
    pool = QuestionPool(["a", "b", "c"], curriculum=curriculum)
    drawn = flat(whole_epoch(pool))
    curriculum.recycle()

    assert sorted(drawn) == ["b", "b", "c"]
    pool.end_epoch()
    assert sorted(flat(whole_epoch(pool))) == ["a", "b", "b", "c"]


def test_what_a_curriculum_says_in_the_middle_of_an_epoch_counts_from_the_next_one_even_after_a_resume():
    def halfway() -> QuestionPool:
        return QuestionPool(QUESTIONS, PoolSettings(batch=10, seed=2))

    pool, later = halfway(), halfway()
    first = pool.draw()
    pool.curriculum.prune(QUESTIONS[:15])
    later.load_state_dict(pool.state_dict())
    rest = later.draw()
    later.end_epoch()

    assert sorted(first + rest) == QUESTIONS
    assert sorted(later.draw()) == QUESTIONS[15:]


def test_a_curriculum_that_leaves_nothing_is_an_error_and_no_endless_epoch():
    curriculum = Curriculum()
    curriculum.prune(["a", "b"])

    with pytest.raises(TrainingError, match="takes out all 2"):
        QuestionPool(["a", "b"], curriculum=curriculum).draw()
