r"""The manner of talking of a chat model: its own template around the words of one of our dialects.

    framing = ChatFraming.load("Qwen/Qwen3-4B")             or ChatFraming.of(tokenizer, dialect="fathom")
    talk = framing.begin("Which river ...?")
    talk.opening()         <|im_start|>system ... <|im_end|> <|im_start|>user ... <|im_end|> <|im_start|>assistant
    talk.read(written, 0)  <think>So ...</think> <tool_call>{"name": "search", ...}</tool_call><|im_end|>      thought, call
    talk.show(results)     <|im_start|>user <tool_response> ... </tool_response><|im_end|> <|im_start|>assistant

What the model wrote is never tokenised again: prompts and results are tokenised where they stand alone, behind a token that
ends a turn. That pieces of text and of tokens are the whole conversation is made sure of once, when a framing is made
(`chat_turns`). Turns are read by the dialect's own reader, or, for templates with calls of another form, by the tokenizer's
`parse_response` and the reader of messages.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from datagen import storage
from datagen.agents.toolbox import CALLS_PER_TURN
from datagen.errors import CheckpointError, ConfigError, TrainingError, boundary
from datagen.records.trajectory import Event
from datagen.rollouts.dialects import DIALECTS, read_messages
from datagen.rollouts.dialects.calls import dumped, loaded
from datagen.rollouts.dialects.conversation import NOTE_ON_MALFORMED, Conversation
from datagen.rollouts.dialects.frames import Frame
from datagen.rollouts.dialects.reading import MODEL_TAGS, Reader
from datagen.rollouts.dialects.turns import Turn, turns_of
from datagen.training.framing.chat_results import bounded
from datagen.training.framing.chat_turns import TurnTemplate, turns_of_template

DESCRIPTION_NAME = "chat_framing.json"
RESULT_TOKENS = 2_048


@dataclass(frozen=True)
class ChatFraming:
    """Implements `Framing`. Made by `of` and `load`, which make sure that the template keeps what was said."""

    tokenizer: Any
    """A tokenizer of transformers with a chat template."""
    turns: TurnTemplate
    stop: tuple[int, ...]
    variables: Mapping[str, Any] = field(default_factory=dict)
    """What the template is told beside messages and tools, such as enable_thinking."""
    result_tokens: int = RESULT_TOKENS
    """Tokens of one result; a longer one is cut in its text fields, and says so."""

    @classmethod
    def of(
        cls,
        tokenizer: Any,
        *,
        dialect: str = "function_calling",
        variables: Mapping[str, Any] | None = None,
        result_tokens: int = RESULT_TOKENS,
        stop: Sequence[int] = (),
    ) -> ChatFraming:
        """A framing for a tokenizer. `stop` are tokens that end a turn beside the template's own and the tokenizer's.

        Raises `ConfigError` where the template rewrites what was said, shows no tools, or writes calls that nobody reads.
        """
        spoken = DIALECTS.get(dialect)
        if not isinstance(spoken, Conversation):
            known = ", ".join(name for name, one in DIALECTS.items() if isinstance(one, Conversation))
            raise ConfigError(f"chat models do not talk in the dialect {dialect!r}; choose one of {known}.")
        told = dict(variables or {})
        names = {name: value for name, value in tokenizer.special_tokens_map.items() if isinstance(value, str)}
        source = _template_of(tokenizer, tools=spoken.result_role == "tool")
        turns = turns_of_template(source, names | told, spoken, tuple(_special(tokenizer).values()))
        end = tokenizer.convert_tokens_to_ids(turns.end)
        ends = [end, *([] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]), *stop]
        framing = cls(tokenizer, turns, tuple(dict.fromkeys(ends)), told, result_tokens)
        framing._verify()
        return framing

    @classmethod
    def load(cls, folder: str | Path, options: Mapping[str, Any] | None = None) -> ChatFraming:
        """That of a folder that `save` wrote, or of a model of transformers, which talks in function calls then.

        `options` are those of `of`, and are taken rather than what the folder says.
        """
        what = f"{folder} has no tokenizer that transformers reads; name one with training.model.tokenizer"
        with boundary(ConfigError, what):
            from transformers import AutoTokenizer

            tokenizer = AutoTokenizer.from_pretrained(str(folder))
        file = Path(folder, DESCRIPTION_NAME)
        if not file.is_file():
            return cls.of(tokenizer, **({"stop": _stops_of(folder)} | dict(options or {})))
        described = storage.read_json(str(file))
        known = ("dialect", "variables", "result_tokens", "stop")
        if not isinstance(described, dict) or set(described) != set(known):
            raise ConfigError(f"{file} was written by another version of this program; train the policy again.")
        return cls.of(tokenizer, **(described | dict(options or {})))

    def save(self, folder: str | Path) -> None:
        """Write tokenizer and description, for `load`. Raises `CheckpointError`."""
        with boundary(CheckpointError, f"the tokenizer cannot be written to {folder}; free space and resume"):
            self.tokenizer.save_pretrained(str(folder))
            described = {
                "dialect": self.turns.dialect.name,
                "variables": dict(self.variables),
                "result_tokens": self.result_tokens,
                "stop": list(self.stop),
            }
            storage.write_json(str(Path(folder, DESCRIPTION_NAME)), described)

    @property
    def vocabulary(self) -> int:
        return len(self.tokenizer)

    @property
    def end(self) -> int:
        """The token with which the template ends a turn."""
        return self.stop[0]

    def begin(self, question: str) -> ChatTalk:
        return ChatTalk(self, question)

    # Text and tokens -------------------------------------------------------------------------------------------------

    def encode(self, text: str) -> list[int]:
        """Tokens of text that stands at the beginning; special tokens in it are special."""
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def encode_behind(self, text: str) -> list[int]:
        """Tokens of text that stands behind the end of a turn."""
        return self.encode(self.turns.end + text)[1:]

    def encode_turn(self, text: str) -> list[int]:
        """Tokens of text that stands behind the call for a reply."""
        called = self.encode(self.turns.reply)
        whole = self.encode(self.turns.reply + text)
        return whole[len(called) :] if whole[: len(called)] == called else self.encode(text)

    def decode(self, tokens: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def harmless(self, text: str) -> str:
        """Text, or JSON, in which nothing becomes a special token of this tokenizer; dialects see to their own marks."""
        found = [mark for mark in self._marks.values() if mark in text]
        json = bool(found) and loaded(text) is not None
        for mark in found:
            first = f"\\u{ord(mark[0]):04x}" if json else f"{mark[0]}\\"
            text = text.replace(mark, first + mark[1:])
        return text

    @cached_property
    def forbidden(self) -> frozenset[int]:
        """Tokens that have no place inside a turn: marks of the template, which are not the model's to write."""
        return frozenset(self._marks if self.reads_dialect else ()) | set(self.stop)

    @cached_property
    def _marks(self) -> dict[int, str]:
        own = {form for tag in MODEL_TAGS for form in (f"<{tag}>", f"</{tag}>")}
        marks = _special(self.tokenizer).items()
        return {token: mark for token, mark in marks if len(mark) > 1 and mark.strip() and mark not in own}

    # Reading ---------------------------------------------------------------------------------------------------------

    @cached_property
    def reads_dialect(self) -> bool:
        """Whether the template writes calls as the dialect does."""
        return self._says_probe(self._read(self.turns.turn(_PROBE).removesuffix(self.turns.end)))

    def said(self, text: str) -> tuple[Event, ...]:
        """The events of a turn's text without the mark at its end. Turn numbers and ids of calls are anything."""
        return self._read(text) if self.reads_dialect else self._parsed(text)

    def _read(self, text: str) -> tuple[Event, ...]:
        """By the dialect, from where the call for a reply opened a thought."""
        return Reader(self.turns.dialect, [Frame("assistant", self.turns.opened + text, 0)], []).parsed().events

    def _parsed(self, text: str) -> tuple[Event, ...]:
        """By the tokenizer's own parser, which raises on what it cannot read."""
        try:
            message = self.tokenizer.parse_response(text + self.turns.end, prefix=self.turns.reply)
        except Exception:  # noqa: BLE001 - the parser runs what a tokenizer's author wrote
            return ()
        return read_messages([message]).events if isinstance(message, Mapping) else ()

    def _says_probe(self, events: Sequence[Event]) -> bool:
        return _words(events) == _words(_PROBE.calls) and any(_PROBE.thoughts[0] in event.text for event in events)

    def _verify(self) -> None:
        written = self.turns.turn(_PROBE)
        behind = self.turns.noted(NOTE_ON_MALFORMED)
        if self.encode(self.turns.end + behind)[:1] != [self.end] or self.encode_turn(written)[-1:] != [self.end]:
            raise ConfigError(
                f"the tokenizer does not keep {self.turns.end!r}, which ends a turn, as a token of its own next to other "
                "text; a framing needs one that does."
            )
        if not self.reads_dialect and not (
            getattr(self.tokenizer, "response_template", None) is not None
            and self._says_probe(self._parsed(written.removesuffix(self.turns.end)))
        ):
            raise ConfigError(
                f"the chat template writes a call as {written!r}, which neither the dialect {self.turns.dialect.name!r} nor "
                "the tokenizer reads back. Give the tokenizer a response_template for it, or choose the dialect "
                '"fathom", which brings its own form of calls.'
            )


class ChatTalk:
    """Implements `Talk`."""

    def __init__(self, framing: ChatFraming, question: str) -> None:
        self._framing = framing
        self._question = question
        self._calls: tuple[Event, ...] = ()
        """Of the turn that was read or written last."""
        self._ended = True
        """Whether that turn has the token at its end."""
        self._tools = True

    def opening(self, *, tools: bool = True) -> list[int]:
        self._tools = tools
        question = self._framing.harmless(self._question)
        return self._framing.encode(self._framing.turns.prompt(question, tools=tools))

    def read(self, written: Sequence[int], turn: int) -> tuple[Event, ...]:
        framing = self._framing
        self._ended = bool(written) and written[-1] == framing.end
        stopped = bool(written) and written[-1] in framing.stop
        body = written[:-1] if stopped else written
        text = framing.decode(body)
        said = framing.said(text) if stopped and framing.forbidden.isdisjoint(body) else ()
        if not self._in_order(said):
            said = (Event(turn, "malformed", text.strip()),)
        numbered = _numbered(said, turn)
        self._calls = tuple(event for event in numbered if event.kind == "call")
        return numbered

    def _in_order(self, said: Sequence[Event]) -> bool:
        """Whether a turn is calls or an answer, and no more calls than are allowed."""
        kinds = [event.kind for event in said]
        if not kinds or "malformed" in kinds:
            return False
        calls = kinds.count("call")
        return 0 < calls <= (CALLS_PER_TURN if self._tools else 0) or (
            not calls and bool(said[-1].text) and kinds[-1] == "answer"
        )

    def show(self, results: Sequence[Event]) -> list[int]:
        framing = self._framing
        missing = [] if self._ended else [framing.end]
        if not self._calls:
            return missing + framing.encode_behind(framing.turns.noted(NOTE_ON_MALFORMED))
        fitted = [replace(result, text=self._fitted(result.text)) for result in results]
        (turn,) = turns_of([replace(event, turn=0) for event in (*self._calls, *fitted)])
        return missing + framing.encode_behind(framing.turns.shown(turn, framing.harmless))

    def _fitted(self, text: str) -> str:
        return bounded(text, self._framing.result_tokens, lambda candidate: len(self._framing.encode(candidate)))

    def write(self, said: Sequence[Event]) -> list[int]:
        turns = turns_of([replace(event, turn=0) for event in said])
        if len(turns) != 1 or not (turns[0].calls or turns[0].said):
            raise TrainingError("a turn is thoughts and then calls or an answer")
        (turn,) = turns
        if turn.said is not None and turn.said.kind != "answer":
            raise TrainingError(f"a turn that ends in {turn.said.kind!r} cannot be a model to follow")
        written = self._framing.encode_turn(self._framing.turns.turn(turn))
        # What is read back decides: words that pass for marks of this template would say something else than the log.
        if _words(self.read(written, said[0].turn)) != _words(_in_dialect(self._framing.turns.dialect, said)):
            raise TrainingError("the chat template does not write this turn so that it reads back as it was")
        self._calls = tuple(turn.calls)
        return written


def _numbered(said: Sequence[Event], turn: int) -> tuple[Event, ...]:
    """The events as those of a turn; calls have ids that no other call of the attempt has."""
    made: list[Event] = []
    calls = 0
    for event in said:
        name = f"c{turn:04d}{calls:04d}" if event.kind == "call" else None
        calls += event.kind == "call"
        made.append(replace(event, turn=turn, call_id=name))
    return tuple(made)


def _words(events: Iterable[Event]) -> list[tuple[str | None, ...]]:
    """Calls and answer, in one style of JSON. Thoughts may be put together by a template."""
    return [
        (event.kind, event.text.strip(), event.tool, _one_style(event.arguments))
        for event in events
        if event.kind != "thought"
    ]


def _in_dialect(dialect: Conversation, said: Sequence[Event]) -> Iterator[Event]:
    """The events without what the dialect has no words for, such as an empty goal."""
    for event in said:
        if event.kind != "call":
            yield event
            continue
        for call in dialect.vocabulary.from_wire(*dialect.vocabulary.to_wire(event.tool, event.arguments)):
            yield replace(event, tool=call.tool, arguments=call.arguments)


def _one_style(arguments: str | None) -> str | None:
    raw = loaded(arguments)
    return arguments if raw is None or arguments is None else dumped(raw)


def _special(tokenizer: Any) -> dict[int, str]:
    """Tokens that are no text, with how they are written."""
    added = {token: mark.content for token, mark in tokenizer.added_tokens_decoder.items() if mark.special}
    return added | dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))


def _template_of(tokenizer: Any, *, tools: bool) -> str:
    with boundary(ConfigError, "the tokenizer has no chat template; use that of a chat model, or the compact framing"):
        return str(tokenizer.get_chat_template(tools=[{}] if tools else None))


def _stops_of(folder: str | Path) -> tuple[int, ...]:
    """Tokens that end a reply, as the model's generation config names them; many models have none of their own."""
    from transformers import GenerationConfig

    try:
        ends = GenerationConfig.from_pretrained(str(folder)).eos_token_id
    except OSError:
        return ()
    return tuple(ends) if isinstance(ends, list) else () if ends is None else (int(ends),)


_PROBE = Turn(
    0,
    ["qzthoughtzq"],
    [Event(0, "call", call_id="c00000000", tool="search", arguments='{"query": "a \\"b\\""}')],
    [None],
)
"""A turn that is written and read once, to find out who reads the template's calls."""
