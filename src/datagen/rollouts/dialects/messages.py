"""Chat messages back to a log: roles say who wrote what, call ids which result belongs to which call.

    read_messages(FUNCTION_CALLING.render(question, events).messages).events == events        but for blanks and style

This is the way back that needs no template: servers hand out messages, and the markup of a template is theirs to parse.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from datagen.records.trajectory import Event
from datagen.rollouts.dialects.base import Parsed
from datagen.rollouts.dialects.blocks import blocks_of
from datagen.rollouts.dialects.calls import dumped, loaded
from datagen.rollouts.dialects.guarding import unguard, whole
from datagen.rollouts.dialects.turns import NO_RESULT
from datagen.rollouts.dialects.wording import shaped
from datagen.rollouts.faults import Fault, first_of_each
from datagen.rollouts.log_form import check_events

Message = Mapping[str, Any]


def read_messages(messages: Sequence[Message]) -> Parsed:
    """What a conversation with `tool_calls` says. `where` of its faults is the number of a message."""
    reading = _Reading(messages)
    for place in range(len(messages)):
        reading.take(place)
    verdict = check_events(reading.events)
    at = reading.starts
    told = [Fault(f.code, at[f.where] if 0 <= f.where < len(at) else 0, f.sentence) for f in verdict.faults]
    return Parsed(tuple(reading.events), verdict.answer, first_of_each([*reading.faults, *told]), reading.question)


class _Reading:
    def __init__(self, messages: Sequence[Message]) -> None:
        self._messages = messages
        self.events: list[Event] = []
        self.faults: list[Fault] = []
        self.starts: list[int] = []
        self.question: str | None = None
        self._turn = -1
        self._tools: dict[str, str] = {}

    def take(self, place: int) -> None:
        message = self._messages[place]
        role, content = message.get("role"), _text(message.get("content"))
        if role == "assistant":
            self._assistant(place, message, content)
        elif role == "tool":
            self._result(place, message, content)
        elif role == "user" and self.question is None and self._turn < 0:
            self.question = unguard(content).strip()
        elif role == "user":
            self.events.append(Event(self._turn, "note", unguard(content).strip()))
        elif role != "system":
            self.faults.append(Fault("broken_frame", place, f"nobody has the role {str(role)[:40]!r}"))

    def _assistant(self, place: int, message: Message, content: str) -> None:
        self._turn += 1
        self._tools = {}
        self.starts.append(place)
        reasoning = _text(message.get("reasoning_content")).strip()
        if reasoning:
            self._add("thought", unguard(reasoning))
        calls = message.get("tool_calls") or ()
        blocks, fault = blocks_of(content, ("think",))
        if fault is not None:
            self.faults.append(Fault(fault.code, place, fault.sentence))
            self._add("malformed", unguard(content).strip())
            return
        said = [block.text for block in blocks if not block.tag]
        for block in blocks:
            if block.tag and block.text.strip():
                self._add("thought", unguard(block.text).strip())
        if calls:
            for text in said:
                self._add("thought", unguard(text).strip())
        elif said:
            last = place == len(self._messages) - 1 and len(said) == 1 and not blocks[-1].tag
            self._add("answer" if last else "malformed", unguard("\n\n".join(said)).strip())
        for call in calls:
            self._call(place, call)

    def _call(self, place: int, call: Message) -> None:
        function = call.get("function") or {}
        name, arguments = function.get("name"), function.get("arguments")
        raw = arguments if isinstance(arguments, dict) else loaded(_text(arguments))
        if not isinstance(name, str):
            self.faults.append(Fault("bad_json", place, "a call without a name"))
            name = ""
        text = dumped(raw) if raw is not None else unguard(_text(arguments))
        own = call.get("id")
        made = self._add("call", "", tool=name, arguments=text, call_id=own if isinstance(own, str) else None)
        if made.call_id is not None:
            self._tools[made.call_id] = name

    def _result(self, place: int, message: Message, content: str) -> None:
        own = message.get("tool_call_id")
        tool = self._tools.get(own) if isinstance(own, str) else None
        if tool is None:
            self.faults.append(Fault("stray_result", place, "a result answers no call of its turn"))
            return
        raw = shaped(content)
        error = raw["error"] if raw is not None and isinstance(raw.get("error"), str) else None
        if error == NO_RESULT:
            self.faults.append(Fault("no_result", place, "a call has no result"))
        self._add("result", unguard(content), tool=tool, call_id=own, error=error)

    def _add(self, kind: Any, text: str, **fields: Any) -> Event:
        event = Event(self._turn, kind, whole(text), **fields)
        self.events.append(event)
        return event


def _text(content: Any) -> str:
    """The text of a message's content, which some servers hand out in parts."""
    if isinstance(content, str):
        return content
    return "".join(_parts(content)) if isinstance(content, list) else ""


def _parts(content: list[Any]) -> Iterator[str]:
    for part in content:
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            yield part["text"]


def with_reasoning_apart(messages: Sequence[Message], key: str = "reasoning_content") -> tuple[Message, ...]:
    """The messages with thoughts under a key of their own, where templates of reasoning models look for them."""
    return tuple(_apart(message, key) if message["role"] == "assistant" else message for message in messages)


def _apart(message: Message, key: str) -> Message:
    blocks, fault = blocks_of(_text(message.get("content")), ("think",))
    thoughts = [block.text.strip() for block in blocks if block.tag]
    if fault is not None or not thoughts:
        return message
    said = "\n\n".join(block.text.strip() for block in blocks if not block.tag)
    return {**message, "content": said, key: "\n\n".join(thoughts)}
