"""What a checker says of real attempts that were damaged: what is broken, and never an answer that nobody gave."""

from __future__ import annotations

import pytest
from tests.unit.malformed_attempts import NAMES, QUESTION, Malformed, corpus, rendered, right

from datagen.records.question import Answer
from datagen.rollouts.dialects import DIALECTS
from datagen.rollouts.faults import FAULT_CODES
from datagen.rollouts.format import check_events, check_text
from datagen.rollouts.rewards import check_answer

CORPUS = corpus()


def is_right(answer: str | None) -> bool:
    return check_answer(Answer(right(), "entity", right()), answer).correct is True


def test_the_corpus_is_large_and_breaks_the_form_in_all_ways_that_a_text_can():
    named = {code for case in CORPUS for code in case.codes}

    assert len({(case.dialect, case.text) for case in CORPUS}) >= 600
    assert {case.dialect for case in CORPUS} == set(NAMES)
    assert FAULT_CODES - named == {"turn_order"}, "turns of a text are numbered by their place"


@pytest.mark.parametrize("dialect", NAMES)
def test_the_attempt_is_in_order_and_graded_before_anything_is_damaged(dialect):
    assert check_text(rendered(dialect), dialect).valid
    assert not is_right(check_text(rendered(dialect), dialect).answer)
    assert is_right(check_text(rendered(dialect, right()), dialect).answer)


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: ascii(case.name))
def test_what_is_broken_is_named_and_no_answer_is_taken_from_elsewhere(case: Malformed):
    verdict = check_text(case.text, case.dialect)

    assert not verdict.valid
    assert verdict.codes & case.codes, verdict.faults
    assert verdict.codes <= FAULT_CODES
    assert not is_right(verdict.answer)


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: ascii(case.name))
def test_the_log_that_was_read_gives_no_right_answer_either_and_can_be_written_again(case: Malformed):
    dialect = DIALECTS[case.dialect]
    parsed = dialect.parse(case.text)
    once = dialect.render(QUESTION, parsed.events)
    twice = dialect.render(QUESTION, dialect.parse(once.text).events)

    assert not is_right(check_events(parsed.events).answer)
    assert not is_right(check_text(once.text, dialect).answer)
    assert twice.text == once.text
