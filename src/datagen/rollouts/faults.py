"""What can be wrong with the form of an attempt, as codes that parser, reward and evaluation share.

log and text    empty, malformed_turn, bad_arguments, unknown_tool, no_result, stray_result, two_answers,
                answer_not_last, empty_answer, no_answer, turn_order
text alone      broken_frame     turns are not where the frame says, or nobody has such a role
                truncated        the text ends inside a turn
                unbalanced_tag   a tag is opened and not closed, or closed and not opened
                nested_tag       a tag inside another one
                tag_order        blocks in an order that the dialect does not have
                stray_text       words where the dialect has none
                bad_json         a call that is no JSON object with a name and arguments
                empty_search     a search without a query
                forged_result    the model wrote what only the program may write
                unencodable      a lone surrogate or a NUL in what the model wrote

The place of a fault is a turn of a log, or a character of a text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal as OneOf
from typing import get_args

FaultCode = OneOf[
    "empty",
    "malformed_turn",
    "bad_arguments",
    "unknown_tool",
    "no_result",
    "stray_result",
    "two_answers",
    "answer_not_last",
    "empty_answer",
    "no_answer",
    "turn_order",
    "broken_frame",
    "truncated",
    "unbalanced_tag",
    "nested_tag",
    "tag_order",
    "stray_text",
    "bad_json",
    "empty_search",
    "forged_result",
    "unencodable",
]
FAULT_CODES: frozenset[str] = frozenset(get_args(FaultCode))


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that breaks the form. `where` is a turn of a log, or a place in a text."""

    code: FaultCode
    where: int
    sentence: str


@dataclass(frozen=True, slots=True)
class FormatVerdict:
    """Whether the form is kept, what breaks it, and the answer that stands in the last assistant turn."""

    valid: bool
    faults: tuple[Fault, ...]
    answer: str | None

    @property
    def codes(self) -> frozenset[str]:
        return frozenset(fault.code for fault in self.faults)


def first_of_each(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """One fault of every code, the first: a text of ten megabytes may break one rule a million times."""
    first: dict[str, Fault] = {}
    for fault in faults:
        first.setdefault(fault.code, fault)
    return tuple(first.values())
