"""How a name stands in a sentence: verbatim where its end can be seen, in double quotes where it cannot.

A bare name is a run of capitalised words, with numbers and small connecting words inside it ("Bank of the North",
"Apollo 11", "Charles de Gaulle"). Everything else (a name with a comma, in lower case, in a script without capitals,
ending in an initial that would swallow the next sentence) is quoted. A quote inside a quoted text is doubled.
"""

from __future__ import annotations

import re
import sys

from datagen.knowledge.dates import MONTHS


def _capitals() -> str:
    """A character class of all capital letters of the basic plane; `re` has no property for them."""
    codes = [code for code in range(min(0x10000, sys.maxunicode)) if chr(code).isupper() or chr(code).istitle()]
    ranges: list[tuple[int, int]] = []
    for code in codes:
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], code)
        else:
            ranges.append((code, code))
    return "".join(chr(a) if a == b else f"{chr(a)}-{chr(b)}" for a, b in ranges)


_CAPITAL = f"[{_capitals()}]"
_CONNECTORS = (
    "of the", "of", "the", "and the", "and", "&", "de la", "de las", "de los", "de", "del", "della", "di", "da", "das",
    "do", "dos", "du", "des", "van der", "van den", "van", "von der", "von", "zu", "la", "le", "les", "el", "al", "bin",
    "ibn", "y", "e", "et", "und", "der", "den", "am", "im", "upon", "in the", "in", "for the", "for",
)  # fmt: skip
_WORD = rf"(?:{_CAPITAL}\. (?={_CAPITAL})|(?:(?:[dlDL]|al|el)['’-])?{_CAPITAL}[\w'’-]*(?<!['’-]))"
_NUMERAL = r"\d[\w-]*(?<!-)(?![.,:]\d)"
_JOINED = rf"(?: (?:(?:{'|'.join(_CONNECTORS)}) )*{_WORD}| {_NUMERAL})"
_PLURAL = r"United (?:Kingdom|States|Arab Emirates)\b|(?:[\w-]+ ){0,6}(?:Islands|Netherlands|Philippines|Republic|Maldives|Comoros)\b"
"""Names of countries that stand behind "the" in a sentence, although lists leave it out."""
NAME_PATTERN = (
    rf"(?:the (?={_PLURAL}))?(?:(?:St|Mt|Dr)\. )?{_WORD}(?:(?<=\. ){_WORD}|{_JOINED}|(?<= )(?:St|Mt)\. {_WORD})*"
)
"""Matches a bare name as far as it goes; the lexer of questions uses it."""

QUOTED_PATTERN = r'"(?:[^"]|"")*"'
_BARE = re.compile(NAME_PATTERN)
_WITH_ARTICLE = re.compile(rf"(?:{_PLURAL})$")
_UNSAFE = re.compile(rf"(?:{'|'.join(MONTHS)})\b|(?:.* )?[^\W\d]$|.*['’]s?$|.* (?:St|Mt|Dr)$", re.DOTALL)
"""A start that reads like a date, and ends that run into the next word or sentence."""


def quoted(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


def unquoted(words: str) -> str | None:
    """The text inside quotes, None when these are no quotes around one text."""
    return words[1:-1].replace('""', '"') if re.fullmatch(QUOTED_PATTERN, words) else None


def name_words(name: str, *, always_quote: bool = False) -> str:
    """The name as a question says it."""
    if always_quote or _BARE.fullmatch(name) is None or _UNSAFE.match(name):
        return quoted(name)
    return f"the {name}" if _WITH_ARTICLE.match(name) else name


def read_name(words: str) -> str:
    inside = unquoted(words)
    return words.removeprefix("the ") if inside is None else inside
