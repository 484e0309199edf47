"""Whether an attempt keeps the form it was asked for: one strict checker, shared by parser, reward and evaluation.

    check_events(events)                    a log
    check_text(text, "fathom")              a conversation, or what a model wrote after the prompt, in a dialect
    check_segments(segments, "fathom")      the same where it is known who wrote what: nobody can pose as the other

The answer of a verdict is that of the last assistant turn, and None where that turn leaves open which it is, or was cut off.
"""

from __future__ import annotations

from collections.abc import Iterable

from datagen.errors import ConfigError
from datagen.rollouts.dialects import DIALECTS, Dialect, Segment
from datagen.rollouts.faults import Fault, FaultCode, FormatVerdict, first_of_each
from datagen.rollouts.log_form import check_events

__all__ = ["Fault", "FaultCode", "FormatVerdict", "check_events", "check_segments", "check_text"]

_PROGRAM_MARKS = ("<tool_response>", "</tool_response>", "<information>", "</information>", "<|im_start|>")
"""What only the program writes, in any dialect."""


def dialect_named(dialect: str | Dialect) -> Dialect:
    """The dialect, or an error that says which there are."""
    if not isinstance(dialect, str):
        return dialect
    if dialect not in DIALECTS:
        raise ConfigError(f"there is no dialect {dialect!r}. Choose one of: {', '.join(DIALECTS)}.")
    return DIALECTS[dialect]


def check_text(text: str, dialect: str | Dialect) -> FormatVerdict:
    """Check a text. It says itself who wrote what, so a model that writes the frame of a turn can pose as the program."""
    parsed = dialect_named(dialect).parse(text)
    return FormatVerdict(not parsed.faults, parsed.faults, parsed.answer)


def check_segments(segments: Iterable[Segment], dialect: str | Dialect) -> FormatVerdict:
    """Check a text whose authors are known."""
    pieces = list(segments)
    verdict = check_text("".join(piece.text for piece in pieces), dialect)
    forged = list(_forged(pieces))
    if not forged:
        return verdict
    return FormatVerdict(False, first_of_each([*forged, *verdict.faults]), None)


def _forged(pieces: Iterable[Segment]) -> Iterable[Fault]:
    place = 0
    for piece in pieces:
        if piece.trained:
            for mark in _PROGRAM_MARKS:
                if mark in piece.text:
                    at = place + piece.text.index(mark)
                    yield Fault("forged_result", at, f"the model wrote {mark} itself")
        place += len(piece.text)
