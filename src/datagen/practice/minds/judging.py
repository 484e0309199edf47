"""A mind that compares: answers by value and by folded name, questions by what they mean."""

from __future__ import annotations

from datagen.agents.symbolic.comparison import fold
from datagen.errors import ParseError
from datagen.knowledge.literals import contains, parse_literal
from datagen.language.parse import same_meaning
from datagen.practice.minds.background import Background
from datagen.practice.minds.task import body, json_reply
from datagen.practice.wire import WireReply, WireRequest


def judge_answers(background: Background, request: WireRequest) -> WireReply:
    expected, given = body(request, "reference"), body(request, "given")
    same = same_answer(expected, given)
    return _verdict(background, request, same=same, about=f"{expected}\n{given}")


def judge_questions(background: Background, request: WireRequest) -> WireReply:
    first, second = body(request, "first"), body(request, "second")
    same = first == second or _same_question(background, first, second)
    return _verdict(background, request, same=same, about=f"{first}\n{second}")


def same_answer(expected: str, given: str) -> bool:
    """Whether two answers are one name, or the given one a value within the expected one."""
    if fold(expected) == fold(given) and fold(expected):
        return True
    for kind in ("date", "number"):
        key, said = parse_literal(expected, kind), parse_literal(given, kind)
        if key is not None and said is not None:
            return contains(key, said)
    return False


def _same_question(background: Background, first: str, second: str) -> bool:
    try:
        return same_meaning(background.parser.parse(first), background.parser.parse(second))
    except ParseError:
        return False


def _verdict(background: Background, request: WireRequest, *, same: bool, about: str) -> WireReply:
    if background.slips(request, about):
        same = not same
    reason = "Both say the same in every condition." if same else "They differ in at least one point."
    return json_reply({"reason": reason, "same": same})
