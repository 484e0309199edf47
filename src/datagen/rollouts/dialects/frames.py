"""The frame around the turns of a conversation: who speaks, from where to where.

    <|im_start|>system
    ...<|im_end|>
    <|im_start|>assistant
    ...<|im_end|>

ChatML, which Qwen's models are trained with, and so both published agents that are rendered here. A text that does not
begin with a frame is what a model wrote after the prompt: it begins in the middle of an assistant turn.

Everything in a frame is `guard`ed, so no text inside a turn can end it. A text from elsewhere may be in any disorder: what
cannot be told apart is a `broken_frame`, and a text with one has no answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from datagen.rollouts.faults import Fault

START, END = "<|im_start|>", "<|im_end|>"
ROLES = frozenset({"system", "user", "assistant", "tool"})
_MARK = re.compile(r"<\|im_(?:start|end)\|>")
_ROLE = re.compile(r"([a-z]{1,20})\n")


@dataclass(frozen=True, slots=True)
class Frame:
    """One turn of any role. `start` is the place of its body in the text."""

    role: str
    body: str
    start: int
    closed: bool = True
    headless: bool = False
    """Whether the text began inside it."""


def opened(role: str) -> str:
    return f"{START}{role}\n"


def framed(role: str, body: str) -> str:
    return f"{START}{role}\n{body}{END}"


def frames_of(text: str) -> tuple[list[Frame], list[Fault]]:
    """The turns of a text, and what is wrong with their frame."""
    if not text.strip():
        return [], [Fault("empty", 0, "the text is empty")]
    faults: list[Fault] = []
    frames = list(_frames(text, faults))
    if frames and not frames[-1].closed:
        faults.append(Fault("truncated", len(text), "the text ends inside a turn"))
    return frames, faults


def _frames(text: str, faults: list[Fault]) -> Iterator[Frame]:
    """Walks from mark to mark; `begin` is where the body of the open turn begins, None between turns."""
    begin: int | None = None
    role, headless, position = "assistant", False, 0
    if not text.startswith(START):
        begin, headless = 0, True
    for mark in _MARK.finditer(text):
        if mark.group() == START:
            if begin is not None:
                faults.append(Fault("broken_frame", mark.start(), "a turn begins inside another one"))
                yield Frame(role, text[begin : mark.start()], begin, headless=headless)
            elif text[position : mark.start()].strip():
                faults.append(Fault("broken_frame", position, "words between two turns"))
            role, begin = _role(text, mark.end(), faults)
        else:
            if begin is None:
                faults.append(Fault("broken_frame", mark.start(), "a turn ends that never began"))
            else:
                yield Frame(role, text[begin : mark.start()], begin, headless=headless)
            begin = None
        headless, position = False, mark.end()
    if begin is not None:
        yield Frame(role, text[begin:], begin, closed=False, headless=headless)
    elif text[position:].strip():
        faults.append(Fault("broken_frame", position, "words after the last turn"))


def _role(text: str, at: int, faults: list[Fault]) -> tuple[str, int]:
    """The role that a turn's head names, and where its body begins."""
    found = _ROLE.match(text, at)
    if found is None or found.group(1) not in ROLES:
        faults.append(Fault("broken_frame", at, "a turn without one of the known roles"))
        return "", at
    return found.group(1), found.end()
