"""Reads statements from sentences.

    As of 3 March 2025, | Harlan Rovers | play their home matches at | Hill End |, and ...
    lead-in               slot            middle of a form             slot       tail

A hit of the automaton is a statement only if everything around it fits: the left slot begins where the sentence (or
its lead-in, or a clause after a comma) begins, the right slot ends where the sentence, a date phrase or a new clause
begins. A slot is a link's anchor, a name or pronoun of the page's subject, a proper name, or a literal.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from datagen.knowledge.catalogue import Catalogue, Relation
from datagen.knowledge.dating import DATE, Stated, read_lead, read_phrase
from datagen.knowledge.notes import PageNotes, Term, name_key, read_literal
from datagen.knowledge.prose_forms import Form, build_automaton, compile_forms
from datagen.knowledge.sentences import is_command, is_doubted, is_quoted, split_sentences
from datagen.knowledge.structured_rows import Span
from datagen.records.fact import Literal

_CLAUSE = re.compile(r",? and |; |, while |, whereas ")
_TAIL_DATE = re.compile(
    rf",?\s*\(?((?:as of|on|in|effective|since|from|between)\s+{DATE}(?:\s+(?:until|till|to|and)\s+{DATE})?)\)?",
    re.IGNORECASE,
)
_TAIL_CLAUSE = re.compile(r",? and |; |, (?:which|where|who|while|whose|with|a|an|the) ")
_LEAD_WORDS = re.compile(r"(?:Today|Currently|At present|Nowadays|Officially|Now),?\s+")
_NAME = re.compile(
    r"(?:[^\W\d_a-z][\w.’'&-]*|\d+)(?: (?:[^\W\d_a-z][\w.’'&-]*|\d+|of|the|de|la|le|du|von|van|al|el|di|da|on|in))*"
)
_SEPARATOR = re.compile(r", and |, | and ")
_STOP = '.!?"”’'


@dataclass(frozen=True, slots=True)
class _Clause:
    """The part of a sentence in which a form may match: `starts` are the places where a left slot may begin."""

    sentence: Span
    starts: tuple[int, ...]
    end: int
    stated: Stated | None
    pronouns: bool
    """Whether a pronoun here surely means the page's subject."""


@dataclass(frozen=True, slots=True)
class _Statement:
    subject: Term
    relation: Relation
    values: tuple[Term | Literal, ...]
    stated: Stated | None


_Hit = tuple[int, int, tuple[Form, ...]]


class ProseReader:
    """All prose forms of a catalogue, compiled once."""

    def __init__(self, catalogue: Catalogue) -> None:
        forms = compile_forms(catalogue)
        self._automaton = build_automaton(forms) if forms else None

    def read(self, notes: PageNotes, paragraphs: Sequence[Span]) -> None:
        """Add what the paragraphs state to the notes."""
        if self._automaton is None or not paragraphs:
            return
        firsts = [span[0] for span in paragraphs]
        hits: dict[int, list[_Hit]] = {}
        for last, (length, forms) in self._automaton.iter(notes.page.text, firsts[0], paragraphs[-1][1]):
            index = bisect_right(firsts, last) - 1
            if last < paragraphs[index][1]:
                hits.setdefault(index, []).append((last + 1 - length, last + 1, forms))
        for index, found in hits.items():
            self._read_paragraph(notes, paragraphs[index], found)

    def _read_paragraph(self, notes: PageNotes, paragraph: Span, hits: list[_Hit]) -> None:
        text = notes.page.text
        if is_command(text[paragraph[0] : paragraph[1]]):
            return notes.skip("command")
        sentences = list(split_sentences(text, paragraph, [(link.start, link.end) for link in notes.page.links]))
        firsts = [span[0] for span in sentences]
        by_sentence: dict[int, list[_Hit]] = {}
        for hit in hits:
            index = bisect_right(firsts, hit[0]) - 1
            if hit[1] <= sentences[index][1]:
                by_sentence.setdefault(index, []).append(hit)
        for index, found in by_sentence.items():
            before = sentences[index - 1] if index else None
            self._read_sentence(notes, sentences[index], before, found)
        return None

    def _read_sentence(self, notes: PageNotes, sentence: Span, before: Span | None, hits: list[_Hit]) -> None:
        text = notes.page.text
        statements: list[tuple[int, _Statement]] = []
        taken: list[Span] = []
        # The longest middle wins: "is the home ground of" before "is".
        for start, end, forms in sorted(hits, key=lambda hit: (hit[0] - hit[1], hit[0])):
            if any(start < b and a < end for a, b in taken):
                continue
            clause = _find_clause(notes, sentence, before, start)
            found = [found for form in forms if (found := _match(notes, clause, (start, end), form))]
            if found:
                taken.append((start, end))
                if is_quoted(text, sentence, start):
                    notes.skip("quoted")
                elif len({statement.relation.id for statement in found}) > 1:
                    notes.skip("ambiguous_sentence")
                else:
                    statements.append((start, found[0]))
        if statements and is_doubted(text[sentence[0] : sentence[1]]):
            return notes.skip("doubted")
        for _, statement in sorted(statements, key=lambda pair: pair[0]):
            for value in statement.values:
                notes.add(statement.subject, statement.relation, value, sentence, statement.stated)
        return None


def _find_clause(notes: PageNotes, sentence: Span, before: Span | None, hit: int) -> _Clause:
    text = notes.page.text
    stated, start = read_lead(text, sentence[0], sentence[1])
    lead = _LEAD_WORDS.match(text, start, sentence[1])
    start = lead.end() if lead else start
    starts = [start, *(m.end() for m in _CLAUSE.finditer(text, start, hit))]
    end = sentence[1]
    while end > hit and text[end - 1] in _STOP:
        end -= 1
    return _Clause(sentence, tuple(starts), end, stated, _subject_in_view(notes, before))


def _subject_in_view(notes: PageNotes, before: Span | None) -> bool:
    """A sentence that opens with another entity and leaves out the page's own makes the next pronoun unclear."""
    subject = notes.subject
    if subject is None or notes.page.source_kind in ("list", "table"):
        return False
    link = notes.link_at.get(before[0]) if before else None
    if before is None or link is None or link.url == subject.key:
        return True
    spoken = notes.page.text[before[0] : before[1]]
    named = (*subject.names, *(word for word in subject.pronouns if word.startswith("the ")))
    return any(word in spoken for word in named)


def _match(notes: PageNotes, clause: _Clause, middle: Span, form: Form) -> _Statement | None:
    text = notes.page.text
    for start in clause.starts:
        if form.before and not _begins(text, start, form.before):
            continue
        left = (start + len(form.before), middle[0])
        for right_end, rest in _right_ends(notes, clause, middle[1], form):
            right = (middle[1], right_end)
            subject_span, object_span = (left, right) if form.subject_first else (right, left)
            subject = _subject(notes, clause, subject_span, form)
            if subject is None or not notes.catalogue.applies(form.relation, subject.type):
                continue
            tail = _read_rest(notes, clause, rest)
            values = _values(notes, clause, object_span, form.relation) if tail else ()
            if tail and values:
                return _Statement(subject, form.relation, values, tail.stated or clause.stated)
    return None


def _begins(text: str, start: int, words: str) -> bool:
    """`words` stand at `start`; the first letter may be capital there."""
    return text.startswith(words, start) or (
        text[start : start + 1].lower() == words[:1].lower() and text.startswith(words[1:], start + 1)
    )


def _right_ends(notes: PageNotes, clause: _Clause, start: int, form: Form) -> Iterator[tuple[int, int]]:
    """Where the right slot may end, and where the sentence goes on after the form's last words."""
    text = notes.page.text
    if form.relation.single or not form.subject_first:
        for first in (start, start + 4 if text.startswith("the ", start) else start):
            link = notes.link_at.get(first)
            if link is not None:
                if text.startswith(form.after, link.end):
                    yield link.end, link.end + len(form.after)
                return
    if form.after:
        found = text.find(form.after, start, clause.end)
        if found != -1:
            yield found, found + len(form.after)
        return
    if form.relation.object_kind == "text" and form.subject_first:
        end = _text_end(text, start, clause.end)
        yield end, end
        return
    yield clause.end, clause.end
    for pattern in (_TAIL_DATE, _TAIL_CLAUSE):
        for match in pattern.finditer(text, start + 1, clause.end):
            yield match.start(), match.start()


def _text_end(text: str, start: int, end: int) -> int:
    """Where a text value ends: at its closing quotation mark, else before the next clause (`green and white` is one)."""
    if text[start] in '"“':
        close = min((c for q in '"”' if (c := text.find(q, start + 1, end + 2)) != -1), default=-1)
        if close != -1:
            return min(close + 1, end)
    match = re.compile(r", (?:and|which|where|who|while) |; ").search(text, start, end)
    return match.start() if match else end


@dataclass(frozen=True, slots=True)
class _Tail:
    stated: Stated | None = None


def _read_rest(notes: PageNotes, clause: _Clause, start: int) -> _Tail | None:
    """The date phrase after a statement; None where the sentence goes on in a way that may change its meaning."""
    text = notes.page.text
    match = _TAIL_DATE.match(text, start, clause.end)
    stated = read_phrase(match.group(1)) if match else None
    if match and stated:
        start = match.end()
    if start >= clause.end:
        return _Tail(stated)
    match = _TAIL_CLAUSE.match(text, start, clause.end)
    # "at Hill End and Low Field": a second name, not a second clause.
    if (
        match is None
        or _NAME.fullmatch(text, match.end(), clause.end)
        or _ends_with_link(notes, match.end(), clause.end)
    ):
        return None
    return _Tail(stated)


def _ends_with_link(notes: PageNotes, start: int, end: int) -> bool:
    link = notes.link_at.get(start)
    if link is None:
        return False
    match = _TAIL_DATE.match(notes.page.text, link.end, end)
    return (match.end() if match else link.end) >= end


def _subject(notes: PageNotes, clause: _Clause, span: Span, form: Form) -> Term | None:
    text = notes.page.text[span[0] : span[1]]
    subject = notes.subject
    if form.possessive:
        return notes.subject_term() if subject and clause.pronouns and text in subject.possessives else None
    return _entity(notes, clause, span, form.relation.subject_types)


def _entity(notes: PageNotes, clause: _Clause, span: Span, wanted: tuple[str, ...]) -> Term | None:
    """The entity a slot names: link, page's subject, or a proper name of which the type is known."""
    known = notes.entity_in(*span)
    if known is not None:
        return known
    name = notes.page.text[span[0] : span[1]]
    if notes.subject is not None and name in notes.subject.pronouns:
        return notes.subject_term() if clause.pronouns else None
    if any(span[0] < link.end and link.start < span[1] for link in notes.page.links):
        return None
    if len(wanted) != 1 or len(name) > 80 or not _NAME.fullmatch(name):
        return None
    return Term(name_key(wanted[0], name), name, wanted[0])


def _values(notes: PageNotes, clause: _Clause, span: Span, relation: Relation) -> tuple[Term | Literal, ...]:
    """The objects that a slot names, all of them of types that fit; none if one cannot be read."""
    if relation.object_kind != "entity":
        literal = read_literal(notes.page.text[span[0] : span[1]], relation.object_kind, relation.unit)
        return (literal,) if literal is not None else ()
    spans = [span] if relation.single else list(_enumerated(notes, span))
    terms = [_entity(notes, clause, item, relation.object_types) for item in spans]
    known = [term for term in terms if term is not None and notes.fits(relation, term.type)]
    return tuple(known) if known and len(known) == len(spans) else ()


def _enumerated(notes: PageNotes, span: Span) -> Iterator[Span]:
    """The items of `A, B and C`; separators inside a link's anchor do not count.

    "Storm and Silence" may be two names or one: nothing is read where an "and" stands between two names without links.
    """
    text, (start, end) = notes.page.text, span
    ends = {link.end for link in notes.page.links}
    items: list[Span] = []
    for match in _SEPARATOR.finditer(text, start, end):
        if any(link.start < match.end() and match.start() < link.end for link in notes.page.links):
            continue
        if "and" in match.group() and match.start() not in ends and match.end() not in notes.link_at:
            return
        items.append((start, match.start()))
        start = match.end()
    yield from (*items, (start, end))
