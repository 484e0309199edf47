"""A chat template taken apart into what stands before, between and inside the turns of a model.

    <|im_start|>system ... Which river ...?<|im_end|> <|im_start|>assistant       prompt: asked by the program
    <think> ... </think> <tool_call> ... </tool_call><|im_end|>                   turn: written by the model
    <|im_start|>user <tool_response> ... <|im_end|> <|im_start|>assistant         shown: what stands until the next turn

The pieces are found by what a template makes of short conversations, never by a look at its source. They are only worth
something if put together they are the whole conversation as the template writes it, which `turns_of_template` makes sure
of once: a template that drops the thoughts of earlier turns shows a model a context that it never wrote, and no row of
tokens can hold both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from typing import Any

from datagen.agents.toolbox import error_to_json
from datagen.errors import ChatTemplateError, ConfigError
from datagen.records.trajectory import Event
from datagen.rollouts.chat_template import ChatTemplate
from datagen.rollouts.dialects.conversation import NOTE_ON_MALFORMED, Conversation
from datagen.rollouts.dialects.messages import with_reasoning_apart
from datagen.rollouts.dialects.turns import Turn, results_of, turns_of

Message = Mapping[str, Any]
TODAY = date(2026, 1, 1)
"""The day that templates are told which print one: rows must not depend on when they were made."""
AT_ONCE = (
    "You answer questions from what you know. There are no tools and there is no search. Answer at once: end with a message "
    "that holds the answer alone, a name, a date or a number without a sentence around it"
)
_QUESTION = "Which one?"
_THOUGHT, _WORDS = "qzthoughtzq", "qzwordszq"
_NO_PAGE = error_to_json("not_found", "There is nothing.")


@dataclass(frozen=True)
class TurnTemplate:
    """A template, and the dialect whose messages go into it."""

    template: ChatTemplate
    dialect: Conversation
    thoughts_apart: bool = False
    """Whether thoughts stand under a key of their own, where the template looks for them."""

    @property
    def schemas(self) -> Sequence[Message]:
        """Schemas for the template; dialects that hand results over as a user's turn have theirs in the system prompt."""
        return self.dialect.tools if self.dialect.result_role == "tool" else ()

    def prompt(self, question: str, *, tools: bool = True) -> str:
        """Everything up to where the model begins to write."""
        messages = self.dialect.render(question, ()).messages
        if tools:
            return self.template.text(messages, self.schemas, reply=True)
        form = self.dialect.write_said("answer", answer=True)
        system = AT_ONCE + ("." if form == "answer" else f", written as {form}.")
        return self.template.text([{"role": "system", "content": system}, *messages[1:]], (), reply=True)

    def turn(self, turn: Turn) -> str:
        """What the model writes for a turn, the mark included that ends it."""
        rows = self.template.rows([*self.asked, *self.messages(turn)], self.schemas)
        return "".join(segment.text for row in rows for segment in row.segments if segment.trained)

    def shown(self, turn: Turn, clean: Callable[[str], str] = str) -> str:
        """From behind the mark that ends a turn to where the model begins the next: results, and the call for a reply.

        `clean` is done to the words of each message.
        """
        probe = _with_own_thought(turn)
        before = [*self.asked, *self.messages(probe)]
        results = self.dialect.result_messages(probe, results_of(probe, last=False))
        return self._behind(before, [{**message, "content": clean(message["content"])} for message in results])

    def noted(self, note: str) -> str:
        """The same for a word of the program that is no result."""
        # Without a thought, for a template may show the thoughts of a turn only as long as no user has spoken after it.
        before = [*self.asked, {"role": "assistant", "content": _WORDS}]
        whole = self.template.text([*before, {"role": "user", "content": note}], self.schemas, reply=True)
        end = whole.index(self.end, whole.rindex(_WORDS))
        return whole[end + len(self.end) :]

    @property
    def end(self) -> str:
        """The mark that ends a turn."""
        return self.template.end_marks[0]

    @cached_property
    def reply(self) -> str:
        """The call for a reply: what the template writes before a turn of the model."""
        before = self.template.text(self.asked, self.schemas)
        asked = self.template.text(self.asked, self.schemas, reply=True)
        if not asked.startswith(before):
            raise ChatTemplateError("the template's call for a reply changes what comes before it.")
        return asked[len(before) :]

    @cached_property
    def opened(self) -> str:
        """What of the call for a reply belongs to the turn: a thought that the program opens for the model to go on with."""
        begin = self.reply.rfind("<think>")
        return "" if begin < 0 or "</think>" in self.reply[begin:] else self.reply[begin:]

    @cached_property
    def asked(self) -> Sequence[Message]:
        """The beginning of a conversation, with some question."""
        return self.dialect.render(_QUESTION, ()).messages

    def messages(self, turn: Turn) -> Sequence[Message]:
        """A turn of the model as the template takes it."""
        message = self.dialect.assistant_message(turn, self.dialect.assistant_body(turn))
        return with_reasoning_apart([message]) if self.thoughts_apart else (message,)

    def _behind(self, before: Sequence[Message], after: Sequence[Message]) -> str:
        ended = self.template.text(before, self.schemas)
        ended = ended[: ended.rindex(self.end) + len(self.end)]
        whole = self.template.text([*before, *after], self.schemas, reply=True)
        _same(ended, whole, "the results of a turn")
        return whole[len(ended) :]


def _with_own_thought(turn: Turn) -> Turn:
    """The turn with one thought of ours: what a model thought has no influence on what comes after its turn."""
    return Turn(turn.number, [_THOUGHT], turn.calls, turn.results)


def turns_of_template(
    source: str, variables: Mapping[str, Any], dialect: Conversation, marks: Sequence[str]
) -> TurnTemplate:
    """The template in pieces. `marks` are the tokenizer's special tokens, of which one has to end the turns.

    Raises `ConfigError` for a template whose pieces are not the whole, with a sentence on what differs.
    """
    try:
        template = ChatTemplate(source, variables, takes_escapes(source, variables), today=TODAY)
        made = TurnTemplate(template, dialect)
        made = replace(made, thoughts_apart=_reads_thoughts_apart(made))
        made = replace(made, template=replace(template, end_marks=(_end_mark(made, marks),)))
        _verify(made)
    except ChatTemplateError as exc:
        raise ConfigError(f"this chat template cannot be trained with: {exc}") from exc
    return made


def takes_escapes(source: str, variables: Mapping[str, Any]) -> bool | None:
    """True where the template writes arguments that are JSON text as they stand, escapes included; else what it takes.

    Text is what such a template is given: escapes of JSON keep words that pass for marks from becoming ones.
    """
    escaped = '{"probe": "\\u003c"}'
    call = {"id": "probe0000", "type": "function", "function": {"name": "search", "arguments": escaped}}
    messages: list[Message] = [
        {"role": "user", "content": _QUESTION},
        {"role": "assistant", "content": "", "tool_calls": [call]},
    ]
    try:
        text = ChatTemplate(source, variables, arguments_as_text=True, today=TODAY).text(messages)
    except ChatTemplateError:
        return None
    return True if escaped in text else None


def _reads_thoughts_apart(turns: TurnTemplate) -> bool:
    message = {"role": "assistant", "content": _WORDS, "reasoning_content": _THOUGHT}
    return _THOUGHT in turns.template.text([*turns.asked, message], turns.schemas)


def _end_mark(turns: TurnTemplate, marks: Sequence[str]) -> str:
    """The first special token behind the last words of a turn."""
    messages = [*turns.asked, *turns.messages(Turn(0, [_THOUGHT], said=Event(0, "answer", _WORDS)))]
    text = turns.template.text(messages, turns.schemas)
    behind = text[text.rindex(_WORDS) + len(_WORDS) :]
    found = re.search("|".join(re.escape(mark) for mark in sorted(marks, key=len, reverse=True)), behind)
    if not marks or found is None:
        raise ConfigError(
            f"the chat template ends a turn of the model with {behind!r}, in which there is no special token of the "
            "tokenizer: nothing would tell the model where to stop. Use a template that writes one."
        )
    return found.group()


def _verify(turns: TurnTemplate) -> None:
    """Put a conversation together from its pieces, and hold it against the whole as the template writes it."""
    log = _conversation()
    messages = list(turns.asked)
    pieces = turns.prompt(_QUESTION)
    names = [tool["function"]["name"] for tool in turns.dialect.tools]
    if turns.schemas and pieces == turns.template.text(messages, (), reply=True):
        raise ConfigError(
            f"the chat template does not show the model its tools ({', '.join(names)}); use one that takes tools, or the "
            'dialect "fathom", which names them in the system prompt.'
        )
    for turn in log:
        messages += turns.messages(turn)
        pieces += turns.turn(turn)
        _same(pieces, turns.template.text(messages, turns.schemas), f"turn {turn.number} of the model")
        if turn.calls:
            messages += turns.dialect.result_messages(turn, results_of(turn, last=False))
            pieces += turns.shown(turn)
            whole = turns.template.text(messages, turns.schemas, reply=True)
            _same(pieces, whole, f"the results of turn {turn.number}", all_of_it=True)
    turns.noted(NOTE_ON_MALFORMED)


def _same(pieces: str, whole: str, what: str, *, all_of_it: bool = False) -> None:
    if whole == pieces or (not all_of_it and whole.startswith(pieces)):
        return
    at = next((k for k, (one, other) in enumerate(zip(pieces, whole, strict=False)) if one != other), len(whole))
    begin = max(0, at - 20)
    raise ConfigError(
        f"the chat template rewrites what was said before {what}: {pieces[begin : at + 60]!r} became "
        f"{whole[begin : at + 60]!r}. A model is trained on the context that it wrote, so every turn has to stay as it was "
        "written. Set the template's variables so that it keeps earlier thoughts (enable_thinking and preserve_thinking are "
        "such variables), or give the tokenizer a template that does."
    )


def _conversation() -> list[Turn]:
    """A turn with one call, a turn with two, an answer; each with a thought."""
    events: list[Event] = []
    for number, count in enumerate((1, 2)):
        events.append(Event(number, "thought", f"{_THOUGHT} {number}"))
        ids = [f"c{number:04d}{place:04d}" for place in range(count)]
        events += [Event(number, "call", call_id=name, tool="search", arguments='{"query": "a"}') for name in ids]
        events += [Event(number, "result", _NO_PAGE, call_id=name, tool="search") for name in ids]
    events += [Event(2, "thought", f"{_THOUGHT} 2"), Event(2, "answer", _WORDS)]
    return turns_of(events)
