"""The answer must be gradable: of one type, in a canonical form that reads back, and the sort of thing that is asked for.

    entity   has a key, a name with a letter in it, and a type that is the asked vertex's type or narrower
    date     canonical "1901", "1901-03" or "1901-03-03", a day that exists
    number   canonical "digits unit", the unit that the asked relation declares
    text     short enough to be said in one breath

A question that asks for a relation's value must get that relation's kind of object; one that asks for the root gets an
entity. Types and relations that the catalogue does not know restrict nothing, and without a certificate an entity needs no
key: its name is what the search for rivals compares.
"""

from __future__ import annotations

from enum import StrEnum

from datagen.knowledge.answer_forms import normalise_answer, words_of
from datagen.knowledge.catalogue import Catalogue
from datagen.knowledge.literals import parse_literal
from datagen.records.question import Answer, Verdict
from datagen.synthesis.answers import literal_answer
from datagen.synthesis.draft import Draft
from datagen.verification.gate import GateContext, failed, passed

MAX_TEXT_WORDS = 6


class AnswerTypeReason(StrEnum):
    WRONG_KIND = "not_what_is_asked"
    WRONG_CLASS = "entity_of_another_class"
    WRONG_UNIT = "another_unit"
    NOT_CANONICAL = "canonical_form_does_not_read_back"
    UNGRADABLE = "ungradable_text"
    TOO_LONG = "too_long"


class AnswerTypeGate:
    name = "answer_type"
    cost = 6

    def check(self, draft: Draft, context: GateContext) -> Verdict:
        answer = draft.answer
        if not normalise_answer(answer.text) or not normalise_answer(answer.canonical):
            return failed(self.name, AnswerTypeReason.UNGRADABLE, f"nothing is left of {answer.text!r} to compare")
        limit = MAX_TEXT_WORDS if answer.type == "text" else context.settings.max_answer_words
        if len(words_of(answer.text)) > limit:
            return failed(self.name, AnswerTypeReason.TOO_LONG, f"{answer.text!r} has more than {limit} words")
        asked = self._asked_kind(draft, context.catalogue)
        if asked is not None and answer.type != asked:
            detail = f"the question asks for a value of kind {asked}, the answer is a {answer.type}"
            return failed(self.name, AnswerTypeReason.WRONG_KIND, detail)
        if answer.type == "entity":
            return self._entity(draft, context.catalogue)
        return self._literal(draft, context.catalogue)

    def _asked_kind(self, draft: Draft, catalogue: Catalogue) -> str | None:
        if draft.query.ask is None:
            return "entity"
        relation = catalogue.relations.get(draft.query.ask)
        return None if relation is None else relation.object_kind

    def _entity(self, draft: Draft, catalogue: Catalogue) -> Verdict:
        answer, asked = draft.answer, draft.query.root.type
        nameless = answer.key is None and draft.certificate is not None
        if nameless or not any(c.isalpha() for c in answer.text):
            return failed(
                self.name, AnswerTypeReason.UNGRADABLE, f"{answer.text!r} names no entity that can be compared"
            )
        if asked is None or answer.entity_type is None:
            return passed(self.name)
        unknown = draft.certificate is None and not {asked, answer.entity_type} <= catalogue.types.keys()
        if not unknown and not catalogue.is_a(answer.entity_type, asked):
            detail = f"the question asks for a {asked}, the answer is a {answer.entity_type}"
            return failed(self.name, AnswerTypeReason.WRONG_CLASS, detail)
        return passed(self.name)

    def _literal(self, draft: Draft, catalogue: Catalogue) -> Verdict:
        answer = draft.answer
        if not _reads_back(answer):
            return failed(self.name, AnswerTypeReason.NOT_CANONICAL, f"{answer.canonical!r} is no {answer.type}")
        relation = catalogue.relations.get(draft.query.ask) if draft.query.ask else None
        wanted = relation.unit if relation else ""
        if answer.type == "number" and wanted and answer.unit != wanted:
            return failed(
                self.name, AnswerTypeReason.WRONG_UNIT, f"the answer is in {answer.unit!r}, asked is {wanted!r}"
            )
        return passed(self.name)


def _reads_back(answer: Answer) -> bool:
    if answer.type not in ("date", "number"):
        return True
    value = parse_literal(answer.canonical, answer.type, answer.unit)
    return value is not None and literal_answer(value) is not None
