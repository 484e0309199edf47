"""Messages under any Jinja chat template, in pieces that say who wrote what.

    template = ChatTemplate(tokenizer.chat_template)
    rows = template.rows(rendered.messages, rendered.tools)
    rows[0].segments              `trained` where the model wrote, its end-of-turn mark included

A template is a program that turns messages into text. Where in that text the words of one message are is found without a
look at it: the text up to an assistant message, with the template's own call for a reply, has to be the beginning of the
text that includes the message; what is more is what the model wrote. So nothing is assumed about tags, roles or marks.

    prefix property    the text of n messages begins the text of n + 1

Templates that drop the thoughts of earlier turns break it: what the model is shown in turn 5 is no longer what it wrote in
turn 2, and one row of tokens cannot hold both. Such an attempt becomes several rows, each of them exactly what a model
would have had before it, and each turn is trained in one row only. `ChatRow.rewritten` says where and what changed.
"""

from __future__ import annotations

import os.path
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Any

import orjson

from datagen.errors import ChatTemplateError
from datagen.rollouts.dialects.base import Segment
from datagen.rollouts.template_environment import compiled

Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rewritten:
    """Where a template changed what had been said."""

    message: int
    """The message before which the text so far is no longer a beginning of the text."""
    at: int
    """The first character that differs."""
    was: str
    became: str
    """A few words of both, from there on."""


@dataclass(frozen=True, slots=True)
class ChatRow:
    """One row to train on: a context, and the turns of the model that were written in it."""

    segments: tuple[Segment, ...]
    turns: tuple[int, ...]
    """The assistant turns trained in this row."""
    rewritten: Rewritten | None = None
    """Why the row does not go on from the one before; None for the first."""

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in self.segments)


@dataclass(frozen=True)
class ChatTemplate:
    """One template. `variables` are what it may ask for beside messages and tools (bos_token, enable_thinking, ...)."""

    source: str
    variables: Mapping[str, Any] = field(default_factory=dict)
    arguments_as_text: bool | None = None
    """Whether calls carry their arguments as JSON text or as an object; what the template takes, if None."""
    end_marks: tuple[str, ...] = ()
    """Marks with which the model ends a turn. What a template writes behind the last of them is the template's; without
    any, white space at the end of a turn is."""
    today: date | None = None
    """What templates that print a date are told; without one they fail, for a row must not depend on the day."""

    def text(self, messages: Sequence[Message], tools: Sequence[Message] = (), *, reply: bool = False) -> str:
        """The whole text; `reply` adds the template's call for one."""
        given = [self.shown(message) for message in messages]
        return compiled(self.source, self.today).text(given, tools, reply=reply, variables=self.variables)

    def rows(self, messages: Sequence[Message], tools: Sequence[Message] = ()) -> tuple[ChatRow, ...]:
        """The conversation as rows: one where the template keeps its history, more where it rewrites it."""
        rows: list[ChatRow] = []
        for turn in self._turns(messages, tools):
            grown = _grown(rows[-1], turn) if rows else None
            if grown is not None:
                rows[-1] = grown
            else:
                before = rows[-1].text if rows else ""
                changed = _rewritten(turn.message, before, turn.prompt) if rows else None
                rows.append(ChatRow(turn.segments(""), (turn.number,), changed))
        if not rows:
            return (ChatRow((Segment(self.text(messages, tools), trained=False),), ()),)
        return (*rows[:-1], self._finished(rows[-1], messages, tools))

    def keeps_history(self, messages: Sequence[Message], tools: Sequence[Message] = ()) -> bool:
        """Whether the conversation fits into one row."""
        return len(self.rows(messages, tools)) == 1

    def _turns(self, messages: Sequence[Message], tools: Sequence[Message]) -> Iterator[_ChatTurn]:
        number = -1
        for place, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            number += 1
            prompt = self.text(messages[:place], tools, reply=True)
            whole = self.text(messages[: place + 1], tools)
            if not whole.startswith(prompt):
                raise ChatTemplateError(
                    f"the template's call for a reply is not the beginning of message {place} as the template writes it: "
                    f"{_words(prompt, _common(prompt, whole))!r} became {_words(whole, _common(prompt, whole))!r}. "
                    "Set the template's variables so that both agree (enable_thinking, for one), or put the thoughts "
                    "where the template looks for them."
                )
            yield _ChatTurn(number, place, prompt, *self._ended(whole[len(prompt) :]))

    def _ended(self, written: str) -> tuple[str, str]:
        """What the model wrote, with its end mark, and what the template wrote behind it."""
        ends = [written.rfind(mark) + len(mark) for mark in self.end_marks if mark in written]
        cut = max(ends) if ends else len(written.rstrip())
        return written[:cut], written[cut:]

    def _finished(self, row: ChatRow, messages: Sequence[Message], tools: Sequence[Message]) -> ChatRow:
        """The row with what comes after the last turn of the model."""
        whole = self.text(messages, tools)
        return _with_context(row, whole) if whole.startswith(row.text) else row

    def shown(self, message: Message) -> Message:
        """A message as the template takes it."""
        if not message.get("tool_calls"):
            return message
        as_text = self.arguments_as_text
        if as_text is None:
            as_text = takes_text(self.source)
        return {**message, "tool_calls": [_with_arguments(call, as_text=as_text) for call in message["tool_calls"]]}


@dataclass(frozen=True, slots=True)
class _ChatTurn:
    """One turn of the model in its context."""

    number: int
    message: int
    prompt: str
    written: str
    behind: str

    def segments(self, before: str) -> tuple[Segment, ...]:
        """What comes after `before`."""
        made = (
            Segment(self.prompt[len(before) :], trained=False, turn=self.number),
            Segment(self.written, trained=True, turn=self.number),
            Segment(self.behind, trained=False, turn=self.number),
        )
        return tuple(segment for segment in made if segment.text)


def _grown(row: ChatRow, turn: _ChatTurn) -> ChatRow | None:
    """The row with one more turn; None where the turn's context does not begin with the row."""
    before = row.text
    if not turn.prompt.startswith(before):
        return None
    return ChatRow(row.segments + turn.segments(before), (*row.turns, turn.number), row.rewritten)


def _with_context(row: ChatRow, whole: str) -> ChatRow:
    rest = whole[len(row.text) :]
    return ChatRow((*row.segments, Segment(rest, trained=False)), row.turns, row.rewritten) if rest else row


def _rewritten(message: int, before: str, after: str) -> Rewritten:
    at = _common(before, after)
    return Rewritten(message, at, _words(before, at), _words(after, at))


def _common(first: str, second: str) -> int:
    return len(os.path.commonprefix([first, second]))  # noqa: RUF071 - characters are meant


def _words(text: str, at: int) -> str:
    return text[at : at + 60]


def _with_arguments(call: Message, *, as_text: bool) -> Message:
    """A call with its arguments as text or as an object; text that is no object stays text."""
    function = call["function"]
    arguments = function["arguments"]
    if isinstance(arguments, str) and not as_text:
        try:
            raw = orjson.loads(arguments)
        except orjson.JSONDecodeError:
            raw = None
        arguments = raw if isinstance(raw, dict) else arguments
    elif not isinstance(arguments, str) and as_text:
        arguments = orjson.dumps(arguments).decode()
    return {**call, "function": {**function, "arguments": arguments}}


@lru_cache(maxsize=64)
def takes_text(source: str) -> bool:
    """Whether a template wants arguments as JSON text: it fails on an object, or prints it otherwise than as JSON.

    Tried out with one call: of the two forms the one whose text holds the arguments as plain JSON is right. A template that
    writes text as it is and objects as JSON takes both, and is given objects, as its authors' own examples are.
    """
    return "{" not in _tried(source, {"probe": 1}) and "{" in _tried(source, '{"probe": 1}')


def _tried(source: str, arguments: Any) -> str:
    """What a template makes of a call's arguments, where that is JSON: `{"probe": 1}`, or nothing."""
    call = {"id": "probe0000", "type": "function", "function": {"name": "probe", "arguments": arguments}}
    messages: list[Message] = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
    ]
    try:
        text = compiled(source, date(2000, 1, 1)).text(messages, (), reply=False, variables={})
    except ChatTemplateError:
        return ""
    plain = "".join(text.split())
    return '{"probe":1}' if '{"probe":1}' in plain else ""
