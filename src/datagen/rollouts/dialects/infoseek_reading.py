"""InfoSeek's tags as a state machine: what may follow what, and what is left of a text that breaks it.

    think -> search -> information -> think -> ... -> think -> answer

Every block has its end, nothing stands between blocks, and nothing after the answer. What comes before the first break is
read; an answer is taken only from a text without one. A query that is said to have no result breaks nothing: that is a
fault of who ran the search, not of who wrote the text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from datagen.records.trajectory import Event
from datagen.rollouts.dialects.base import Parsed
from datagen.rollouts.dialects.blocks import Block, blocks_of
from datagen.rollouts.dialects.calls import dumped
from datagen.rollouts.dialects.frames import Frame
from datagen.rollouts.dialects.guarding import unguard, whole
from datagen.rollouts.dialects.reading import without_answer
from datagen.rollouts.dialects.turns import NO_RESULT
from datagen.rollouts.dialects.wording import error_of
from datagen.rollouts.faults import Fault, FaultCode, first_of_each
from datagen.rollouts.log_form import check_events

TAGS = ("think", "search", "information", "answer")
SNIPPET = "\n<snippet>\n"
FOLLOWS: Mapping[str, tuple[str, ...]] = {
    "": ("think",),
    "think": ("search", "answer"),
    "search": ("information",),
    "information": ("think",),
    "answer": (),
}
_NUMBERING = re.compile(r"\s*\d{1,4}[.)]\s+")
_ADDRESS = re.compile(r"https?://\S+\Z")
_QUOTED = re.compile(r'"*https?://\S')


class TagReader:
    """Reads one text."""

    def __init__(self, frames: Sequence[Frame], faults: Sequence[Fault]) -> None:
        self._frames = frames
        self._faults = list(faults)
        self._events: list[Event] = []
        self._turn = 0
        self._starts = [0]
        self._waiting: list[Event] = []
        self._calls = 0
        self._state = ""

    def parsed(self) -> Parsed:
        question = None
        assistants = 0
        for number, frame in enumerate(self._frames):
            if frame.role == "assistant":
                assistants += 1
                if assistants == 1:
                    self._read(frame)
            elif frame.role == "user" and question is None and not assistants:
                question = unguard(frame.body).strip()
            elif frame.role and not (frame.role == "system" and number == 0):
                self._fault("broken_frame", frame.start, f"a turn of the role {frame.role}")
        if assistants > 1:
            self._fault("broken_frame", self._frames[-1].start, "more than one assistant turn")
        return self._concluded(question)

    def _concluded(self, question: str | None) -> Parsed:
        clean = all(fault.code == "no_result" for fault in self._faults)
        verdict = check_events(self._events)
        for fault in verdict.faults:
            known = 0 <= fault.where < len(self._starts)
            self._fault(fault.code, self._starts[fault.where if known else -1], fault.sentence)
        faults = first_of_each(self._faults)
        if not clean:
            return Parsed(without_answer(self._events), None, faults, question)
        return Parsed(tuple(self._events), verdict.answer, faults, question)

    def _fault(self, code: FaultCode, where: int, sentence: str) -> None:
        self._faults.append(Fault(code, where, sentence))

    def _read(self, frame: Frame) -> None:
        self._starts[0] = frame.start
        blocks, fault = blocks_of(frame.body, TAGS, frame.start)
        for block in blocks:
            if not self._take(self._encodable(block)):
                return
        if fault is not None:
            self._faults.append(fault)

    def _encodable(self, block: Block) -> Block:
        text = whole(block.text)
        if block.tag != "information" and text != block.text:
            self._fault("unencodable", block.start, "a NUL or half a surrogate pair in what the model wrote")
        return Block(block.tag, text, block.start)

    def _take(self, block: Block) -> bool:
        """Read a block where it may stand; False at the first that may not."""
        if block.tag not in FOLLOWS[self._state]:
            return self._refuse(block)
        if block.tag == "think":
            if self._state == "information":
                self._turn += 1
                self._starts.append(block.start)
            if block.text.strip():
                self._add("thought", unguard(block.text).strip())
        elif block.tag == "search":
            self._search(block)
        elif block.tag == "information":
            self._information(block)
        else:
            self._add("answer", unguard(block.text).strip())
        self._state = block.tag
        return True

    def _refuse(self, block: Block) -> bool:
        if block.tag == "":
            self._fault("stray_text", block.start, "words between the blocks")
        elif block.tag == "answer" and self._state == "answer":
            self._fault("two_answers", block.start, "a second answer")
        elif block.tag == "information":
            self._fault("forged_result", block.start, "information that no search asked for")
        else:
            after = f"after {self._state}" if self._state else "at the beginning"
            self._fault("tag_order", block.start, f"{block.tag} {after}")
        return False

    def _search(self, block: Block) -> None:
        queries = queries_of(block.text)
        if not queries:
            self._fault("empty_search", block.start, "a search without a query")
        self._waiting = [self._call(query) for query in queries]

    def _call(self, query: str) -> Event:
        tool, arguments = call_of(query)
        self._calls += 1
        return self._add("call", "", tool=tool, arguments=dumped(arguments), call_id=f"c{self._calls - 1:08d}")

    def _information(self, block: Block) -> None:
        parts = block.text.removeprefix("\n").removesuffix("\n").split(SNIPPET)
        if len(parts) != len(self._waiting):
            self._fault("stray_result", block.start, "not as many summaries as queries")
        for call, part in zip(self._waiting, parts, strict=False):
            text = unguard(part.partition("\n")[2]).strip()
            error = error_of(text)
            if error == NO_RESULT:
                self._fault("no_result", block.start, "a query has no result")
            self._add("result", text, tool=call.tool, call_id=call.call_id, error=error)
        self._waiting = []

    def _add(self, kind: Any, text: str, **fields: Any) -> Event:
        event = Event(self._turn, kind, text, **fields)
        self._events.append(event)
        return event


def queries_of(block: str) -> list[str]:
    r"""The queries of a search block, one to a line, without their numbers.

    >>> queries_of("1. alpha\n2. beta\n\n")
    ['alpha', 'beta']
    """
    lines = (_NUMBERING.sub("", line, count=1).strip() for line in block.splitlines())
    return [unguard(line) for line in lines if line]


def call_of(query: str) -> tuple[str, dict[str, str]]:
    """The call that a query is: a visit where it is an address, with what stands behind it as the goal."""
    first, _, rest = query.partition(" ")
    if is_address(first):
        return "visit", {"url": first} | ({"goal": rest.strip()} if rest.strip() else {})
    if len(query) > 2 and query[0] == query[-1] == '"' and _QUOTED.match(query[1:-1]):
        query = query[1:-1]
    return "search", {"query": query}


def is_address(word: str) -> bool:
    return _ADDRESS.match(word) is not None


def quoted_address(query: str) -> str:
    """The line of a search. An address that was searched for would be read as a visit: in quotes, it is words."""
    return f'"{query}"' if _QUOTED.match(query) else query
