"""Dialects that are conversations: an assistant that thinks and calls, and turns of the program with the results.

    assistant   <think> why </think> <tool_call>{...}</tool_call>       trained
    results     <tool_response> what came back </tool_response>         not trained
    assistant   <think> why </think> the answer                          trained

Three dialects are this with other names for the tools, other words around calls, results and answer. What a dialect has of
its own are the methods that raise `NotImplementedError` here.

A turn whose tags are out of order is one malformed event: no call and no answer is taken from it. The answer is read
from the last assistant turn and from nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from datagen.clients.chat import Tool
from datagen.records.shipped import shipped_file
from datagen.records.trajectory import Event
from datagen.rollouts.dialects.base import Parsed, Rendered, Segment
from datagen.rollouts.dialects.calls import Vocabulary, spaced
from datagen.rollouts.dialects.frames import END, framed, frames_of, opened
from datagen.rollouts.dialects.guarding import guard, whole
from datagen.rollouts.dialects.reading import BETWEEN_RESULTS, Reader, Said
from datagen.rollouts.dialects.turns import Turn, results_of, said_text, turns_of
from datagen.rollouts.dialects.wording import error_of, in_words

NOTE_ON_MALFORMED = "That was neither a call nor an answer."


def schema(tool: Tool) -> Mapping[str, Any]:
    """A tool in the form of function calling."""
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


class Conversation:
    """One dialect of this family."""

    name = ""
    losses: tuple[str, ...] = ()
    result_role = "user"
    prose_beside_calls = False
    """Whether words outside the tags of a turn with calls are in order."""
    opening = ""
    """What the program writes at the beginning of every assistant turn, for the model to go on from."""

    def __init__(self, vocabulary: Vocabulary, tools: Iterable[Tool]) -> None:
        self.vocabulary = vocabulary
        self.tools = tuple(map(schema, tools))
        self.system_text = shipped_file(f"dialects/{self.name}.txt").read_text(encoding="utf-8").strip()

    @property
    def system_prompt(self) -> str:
        """What the agent is, with the schemas of its tools."""
        return self.system_text.replace("{tools}", "\n".join(spaced(tool["function"]) for tool in self.tools))

    @property
    def system_message(self) -> str:
        """The system prompt of `messages`."""
        return self.system_prompt

    def render(self, question: str, events: Sequence[Event]) -> Rendered:
        asked = guard(whole(question)).strip()
        prompt = f"{framed('system', self.system_prompt)}\n{framed('user', asked)}\n"
        segments = [Segment(prompt, trained=False)]
        messages: list[Mapping[str, Any]] = [
            {"role": "system", "content": self.system_message},
            {"role": "user", "content": asked},
        ]
        for turn, last in _with_last(turns_of(events)):
            if turn.by_model:
                body = self.assistant_body(turn)
                segments.append(Segment(opened("assistant") + self.opening, trained=False, turn=turn.number))
                segments.append(Segment(body.removeprefix(self.opening) + END, trained=True, turn=turn.number))
                messages.append(self.assistant_message(turn, body))
            back = "".join(self._program_frames(turn, messages, last=last))
            segments.append(Segment("\n" * turn.by_model + back, trained=False, turn=turn.number))
        made = _joined(segments)
        first = next((k for k, segment in enumerate(made) if segment.trained), len(made))
        return Rendered(made, tuple(messages), self.tools, first)

    def parse(self, text: str) -> Parsed:
        frames, faults = frames_of(text)
        return Reader(self, frames, faults).parsed()

    # What a dialect has of its own -----------------------------------------------------------------------------------

    def write_call(self, name: str, arguments: Mapping[str, Any] | str) -> str:
        """One call with its tags."""
        raise NotImplementedError

    def write_said(self, text: str, *, answer: bool) -> str:
        """The answer, or what was said instead of one."""
        raise NotImplementedError

    def read_said(self, text: str) -> Said:
        """What was said outside all tags."""
        raise NotImplementedError

    def write_result(self, call: Event, result: Event) -> str:
        """What stands between the tags of a result."""
        raise NotImplementedError

    def read_result(self, raw_call: str, body: str) -> str | None:  # noqa: ARG002 - for those that name the call
        """The text of a result; None where the result is not one of the call that was written so."""
        return body

    def error_in(self, text: str) -> str | None:
        """The code of the error that a result is."""
        return error_of(text)

    def thoughts(self, turn: Turn) -> str:
        """The thoughts of a turn, each between its tags."""
        return "".join(f"<think>\n{guard(thought)}\n</think>\n" for thought in turn.thoughts)

    def grouped(self, calls: Sequence[Event]) -> Iterator[Sequence[Event]]:
        """Calls of the log that are one call in the dialect."""
        for call in calls:
            yield (call,)

    def wire_call(self, group: Sequence[Event]) -> tuple[str, Mapping[str, Any] | str]:
        """Name and arguments of the call that a group is."""
        return self.vocabulary.to_wire(group[0].tool, group[0].arguments)

    # Rendering -------------------------------------------------------------------------------------------------------

    def assistant_body(self, turn: Turn) -> str:
        calls = [self.write_call(*self.wire_call(group)) for group in self.grouped(turn.calls)]
        said = said_text(turn)
        parts = [self.thoughts(turn).rstrip("\n"), *calls]
        if said:
            parts.append(self.write_said(said, answer=turn.said is not None and turn.said.kind == "answer"))
        return "\n".join(part for part in parts if part)

    def assistant_message(self, turn: Turn, body: str) -> Mapping[str, Any]:  # noqa: ARG002 - for those that need more
        return {"role": "assistant", "content": body}

    def result_messages(self, turn: Turn, results: Sequence[Event]) -> Iterator[Mapping[str, Any]]:
        """The turn of the program that hands the results over."""
        bodies, place = [], 0
        for group in self.grouped(turn.calls):
            bodies.append(self._response(group, results[place : place + len(group)]))
            place += len(group)
        yield {"role": self.result_role, "content": "\n".join(bodies)}

    def program_body(self, message: Mapping[str, Any]) -> str:
        """A message of the program as the text has it."""
        return str(message["content"])

    def _response(self, group: Sequence[Event], results: Sequence[Event]) -> str:
        parts = [self.write_result(call, result) for call, result in zip(group, results, strict=True)]
        return "<tool_response>\n" + BETWEEN_RESULTS.join(parts) + "\n</tool_response>"

    def _program_frames(self, turn: Turn, messages: list[Mapping[str, Any]], *, last: bool) -> Iterator[str]:
        results = results_of(turn, last=last)
        if results:
            for message in self.result_messages(turn, results):
                messages.append(message)
                yield framed(message["role"], self.program_body(message)) + "\n"
        notes = [guard(note) for note in turn.notes]
        if last and not notes and turn.said is not None and turn.said.kind == "malformed" and said_text(turn):
            notes = [NOTE_ON_MALFORMED]  # or the last words would be read as the answer
        for note in notes:
            messages.append({"role": "user", "content": note})
            yield framed("user", note) + "\n"


def worded_result(result: Event, goal: str = "") -> str:
    """A result in words, for the inside of a tag."""
    return guard(in_words(result, goal))


def _with_last(turns: Sequence[Turn]) -> Iterator[tuple[Turn, bool]]:
    for number, turn in enumerate(turns, 1):
        yield turn, number == len(turns)


def _joined(segments: Iterable[Segment]) -> tuple[Segment, ...]:
    """The segments; the text ends with its last mark, not with the line after it."""
    made = [segment for segment in segments if segment.text]
    last = made[-1]
    made[-1] = Segment(last.text.rstrip("\n"), last.trained, last.turn)
    return tuple(segment for segment in made if segment.text)
