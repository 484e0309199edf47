"""The reward of an export: the answer in the last turn of a rollout's text, against the truth that its row carries.

    final_answer("... <tool_response>...</tool_response> <think>So it is ...</think> Harlan Rovers")    "Harlan Rovers"
    score("...</think> harlan rovers", {"target": ["Harlan Rovers"], "type": "entity", ...})       Scored(1.0, True, ...)

A trainer hands over the whole text after the prompt, tool results included. Of that, the answer is all that stands behind
the last thought, call and result; where it is marked with <answer> and </answer>, these enclose it alone and end the text.
Since the whole of it is compared, neither a page that names the key nor an essay with it somewhere inside is right.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from datagen.records.question import Answer
from datagen.rollouts.rewards import check_answer

OPEN, CLOSE = "<answer>", "</answer>"
_END = re.compile(r"(?:<\|[a-z_]{1,24}\|>|</s>|\s)*\Z")
"""What templates put after a turn: end marks and white space."""
_BEFORE = ("</tool_response>", "</tool_call>", "</think>")
"""What an answer stands behind. Results of tools cannot hold these marks: `<` is written as an escape in them."""
_HEAD = re.compile(r"(?:<\|im_end\|>|\s)*(?:<\|im_start\|>)?assistant(?:\s*\n|\s*\Z)")
"""The head of a turn after a result: ChatML's, or what is left of it where a trainer decodes without special tokens."""
MAX_ANSWER_CHARS = 400


@dataclass(frozen=True, slots=True)
class Scored:
    """What a rollout is worth; `answer` is what it gave, None where it gave none."""

    score: float
    correct: bool
    answer: str | None


def final_answer(text: str) -> str | None:
    """The answer with which the text ends; None where it ends otherwise."""
    body = text[: _END.search(text).start()]  # type: ignore[union-attr]
    last = body[max(body.rfind(mark) + len(mark) if mark in body else 0 for mark in _BEFORE) :]
    last = last[head.end() :] if (head := _HEAD.match(last)) else last
    if "<think>" in last or "<tool_call>" in last:
        return None  # begun and never ended
    if OPEN in last or CLOSE in last:
        if not last.endswith(CLOSE) or last.count(OPEN) != 1 or last.count(CLOSE) != 1:
            return None
        last = last[last.index(OPEN) + len(OPEN) : -len(CLOSE)]
    said = last.strip()
    return said if 1 <= len(said) <= MAX_ANSWER_CHARS else None


def answer_of_truth(truth: Mapping[str, Any] | str) -> Answer:
    """The gradable answer of a row's truth, which may be JSON text."""
    known: Mapping[str, Any] = json.loads(truth) if isinstance(truth, str) else truth
    first, *others = (str(form) for form in known["target"])
    return Answer(
        text=first, type=known["type"], canonical=known["canonical"], aliases=tuple(others), unit=known["unit"] or ""
    )


def score(text: str, truth: Mapping[str, Any] | str) -> Scored:
    """1.0 for a right answer, 0.0 for a wrong one and for none."""
    given = final_answer(text)
    correct = check_answer(answer_of_truth(truth), given).correct is True
    return Scored(float(correct), correct, given)
