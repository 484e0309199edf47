"""At which turn the answer was first seen in a result, and at which the model first named it (FORT, arXiv 2606.12087).

    results at turn 4, model at turn 2   -> (4, 2)   answer hit time 2, named before it was found: a prior shortcut
    results at turn 3, model at turn 5   -> (3, 5)   answer hit time 3, found

FORT looks for the answer's text. This does so word by word, without case and accents, in what results show (titles,
snippets, page text; addresses state nothing) and in what the model writes (thoughts, queries, goals, the answer). A
thought of turn t comes before the results of turn t, so equal turns mean that the model was first.

What is done so that chance is not taken for knowledge:

  * A form that the question itself states is looked for only in results and in the final answer: repeating the question
    names nothing.
  * A bare number of up to four digits ("1987", "12") stands in many texts by chance. In results it counts as part of a
    date or by itself, never inside another number or a range, and where the names of the thing it belongs to are given
    (`about`), only on a line with one of them or under a title that has one. In the model's words it counts where one of
    those names stands in the same text; without names, only in the final answer.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache

import orjson

from datagen.knowledge.borders import goes_on
from datagen.records.trajectory import Event
from datagen.rollouts.showing import Piece, asked_results, pieces_of

_WORD = re.compile(r"\w+(?:[.,]\d+)*")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_BARE = re.compile(r"\d{1,4}")
_SPOKEN = ("query", "goal", "q", "queries", "question", "answer")
"""Arguments of a call that are words of the model; an address is none."""


@lru_cache(maxsize=4_096)
def folded(text: str) -> str:
    """Lower case, no accents, no apostrophes, no separators of thousands; line breaks stay.

    >>> folded("Bhīlis O'Tundra, 2,381")
    'bhilis otundra, 2381'
    """
    if not text.isascii():
        plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
        text = unicodedata.normalize("NFC", plain).casefold()
        text = text.replace("’", "").replace("−", "-").replace("–", "-").replace("—", "-")
    else:
        text = text.lower()
    return _THOUSANDS.sub("", text.replace("'", ""))


def states(said: str, forms: Sequence[str]) -> bool:
    """Whether a folded text has one of the forms as a run of whole words."""
    return any(_is_in(said, pattern) for form in forms if (pattern := _pattern(form)) is not None)


def _is_in(said: str, pattern: re.Pattern[str]) -> bool:
    return any(not goes_on(said, found.start()) and not goes_on(said, found.end()) for found in pattern.finditer(said))


@lru_cache(maxsize=16_384)
def _pattern(form: str) -> re.Pattern[str] | None:
    """The words of a form in order. A bare number is no end of a range."""
    words = _WORD.findall(folded(form))
    if not words:
        return None
    whole = r"[\W_]+".join(map(re.escape, words))
    return re.compile(rf"(?<!\d-)(?<!\d - ){whole}(?! ?- ?\d)" if _is_bare(form) else whole)


def _is_bare(form: str) -> bool:
    return _BARE.fullmatch(form.strip()) is not None


def answer_turns(
    events: Sequence[Event], forms: Sequence[str], question: str = "", *, about: Sequence[str] = ()
) -> tuple[int | None, int | None]:
    """(seen, said): the first turn whose results state the answer, and the first in which the model names it.

    `forms` are the accepted forms of the answer, `about` names of the thing that a date or number is a value of.
    """
    asked = folded(question)
    telling = [form for form in forms if not states(asked, (form,))]
    return _seen_turn(events, forms, about), _said_turn(events, forms, telling, about)


def _seen_turn(events: Sequence[Event], forms: Sequence[str], about: Sequence[str]) -> int | None:
    for result in asked_results(events):
        if any(_shows(piece, forms, about) for piece in pieces_of(result.event)):
            return result.turn
    return None


def _shows(piece: Piece, forms: Sequence[str], about: Sequence[str]) -> bool:
    title, text = folded(piece.title), folded(piece.text)
    return any(_says(title, text, form, about) for form in forms)


def _says(title: str, text: str, form: str, about: Sequence[str]) -> bool:
    if not _is_bare(form):
        return states(text, (form,)) or states(title, (form,))
    if not states(text, (form,)):
        return False
    by_itself = not about or states(title, about)
    return by_itself or any(states(line, (form,)) and states(line, about) for line in text.split("\n"))


def _said_turn(
    events: Sequence[Event], forms: Sequence[str], telling: Sequence[str], about: Sequence[str]
) -> int | None:
    for event in events:
        if event.kind == "answer":
            if states(folded(event.text), forms):
                return event.turn
        elif event.by_model:
            for text in map(folded, _words_of(event)):
                if any(states(text, (form,)) and (not _is_bare(form) or states(text, about)) for form in telling):
                    return event.turn
    return None


def _words_of(event: Event) -> Iterator[str]:
    """What the model wrote: its text, and of a call the words it gave a tool."""
    yield event.text
    if not event.arguments:
        return
    try:
        raw = orjson.loads(event.arguments)
    except orjson.JSONDecodeError:
        yield event.arguments
        return
    for name in _SPOKEN if isinstance(raw, dict) else ():
        value = raw.get(name)
        yield from (v for v in (value if isinstance(value, list) else [value]) if isinstance(v, str))
