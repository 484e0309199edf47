"""The question must not give its answer away, nor name an entity that it only describes.

Three looks, from exact to near, over words without case and accents:

    a hidden name or alias, or any accepted form of the answer, as a run of whole words     "…home of Harlan Rovers…"
    one telling word of the answer's name: not a type word, not "north" or "saint"          "…the Harlan side…"
    a run of words within 88 % of a hidden name by edit distance, for names of 6+ letters   "…Harlen Rovers…"

    a range of another measure that holds the asked number within a fifth                   "…land of 9 to 10 sq km…"

Names that are themselves words of every question ("Reading", "Of") can't be hidden; such candidates are rejected, not
excused. A literal answer leaks when its number or date stands in the question in any of its forms.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache

from rapidfuzz import fuzz, process

from datagen.knowledge.answer_forms import accepted_forms, contains_words, telling_words, words_of
from datagen.knowledge.catalogue import Catalogue
from datagen.knowledge.formula import Within
from datagen.knowledge.literals import parse_literal
from datagen.records.question import Verdict
from datagen.synthesis.draft import Draft
from datagen.verification.gate import GateContext, failed, passed

NEAR_RATIO = 88.0
"""Of 100; lets one changed letter in nine through as a near form ("Harlen Rovers"), keeps "Hadley Rovers" apart."""
NEAR_MIN_CHARS = 6
NARROW_SHARE = 0.2
"""A stated range at most this wide, as a share of the asked number it holds, nearly states it."""


class LeakReason(StrEnum):
    ANSWER = "answer_in_question"
    ANSWER_WORD = "answer_word_in_question"
    INTERNAL = "internal_entity_named"
    NEAR = "near_form_of_hidden_name"
    NEAR_VALUE = "answer_nearly_stated"


class Leak:
    name = "leak"
    cost = 2

    def check(self, draft: Draft, context: GateContext) -> Verdict:
        said = words_of(draft.question)
        for form in accepted_forms(draft.answer):
            if contains_words(said, words_of(form)):
                return failed(self.name, LeakReason.ANSWER, f"the question says {form!r}")
        if draft.answer.type == "entity":
            common = _type_words(context.catalogue)
            for form in accepted_forms(draft.answer):
                shared = sorted(telling_words(form, common).intersection(said))
                if shared:
                    return failed(self.name, LeakReason.ANSWER_WORD, f"{shared[0]!r} is part of the answer's name")
        for name in draft.hidden_names:
            if contains_words(said, words_of(name)):
                return failed(self.name, LeakReason.INTERNAL, f"the question names {name!r}, which it has to describe")
        nearly = _narrow_range(draft)
        if nearly is not None:
            return failed(self.name, LeakReason.NEAR_VALUE, f"the question says that {nearly}")
        return self._near(draft, said)

    def _near(self, draft: Draft, said: tuple[str, ...]) -> Verdict:
        literal = draft.answer.type != "entity"
        names = draft.hidden_names if literal else (*accepted_forms(draft.answer), *draft.hidden_names)
        for name in dict.fromkeys(names):
            words = words_of(name)
            plain = " ".join(words)
            if len(plain) < NEAR_MIN_CHARS or plain.replace(" ", "").isdigit():
                continue
            windows = [" ".join(said[i : i + len(words)]) for i in range(len(said) - len(words) + 1)]
            near = process.extractOne(plain, windows, scorer=fuzz.ratio, score_cutoff=NEAR_RATIO)
            if near is not None:
                return failed(self.name, LeakReason.NEAR, f"{near[0]!r} is a near form of {name!r}")
        return passed(self.name)


def _narrow_range(draft: Draft) -> str | None:
    """A clue of the root whose range holds the asked number within a tenth or so, such as land area beside area."""
    key = parse_literal(draft.answer.canonical, "number", draft.answer.unit) if draft.answer.type == "number" else None
    for clue in draft.query.root.clues:
        if isinstance(clue, Within) and clue.kind == "number" and key is not None and clue.unit == key.unit:
            narrow = clue.high - clue.low <= NARROW_SHARE * abs(key.high)
            if narrow and clue.low <= key.low and key.high <= clue.high:
                return f"{clue.relation} is {clue.low:g} to {clue.high:g}, and the answer is {draft.answer.text}"
    return None


@lru_cache(maxsize=8)
def _words_of_types(texts: tuple[str, ...]) -> frozenset[str]:
    return frozenset(word for text in texts for word in words_of(text))


def _type_words(catalogue: Catalogue) -> frozenset[str]:
    return _words_of_types(tuple(word for t in catalogue.types.values() for word in (t.singular, t.plural)))
