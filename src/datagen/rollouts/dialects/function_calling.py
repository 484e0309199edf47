"""Plain function calling: the tools as they are, results as the JSON that they return, the answer as the last message.

    assistant   <think>...</think> and calls            tool_calls of the message
    tool        {"results": [...]}                      one message for each call
    assistant   <think>...</think> Harlan Rovers        nothing but the answer after the thought

`messages` go into any chat template (`rollouts.chat_template`); `text` is the same in ChatML with calls between tags, for
models without a template of their own. Call ids live in the messages; the text has none, and numbers them anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from datagen.agents.toolbox import SEARCH, VISIT
from datagen.records.trajectory import Event
from datagen.rollouts.dialects.calls import Arguments, Vocabulary, WireTool, spaced, written
from datagen.rollouts.dialects.conversation import Conversation
from datagen.rollouts.dialects.guarding import guard, guard_json, unguard, whole
from datagen.rollouts.dialects.reading import Said
from datagen.rollouts.dialects.turns import Turn, said_text


def _same(arguments: Arguments) -> Arguments:
    return arguments


def _one(arguments: Arguments) -> list[Arguments] | None:
    return [arguments]


class FunctionCalling(Conversation):
    name = "function_calling"
    result_role = "tool"
    prose_beside_calls = True
    losses = (
        "Call ids are numbered anew by the text; the messages keep them.",
        "Arguments are written in one style of JSON; white space around thoughts and answers goes.",
        "An answer that something comes after is read as a malformed turn.",
        "Documents of results and sources of answers stay in the log.",
    )

    def __init__(self) -> None:
        tools = (WireTool(name, name, _same, _one) for name in ("search", "visit"))
        super().__init__(Vocabulary(*tools), (SEARCH, VISIT))

    @property
    def system_message(self) -> str:
        """Without the tools: chat templates are handed these apart."""
        return self.system_text.partition("\n\n# Tools")[0]

    def write_call(self, name: str, arguments: Arguments | str) -> str:
        return f"<tool_call>\n{written(name, arguments)}\n</tool_call>"

    def write_said(self, text: str, *, answer: bool) -> str:  # noqa: ARG002 - the last words are the answer
        return guard(text)

    def read_said(self, text: str) -> Said:
        return Said(unguard(text).strip(), "answer_if_last")

    def write_result(self, call: Event, result: Event) -> str:  # noqa: ARG002 - a result stands by itself
        return guard_json(whole(result.text).strip())

    def error_in(self, text: str) -> str | None:
        if not text.startswith('{"error"'):
            return None
        try:
            error = orjson.loads(text)["error"]
        except orjson.JSONDecodeError:
            return None
        return error if isinstance(error, str) else None

    def assistant_message(self, turn: Turn, body: str) -> Mapping[str, Any]:  # noqa: ARG002 - calls are apart here
        thoughts = "\n".join(f"<think>\n{guard(thought)}\n</think>" for thought in turn.thoughts)
        content = "\n\n".join(part for part in (thoughts, guard(said_text(turn))) if part)
        message: dict[str, Any] = {"role": "assistant", "content": content}
        if turn.calls:
            message["tool_calls"] = [self._tool_call(turn, place) for place in range(len(turn.calls))]
        return message

    def _tool_call(self, turn: Turn, place: int) -> Mapping[str, Any]:
        name, arguments = self.vocabulary.to_wire(turn.calls[place].tool, turn.calls[place].arguments)
        text = guard(arguments) if isinstance(arguments, str) else guard_json(spaced(arguments))
        return {"id": call_id(turn, place), "type": "function", "function": {"name": name, "arguments": text}}

    def result_messages(self, turn: Turn, results: Sequence[Event]) -> Iterator[Mapping[str, Any]]:
        for place, (call, result) in enumerate(zip(turn.calls, results, strict=True)):
            content = self.write_result(call, result)
            yield {"role": "tool", "content": content, "tool_call_id": call_id(turn, place), "name": call.tool or ""}

    def program_body(self, message: Mapping[str, Any]) -> str:
        return f"<tool_response>\n{message['content']}\n</tool_response>"


def call_id(turn: Turn, place: int) -> str:
    """The id of a call; where a log has none, or the same one twice in a turn, one that is made of turn and place."""
    ids = [call.call_id for call in turn.calls]
    own = ids[place]
    return own if own and ids.index(own) == place else f"t{turn.number:04d}{place:04d}"
