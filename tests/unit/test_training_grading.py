"""Rewards by name, what a reward function that raises costs, and answers without search."""

from __future__ import annotations

import pytest

from datagen.config.rollouts import StepRewardConfig
from datagen.errors import BudgetReachedError, ConfigError, TrainingError
from datagen.records.question import Answer
from datagen.records.trajectory import Event, Trajectory, Transcript
from datagen.rollouts.collect import Task
from datagen.training.framing.compact import ANSWER, END, MARKS, CompactFraming
from datagen.training.grading import Grader, assessor_of, refuse_constant_fault, reward_form
from datagen.training.tokenizer import CompactTokenizer

TASK = Task("q1", "Which river flows through Velmo?", "duetqa", Answer("River Vileva", "entity", "River Vileva"), ())
RIGHT = Transcript((Event(0, "answer", "River Vileva"),), "River Vileva", "answered")
WRONG = Transcript((Event(0, "answer", "River Ondra"),), "River Ondra", "answered")
BROKEN = Transcript((), None, "error", detail="the engine is away")


def grader(name: str) -> Grader:
    return Grader(assessor_of(), reward_form(name))


@pytest.mark.parametrize(
    ("name", "right", "wrong"), [("vanilla", 1.0, 0.1), ("step", 1.1, 0.1), ("webexplorer", 1.2, 0.2)]
)
def test_a_reward_goes_by_its_name(name, right, wrong):
    by_name = grader(name)

    assert by_name.worth(by_name.grade(TASK, 0, RIGHT)) == pytest.approx(right)
    assert by_name.worth(by_name.grade(TASK, 1, WRONG)) == pytest.approx(wrong)


def test_an_attempt_that_the_infrastructure_broke_is_worth_nothing_known_and_asks_nobody():
    by_name = grader("vanilla")

    assert by_name.worth(by_name.grade(TASK, 0, BROKEN)) is None
    assert by_name.take_counts() == (0, {})


@pytest.mark.parametrize("name", ["vanila", "no_module_of_ours:reward", "datagen.training.grading:no_function"])
def test_an_unknown_reward_is_refused_with_what_there_is(name):
    with pytest.raises(ConfigError, match=r"vanilla, step|is not there"):
        reward_form(name)


def raises_on_wrong(trajectory: Trajectory) -> float:
    if not trajectory.correct:
        raise ZeroDivisionError("no calls to divide by")
    return 2.0


def test_a_function_that_raises_costs_the_attempt_it_was_asked_about():
    counting = Grader(assessor_of(), raises_on_wrong)

    worths = [counting.worth(counting.grade(TASK, n, script)) for n, script in enumerate((RIGHT, WRONG, WRONG))]

    assert worths == [2.0, None, None]
    asked, faults = counting.take_counts()
    assert (asked, dict(faults)) == (3, {"ZeroDivisionError: no calls to divide by": 2})
    refuse_constant_fault(asked, faults, "mine")
    with pytest.raises(TrainingError, match="'mine' raised on all 2 attempts"):
        refuse_constant_fault(2, faults, "mine")


def test_what_ends_a_run_is_no_fault_of_one_attempt():
    def broke(_trajectory: Trajectory) -> float:
        raise BudgetReachedError("the judge has spent its money")

    paid = Grader(assessor_of(), broke)

    with pytest.raises(BudgetReachedError):
        paid.worth(paid.grade(TASK, 0, RIGHT))


def test_the_caps_of_the_step_level_reward_come_from_the_config():
    assessor = assessor_of(StepRewardConfig(search_cap=3, query_cap=5, verifications=2))

    assert (assessor.step_reward.search_cap, assessor.step_reward.query_cap) == (3, 5)
    assert assessor.labels.verifications == 2


def test_an_answer_at_once_is_read_although_the_prompt_has_its_mark():
    tokens = CompactTokenizer.train(["River Vileva flows through Velmo."], size=300, marks=MARKS)
    talk = CompactFraming(tokens).begin(TASK.question)

    opening = talk.opening(tools=False)
    said = talk.read([*tokens.encode("River Vileva"), tokens.mark(END)], 0)

    assert opening[-1] == tokens.mark(ANSWER)
    assert [(event.kind, event.text) for event in said] == [("answer", "River Vileva")]
    assert talk.read(tokens.encode("River"), 0)[0].kind == "malformed"
