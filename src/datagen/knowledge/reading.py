"""Reads a page: text, links and metadata in, facts with evidence out.

This is all that symbolic solvers know about a page they visit, and what a snapshot's facts table is made of, so it
looks at nothing but the page itself. Four parts, each in its own module, write to the same `PageNotes`:

    structured rows about the page's subject and record rows    structured_rows, rows
    sentences that match a prose form of the catalogue          prose_forms, prose
    lists that the page declares complete                       closures
    whom the page is about                                      subjects

What cannot be typed, dated or told apart is not guessed: it is counted in `Reading.skipped` under a reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from datagen.knowledge.catalogue import Catalogue
from datagen.knowledge.closures import ClosureReader
from datagen.knowledge.kept import Kept
from datagen.knowledge.notes import PageNotes
from datagen.knowledge.prose import ProseReader
from datagen.knowledge.rows import RowReader
from datagen.knowledge.structured_rows import split_page
from datagen.knowledge.subjects import PROFILE_KINDS, Subject, TypeNames, find_subject
from datagen.records.fact import Closure, Entity, Fact
from datagen.records.page import Page


@dataclass(frozen=True, slots=True)
class Reading:
    """What one page says. `mentions` are its links as (address, anchor), each once."""

    page_id: str
    url: str
    source_kind: str
    facts: tuple[Fact, ...]
    closures: tuple[Closure, ...]
    entity: Entity | None
    mentions: tuple[tuple[str, str], ...]
    skipped: Mapping[str, int]

    @property
    def is_profile(self) -> bool:
        """Whether a link to this page is a link to its entity."""
        return self.entity is not None and self.source_kind in PROFILE_KINDS


class Reader:
    """A catalogue compiled for reading; build one per process and use it for every page.

    `complete_relations` are relations of which every row is assumed to list all objects (a convention of the corpus
    that a config vouches for); whoever sets them records the assumption with what is concluded from it.
    """

    def __init__(self, catalogue: Catalogue, complete_relations: Iterable[str] = ()) -> None:
        self.catalogue = catalogue
        self.types = TypeNames(catalogue)
        self._rows = RowReader(catalogue, frozenset(complete_relations))
        self._prose = ProseReader(catalogue)
        self._closures = ClosureReader(catalogue)

    def read(self, page: Page) -> Reading:
        """All that `page` states, in the order of its text."""
        parts = split_page(page.text, self._rows.is_label)
        list_type = self.types.find_in_title(page.title) if parts.members else None
        subject = find_subject(page, self.types, self.catalogue)
        if subject is not None and subject.key == page.url and list_type and not parts.own_rows:
            subject = None  # "Bridges of Veltrin" with entries and no row of its own is a list, whatever its kind
        notes = PageNotes(page, subject, self.catalogue, self.types)
        for row in parts.rows:
            self._rows.read(notes, row, list_type)
        self._prose.read(notes, parts.prose)
        self._closures.read(notes, parts.prose, parts.members)
        return Reading(
            page.id,
            page.url,
            page.source_kind,
            tuple(notes.facts),
            tuple(notes.closures),
            _entity(subject, notes),
            tuple(dict.fromkeys((link.url, link.anchor) for link in page.links)),
            dict(sorted(notes.skipped.items())),
        )


def _entity(subject: Subject | None, notes: PageNotes) -> Entity | None:
    if subject is None or subject.name is None:
        return None
    # A page of no known type that states nothing about itself is an index or a notice, not an entity.
    if subject.type is None and not any(fact.subject == subject.key for fact in notes.facts):
        return None
    aliases = dict.fromkeys((*subject.aliases, *notes.aliases))
    return Entity(subject.key, subject.name, subject.type, tuple(name for name in aliases if name != subject.name))


class CachedReader:
    """A reader that remembers the last pages it read: solvers come back to the same ones."""

    def __init__(self, reader: Reader, size: int = 4096) -> None:
        self._reader = reader
        self._readings: Kept[str, Reading] = Kept(size)

    @property
    def catalogue(self) -> Catalogue:
        return self._reader.catalogue

    def read(self, page: Page) -> Reading:
        return self._readings.get(page.id, lambda: self._reader.read(page))
