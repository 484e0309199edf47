"""Rewards: every worked example of the papers, every edge of the formulas, and answers that nobody could grade."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.errors import ConfigError, RetriesExhaustedError, UnusableReplyError
from datagen.records.question import Answer
from datagen.records.trajectory import StepLabel
from datagen.records.trajectory_rows import REWARDS
from datagen.rollouts.rewards import (
    Counts,
    RewardInputs,
    StepReward,
    arpo,
    check_answer,
    clues,
    count_labels,
    fathom,
    fathom_steps,
    infoseek,
    score_all,
    score_batch,
    webexplorer,
)
from datagen.rollouts.rewards.steps import step_reward

counted = st.builds(Counts, *[st.integers(0, 40)] * 5)


def labelled(counts: Counts) -> tuple[StepLabel, ...]:
    names = (
        ["UNIQUESEARCH"] * counts.unique_searches
        + ["REDUNDANTSEARCH"] * counts.redundant_searches
        + ["EXPLORATION"] * counts.explorations
        + ["VERIFICATION"] * counts.verifications
        + ["REDUNDANTQUERY"] * counts.redundant_queries
    )
    return tuple(StepLabel(number, number, name) for number, name in enumerate(names))


@pytest.mark.parametrize(
    ("correct", "format_ok", "counts", "reward"),
    [
        (True, True, Counts(4, 1, 4, 0, 1), 0.9),
        (True, True, Counts(2, 4, 1, 0, 3), 0.6),
        (True, True, Counts(5, 0, 5), 1.1),
        (True, False, Counts(2, 4, 1, 0, 3), 0.5),
        (False, True, Counts(4, 0, 5, 3), 0.3),
        (False, True, Counts(8, 0, 16), 0.5),
        (False, True, Counts(30, 0, 30, 10), 0.5),
        (False, True, Counts(1, 5, 1, 0, 10), -0.1125),
        (True, True, Counts(), 1.1),
        (False, True, Counts(), 0.1),
        (True, False, Counts(0, 5, 0, 0, 5), 0.5),
    ],
)
def test_the_step_level_reward_gives_the_worked_examples(correct, format_ok, counts, reward):
    assert step_reward(correct, format_ok, counts) == pytest.approx(reward)
    assert fathom_steps(correct, format_ok, labelled(counts)) == pytest.approx(reward)


@given(counted, st.booleans())
def test_a_wrong_attempt_never_earns_more_than_a_right_one(counts, format_ok):
    right, wrong = (step_reward(correct, format_ok, counts) for correct in (True, False))

    assert 0.5 <= right <= 1.1
    assert wrong <= 0.5
    assert wrong <= right


def test_the_best_wrong_attempt_and_the_worst_right_one_tie():
    assert step_reward(False, True, Counts(8, 0, 16)) == step_reward(True, False, Counts(0, 9, 0, 0, 1)) == 0.5


def test_a_floor_and_the_need_for_tools_are_options():
    spam = Counts(1, 5, 1, 0, 10)
    assert step_reward(False, True, spam, StepReward(floor=0.0)) == 0.0
    assert step_reward(True, True, Counts(), StepReward(require_tool_use=True)) == pytest.approx(0.1)
    assert step_reward(True, True, Counts(1), StepReward(require_tool_use=True)) == pytest.approx(1.1)


@pytest.mark.parametrize("knob", ["search_cap", "query_cap"])
def test_a_cap_that_steps_cannot_be_divided_by_is_refused(knob):
    with pytest.raises(ConfigError, match=knob):
        StepReward(**{knob: 0})


@given(counted, st.integers(1, 30), st.integers(1, 30))
def test_a_higher_cap_never_pays_a_wrong_attempt_more_for_the_same_calls(counts, cap, more):
    net = counts.unique_searches - counts.redundant_searches
    low, high = (step_reward(False, True, counts, StepReward(search_cap=c)) for c in (cap, cap + more))

    assert high <= low + 1e-12 if net >= 0 else high >= low - 1e-12


@pytest.mark.parametrize(
    ("knob", "grows"),
    [
        ("search_cap", Counts(unique_searches=12, explorations=4)),
        ("query_cap", Counts(unique_searches=4, explorations=24)),
    ],
)
def test_with_a_higher_cap_more_of_its_own_calls_pay(knob, grows):
    def still_earning(cap: int) -> int:
        """The number of calls after which another one of the kind earns nothing."""
        name = "unique_searches" if knob == "search_cap" else "explorations"
        paid = [step_reward(False, True, Counts(**{name: n}), StepReward(**{knob: cap})) for n in range(60)]
        return next(n for n in range(59) if paid[n + 1] - paid[n] < 1e-9)

    assert [still_earning(cap) for cap in (4, 8, 16, 32)] == [4, 8, 16, 32]
    other = "query_cap" if knob == "search_cap" else "search_cap"
    assert step_reward(False, True, grows, StepReward(**{other: 40})) < step_reward(False, True, grows)


@pytest.mark.parametrize(
    ("format_ok", "correct", "reward"), [(True, True, 1.2), (True, False, 0.2), (False, True, 1.0), (False, False, 0.0)]
)
def test_webexplorer_adds_a_fifth_for_form(format_ok, correct, reward):
    assert webexplorer(correct, format_ok) == pytest.approx(reward)


@pytest.mark.parametrize(
    ("format_ok", "correct", "reward"), [(True, True, 1.0), (True, False, 0.1), (False, True, 0.9)]
)
def test_fathom_weighs_form_with_a_tenth(format_ok, correct, reward):
    assert fathom(correct, format_ok) == pytest.approx(reward)


def test_infoseek_pays_for_form_and_answer_together():
    assert [infoseek(c, f) for c, f in ((True, True), (True, False), (False, True), (False, False))] == [1, 0, 0, 0]
    assert infoseek(False, True, wrong=0.2) == 0.2


def test_arpo_punishes_broken_form_and_rewards_the_use_of_both_tools():
    assert arpo(True, False, {"search", "visit"}) == -1
    assert arpo(False, True, {"search", "visit"}) == 0
    assert arpo(True, True, {"search"}) == 1
    assert arpo(True, True, {"search", "visit"}) == pytest.approx(1.1)


def test_the_clue_reward_is_the_share_of_clues_that_were_evidenced():
    assert clues(False, (3, None, 0, 5)) == 0.75
    assert clues(True, ()) == 0.0


def test_an_attempt_that_nobody_could_grade_has_no_reward_of_any_form():
    scores = score_all(RewardInputs(None, True, labelled(Counts(2, 1, 1)), (1, None)))

    assert set(scores) == set(REWARDS)
    assert set(scores.values()) == {None}


def test_a_batch_is_its_attempts_one_by_one():
    batch = [RewardInputs(c, f, labelled(Counts(2, 1, 1))) for c in (True, False, None) for f in (True, False)]

    assert score_batch(batch) == [score_all(inputs) for inputs in batch]


def test_calls_without_a_label_are_no_steps():
    labels = (*labelled(Counts(1, 1)), StepLabel(2, 2, None))

    assert count_labels(labels).steps == 2


CLUB = Answer("Russet Sparrow", "entity", "Russet Sparrow", ("Sparrow, Russet", "RS"), key="https://a/1")
YEAR = Answer("1901", "date", "1901")
DAY = Answer("3 March 1901", "date", "1901-03-03")
LENGTH = Answer("2.9 km", "number", "2.9 km", unit="km")


@pytest.mark.parametrize(
    ("answer", "said", "key", "correct", "how"),
    [
        (CLUB, "The Russet Sparrow.", None, True, "exact"),
        (CLUB, "rs", None, True, "alias"),
        (CLUB, "Somebody", None, False, "exact"),
        (CLUB, "Somebody", "https://a/1", True, "key"),
        (CLUB, "Russet Sparrow", "https://a/2", False, "key"),
        (YEAR, "3 March 1901", None, True, "date"),
        (DAY, "March 3, 1901", None, True, "date"),
        (DAY, "1901", None, False, "date"),
        (LENGTH, "2,900 m", None, True, "number"),
        (LENGTH, "2.9 miles", None, False, "number"),
        (LENGTH, "29 km", None, False, "number"),
        (CLUB, "  ", None, False, "none"),
        (CLUB, None, None, False, "none"),
    ],
)
def test_answers_are_compared_by_key_value_and_words(answer, said, key, correct, how):
    checked = check_answer(answer, said, key)

    assert (checked.correct, checked.how) == (correct, how)


class FailingJudge:
    def __init__(self, error):
        self.error = error

    def same_answer(self, question, expected, given):
        raise self.error


@pytest.mark.parametrize("error", [RetriesExhaustedError("down"), UnusableReplyError("no json")])
def test_a_judge_that_fails_leaves_no_grade(error):
    checked = check_answer(CLUB, "that russet bird", None, FailingJudge(error), "Which club?")

    assert (checked.correct, checked.how) == (None, "errored")


def test_a_judge_is_asked_only_where_words_and_values_leave_it_open():
    judge = FailingJudge(AssertionError("not asked"))

    assert check_answer(CLUB, "russet sparrow", None, judge).correct is True
    assert check_answer(YEAR, "1902", None, judge).correct is False
    assert check_answer(CLUB, "Somebody", "https://a/2", judge).correct is False


def test_rewards_are_imported_without_anything_heavy():
    code = (
        "import sys, datagen.rollouts.rewards; "
        "print([m for m in ('pyarrow', 'tantivy', 'networkx', 'pyroaring', 'datasets', 'numpy', 'openai', 'pydantic') "
        "if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
