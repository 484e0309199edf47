"""When two answers are the same, and which words of a name give it away.

Grading is by typed value first (key, date interval, number with unit) and by normalised words second, against the name
and every alias:

>>> is_correct(Answer("The Harlan Rovers", "entity", "Harlan Rovers", key="https://a/1"), "harlan rovers")
True
>>> is_correct(Answer("1901", "date", "1901"), "founded in 1901")
False

Nothing heavy is imported here: a trainer that only wants rewards gets no index, no graph and no Arrow.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from datagen.knowledge.literals import contains, parse_literal
from datagen.records.question import Answer

_WORD = re.compile(r"\w+(?:[.,]\d+)*", re.UNICODE)
_ARTICLES = frozenset({"a", "an", "the"})
# Words too common in names to point at one entity. The catalogue's type words are added by the caller.
COMMON_NAME_WORDS = frozenset(
    words
    for line in (
        ("a", "an", "the", "of", "and", "de", "la", "le", "du", "da", "di", "van", "von", "der", "den", "st", "saint"),
        ("new", "old", "great", "upper", "lower", "north", "south", "east", "west", "first", "second"),
        ("city", "county", "united", "republic", "kingdom", "national", "royal", "grand"),
    )
    for words in line
)


@lru_cache(maxsize=65536)
def words_of(text: str) -> tuple[str, ...]:
    """Lower-case words without accents or thousands separators; "2,381,740.5" is the one word "2381740.5"."""
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(c for c in plain if not unicodedata.combining(c)).casefold().replace("'", "").replace("’", "")
    return tuple(w.replace(",", "") if w[0].isdigit() else w for w in _WORD.findall(plain))


def normalise_answer(text: str) -> str:
    """The form in which two answers are compared: no case, accents, punctuation or articles."""
    return " ".join(w for w in words_of(text) if w not in _ARTICLES)


def accepted_forms(answer: Answer) -> tuple[str, ...]:
    """Every surface form that grades as correct, without repetition, the main one first."""
    return tuple(dict.fromkeys((answer.text, answer.canonical, *answer.aliases)))


def is_correct(answer: Answer, given: str | None, given_key: str | None = None) -> bool:
    """Whether `given` is the answer. Where both sides name an entity by key, the key alone decides."""
    if answer.key is not None and given_key is not None:
        return answer.key == given_key
    if given is None:
        return False
    said = normalise_answer(given)
    if said and any(said == normalise_answer(form) for form in accepted_forms(answer)):
        return True
    return answer.type in ("date", "number") and _same_value(answer, given)


def _same_value(answer: Answer, given: str) -> bool:
    """Whether the given words state the value: a date or number inside the key, which is as precise as was asked."""
    key, said = (parse_literal(text, answer.type, answer.unit) for text in (answer.canonical, given))
    return key is not None and said is not None and contains(key, said)


def contains_words(haystack: tuple[str, ...], needle: tuple[str, ...]) -> bool:
    """Whether `needle` occurs as a run of whole words."""
    width = len(needle)
    if not width or width > len(haystack):
        return False
    first = needle[0]
    return any(
        word == first and haystack[i : i + width] == needle
        for i, word in enumerate(haystack[: len(haystack) - width + 1])
    )


def telling_words(name: str, common: Iterable[str] = ()) -> frozenset[str]:
    """The words of a name that point at its bearer: long enough, not a type word, not a common part of names."""
    ignored = COMMON_NAME_WORDS.union(common)
    return frozenset(w for w in words_of(name) if len(w) >= 4 and w not in ignored and not w.isdigit())
