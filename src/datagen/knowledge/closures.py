"""Sentences and rows by which a page says that a list is complete.

    This is a complete list of all clubs that play in the Northern League, as of 1 January 2026.
    Official languages (complete): Velt; Ostran

The members are the subjects of the page's record rows and list items. A list with a member that cannot be told, a list
without members, and a list of a kind of page that is not trusted close nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from datagen.knowledge.catalogue import CLOSURE_MEMBERS_FORMS, CLOSURE_SUBJECTS_FORMS, Catalogue, Relation
from datagen.knowledge.dating import DATE, day_range
from datagen.knowledge.notes import PageNotes, Term, name_key, read_literal
from datagen.knowledge.sentences import split_sentences
from datagen.knowledge.structured_rows import Span
from datagen.records.fact import Closure, Literal
from datagen.records.page import LOW_TRUST_KINDS

_AS_OF = re.compile(rf",? as of ({DATE})$")


@dataclass(frozen=True, slots=True)
class _Form:
    before: str
    after: str
    takes_clue: bool


def _cut_forms() -> tuple[_Form, ...]:
    forms = []
    for template in (*CLOSURE_SUBJECTS_FORMS, *CLOSURE_MEMBERS_FORMS):
        before, _, after = template.partition("{plural}")
        takes_clue = "{clue}" in after
        forms.append(_Form(before, after.replace("{clue}", "").strip(), takes_clue))
    return tuple(dict.fromkeys(forms))


_FORMS = _cut_forms()
_LEADS = tuple(dict.fromkeys(form.before for form in _FORMS))


class ClosureReader:
    """Finds the sentences that close a list, in the words of the catalogue's clues."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._plurals = sorted(
            ((kind.plural, kind.id) for kind in catalogue.types.values()), key=lambda pair: (-len(pair[0]), pair[1])
        )
        self._clues: list[tuple[str, str, Relation]] = []
        for relation in catalogue.relations.values():
            for template in relation.clue:
                before, slot, after = template.partition("{o}")
                if slot:
                    self._clues.append((before, after, relation))
        self._clues.sort(key=lambda clue: -len(clue[0]))

    def read(self, notes: PageNotes, paragraphs: tuple[Span, ...], members: tuple[Span, ...]) -> None:
        """Add to the notes what the paragraphs declare complete; `members` are the spans of the list's items."""
        text = notes.page.text
        if not any(lead in text for lead in _LEADS):
            return
        for paragraph in paragraphs:
            links = [(link.start, link.end) for link in notes.page.links]
            for start, end in split_sentences(text, paragraph, links):
                for form in _FORMS:
                    if text.startswith(form.before, start) and self._read_sentence(notes, (start, end), form, members):
                        break

    def _read_sentence(self, notes: PageNotes, sentence: Span, form: _Form, members: tuple[Span, ...]) -> bool:
        text = notes.page.text
        start, end = sentence[0] + len(form.before), sentence[1]
        while end > start and text[end - 1] in ".! ":
            end -= 1
        when, end = _read_date(text, start, end)
        if form.after and not text.endswith(form.after, start, end):
            return False
        end -= len(form.after)
        for plural, type_id in self._plurals:
            if text.startswith(plural, start) and (start + len(plural) == end or text[start + len(plural)] == " "):
                rest = (start + len(plural) + 1, end)
                if form.takes_clue == (rest[0] >= rest[1]):
                    return False
                self._close(notes, sentence, type_id, rest if form.takes_clue else None, (members, when))
                return True
        return False

    def _close(
        self,
        notes: PageNotes,
        sentence: Span,
        type_id: str,
        clue: Span | None,
        content: tuple[tuple[Span, ...], str | None],
    ) -> None:
        spans, when = content
        if notes.page.source_kind in LOW_TRUST_KINDS:
            return notes.skip("closure_low_trust")
        members = read_members(notes, spans, type_id)
        if not members:
            return notes.skip("closure_without_members")
        evidence = notes.evidence(sentence)
        if clue is None:
            notes.closures.append(Closure("members", "", None, None, type_id, members, evidence, when))
            return None
        meaning = self._read_clue(notes, clue, type_id)
        if meaning is None:
            return notes.skip("closure_unclear")
        relation, value = meaning
        if relation.changes:
            when = when or notes.page.published_at
            if when is None:
                return notes.skip("closure_undated")
        key = value.key if isinstance(value, Term) else None
        literal = None if isinstance(value, Term) else value
        notes.closures.append(Closure("subjects", relation.id, key, literal, type_id, members, evidence, when))
        return None

    def _read_clue(self, notes: PageNotes, span: Span, type_id: str) -> tuple[Relation, Term | Literal] | None:
        """The relation and object of a clue such as `whose home ground is Hill End`; None unless there is just one."""
        text, catalogue = notes.page.text, self._catalogue
        start, end = span
        while end > start and text[end - 1].isspace():
            end -= 1
        found: list[tuple[Relation, Term | Literal]] = []
        for before, after, relation in self._clues:
            if not text.startswith(before, start) or not text.endswith(after, start, end):
                continue
            if not any(catalogue.is_a(type_id, t) or catalogue.is_a(t, type_id) for t in relation.subject_types):
                continue
            value = _read_value(notes, relation, (start + len(before), end - len(after)))
            if value is not None:
                found.append((relation, value))
        return found[0] if len({relation.id for relation, _ in found}) == 1 else None


def _read_date(text: str, start: int, end: int) -> tuple[str | None, int]:
    match = _AS_OF.search(text, start, end) if " as of " in text[start:end] else None
    days = day_range(match.group(1)) if match else None
    if match is None or days is None:
        return None, end
    # A coarse date closes the list on the first day it may mean: later additions are not denied.
    return date.fromordinal(days[0]).isoformat(), match.start()


def _read_value(notes: PageNotes, relation: Relation, span: Span) -> Term | Literal | None:
    written = notes.page.text[span[0] : span[1]]
    if relation.object_kind != "entity":
        return read_literal(written, relation.object_kind, relation.unit)
    known = notes.entity_in(*span)
    if known is not None:
        return known if notes.fits(relation, known.type) else None
    if any(span[0] < link.end and link.start < span[1] for link in notes.page.links):
        return None
    return Term(name_key(relation.object_types[0], written), written) if len(relation.object_types) == 1 else None


def read_members(notes: PageNotes, spans: tuple[Span, ...], type_id: str) -> tuple[str, ...]:
    """Keys of the items of a list, in its order."""
    keys: dict[str, None] = {}
    for start, end in spans:
        link = notes.link_at.get(start)
        name = notes.page.text[start:end]
        keys[link.url if link is not None else name_key(type_id, name)] = None
    return tuple(keys)
