"""The words of one clue: which phrase says it here, and what stands in its slot.

A phrase may be used where it resolves to the clue's own relation and where its voice fits the sentence. Between several,
the generator of the question draws. Every choice here has its counterpart in `reading`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from datagen.errors import WordingError
from datagen.knowledge.dates import ordinal
from datagen.knowledge.formula import Clue, Edge, EntityRef, IsA, Match, Within
from datagen.language.names import name_words, quoted
from datagen.language.phrases import Phrase, PhraseTable, Shape, Voice
from datagen.language.vague_dates import date_wordings
from datagen.language.vague_numbers import number_wordings
from datagen.records.fact import Literal

RELATIVE: tuple[Voice, ...] = ("subject", "possessive", "object", "other")
MAIN: tuple[Voice, ...] = ("subject", "possessive")
_COPULA = re.compile(r"(?:^|.* )(?:is|was|are|were|be|been|reached|came to|stands at|stood at|lies|lay)$")


@dataclass(frozen=True, slots=True)
class Style:
    """How cautious the words are: the first try is free, later ones quote every name and use plain forms."""

    quote_names: bool = False
    plain: bool = False


@dataclass(frozen=True, slots=True)
class ClueWords:
    """A clue in words, without the relative pronoun or subject: "was opened in 1925", "capacity is 4,000"."""

    voice: Voice
    text: str


def article(word: str) -> str:
    """The indefinite article by the sound that the spelling suggests."""
    lowered = word.lower()
    if re.match(r"(?:uni(?!n|m)|use|usu|uti|ura|eu|ewe|one\b|once|ufo)", lowered) or re.match(r"U[A-Z]", word):
        return "a"
    if re.match(r"(?:hour|honest|honou?r|heir)", lowered) or re.match(r"[FHLMNRSX](?:[B-DF-HJ-NP-TV-Z]|\b)", word):
        return "an"
    return "an" if lowered[:1] in "aeiouáéíóúàèìòùäöüâêîôûå" else "a"


def day_words(day: str) -> str:
    """An ISO day in words."""
    try:
        number = ordinal(day)
    except ValueError as error:
        raise WordingError(f"The clue's date {day!r} is no day; write it as YYYY-MM-DD.") from error
    return date_wordings(number, number)[0].words


def shape_of(clue: Clue, style: Style) -> Shape:
    if isinstance(clue, Edge):
        return Shape("vertex", clue.child.type)
    if isinstance(clue, Within):
        return Shape("date" if clue.kind == "date" else "number")
    assert isinstance(clue, Match)
    if isinstance(clue.value, EntityRef):
        bare = name_words(clue.value.name, always_quote=style.quote_names)
        return Shape("quoted" if bare.startswith('"') else "name")
    return Shape("quoted" if clue.value.kind == "text" else clue.value.kind)


def phrases_for(table: PhraseTable, clue: Clue, sought: str | None, style: Style) -> list[Phrase]:
    """The phrases that say this clue and nothing else, the catalogue's own ones if there are any."""
    assert not isinstance(clue, IsA)
    inverse = False if isinstance(clue, Within) else clue.inverse
    wanted = (clue.relation, inverse)
    if wanted not in table.by_relation:
        raise WordingError(f"The catalogue {table.catalogue.name!r} has no relation {clue.relation!r}.")
    shape = shape_of(clue, style)
    fitting = [p for p in table.by_relation[wanted] if table.resolve(p.key, sought, shape) == (wanted,)]
    own = [p for p in fitting if not p.plain]
    if shape.kind == "vertex":
        word = re.escape(table.type_words[shape.type])
        own = [p for p in own if not re.search(rf"(?:^| )(?:a|an|the(?: {word}(?: of)?)?)$", p.open)] or own
    if not fitting:
        raise WordingError(
            f"No phrase of {clue.relation!r} can be told from another relation's; give it one of its own."
        )
    return [p for p in fitting if p.plain] or own if style.plain else own or fitting


def fill(phrase: Phrase, value: str, as_of: str | None) -> str:
    """The phrase with its slot filled: "home ground is" + "Elm Park" + " as of 3 March 2025"."""
    glued = phrase.tail.startswith(("'", "’", ",", ";", ")"))
    tail = ("" if glued or not phrase.tail else " ") + phrase.tail
    when = "" if as_of is None else f" as of {day_words(as_of)}"
    return f"{phrase.open} {value}{tail}{when}".strip()


def leaf_words(table: PhraseTable, clue: Match | Within, phrase: Phrase, style: Style) -> str:
    """The slot of a clue without a vertex of its own."""
    if isinstance(clue, Within):
        return _interval_words(table, phrase, clue.kind, (clue.low, clue.high), clue.unit)
    value = clue.value
    if isinstance(value, EntityRef):
        return name_words(value.name, always_quote=style.quote_names or phrase.tail.startswith(("'", "’")))
    if isinstance(value, Literal) and value.kind != "text":
        return _interval_words(table, phrase, value.kind, (value.low, value.high), value.unit)
    return quoted(value.text)


def _interval_words(table: PhraseTable, phrase: Phrase, kind: str, ends: tuple[float, float], unit: str) -> str:
    try:
        if kind == "date":
            return _date_in(phrase, int(ends[0]), int(ends[1]))
        return _number_in(table, phrase, ends, unit)
    except ValueError as error:
        raise WordingError(f"A clue of {phrase.relation!r} has {error}.") from error


def _date_in(phrase: Phrase, low: int, high: int) -> str:
    words = date_wordings(low, high)[0]
    if phrase.voice == "other" and not phrase.open:
        return words.adverbial
    if _COPULA.match(phrase.open) or phrase.open.endswith("given as"):
        return words.after_copula
    nominal = re.search(
        r" (?:since|from|of|to|by|until|till|as|than|dates back to|includes?|has|had)$", f" {phrase.open}"
    )
    return words.nominal if nominal else words.adverbial


def _number_in(table: PhraseTable, phrase: Phrase, ends: tuple[float, float], unit: str) -> str:
    known = frozenset(r.unit for r in table.catalogue.relations.values())
    wordings = number_wordings(float(ends[0]), float(ends[1]), unit, known)
    copula = bool(_COPULA.match(phrase.open)) and not phrase.tail
    for words in wordings:
        adjective = words.endswith("%)")
        digits = "-digit number" in words
        if adjective and not copula:
            continue
        if digits and phrase.tail:
            if unit or not re.fullmatch(r"[a-z-]+(?:s|people)", phrase.tail):
                continue
            return f"{words} of"
        return words
    return wordings[-1]
