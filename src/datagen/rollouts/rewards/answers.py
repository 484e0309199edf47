"""Is the answer right, and what decided it.

    entity    by key where both sides name one, else by words: no case, accents, punctuation, articles; aliases count
    number    by value with its unit: "2.9 km" is 2,900 m, and as precise as the key
    date      by value as precise as the key: 3 March 1901 is in 1901, 1901 is not 3 March 1901
    open      what is left goes to a judge, where there is one

A judge that fails leaves the attempt without a grade ("errored"). It never becomes "wrong": that would turn an outage
into a training signal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from datagen.errors import RetriesExhaustedError, UnusableReplyError
from datagen.knowledge.answer_forms import accepted_forms, is_correct, normalise_answer
from datagen.knowledge.literals import parse_literal
from datagen.records.question import Answer
from datagen.records.trajectory import AnswerCheck

JUDGE_FAILURES = (RetriesExhaustedError, UnusableReplyError)
"""What costs one grade; anything else (no credentials, budget spent) ends the run that asked."""


class Judging(Protocol):
    """What grading needs of a judge; `agents.roles.Judge` is one."""

    def same_answer(self, question: str, expected: str, given: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Checked:
    """The grade, and what decided it."""

    correct: bool | None
    how: AnswerCheck


def check_answer(
    answer: Answer,
    given: str | None,
    given_key: str | None = None,
    judge: Judging | None = None,
    question: str = "",
) -> Checked:
    """Compare what was given with the key; the judge is asked only where words and values leave it open."""
    if given is None or not given.strip():
        return Checked(False, "none")
    by_key = answer.key is not None and given_key is not None
    if is_correct(answer, given, given_key):
        return Checked(True, "key" if by_key else _how(answer, given))
    if by_key:
        return Checked(False, "key")
    if answer.type in ("date", "number") and parse_literal(given, answer.type, answer.unit) is not None:
        return Checked(False, "date" if answer.type == "date" else "number")
    if judge is None:
        return Checked(False, "exact")
    try:
        return Checked(judge.same_answer(question, answer.text, given), "judge")
    except JUDGE_FAILURES:
        return Checked(None, "errored")


def _how(answer: Answer, given: str) -> AnswerCheck:
    """Which comparison said yes, the plainest first."""
    said = normalise_answer(given)
    if said == normalise_answer(answer.text):
        return "exact"
    if any(said == normalise_answer(form) for form in accepted_forms(answer)):
        return "alias"
    return "date" if answer.type == "date" else "number"
