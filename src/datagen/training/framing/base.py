"""The two ways between a log of events and tokens.

    talk = framing.begin("Which river ...?")
    talk.opening()              the prompt, up to where the model begins to write
    talk.read(tokens, 0)        what the model wrote in turn 0, as events: a thought, a call, an answer, or "malformed"
    talk.show(results)          the tokens that stand between that turn and the next

What the model wrote stays in the context as it was written, token for token. `write` goes the other way, for logs that no
model of ours wrote: demonstrations become tokens once, and are then trained on as if the model had written them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from datagen.errors import TrainingError
from datagen.records.trajectory import Event
from datagen.training.rollout import Sampled


class Talk(Protocol):
    """One conversation."""

    def opening(self, *, tools: bool = True) -> list[int]:
        """The prompt. Without `tools` the model is brought to answer at once."""
        ...

    def read(self, written: Sequence[int], turn: int) -> tuple[Event, ...]:
        """The events of one turn, in order. Never raises: what is no turn is one event of kind "malformed"."""
        ...

    def show(self, results: Sequence[Event]) -> list[int]:
        """The results of the turn that was read or written last, and the call for the next turn."""
        ...

    def write(self, said: Sequence[Event]) -> list[int]:
        """The tokens of one turn of a log, the end-of-turn token included.

        Raises `TrainingError` for a turn that this framing cannot say.
        """
        ...


class Framing(Protocol):
    """One manner of talking."""

    @property
    def stop(self) -> tuple[int, ...]:
        """Tokens that end a turn of the model."""
        ...

    @property
    def vocabulary(self) -> int:
        """Tokens that there are."""
        ...

    def begin(self, question: str) -> Talk: ...


@dataclass(slots=True)
class Context:
    """Tokens of one context with who wrote them, as it grows."""

    input_ids: list[int] = field(default_factory=list)
    written: list[bool] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)

    def add(self, tokens: Sequence[int], logprobs: Sequence[float] | None = None, *, written: bool) -> None:
        if logprobs is not None and len(logprobs) != len(tokens):
            raise TrainingError(f"an engine gave {len(logprobs)} log-probabilities for {len(tokens)} tokens")
        self.input_ids.extend(tokens)
        self.written.extend([written] * len(tokens))
        self.logprobs.extend(logprobs if logprobs is not None else [0.0] * len(tokens))

    def __len__(self) -> int:
        return len(self.input_ids)

    def sampled(self) -> Sampled:
        return Sampled(
            np.asarray(self.input_ids, dtype=np.int64),
            np.asarray(self.written, dtype=bool),
            np.asarray(self.logprobs, dtype=np.float32),
        )


def sampled_from_log(framing: Framing, question: str, events: Sequence[Event]) -> Sampled:
    """A log as one sequence of tokens, its turns marked as written by the model.

    Raises `TrainingError` where the framing cannot say a turn.
    """
    talk, context = framing.begin(question), Context()
    context.add(talk.opening(), written=False)
    turns = sorted({event.turn for event in events})
    for turn in turns:
        said = [event for event in events if event.turn == turn and event.by_model]
        results = [event for event in events if event.turn == turn and event.kind == "result"]
        context.add(talk.write(said), written=True)
        if turn != turns[-1]:
            context.add(talk.show(results), written=False)
    return context.sampled()
