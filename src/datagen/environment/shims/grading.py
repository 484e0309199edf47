"""The reward of an export: the answer in the last turn of a rollout's text, against the truth that its row carries.

    final_answer("... <tool_response>...</tool_response> So it is the Rovers. <answer>Harlan Rovers</answer>")
                                                                                         "Harlan Rovers"
    score("...<answer>harlan rovers</answer>", {"target": ["Harlan Rovers"], "type": "entity", ...})
                                                                                         Scored(1.0, True, ...)

A trainer hands over the whole text after the prompt, tool results included. An answer counts only where it ends the text,
and where it is the only one since the last call: nothing that a page says can then be taken for one, whatever markers it
holds, and neither can an answer that was followed by further research.
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
_LAST_CALL = ("</tool_response>", "</tool_call>", "</think>")
MAX_ANSWER_CHARS = 400


@dataclass(frozen=True, slots=True)
class Scored:
    """What a rollout is worth; `answer` is what it gave, None where it gave none."""

    score: float
    correct: bool
    answer: str | None


def final_answer(text: str) -> str | None:
    """The answer with which the text ends; None where it does not end with exactly one."""
    body = text[: _END.search(text).start()]  # type: ignore[union-attr]
    last = body[max(body.rfind(mark) + len(mark) if mark in body else 0 for mark in _LAST_CALL) :]
    if not last.endswith(CLOSE) or last.count(OPEN) != 1 or last.count(CLOSE) != 1:
        return None
    said = last[last.index(OPEN) + len(OPEN) : -len(CLOSE)].strip()
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
