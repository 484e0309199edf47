"""Reads structured rows: label to relation, value to entities or literals.

Head coach: Alba Trenn (since 3 March 2025)       a date phrase in parentheses belongs to the statement
Border countries: Libya 989 km; Mali 1,359 km     measures after a linked name are not part of it
Population: 1,340,478 (2025 est.)                 other parentheses after a literal are notes
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from datagen.knowledge.catalogue import Catalogue, Relation
from datagen.knowledge.corpus_values import (
    ValueRule,
    cut_value,
    is_clean_item,
    is_clean_name,
    is_clean_text,
    is_kept,
    linked_items,
    list_items,
    names_in,
    rules_of,
    strip_remarks,
)
from datagen.knowledge.dating import Stated, read_phrase
from datagen.knowledge.notes import PageNotes, Term, name_key, read_literal
from datagen.knowledge.structured_rows import Row, Span, split_items, trim
from datagen.records.fact import Closure, Literal
from datagen.records.page import LOW_TRUST_KINDS

_QUOTES = '"“”'
_YEAR = re.compile(r"\b\d{4}\b")
_NOTE = re.compile(r"\s*\(([^()]*)\)$")
_AFTER_NAME = re.compile(r"(?:\s*\([^()]*\))?(?:\s+[\d.,]+\s?(?:%|km|mi|m))?(?:\s*\([^()]*\))?")
_MEASURED = re.compile(r"(?P<name>.+?)(?:\s+[\d.,]+\s?(?:%|km|mi|m)?)?(?:\s*\([^()]*\))*")
_MAX_NAME = 80


@dataclass(frozen=True, slots=True)
class _Value:
    value: Term | Literal
    stated: Stated | None


class RowReader:
    """Labels of a catalogue, ready for look-up.

    Rows of `complete` relations (ids) are taken to list all objects by the convention of the corpus: an assumption that
    a config makes, not a statement of the page.
    """

    def __init__(self, catalogue: Catalogue, complete: frozenset[str] = frozenset()) -> None:
        self._catalogue = catalogue
        self._complete = complete
        self._rules = {r.id: rules_of(catalogue.properties, r.id) for r in catalogue.relations.values()}
        self._none_if: dict[str, list[Relation]] = {}
        for relation_id, rule in self._rules.items():
            if rule.none_if:
                self._none_if.setdefault(_fold(rule.none_if), []).append(catalogue.relations[relation_id])
        self._labels: dict[str, list[Relation]] = {}
        for relation in catalogue.relations.values():
            for label in dict.fromkeys((relation.label, *relation.labels)):
                self._labels.setdefault(_fold(label), []).append(relation)
        self._aliases = {_fold(n.removeprefix("alias:")) for n in catalogue.properties if n.startswith("alias:")}
        self._choices: dict[tuple[str, str | None], tuple[Relation, ...]] = {}
        self._known: dict[str, bool] = {}

    def is_label(self, label: str) -> bool:
        known = self._known.get(label)
        if known is None:
            known = (folded := _fold(label)) in self._labels or folded in self._aliases
            if len(self._known) < 100_000:
                self._known[label] = known
        return known

    def _relations(self, label: str, type_id: str | None) -> tuple[Relation, ...]:
        choice = self._choices.get((label, type_id))
        if choice is None:
            relations = self._labels[_fold(label)]
            choice = tuple(r for r in relations if self._catalogue.applies(r, type_id))
            self._choices[label, type_id] = choice
        return choice

    def read(self, notes: PageNotes, row: Row, list_type: str | None) -> None:
        """Add the facts of one row; `list_type` is the type of a list page's entries where the page tells it."""
        subject = notes.subject_term() if row.subject is None else _record_subject(notes, row.subject, list_type)
        if subject is None:
            return notes.skip("no_subject")
        if _fold(row.label) in self._aliases:
            if row.subject is None:
                notes.aliases.extend(names_in(notes.page.text[row.value[0] : row.value[1]]))
            return None
        relations = self._relations(row.label, subject.type)
        if not relations:
            return notes.skip("subject_type")
        readings = [(r, values) for r in relations if (values := self._values(notes, r, row)) is not None]
        if len(readings) != 1:
            return notes.skip("ambiguous_label" if readings else "untyped_value")
        relation, values = readings[0]
        subject = _typed(subject, relation)
        if subject is None:
            return notes.skip("no_subject")
        unread = 0
        for value in values:
            if value is None:
                unread += 1
                notes.skip("untyped_item")
            else:
                notes.add(subject, relation, value.value, row.span, value.stated)
        if not unread and (row.complete or relation.id in self._complete):
            self._close(notes, row, relation, subject)
        for empty in self._none_if.get(_fold(row.label), ()):
            if _is_zero(values):
                self._close(notes, row, empty, subject)
        return None

    def _values(self, notes: PageNotes, relation: Relation, row: Row) -> tuple[_Value | None, ...] | None:
        if relation.origin == "induced":
            return _read_corpus_values(notes, relation, row, self._rules[relation.id])
        return _read_values(notes, relation, row)

    def _close(self, notes: PageNotes, row: Row, relation: Relation, subject: Term) -> None:
        if notes.page.source_kind in LOW_TRUST_KINDS:
            return notes.skip("closure_low_trust")
        if relation.object_kind != "entity":
            return notes.skip("closure_of_literals")
        evidence = notes.evidence(row.span)
        members = tuple(
            dict.fromkeys(
                fact.object_key
                for fact in notes.facts
                if fact.subject == subject.key and fact.relation == relation.id and fact.evidence is evidence
                if fact.object_key is not None
            )
        )
        when = notes.page.published_at if relation.changes else None
        notes.closures.append(Closure("objects", relation.id, subject.key, None, None, members, evidence, when))
        return None


def _fold(label: str) -> str:
    return " ".join(label.casefold().split())


def _record_subject(notes: PageNotes, span: Span, list_type: str | None) -> Term | None:
    link = notes.link_at.get(span[0])
    if link is not None:
        term = notes.linked(link)
        return term if term.type or list_type is None else Term(term.key, term.name, list_type)
    known = notes.entity_in(*span)
    name = notes.page.text[span[0] : span[1]]
    if known is not None or not name or len(name) > _MAX_NAME:
        return known
    return Term("", name, list_type)


def _typed(subject: Term, relation: Relation) -> Term | None:
    """Give a subject that is known by name only its key, if its type is clear."""
    if subject.key:
        return subject
    wanted = subject.type or (relation.subject_types[0] if len(relation.subject_types) == 1 else None)
    return Term(name_key(wanted, subject.name), subject.name, wanted) if wanted else None


def _read_values(notes: PageNotes, relation: Relation, row: Row) -> tuple[_Value | None, ...] | None:
    """The row's objects, None for an item that cannot be read; None where the row as a whole cannot."""
    text = notes.page.text
    default = read_phrase(row.when) if row.when else None
    if relation.single and relation.object_kind != "entity":
        value = _read_item(notes, relation, row.value, default)
        return None if value is None else (value,)
    items = [_read_item(notes, relation, span, default) for span in split_items(text, row.value)]
    if (relation.single and len(items) != 1) or not any(items):
        return None
    return tuple(items)


def _is_zero(values: tuple[_Value | None, ...]) -> bool:
    literals = [value.value for value in values if value is not None and isinstance(value.value, Literal)]
    return len(literals) == 1 and literals[0].kind == "number" and literals[0].low == literals[0].high == 0


def _read_corpus_values(
    notes: PageNotes, relation: Relation, row: Row, rule: ValueRule
) -> tuple[_Value | None, ...] | None:
    """The same for a relation that was made from a label, by the conventions of `corpus_values`."""
    text = notes.page.text
    _, stamp, remarks = strip_remarks(text, row.value)
    if (rule.year is not None and stamp != rule.year) or not is_kept(text, row.value, rule):
        return None
    stated = next(filter(None, map(read_phrase, remarks)), None)
    span = cut_value(text, row.value, rule)
    if relation.object_kind == "entity":
        items = linked_items(text, span, rule.separator) if rule.separator else [span]
        terms = [_read_linked(notes, relation, item) for item in items]
        return tuple(_Value(term, stated) if term else None for term in terms) if any(terms) else None
    if rule.separator:
        spans = list(list_items(text, span, rule.separator))
        texts = [written if is_clean_item(written := text[a:b]) else None for a, b in spans]
        return tuple(_Value(Literal("text", t), stated) if t else None for t in texts) if any(texts) else None
    written = text[span[0] : span[1]].strip(_QUOTES)
    unreadable = (relation.object_kind == "text" and not is_clean_text(written)) or (
        relation.object_kind == "date" and not _YEAR.search(written)
    )
    literal = None if unreadable else _read_figure(written, relation, rule)
    return None if literal is None else (_Value(literal, stated),)


def _read_figure(written: str, relation: Relation, rule: ValueRule) -> Literal | None:
    if rule.unit is None:
        return read_literal(written, relation.object_kind, relation.unit)
    literal = read_literal(written, relation.object_kind, rule.unit)
    if literal is None or not literal.text.endswith(rule.unit):
        return None
    text = literal.text.removesuffix(rule.unit).strip() + ("%" if relation.unit == "%" else "")
    return replace(literal, text=text, unit=relation.unit)


def _read_linked(notes: PageNotes, relation: Relation, span: Span) -> Term | None:
    """An item that begins with a link; else a bare name, which must turn out to be that of a known entity."""
    text, (start, end) = notes.page.text, span
    link = notes.link_at.get(start)
    if link is not None and link.end <= end and _AFTER_NAME.fullmatch(text, link.end, end):
        return notes.linked(link)
    match = _MEASURED.fullmatch(text, start, end)
    if match is None or len(relation.object_types) != 1 or not is_clean_name(name := match["name"]):
        return None
    return Term(name_key(relation.object_types[0], name), name)


def _read_item(notes: PageNotes, relation: Relation, span: Span, default: Stated | None) -> _Value | None:
    text = notes.page.text
    note = _NOTE.search(text, *span) if text[span[1] - 1 : span[1]] == ")" else None
    stated = read_phrase(note.group(1)) if note else None
    if note and stated:
        span = trim(text, span[0], note.start())
    value: Term | Literal | None
    if relation.object_kind == "entity":
        value = _read_entity(notes, relation, span)
    else:
        value = read_literal(text[span[0] : span[1]], relation.object_kind, relation.unit)
        if value is None and note:
            value = read_literal(text[span[0] : note.start()], relation.object_kind, relation.unit)
    return None if value is None else _Value(value, stated or default)


def _read_entity(notes: PageNotes, relation: Relation, span: Span) -> Term | None:
    text, (start, end) = notes.page.text, span
    link = notes.link_at.get(start)
    if link is not None:
        fits = link.end <= end and _AFTER_NAME.fullmatch(text, link.end, end)
        return notes.linked(link) if fits else None
    if any(start < other.end and other.start < end for other in notes.page.links):
        return None
    known = notes.entity_in(start, end)
    name = text[start:end]
    if known is not None or len(name) > _MAX_NAME or not relation.object_types:
        return known
    return Term(name_key(relation.object_types[0], name), name)
