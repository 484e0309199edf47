"""What stands between tags in one turn: a flat list of blocks, or what is wrong with the tags.

    <think>So it is 1901.</think> <answer>1901</answer>       [think "So it is 1901."] [answer "1901"]
    <think>So it is <answer>1901</think></answer>             nested_tag

One pass over the tags, no backtracking: ten megabytes of `<think>` take as long as ten megabytes of prose.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from datagen.rollouts.faults import Fault


@dataclass(frozen=True, slots=True)
class Block:
    """Text between a tag and its end, or, with an empty tag, text outside all tags. `start` is its place in the text."""

    tag: str
    text: str
    start: int


@cache
def _pattern(tags: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"<(/?)({'|'.join(map(re.escape, tags))})>")


def blocks_of(text: str, tags: Iterable[str], offset: int = 0) -> tuple[list[Block], Fault | None]:
    """The blocks of a text up to its first fault. White space between blocks is no block. `offset` moves all places."""
    blocks: list[Block] = []
    inside, begin = "", 0
    for mark in _pattern(tuple(tags)).finditer(text):
        end, tag = mark.group(1) == "/", mark.group(2)
        where = offset + mark.start()
        if not inside and end:
            return blocks, Fault("unbalanced_tag", where, f"</{tag}> closes nothing")
        if inside and (not end or tag != inside):
            return blocks, Fault("nested_tag", where, f"{mark.group()} inside <{inside}>")
        chunk = text[begin : mark.start()]
        if inside or not _blank(chunk):
            blocks.append(Block(inside, chunk, offset + begin))
        inside, begin = "" if end else tag, mark.end()
    rest = text[begin:]
    if inside:
        return blocks, Fault("unbalanced_tag", offset + begin, f"<{inside}> is never closed")
    if not _blank(rest):
        blocks.append(Block("", rest, offset + begin))
    return blocks, None


def _blank(text: str) -> bool:
    return not text or text.isspace()
