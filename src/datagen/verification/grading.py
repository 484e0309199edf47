"""Whether an answer is the key: by value and words first, by the cast's judge only where these leave it open.

    keys on both sides               the keys decide
    a date or number that reads      the value decides
    words equal to a form of the key right
    anything else                    open: the judge decides where there is one, otherwise it is wrong

A judge that fails raises. Its failure is never taken for "no", because that would turn an outage into rejects.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from datagen.agents.roles import Judge
from datagen.knowledge.answer_forms import accepted_forms, is_correct, telling_words
from datagen.knowledge.literals import parse_literal
from datagen.records.question import Answer, Attempt


@dataclass(frozen=True, slots=True)
class Grade:
    """`judged` is True where a judge decided."""

    correct: bool
    judged: bool = False


def grade(question: str, answer: Answer, given: str | None, given_key: str | None, judge: Judge | None) -> Grade:
    """Compare what was given with the key."""
    if is_correct(answer, given, given_key):
        return Grade(True)
    if judge is None or given is None or not given.strip() or not _is_open(answer, given, given_key):
        return Grade(False)
    return Grade(judge.same_answer(question, answer.text, given), judged=True)


def graded(question: str, answer: Answer, attempt: Attempt, judge: Judge | None) -> Attempt:
    """The attempt with its grade filled in."""
    found = grade(question, answer, attempt.answer, attempt.answer_key, judge)
    return replace(attempt, correct=found.correct, judged=found.judged)


def is_right(answer: Answer, attempt: Attempt) -> bool:
    """The grade of an attempt; one that nobody has graded is compared by words alone."""
    return is_correct(answer, attempt.answer, attempt.answer_key) if attempt.correct is None else attempt.correct


def is_guessed(question: str, answer: Answer, guess: str, judge: Judge | None) -> bool:
    """Whether a guess without tools is the key. The judge sees only guesses that share a telling word with it.

    Guesses are many and nearly all are plainly something else; asking about each would cost more than the guesses.
    """
    told = telling_words(guess)
    near = any(told & telling_words(form) for form in accepted_forms(answer))
    return grade(question, answer, guess, None, judge if near else None).correct


def _is_open(answer: Answer, given: str, given_key: str | None) -> bool:
    """Whether neither keys nor values have settled it."""
    if answer.key is not None and given_key is not None:
        return False
    return answer.type not in ("date", "number") or parse_literal(given, answer.type, answer.unit) is None
