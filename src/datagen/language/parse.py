"""Words to formula: the parser of questions, and what it means for two formulas to say the same.

The grammar library finds the structure of a question; `reading` turns it into a formula. Entities come back with their
name and an empty key, for a reader knows names only.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from lark import Lark, Token, Tree, UnexpectedInput

from datagen.errors import ParseError
from datagen.knowledge.catalogue import Catalogue
from datagen.knowledge.formula import (
    Clue,
    Edge,
    EntityRef,
    Match,
    Node,
    Query,
    Within,
    canonical_query,
)
from datagen.knowledge.kept import Kept
from datagen.language.grammar import grammar_text
from datagen.language.phrases import PhraseTable, build_phrases
from datagen.language.reading import read_question

CACHED_QUESTIONS = 4096
"""Parses kept per catalogue: a question is read by the writer's own check, the gates and several solvers."""

_EXPECTED = {
    "NAME": "a name",
    "QUOTED": "a quoted text",
    "DATE": "a date",
    "NUMBER": "a number",
    "A_NEW": 'a description such as "a town"',
    "SUBJECT": "a clue",
    "POSSESSIVE": "a clue",
    "OTHER": "a clue",
    "_REL": 'a clue that begins with "that"',
    "_WHOSE": 'a clue that begins with "whose"',
    "IS_A": 'a class such as "is a town"',
    "TAIL": "the rest of a clue",
    "AS_OF": '"as of" and a day',
    "TOPIC": "something already introduced",
    "TOPIC_S": "something already introduced",
    "CLOSE": "the closing question",
    "ASK": "a question form",
    "_AND": '"and"',
    "_COMMA": "a comma",
    "_DOT": "a full stop",
    "_ASKS": "a question mark",
    "_SEMICOLON": "a semicolon",
    "WHICH": '"Which" and a class',
    "FIND": '"Name the" and a class',
    "THERE": '"There is a" and a class',
}


class Parser:
    """Reads questions over one catalogue. The grammar is built once per catalogue, and recent parses are kept."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self.table, self._lark, self._recent = _built(_ByDigest(catalogue))

    def __reduce__(self) -> tuple[type[Parser], tuple[Catalogue]]:
        """Another process builds its own grammar; that is faster than to send one."""
        return Parser, (self._catalogue,)

    def parse(self, text: str) -> Query:
        """The formula that the question states, with names but no keys; `ParseError` says where reading stopped."""
        return self._recent.get(text, lambda: read_question(self._structure(text), self.table))

    def _structure(self, text: str) -> Tree[Token]:
        try:
            return self._lark.parse(text.strip())
        except UnexpectedInput as stop:
            raise ParseError(_explain(stop, text.strip())) from None


class _ByDigest:
    """A catalogue as a cache key: equal content is the same grammar."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue

    def __hash__(self) -> int:
        return hash(self.catalogue.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByDigest) and other.catalogue.digest == self.catalogue.digest


@lru_cache(maxsize=4)
def _built(key: _ByDigest) -> tuple[PhraseTable, Lark, Kept[str, Query]]:
    table = build_phrases(key.catalogue)
    return table, Lark(grammar_text(table), parser="lalr", lexer="contextual"), Kept(CACHED_QUESTIONS)


def _explain(stop: UnexpectedInput, text: str) -> str:
    position = getattr(stop, "pos_in_stream", None)
    ended = getattr(getattr(stop, "token", None), "type", "") == "$END"
    position = len(text) if ended or position is None or position < 0 else position
    names = getattr(stop, "accepts", None) or getattr(stop, "allowed", None) or getattr(stop, "expected", None) or ()
    wanted = list(dict.fromkeys(_EXPECTED[name] for name in sorted(names) if name in _EXPECTED))
    expected = f" Expected {' or '.join(wanted)}." if wanted else ""
    if position >= len(text):
        return f"The question ends too early, after {text[-60:]!r}.{expected}"
    before, after = text[max(0, position - 40) : position], text[position : position + 40]
    return f"The question cannot be read at character {position}, after {before!r}, where it says {after!r}.{expected}"


def _stated(clue: Clue) -> Clue:
    """The clue as words can state it: no keys, and an exact date or number as the interval that it is."""
    if isinstance(clue, Edge):
        return replace(clue, child=_stated_node(clue.child))
    if isinstance(clue, Within):
        return replace(clue, low=float(clue.low), high=float(clue.high))
    if not isinstance(clue, Match):
        return clue
    value = clue.value
    if isinstance(value, EntityRef):
        return replace(clue, value=replace(value, key=""))
    if value.kind == "text":
        return replace(clue, value=replace(value, low=0.0, high=0.0, unit=""))
    return Within(clue.relation, value.kind, float(value.low), float(value.high), value.unit, clue.as_of)


def _stated_node(node: Node) -> Node:
    return replace(node, clues=tuple(_stated(c) for c in node.clues))


def unresolved(query: Query) -> Query:
    """The canonical formula without entity keys.

    A `Match` with an exact date or number becomes the `Within` of the same interval: "founded in 1901" says both, and the
    evaluator treats them alike.
    """
    return canonical_query(replace(query, root=_stated_node(query.root)))


def same_meaning(one: Query, other: Query) -> bool:
    """Whether two formulas say the same to somebody who knows names but not keys."""
    return unresolved(one) == unresolved(other)
