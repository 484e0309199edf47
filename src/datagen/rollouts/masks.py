"""Which tokens are trained: those that the model wrote, by what is known of who wrote what, never by tags or roles.

    masked = token_mask(rendered.segments, encoding.offsets)
    masked.mask           1 for a token whose characters were all written by the model, 0 for every other
    masked.turns          the assistant turn of each trained token, for rewards by turn
    masked.straddling     tokens with characters of both sides: not trained unless asked for

A tokenizer may put the last character of a prompt and the first of a reply into one token. To train on it would train the
model to write what the program writes, and a page could choose what that is; so it counts as the program's.

Where the engine handed out token ids, text need not be cut into tokens a second time, and must not be: the same text may
have other tokens then. `exact_row` keeps the engine's own ids and tokenizes only what the program wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal as OneOf

from datagen.errors import ExportError
from datagen.records.trajectory import Generation
from datagen.rollouts.dialects.base import Segment

Offset = tuple[int, int]
Straddling = OneOf["untrained", "trained", "majority"]


@dataclass(frozen=True, slots=True)
class TokenMask:
    """One entry for each token."""

    mask: tuple[int, ...]
    turns: tuple[int | None, ...]
    straddling: tuple[int, ...]
    """Places of the tokens that both sides wrote a part of."""


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Neighbouring segments of one writer and one turn."""

    start: int
    end: int
    turn: int | None


def token_mask(
    segments: Sequence[Segment], offsets: Sequence[Offset], straddling: Straddling = "untrained"
) -> TokenMask:
    """The mask of tokens that lie at `offsets` of the segments' text, in the order of the text.

    A token without characters (a mark that the tokenizer added) is not trained. `majority` trains a straddling token of
    which the model wrote more than half.
    """
    mask, turns, mixed = [], [], []
    stretches = list(_trained(segments))
    k = 0
    for place, (start, end) in enumerate(offsets):
        while k < len(stretches) and stretches[k].end <= start:
            k += 1
        here = stretches[k] if k < len(stretches) and stretches[k].start < end and start < end else None
        whole = here is not None and here.start <= start and end <= here.end
        trained = whole
        if here is not None and not whole:
            mixed.append(place)
            trained = _decided(here, start, end, straddling)
        mask.append(int(trained))
        turns.append(here.turn if here is not None and trained else None)
    return TokenMask(tuple(mask), tuple(turns), tuple(mixed))


def _decided(here: _Stretch, start: int, end: int, straddling: Straddling) -> bool:
    own = min(end, here.end) - max(start, here.start)
    return straddling == "trained" or (straddling == "majority" and 2 * own > end - start)


def _trained(segments: Sequence[Segment]) -> Iterator[_Stretch]:
    """Trained stretches in order; those that touch are one, unless their turns differ."""
    position = 0
    waiting: _Stretch | None = None
    for segment in segments:
        end = position + len(segment.text)
        if segment.trained and segment.text:
            if waiting is not None and waiting.end == position and waiting.turn == segment.turn:
                waiting = _Stretch(waiting.start, end, segment.turn)
            else:
                if waiting is not None:
                    yield waiting
                waiting = _Stretch(position, end, segment.turn)
        position = end
    if waiting is not None:
        yield waiting


@dataclass(frozen=True, slots=True)
class ExactRow:
    """Tokens of one attempt as they were in the context of the model."""

    token_ids: tuple[int, ...]
    mask: tuple[int, ...]
    turns: tuple[int | None, ...]
    logprobs: tuple[float | None, ...]
    """None for tokens that the model did not draw, and where the engine gave none."""


def exact_row(
    segments: Sequence[Segment], generations: Sequence[Generation], encode: Callable[[str], Sequence[int]]
) -> ExactRow:
    """The tokens of an attempt: the engine's for what the model wrote, `encode`d text for the rest.

    Every turn that has trained segments needs its generation: half an attempt in other tokens would be trained off policy
    without anybody noticing.
    """
    by_turn = {generation.turn: generation for generation in generations}
    missing = sorted({s.turn for s in segments if s.trained and s.turn is not None and s.turn not in by_turn})
    if missing:
        raise ExportError(
            f"the engine's tokens of turn {missing[0]} are missing ({len(missing)} turns in all). "
            "Use token_mask on the rendered text, or collect the attempt anew with an engine that hands out token ids."
        )
    parts = list(_parts(segments, by_turn, encode))
    return ExactRow(
        token_ids=tuple(token for ids, _, _, _ in parts for token in ids),
        mask=tuple(mark for ids, trained, _, _ in parts for mark in [int(trained)] * len(ids)),
        turns=tuple(turn for ids, trained, turn, _ in parts for turn in [turn if trained else None] * len(ids)),
        logprobs=tuple(value for _, _, _, values in parts for value in values),
    )


_Part = tuple[Sequence[int], bool, int | None, Sequence[float | None]]


def _parts(
    segments: Sequence[Segment], by_turn: dict[int, Generation], encode: Callable[[str], Sequence[int]]
) -> Iterator[_Part]:
    """Runs of text of the program, joined before they are tokenized, and generations in between, each once."""
    between: list[str] = []
    done: set[int] = set()
    for segment in segments:
        if not segment.trained or segment.turn is None:
            between.append(segment.text)
        elif segment.turn not in done:
            if between:
                ids = encode("".join(between))
                yield ids, False, None, [None] * len(ids)
                between = []
            made = by_turn[segment.turn]
            done.add(segment.turn)
            yield made.token_ids, True, made.turn, made.logprobs or [None] * len(made.token_ids)
    if between:
        ids = encode("".join(between))
        yield ids, False, None, [None] * len(ids)
