"""When two answers are the same, and which words of a name give it away.

Grading is by typed value first (key, date interval, number with unit) and by normalised words second, against the name
and every alias:

>>> is_correct(Answer("The Harlan Rovers", "entity", "Harlan Rovers", key="https://a/1"), "harlan rovers")
True
>>> is_correct(Answer("1901", "date", "1901"), "founded in 1901")
False
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

from datagen.knowledge.formula import IsA, Query
from datagen.knowledge.graph import FactGraph
from datagen.knowledge.literals import MONTHS, canonical_text, contains, format_literal, parse_literal
from datagen.records.fact import Entity, Literal
from datagen.records.question import Answer

_WORD = re.compile(r"\w+(?:[.,]\d+)*", re.UNICODE)
_ASKS_YEAR = re.compile(r"\b(?:which|what) year\b", re.IGNORECASE)
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


def as_asked(answer: Answer, question: str) -> Answer:
    """The answer as precisely as the question asks for it: "In which year ...?" wants 2004, not 27 November 2004."""
    if answer.type != "date" or _ASKS_YEAR.search(question) is None or len(answer.canonical) <= len("2004"):
        return answer
    return Answer(answer.canonical[:4], "date", answer.canonical[:4])


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


def entity_answer(entity: Entity) -> Answer:
    """The answer whose text is an entity's preferred name."""
    return Answer(
        text=entity.name,
        type="entity",
        canonical=entity.name,
        aliases=entity.aliases,
        key=entity.key,
        entity_type=entity.type,
    )


def literal_answer(literal: Literal) -> Answer | None:
    """The answer for a value, with the forms that grade as correct; None for one too vague to be graded.

    >>> from datagen.knowledge.literals import day
    >>> literal_answer(day("1901-03-03")).canonical
    '1901-03-03'
    """
    if literal.kind == "number":
        return _number_answer(literal)
    canonical = canonical_text(literal)
    if literal.kind == "text":
        return Answer(literal.text, "text", canonical)
    if "/" in canonical:
        return None
    text = format_literal(literal)
    aliases = (*_american_form(canonical), canonical)
    return Answer(text, "date", canonical, tuple(form for form in aliases if form != text))


def _american_form(iso: str) -> tuple[str, ...]:
    if len(iso) != len("1901-03-03"):
        return ()
    year, month, day_of_month = iso.split("-")
    return (f"{MONTHS[int(month) - 1]} {int(day_of_month)}, {year}",)


def _number_answer(literal: Literal) -> Answer | None:
    """Exact numbers, and rounded ones whose interval is at most 1 % wide: "about 40 to 60" can't be graded."""
    if literal.high - literal.low > abs(literal.low + literal.high) / 200:
        return None
    middle = (literal.low + literal.high) / 2
    digits = f"{middle:.6f}".rstrip("0").rstrip(".")
    commas = f"{float(digits):,.6f}".rstrip("0").rstrip(".")
    # "81.7 years" and "81.65 to 81.75 years" are one value; the key is what a person would write.
    plain = f"{commas}%" if literal.unit == "%" else f"{commas} {literal.unit}".strip()
    canonical = next((words for words in (plain, literal.text) if _is_exactly(literal, words)), format_literal(literal))
    forms = (digits, commas, f"{digits} {literal.unit}".strip(), f"{commas} {literal.unit}".strip())
    aliases = tuple(dict.fromkeys(form for form in forms if form not in (literal.text, canonical)))
    return Answer(literal.text, "number", canonical, aliases, unit=literal.unit)


def _is_exactly(literal: Literal, words: str) -> bool:
    said = parse_literal(words, literal.kind, literal.unit)
    return said is not None and (said.low, said.high, said.unit) == (literal.low, literal.high, literal.unit)


def answer_of(graph: FactGraph, query: Query, key: str) -> Answer | None:
    """The answer of a query whose root is known; None where the asked value is not stated once, or can't be graded."""
    i = graph.id(key)
    if query.ask is None:
        return entity_answer(Entity(key, graph.name(i), graph.type(i), graph.aliases(i)))
    values = graph.objects(i, query.ask, query.ask_as_of)
    if len(values) != 1 or not isinstance(values[0], Literal):
        return None
    return literal_answer(values[0])


def choose_ask(graph: FactGraph, query: Query, key: str, rng: random.Random) -> Query:
    """Ask for a literal of the root instead of its name, where one is stated that no clue of the root uses."""
    used = {clue.relation for clue in query.root.clues if not isinstance(clue, IsA)}
    options = []
    for stated in graph.outgoing(graph.id(key)):
        relation = graph.catalogue.relations[stated.relation]
        if relation.single and not relation.changes and relation.ask and relation.id not in used:
            asking = replace(query, ask=relation.id)
            if relation.object_kind in ("date", "number") and answer_of(graph, asking, key) is not None:
                options.append(asking)
    return rng.choice(options) if options else query
