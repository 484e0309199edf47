"""From the structure of a question to its formula: who is spoken of, and which relation each phrase means.

Things are introduced in the order of the text ("a town", "another town") and spoken of again as "that town", "the second
town" or "it", which is whatever the sentence before spoke of. All clues about one thing meet in its `Referent`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from lark import Token, Tree

from datagen.errors import ParseError
from datagen.knowledge.dates import iso
from datagen.knowledge.formula import Clue, Constant, Edge, EntityRef, IsA, Match, Node, Query, Within
from datagen.language.names import read_name, unquoted
from datagen.language.phrases import ONE, ORDINALS, PhraseTable, Shape, Voice
from datagen.language.vague_dates import read_date_words
from datagen.language.vague_numbers import read_number_words
from datagen.records.fact import Literal

_PRONOUN = re.compile(r"(?:it|its|their)", re.IGNORECASE)


@dataclass(slots=True)
class Referent:
    """A vertex in the making. `clues` holds finished leaf clues, and edges as (relation, inverse, as_of, child)."""

    type: str | None
    word: str
    clues: list[Clue | tuple[str, bool, str | None, Referent]] = field(default_factory=list)

    def freeze(self) -> Node:
        return Node(
            self.type,
            tuple(Edge(c[0], c[3].freeze(), c[1], c[2]) if isinstance(c, tuple) else c for c in self.clues),
        )


def read_question(tree: Tree[Token], table: PhraseTable) -> Query:
    """The formula of a parsed question; `ParseError` where the words are in order but say nothing definite."""
    return _Reading(table).read(tree)


def read_day(words: str) -> str:
    """The ISO day in "As of 3 March 2025,"."""
    bare = re.sub(r"^(?:as of|on) |,$", "", words, flags=re.IGNORECASE)
    span = read_date_words(bare)
    if span is None or span[0] != span[1]:
        raise ParseError(f"{words!r} names no day.")
    return iso(span[0])


class _Reading:
    """One question being read."""

    def __init__(self, table: PhraseTable) -> None:
        self.table = table
        self.referents: list[Referent] = []
        self.topic: Referent
        self.ask: str | None = None
        self.ask_as_of: str | None = None

    def read(self, tree: Tree[Token]) -> Query:
        for part in tree.children:
            assert isinstance(part, Tree)
            getattr(self, f"_{part.data}")(part.children)
        return Query(self.referents[0].freeze(), self.ask, self.ask_as_of)

    # --- leads ---------------------------------------------------------------------------------------------------

    def _lead(self, words: str) -> Referent:
        self.topic = self._introduce(self._type_word(words))
        return self.topic

    def _which(self, parts: list[Any]) -> None:
        root = self._lead(parts[0])
        for part in parts[1:]:
            if isinstance(part, Tree):
                self._clues(part, root)
            else:
                self._close([part])

    _which_aside = _find = _there = _which

    def _ask(self, parts: list[Any]) -> None:
        words = {p.type: str(p) for p in parts if isinstance(p, Token)}
        root = self._lead(words["THE"])
        self._set_ask(words, root)
        for part in parts:
            if isinstance(part, Tree):
                self._clues(part, root)

    def _set_ask(self, words: dict[str, str], root: Referent) -> None:
        opening = words["ASK"]
        key = (opening[0].upper() + opening[1:], words.get("ASK_TAIL", ""))
        if key not in self.table.asks_by_key:
            key = (opening, key[1])
        relations = self.table.resolve_ask(key, root.type)
        if len(relations) != 1:
            raise ParseError(f"{' ... '.join(k for k in key if k)!r} asks for {_either(relations)}.")
        self.ask = relations[0]
        self.ask_as_of = read_day(words["AS_OF_LEAD"]) if "AS_OF_LEAD" in words else None

    # --- sentences -----------------------------------------------------------------------------------------------

    def _body(self, parts: list[Any]) -> None:
        as_of = read_day(parts[0]) if isinstance(parts[0], Token) else None
        for part in parts[1:] if as_of else parts:
            children = part.children
            if part.data.startswith("main"):
                self.topic = self._spoken_of(children[0])
                voice: Voice = "subject" if children[0].type == "TOPIC" else "possessive"
                children = children[1:]
            else:
                voice = "possessive" if children[0].type == "POSSESSIVE" else "subject"
            self._clue(self.topic, voice, children, as_of)

    def _body_one(self, parts: list[Any]) -> None:
        self.topic = self._spoken_of(parts[0])
        self._clues(parts[1], self.topic)

    def _close(self, parts: list[Any]) -> None:
        closing = parts[0][0].upper() + parts[0][1:]
        if closing.startswith(("What is its", "What is it ")):
            self._must_be_root(self.topic, closing)
            return
        words = re.sub(r"^(?:What|Who) is (?:the name of )?|^(?:Which|Name|Identify) |(?: called)?[?.]$", "", closing)
        words = re.sub(r" is (?:it|this)$", "", words)
        found = self._find_back(words) if words.startswith(("this ", "the ")) else self._only(words)
        self._must_be_root(found, words)

    def _close_ask(self, parts: list[Any]) -> None:
        words = {p.type: str(p) for p in parts}
        self._must_be_root(self._spoken_of(words["ROOT"]), words["ROOT"])
        self._set_ask(words, self.referents[0])

    def _must_be_root(self, found: Referent, words: str) -> None:
        if found is not self.referents[0]:
            raise ParseError(f"The question ends by asking for {words!r}, which is not what it began with.")

    # --- things --------------------------------------------------------------------------------------------------

    def _introduce(self, word: str) -> Referent:
        self.referents.append(Referent(self.table.types_by_word[word], word))
        return self.referents[-1]

    def _type_word(self, words: str) -> str:
        """The type word at the end of "There is a football club", "another town": the longest that is one."""
        pieces = words.split(" ")
        if pieces[-1] == ONE and self.referents:
            return self.referents[0].word
        for start in range(1, len(pieces)):
            word = " ".join(pieces[start:])
            if word in self.table.types_by_word:
                return word
        raise ParseError(f"{words!r} names no class of the catalogue.")

    def _spoken_of(self, words: str) -> Referent:
        return self.topic if _PRONOUN.fullmatch(words) else self._find_back(re.sub(r"['’]s?$", "", words))

    def _find_back(self, words: str) -> Referent:
        """The referent of "that town", "this club", "the second town", "the club in question"."""
        lead, _, rest = words.partition(" ")
        ordinal, _, word = rest.partition(" ")
        word = self.referents[0].word if word == ONE else word
        if lead.lower() == "the" and ordinal in ORDINALS and word in self.table.types_by_word:
            same = [r for r in self.referents if r.word == word]
            if ORDINALS.index(ordinal) < len(same):
                return same[ORDINALS.index(ordinal)]
            raise ParseError(f"Nothing in the question is {words!r}.")
        if lead.lower() != "this" and not rest.endswith(" in question"):
            return self._only(rest)
        if self.referents[0].word != rest.removesuffix(" in question"):
            raise ParseError(f"The question does not begin with {words!r}.")
        return self.referents[0]

    def _only(self, word: str) -> Referent:
        same = [r for r in self.referents if r.word == word]
        if len(same) != 1:
            raise ParseError(f'"{word}" is said of {len(same)} things in the question; it must be one.')
        return same[0]

    # --- clues ---------------------------------------------------------------------------------------------------

    def _clues(self, tree: Tree[Token], about: Referent) -> None:
        """The clues of `rels`, `gaps` or a single clause, in order."""
        if tree.data in {"rels", "gaps"}:
            for part in tree.children:
                assert isinstance(part, Tree)
                self._clues(part, about)
            return
        kind = str(tree.data)
        children = list(tree.children)
        if kind == "rel_object":
            self._clue(about, "object", [Token("OBJECT", ""), *children], None)
        elif kind.startswith("rel_other"):
            self._clue(about, "other", children, None)
        else:
            first = children[0]
            assert isinstance(first, Token)
            self._clue(about, "possessive" if first.type == "POSSESSIVE" else "subject", children, None)

    def _clue(self, about: Referent, voice: Voice, parts: list[Any], as_of: str | None) -> None:
        """One clue: the opening, then a value or a described vertex, then perhaps a tail and a day."""
        opening = parts[0]
        if opening.type == "IS_A":
            about.clues.append(IsA(self._class_of(opening)))
            return
        token = parts[1].children[0]
        after = {p.type: str(p) for p in parts[2:] if isinstance(p, Token)}
        as_of = read_day(after["AS_OF"]) if "AS_OF" in after else as_of
        key = (voice, str(opening), after.get("TAIL", ""))
        if token.type == "A_NEW":
            child = self._introduce(self._type_word(token))
            relation, inverse = self._meaning(key, about, Shape("vertex", child.type))
            about.clues.append((relation, inverse, as_of, child))
            for part in parts[2:]:
                if isinstance(part, Tree):
                    self._clues(part, child)
            return
        about.clues.append(self._leaf(key, about, token, as_of))

    def _class_of(self, words: str) -> str:
        type_id = self.table.types_by_word[self._type_word(words.removeprefix("is "))]
        if type_id is None:
            raise ParseError(f"{words!r} names no class of the catalogue.")
        return type_id

    def _meaning(self, key: tuple[Voice, str, str], about: Referent, shape: Shape) -> tuple[str, bool]:
        found = self.table.resolve(key, about.type, shape)
        if len(found) != 1:
            phrase = " ... ".join(k for k in key[1:] if k)
            raise ParseError(f"{phrase!r}, said of a {about.word}, means {_either([f for f, _ in found])}.")
        return found[0]

    def _leaf(self, key: tuple[Voice, str, str], about: Referent, token: Token, as_of: str | None) -> Clue:
        words = str(token)
        if token.type == "DATE":
            span = read_date_words(words)
            if span is None:
                raise ParseError(f"{words!r} is no date of the calendar.")
            relation, _ = self._meaning(key, about, Shape("date"))
            return Within(relation, "date", float(span[0]), float(span[1]), "", as_of)
        if token.type == "NUMBER":
            numbers = read_number_words(words)
            if numbers is None:
                raise ParseError(f"{words!r} is no number.")
            relation, _ = self._meaning(key, about, Shape("number"))
            return Within(relation, "number", *numbers, as_of)
        relation, inverse = self._meaning(key, about, Shape("name" if token.type == "NAME" else "quoted"))
        value: Constant = EntityRef("", read_name(words))
        if not inverse and self.table.catalogue.relations[relation].object_kind == "text":
            value = Literal("text", unquoted(words) or "")
        return Match(relation, value, inverse, as_of)


def _either(relations: tuple[str, ...] | list[str]) -> str:
    return " or ".join(relations) if relations else "no relation of the catalogue"
