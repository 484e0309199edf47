"""The phrase table: every form of the catalogue, cut at its slot, in one place for both directions.

A form is `open {slot} tail`. Its *voice* says what the words before the slot can become:

    subject      "that was founded in {o}"       relative "that was founded", main "It was founded"
    possessive   "whose home ground is {o}"      relative "whose home ground is", main "Its home ground is"
    object       "that {s} designed"             relative only
    other        "at which {s} plays"            relative only; main as "It is one at which"

Forms of date-valued relations drop a final "in" or "on" before the slot, because it belongs to the words of the date
("in 1901", "on 3 March 1901", "after 1901"). One phrase may serve several relations: `resolve` tells them apart by the
kind of the value and by the types on both sides, and the writer only uses a phrase that resolves to its own relation.
Each relation also has a plain form made of its label, so that a relation without forms can still be said.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal as OneOf

from datagen.knowledge.catalogue import Catalogue, Relation

Voice = OneOf["subject", "possessive", "object", "other"]
ValueKind = OneOf["name", "quoted", "date", "number", "vertex"]

_RELATIVE = {"that", "who", "which"}
_DETERMINERS = {"a", "an", "the", "its", "his", "her", "their", "this", "each", "every", "no", "any", "only"}
_DATE_PREPOSITION = re.compile(r"(?: in the year| in| on)$")
ORDINALS = (
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth",
    "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth", "eighteenth", "nineteenth", "twentieth",
)  # fmt: skip
ONE = "one"
"""Stands for a long class word that the question has said before: "another one", "the second one"."""
ANYTHING = "thing"
"""The word for a vertex without a type."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """One form of one relation. `open` is without the relative pronoun for the voices subject and possessive."""

    relation: str
    inverse: bool
    voice: Voice
    open: str
    tail: str
    plain: bool = False
    """Made of the label: the last resort."""
    described: bool = False
    """Only for a described value: "in the region {o}" becomes "in" before "a region that ..."."""

    @property
    def reduced(self) -> bool:
        """Whether it can begin a list of clues but not continue one: "located in {o}", "with {o} seats"."""
        return self.voice == "other" and not re.search(r"\b(?:that|which|who|whom|whose|where)\b", self.open)

    @property
    def key(self) -> tuple[Voice, str, str]:
        return self.voice, self.open, self.tail


@dataclass(frozen=True, slots=True)
class AskPhrase:
    """A question form: "In which year was {s} founded?" is open "In which year was", tail "founded"."""

    relation: str
    open: str
    tail: str


@dataclass(frozen=True, slots=True)
class Shape:
    """What stands in a slot: its kind, the type of a described vertex, the unit of a number."""

    kind: ValueKind
    type: str | None = None


@dataclass(frozen=True)
class PhraseTable:
    """All phrases of a catalogue and the words of its types."""

    catalogue: Catalogue
    by_relation: dict[tuple[str, bool], tuple[Phrase, ...]]
    by_key: dict[tuple[Voice, str, str], tuple[Phrase, ...]]
    asks: dict[str, tuple[AskPhrase, ...]]
    asks_by_key: dict[tuple[str, str], tuple[AskPhrase, ...]]
    type_words: dict[str | None, str]
    types_by_word: dict[str, str | None] = field(default_factory=dict)

    def resolve(self, key: tuple[Voice, str, str], sought: str | None, shape: Shape) -> tuple[tuple[str, bool], ...]:
        """The (relation, inverse) pairs that a phrase can mean between these types; one when it is unambiguous."""
        voice, opening, tail = key
        if shape.kind == "date":
            key = (voice, strip_date_preposition(opening), tail)
        phrases = [p for p in self.by_key.get(key, ()) if self._kind_fits(p, shape)]
        if len({(p.relation, p.inverse) for p in phrases}) > 1:
            phrases = [p for p in phrases if self._types_fit(p, sought, shape)] or phrases
        return tuple(dict.fromkeys((p.relation, p.inverse) for p in phrases))

    def resolve_ask(self, key: tuple[str, str], sought: str | None) -> tuple[str, ...]:
        """The relations that a question form can ask for about an entity of this type."""
        found = self.asks_by_key.get(key, ())
        if len(found) > 1:
            found = tuple(p for p in found if self.overlaps(sought, self._relation(p).subject_types)) or found
        return tuple(dict.fromkeys(p.relation for p in found))

    def overlaps(self, type_id: str | None, wanted: tuple[str, ...]) -> bool:
        """Whether something can be of this type and of one of the wanted ones."""
        is_a = self.catalogue.is_a
        return type_id is None or not wanted or any(is_a(type_id, w) or is_a(w, type_id) for w in wanted)

    def is_person(self, type_id: str | None) -> bool:
        known = None if type_id is None else self.catalogue.types.get(type_id)
        return known is not None and known.who

    def _relation(self, phrase: Phrase | AskPhrase) -> Relation:
        return self.catalogue.relations[phrase.relation]

    def _kind_fits(self, phrase: Phrase, shape: Shape) -> bool:
        kind = self._relation(phrase).object_kind
        if phrase.described and shape.kind != "vertex":
            return False
        if phrase.inverse:
            return shape.kind in {"name", "quoted", "vertex"}
        if shape.kind == "quoted":
            return kind in {"entity", "text"}
        return kind == ("entity" if shape.kind in {"name", "vertex"} else shape.kind)

    def _types_fit(self, phrase: Phrase, sought: str | None, shape: Shape) -> bool:
        relation = self._relation(phrase)
        ends = relation.subject_types, relation.object_types
        wanted, given = reversed(ends) if phrase.inverse else ends
        return self.overlaps(sought, wanted) and (shape.kind != "vertex" or self.overlaps(shape.type, given))


def strip_date_preposition(opening: str) -> str:
    return _DATE_PREPOSITION.sub("", opening)


def cut_form(relation: Relation, form: str, *, inverse: bool) -> Phrase | None:
    """A clue or inverse form as a phrase, None when it has no slot or nothing before it."""
    before, slot, tail = " ".join(form.split()).partition("{s}" if inverse else "{o}")
    before, tail = before.strip(), tail.strip()
    if not slot or not before or "{" in before + tail:
        return None
    if not inverse and relation.object_kind == "date":
        before = strip_date_preposition(before)
    head, _, rest = before.partition(" ")
    if head in _RELATIVE and not rest:
        return Phrase(relation.id, inverse, "object", "", tail) if tail else None
    if head in _RELATIVE and rest.split()[0] not in _DETERMINERS and not rest[0].isupper():
        return Phrase(relation.id, inverse, "subject", rest, tail)
    if head == "whose":
        return Phrase(relation.id, inverse, "possessive", rest, tail) if rest else None
    return Phrase(relation.id, inverse, "other", before, tail)


def _for_described(phrase: Phrase, words: Iterable[str]) -> Phrase | None:
    """The phrase without a noun that a description would repeat: "the region {o}", "the town of {o}"."""
    for word in words:
        for noun in (f" the {word}", f" the {word} of"):
            if phrase.open.endswith(noun):
                return replace(phrase, open=phrase.open.removesuffix(noun), described=True)
    return None


def _plain_forms(relation: Relation, label: str) -> tuple[Phrase, Phrase]:
    shown = label.replace('"', "'")
    return (
        Phrase(relation.id, False, "possessive", f'"{shown}" is given as', "", plain=True),
        Phrase(relation.id, True, "subject", f'is given as the "{shown}" of', "", plain=True),
    )


def _cut_ask(relation: Relation, form: str) -> AskPhrase | None:
    before, slot, tail = " ".join(form.split()).rstrip("?. ").partition("{s}")
    if not slot or not before.strip() or "{" in before + tail:
        return None
    return AskPhrase(relation.id, before.strip(), tail.strip())


def _type_words(catalogue: Catalogue) -> dict[str | None, str]:
    """A distinct word for every type; a second type with the same singular says its id."""
    words: dict[str | None, str] = {}
    taken: set[str] = set()
    for kind in catalogue.types.values():
        word = " ".join(kind.singular.split()) or kind.id
        if word in taken:
            word = f'{word} of the kind "{kind.id}"'
        elif word.split()[0] in ORDINALS:  # "the second team" would be the second of the teams
            word = f'thing of the kind "{kind.id}"'
        words[kind.id] = word
        taken.add(word)
    words[None] = ANYTHING if ANYTHING not in taken else "thing of any kind"
    return words


def build_phrases(catalogue: Catalogue) -> PhraseTable:
    """Cut every form once; labels that two relations share give way to ids in the plain forms."""
    by_relation: dict[tuple[str, bool], list[Phrase]] = defaultdict(list)
    by_key: dict[tuple[Voice, str, str], list[Phrase]] = defaultdict(list)
    asks: dict[str, tuple[AskPhrase, ...]] = {}
    words = _type_words(catalogue)
    labels = [r.label for r in catalogue.relations.values()]
    for relation in catalogue.relations.values():
        forms = [cut_form(relation, form, inverse=False) for form in relation.clue]
        forms += [cut_form(relation, form, inverse=True) for form in relation.inverse]
        label = relation.label if relation.label and labels.count(relation.label) == 1 else relation.id
        given = {True: relation.subject_types, False: relation.object_types}
        shorter = [_for_described(p, [words[t] for t in given[p.inverse]]) for p in forms if p is not None]
        forms += [*shorter, *_plain_forms(relation, label)]
        for phrase in dict.fromkeys(p for p in forms if p is not None):
            by_relation[relation.id, phrase.inverse].append(phrase)
            by_key[phrase.key].append(phrase)
        cut = [p for p in (_cut_ask(relation, form) for form in relation.ask) if p is not None]
        plain = label.replace('"', "'")
        asks[relation.id] = (*cut, AskPhrase(relation.id, f'What is given as the "{plain}" of', ""))
    asks_by_key: dict[tuple[str, str], list[AskPhrase]] = defaultdict(list)
    for ask in (phrase for phrases in asks.values() for phrase in phrases):
        asks_by_key[ask.open, ask.tail].append(ask)
    return PhraseTable(
        catalogue=catalogue,
        by_relation={k: tuple(v) for k, v in by_relation.items()},
        by_key={k: tuple(v) for k, v in by_key.items()},
        asks=asks,
        asks_by_key={k: tuple(v) for k, v in asks_by_key.items()},
        type_words=words,
        types_by_word={word: type_id for type_id, word in words.items()},
    )
