"""Preference pairs among attempts at one question."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.records.trajectory import Event, Trajectory, Transcript
from datagen.records.trajectory_rows import preference_to_row, row_to_preference
from datagen.rollouts.pairs import preference_pairs
from datagen.rollouts.states import call_key


def attempt(
    name: str, moves: str, *, correct: bool | None = True, clue_turns: tuple[int | None, ...] = (), **more: Any
) -> Trajectory:
    """One turn per letter, a search for it; the answer is the last turn."""
    events: list[Event] = []
    for turn, letter in enumerate(moves):
        call_id = f"c{turn:08}"
        events += [
            Event(turn, "thought", f"{letter} is next"),
            Event(turn, "call", call_id=call_id, tool="search", arguments=f'{{"query": "{letter}"}}'),
            Event(turn, "result", f'{{"results": [], "of": "{letter}"}}', call_id=call_id, tool="search"),
        ]
    length = more.pop("length", None)
    said = "x" * (length - sum(len(e.text) + len(e.arguments or "") for e in events if e.by_model)) if length else name
    events.append(Event(len(moves), "answer", said))
    fields: dict[str, Any] = {
        "question_id": "q1",
        "question": "Which?",
        "expected": "X",
        "recipe": "infoseek",
        "policy": "topdown",
        "attempt": 0,
        "answer_check": "key",
        "seen_turn": 0,
        "said_turn": len(moves),
    }
    transcript = Transcript(tuple(events), said, more.pop("termination", "answered"))
    return Trajectory(id=name, transcript=transcript, correct=correct, clue_turns=clue_turns, **(fields | more))


def decided(*siblings: Trajectory, gamma: float = 1.5) -> list[tuple[str, str, str]]:
    pairs = preference_pairs(siblings, gamma=gamma)
    return [(p.chosen_id, p.rejected_id, p.rule) for p in pairs if p.kind == "trajectory"]


def test_a_right_answer_is_preferred_over_a_wrong_one_however_long_it_took() -> None:
    assert decided(attempt("A", "abcdefghi"), attempt("B", "ab", correct=False)) == [("A", "B", "correctness")]


def test_of_two_right_answers_the_one_with_fewer_calls_is_preferred() -> None:
    assert decided(attempt("A", "abc"), attempt("B", "abcde")) == [("A", "B", "tool_calls")]


def test_of_two_right_answers_with_equal_calls_the_concise_one_is_preferred_beyond_gamma() -> None:
    one, other = attempt("A", "abcd", length=1_000), attempt("B", "abcd", length=1_600)
    assert decided(one, other, gamma=1.5) == [("A", "B", "conciseness")]
    assert decided(one, other, gamma=2.0) == []
    assert decided(one, attempt("B", "abcd", length=1_500), gamma=1.5) == []


def test_two_wrong_answers_are_no_pair() -> None:
    assert decided(attempt("A", "a", correct=False), attempt("B", "abc", correct=False)) == []


def test_a_verified_answer_is_preferred_over_a_shorter_one_that_was_not_checked() -> None:
    checked, lucky = attempt("A", "abcde", clue_turns=(0, 3)), attempt("B", "ab", clue_turns=(0, None))
    assert decided(checked, lucky) == [("A", "B", "evidence")]
    named_first = attempt("C", "xb", clue_turns=(0, 1), said_turn=0)
    assert decided(checked, named_first) == [("A", "C", "evidence")]


def test_attempts_that_broke_or_have_no_grade_take_no_part() -> None:
    good = attempt("A", "abc", clue_turns=(1,))
    broken = attempt("B", "x", correct=False, termination="error")
    failed_judge = attempt("C", "y", correct=None, answer_check="errored")
    errored = attempt("D", "z", correct=False, answer_check="errored")
    assert preference_pairs([good, broken, failed_judge, errored]) == []


def test_the_continuation_that_evidences_a_clue_in_fewer_calls_is_preferred() -> None:
    quick = attempt("A", "abx", clue_turns=(0, 2))
    slow = attempt("B", "abyzx", clue_turns=(0, 4))
    (pair,) = (p for p in preference_pairs([quick, slow]) if p.kind == "process")
    assert (pair.rule, pair.chosen_id, pair.rejected_id) == ("step_new_clue", "A", "B")
    assert pair.prefix == quick.transcript.events[:6]
    assert pair.chosen == quick.transcript.events[6:9]
    assert pair.rejected == slow.transcript.events[6:9], "cut as soon as it has spent as many calls"


def test_a_step_is_never_preferred_from_a_wrong_attempt_over_a_right_one() -> None:
    quick_but_wrong = attempt("A", "abx", correct=False, clue_turns=(0, 2))
    slow_but_right = attempt("B", "abyzx", clue_turns=(0, 4))
    assert all(p.chosen_id == "B" for p in preference_pairs([quick_but_wrong, slow_but_right]))


def test_going_on_is_preferred_over_an_early_answer_where_it_evidences_a_clue() -> None:
    patient, hasty = attempt("A", "abx", clue_turns=(0, 2)), attempt("B", "ab", correct=False, clue_turns=(0, None))
    (pair,) = (p for p in preference_pairs([patient, hasty]) if p.kind == "process")
    assert pair.rule == "step_too_early"
    assert pair.rejected == hasty.transcript.events[6:]


def test_with_everything_evidenced_the_right_answer_is_preferred_over_more_calls() -> None:
    done, restless = attempt("A", "ab", clue_turns=(0, 1)), attempt("B", "abcd", clue_turns=(0, 1))
    (pair,) = (p for p in preference_pairs([done, restless]) if p.kind == "process")
    assert (pair.rule, pair.chosen_id) == ("step_stop", "A")


def test_without_clues_no_step_is_preferred_over_another() -> None:
    assert [p for p in preference_pairs([attempt("A", "ab"), attempt("B", "abcd")]) if p.kind == "process"] == []


def test_calls_in_another_order_lead_to_one_state() -> None:
    one, other = attempt("A", "abx", clue_turns=(1, 2)), attempt("B", "bayzx", clue_turns=(1, 4))
    (pair,) = (p for p in preference_pairs([one, other]) if p.kind == "process")
    assert [e.arguments for e in pair.prefix if e.kind == "call"] == ['{"query": "a"}', '{"query": "b"}']


def test_attempts_that_parted_with_other_clues_evidenced_are_not_compared_there() -> None:
    one, other = attempt("A", "abx", clue_turns=(0, 2)), attempt("B", "abyzx", clue_turns=(4, 0))
    odd = replace(other, clue_turns=(None, 4))
    assert [p for p in preference_pairs([one, odd]) if p.kind == "process"] == []


def test_turns_need_not_be_numbered_from_nought() -> None:
    def shifted(one: Trajectory) -> Trajectory:
        events = tuple(replace(e, turn=e.turn + 1) for e in one.transcript.events)
        later = tuple(None if t is None else t + 1 for t in one.clue_turns)
        return replace(one, transcript=replace(one.transcript, events=events), clue_turns=later)

    quick, slow = attempt("A", "abx", clue_turns=(0, 2)), attempt("B", "abyzx", clue_turns=(0, 4))
    pairs = preference_pairs([shifted(quick), shifted(slow)])
    assert [p.rule for p in pairs] == [p.rule for p in preference_pairs([quick, slow])]


def test_equal_calls_compare_equal_however_they_are_written() -> None:
    def visit(arguments: str) -> str:
        return call_key(Event(0, "call", tool="visit", arguments=arguments))

    assert visit('{"url": "http://a.example/x/"}') == visit('{"offset": 0, "url": "https://A.example/x#top"}')
    assert visit('{"url": "https://a.example/x"}') != visit('{"url": "https://a.example/x", "offset": 16000}')
    assert visit("{broken") == visit("{broken") != visit("{}")


SIBLINGS = st.lists(
    st.builds(
        lambda n, moves, correct, turns: attempt(
            f"t{n}", moves, correct=correct, clue_turns=tuple(None if t > len(moves) - 1 else t for t in turns)
        ),
        st.integers(0, 40),
        st.text("abc", min_size=1, max_size=6),
        st.sampled_from((True, False, None)),
        st.lists(st.integers(0, 8), min_size=2, max_size=2),
    ),
    max_size=9,
    unique_by=lambda one: one.id,
)


@settings(max_examples=150, deadline=None)
@given(SIBLINGS, st.randoms(use_true_random=False))
def test_pairs_depend_on_the_attempts_alone_and_never_prefer_the_worse(siblings: list[Trajectory], rng: Any) -> None:
    pairs = preference_pairs(siblings, per_question=4)
    mixed = list(siblings)
    rng.shuffle(mixed)
    assert preference_pairs(mixed, per_question=4) == pairs
    correct = {one.id: one.correct for one in siblings}
    assert len({p.id for p in pairs}) == len(pairs)
    for kind in ("trajectory", "process"):
        assert sum(p.kind == kind for p in pairs) <= 4
    for pair in pairs:
        assert not (correct[pair.rejected_id] and not correct[pair.chosen_id])
        assert None not in {correct[pair.chosen_id], correct[pair.rejected_id]}
        assert pair.chosen != pair.rejected
        assert row_to_preference(preference_to_row(pair)) == pair
