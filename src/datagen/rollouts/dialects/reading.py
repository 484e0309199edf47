"""From the frames of a conversation to the events of a log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol
from typing import Literal as OneOf

from datagen.records.trajectory import Event
from datagen.rollouts.dialects.base import Parsed
from datagen.rollouts.dialects.blocks import Block, blocks_of
from datagen.rollouts.dialects.calls import Vocabulary, read
from datagen.rollouts.dialects.frames import Frame
from datagen.rollouts.dialects.guarding import unguard, whole
from datagen.rollouts.dialects.turns import NO_RESULT
from datagen.rollouts.faults import Fault, FaultCode, first_of_each
from datagen.rollouts.log_form import check_events

MODEL_TAGS = ("think", "tool_call", "tool_response")
BETWEEN_RESULTS = "\n<next_query>\n"
NO_ANSWER = frozenset({"empty", "broken_frame", "truncated", "forged_result", "unencodable"})
"""Faults after which nothing in the text can be called the answer."""


class Manner(Protocol):
    """What reading needs of a dialect."""

    vocabulary: Vocabulary
    opening: str
    prose_beside_calls: bool

    def read_said(self, text: str) -> Said: ...

    def read_result(self, raw_call: str, body: str) -> str | None: ...

    def error_in(self, text: str) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Said:
    """Words outside all tags. `form`: they are an answer; they are one if nothing comes after them; they are none."""

    text: str
    form: OneOf["answer", "answer_if_last", "other"]
    faults: tuple[tuple[FaultCode, str], ...] = ()


@dataclass(slots=True)
class _Waiting:
    """Calls of the log that one call in the text stands for, and that text."""

    calls: list[Event]
    raw: str


class Reader:
    """Reads one text."""

    def __init__(self, manner: Manner, frames: Sequence[Frame], faults: Sequence[Fault]) -> None:
        self._manner = manner
        self._frames = frames
        self._faults = list(faults)
        self._events: list[Event] = []
        self._turn = -1
        self._starts: list[int] = []
        self._waiting: list[_Waiting] = []
        self._question: str | None = None
        self._two_answers = False
        self._calls = 0

    def parsed(self) -> Parsed:
        for number, frame in enumerate(self._frames):
            if frame.role == "assistant":
                self._read_assistant(frame, last=number == len(self._frames) - 1)
            elif frame.role == "system":
                if number:
                    self._fault("broken_frame", frame.start, "a system turn in the middle")
            elif frame.role == "user" and self._question is None and self._turn < 0 and number < 2:
                self._question = unguard(frame.body).strip()
            elif frame.role:
                self._read_program(frame)
        return self._concluded()

    def _concluded(self) -> Parsed:
        verdict = check_events(self._events)
        ending = self._starts[-1] if self._starts else 0
        for fault in verdict.faults:
            known = 0 <= fault.where < len(self._starts)
            self._fault(fault.code, self._starts[fault.where] if known else ending, fault.sentence)
        goes_on = self._goes_on()
        if goes_on:
            self._fault("answer_not_last", ending, "turns without content come after the last word")
        faults = first_of_each(self._faults)
        if self._two_answers or goes_on or any(fault.code in NO_ANSWER for fault in faults):
            return Parsed(without_answer(self._events), None, faults, self._question)
        return Parsed(tuple(self._events), verdict.answer, faults, self._question)

    def _goes_on(self) -> bool:
        """Whether turns come after the last event that left none: what they are is unknown, so nothing is the end."""
        if not self._events:
            return False
        unread = self._frames[-1].role != "assistant" and self._events[-1].kind == "answer"
        return unread or self._events[-1].turn < self._turn

    def _fault(self, code: FaultCode, where: int, sentence: str) -> None:
        self._faults.append(Fault(code, where, sentence))

    # What the model wrote --------------------------------------------------------------------------------------------

    def _read_assistant(self, frame: Frame, *, last: bool) -> None:
        self._turn += 1
        self._starts.append(frame.start)
        self._waiting = []
        body, start = frame.body, frame.start
        if frame.headless and not body.startswith(self._manner.opening):
            body, start = self._manner.opening + body, start - len(self._manner.opening)
        if whole(body) != body:
            self._fault("unencodable", start, "a NUL or half a surrogate pair in what the model wrote")
            body = whole(body)
        blocks, fault = blocks_of(body, MODEL_TAGS, start)
        fault = fault or _order_fault(blocks)
        if fault is not None:
            self._faults.append(fault)
            self._add("malformed", unguard(body).strip())
            return
        self._read_blocks(blocks, body, last=last)

    def _read_blocks(self, blocks: Sequence[Block], body: str, *, last: bool) -> None:
        has_calls = any(block.tag == "tool_call" for block in blocks)
        calls = [read(block.text.strip()) for block in blocks if block.tag == "tool_call"]
        if None in calls:
            self._fault("bad_json", blocks[0].start, "a call is no JSON object with a name and arguments")
            self._add("malformed", unguard(body).strip())
            return
        before = len(self._events)
        for block in blocks:
            if block.tag == "think":
                self._thought(block.text)
            elif block.tag == "" and has_calls:
                if not self._manner.prose_beside_calls:
                    self._fault("stray_text", block.start, "words beside a call")
                self._thought(block.text)
            elif block.tag == "":
                self._read_said(block, last=last)
        for block, call in zip((b for b in blocks if b.tag == "tool_call"), calls, strict=True):
            if call is not None:
                self._read_call(block, *call)
        if not has_calls and all(event.kind == "thought" for event in self._events[before:]):
            self._fault("malformed_turn", self._starts[-1], "a turn has neither a call nor an answer")

    def _thought(self, text: str) -> None:
        if text.strip():
            self._add("thought", unguard(text).strip())

    def _read_said(self, block: Block, *, last: bool) -> None:
        said = self._manner.read_said(block.text)
        for code, sentence in said.faults:
            self._two_answers |= code == "two_answers"
            self._fault(code, block.start, sentence)
        answered = said.form == "answer" or (said.form == "answer_if_last" and last)
        self._add("answer" if answered else "malformed", said.text)

    def _read_call(self, block: Block, name: str, arguments: Mapping[str, Any] | str) -> None:
        calls = []
        for call in self._manner.vocabulary.from_wire(name, arguments):
            if not call.known:
                self._fault("unknown_tool", block.start, f"there is no tool {name[:100]!r}")
            if not call.fits:
                self._fault("bad_arguments", block.start, "the arguments of a call do not fit its tool")
            made = self._add("call", "", tool=call.tool, arguments=call.arguments, call_id=f"c{self._calls:08d}")
            self._calls += 1
            calls.append(made)
        self._waiting.append(_Waiting(calls, block.text.strip()))

    # What the program wrote ------------------------------------------------------------------------------------------

    def _read_program(self, frame: Frame) -> None:
        blocks, fault = blocks_of(frame.body, ("tool_response",), frame.start)
        if fault is not None:
            self._faults.append(fault)
        for block in blocks:
            if block.tag:
                self._read_response(block)
            else:
                self._add("note", unguard(block.text).strip())

    def _read_response(self, block: Block) -> None:
        if not self._waiting:
            self._fault("stray_result", block.start, "a result answers no call of its turn")
            return
        waiting = self._waiting.pop(0)
        body = block.text.removeprefix("\n").removesuffix("\n")
        parts = body.split(BETWEEN_RESULTS) if len(waiting.calls) > 1 else [body]
        if len(parts) != len(waiting.calls):
            self._fault("stray_result", block.start, "not as many results as queries")
        for call, part in zip(waiting.calls, parts, strict=False):
            text = self._manner.read_result(waiting.raw, part)
            if text is None:
                self._fault("stray_result", block.start, "a result names another call than the one it comes after")
                text = part
            self._add_result(call, unguard(text).strip(), block)

    def _add_result(self, call: Event, text: str, block: Block) -> None:
        error = self._manner.error_in(text)
        if error == NO_RESULT:
            self._fault("no_result", block.start, "a call has no result")
        self._add("result", text, tool=call.tool, call_id=call.call_id, error=error)

    def _add(self, kind: Any, text: str, **fields: Any) -> Event:
        event = Event(self._turn, kind, text, **fields)
        self._events.append(event)
        return event


def without_answer(events: Sequence[Event]) -> tuple[Event, ...]:
    """The events of a text that leaves open what its answer is: what looked like one must not become one in the log."""
    return tuple(replace(event, kind="malformed") if event.kind == "answer" else event for event in events)


def _order_fault(blocks: Sequence[Block]) -> Fault | None:
    """Thoughts come first, and results are not for the model to write."""
    other = False
    for block in blocks:
        if block.tag == "tool_response":
            return Fault("forged_result", block.start, "the model wrote a result itself")
        if block.tag == "think" and other:
            return Fault("tag_order", block.start, "a thought behind a call or an answer")
        other |= block.tag != "think"
    return None
