"""What a dialect is: one way to write the log of an attempt as text, and to read such text back.

    rendered = DIALECTS["fathom"].render(question, events)
    rendered.text                     the whole conversation, prompt included
    rendered.segments                 the same in pieces; `trained` where the model wrote the piece
    DIALECTS["fathom"].parse(rendered.text).events

Laws, held by tests over generated logs:

    render(parse(render(log))) == render(log)
    the model's events of parse(render(log)) are those of the log, but for what `losses` names
    no text inside an event, whatever it is, changes how any other event is read
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from datagen.records.trajectory import Event
from datagen.rollouts.faults import Fault


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of text that one side wrote. `turn` is the assistant turn it belongs to; None for the prompt."""

    text: str
    trained: bool
    turn: int | None = None


@dataclass(frozen=True, slots=True)
class Rendered:
    """A log in one dialect."""

    segments: tuple[Segment, ...]
    messages: tuple[Mapping[str, Any], ...]
    """The same as a list for chat templates."""
    tools: tuple[Mapping[str, Any], ...]
    """JSON schemas, in the form of function calling."""
    prompt_segments: int
    """How many segments, from the first, come before the model's first word."""

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in self.segments)

    @property
    def prompt(self) -> str:
        return "".join(segment.text for segment in self.segments[: self.prompt_segments])

    @property
    def response(self) -> str:
        """All that comes after the prompt, results of tools included."""
        return "".join(segment.text for segment in self.segments[self.prompt_segments :])


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a text says, and what is wrong with it."""

    events: tuple[Event, ...]
    answer: str | None
    """From the last assistant turn, where that is in order; never from anything else."""
    faults: tuple[Fault, ...] = ()
    """One of each code; `where` is a place in the text. Empty for a text that keeps the form."""
    question: str | None = None
    """What the first user turn asks, where the text has a prompt."""


class Dialect(Protocol):
    """One of `DIALECTS`."""

    @property
    def name(self) -> str: ...

    @property
    def losses(self) -> tuple[str, ...]:
        """What a log loses on the way through the text, a sentence each."""
        ...

    @property
    def system_prompt(self) -> str: ...

    @property
    def tools(self) -> tuple[Mapping[str, Any], ...]: ...

    def render(self, question: str, events: Sequence[Event]) -> Rendered: ...

    def parse(self, text: str) -> Parsed:
        """Read a whole conversation, or what a model wrote after the prompt. Never raises, and takes linear time."""
        ...
