"""The catalogue: which types and relations exist, and the words for them.

One `Relation` drives both directions of language: sentences of pages are read with its `prose` forms, questions are
written and parsed with its `clue`, `inverse` and `ask` forms. A curated catalogue ships in `data/`; for a corpus nobody
described, `knowledge.induction` makes one from the labels it finds. Slots are `{s}` (subject) and `{o}` (object).

    id        "plays_at"                    label  "Ground"
    subject   ("football_club",)            object "entity" of type ("stadium",)
    prose     "{s} play their home matches at {o}"                      how pages say it
    clue      "whose home ground is {o}"                                {s} is the one sought, o is given or described
    inverse   "that is the home ground of {s}"                          {o} is the one sought, s is given or described
    ask       "At which stadium does {s} play its home matches?"        the object itself is the answer
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from typing import Literal as OneOf

from datagen.errors import ConfigError
from datagen.records.ids import content_id

CLOSURE_SUBJECTS_FORMS = (
    "This is a complete list of all {plural} {clue}",
    "The list below names all {plural} {clue}",
    "There are no other {plural} {clue} than those listed here",
)
"""How pages say that a list of subjects is complete; `{clue}` is one of the relation's clue forms with `{o}` filled.
The sentence may end with ", as of 1 January 2026"."""
CLOSURE_MEMBERS_FORMS = (
    "This is a complete list of all {plural}",
    "The list below names all {plural}",
)
"""How pages say that a list holds every entity of a type, with the same optional date."""
CLOSURE_OBJECTS_SUFFIX = " (complete)"
"""A row label with this suffix, `Official languages (complete): A; B`, states that the subject has no other objects."""

ObjectKind = OneOf["entity", "date", "number", "text"]


@dataclass(frozen=True, slots=True)
class EntityType:
    """A class of entities. `parents` are ids of wider classes ("novel" is a "work"), nearest first."""

    id: str
    singular: str
    plural: str
    parents: tuple[str, ...] = ()
    who: bool = False
    """True where a question asks "who" rather than "which"."""


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation with its words. Forms hold `{s}` and `{o}` once each at most, as the module docstring shows."""

    id: str
    label: str
    subject_types: tuple[str, ...]
    object_kind: ObjectKind
    object_types: tuple[str, ...] = ()
    unit: str = ""
    single: bool = True
    """At most one object per subject (at one time): a stated other value excludes."""
    changes: bool = False
    """The object depends on the day; statements and clues carry a date."""
    labels: tuple[str, ...] = ()
    """Other labels that rows of structured facts use for it."""
    prose: tuple[str, ...] = ()
    clue: tuple[str, ...] = ()
    inverse: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    origin: OneOf["curated", "induced"] = "curated"


@dataclass(frozen=True)
class Catalogue:
    """All types and relations, keyed by id, in a fixed order."""

    name: str
    types: Mapping[str, EntityType]
    relations: Mapping[str, Relation]
    properties: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        return content_id("cat1", self.to_dict())

    def is_a(self, type_id: str | None, wanted: str) -> bool:
        """Whether `type_id` is `wanted` or one of its narrower classes."""
        if type_id is None:
            return False
        return type_id == wanted or (type_id in self.types and wanted in self.types[type_id].parents)

    def applies(self, relation: Relation, type_id: str | None) -> bool:
        """Whether an entity of this type can be the subject of `relation`; an unknown type can."""
        return type_id is None or any(self.is_a(type_id, t) for t in relation.subject_types)

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "types": [asdict(t) for t in self.types.values()],
            "relations": [asdict(r) for r in self.relations.values()],
            "properties": dict(self.properties),
        }


def make_catalogue(
    name: str, types: Iterable[EntityType], relations: Iterable[Relation], properties: Mapping[str, str] | None = None
) -> Catalogue:
    """Build a catalogue; raises `ConfigError` when a relation names a type that is not there."""
    by_type = {t.id: t for t in types}
    by_relation = {r.id: r for r in relations}
    for relation in by_relation.values():
        for type_id in (*relation.subject_types, *relation.object_types):
            if type_id not in by_type:
                raise ConfigError(f"catalogue {name}: relation {relation.id} names the unknown type {type_id!r}.")
    return Catalogue(name, by_type, by_relation, dict(properties or {}))


def _tuples(row: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}


def catalogue_from_dict(raw: Mapping[str, Any]) -> Catalogue:
    return make_catalogue(
        raw["name"],
        [EntityType(**_tuples(t)) for t in raw["types"]],
        [Relation(**_tuples(r)) for r in raw["relations"]],
        raw.get("properties"),
    )


def load_catalogue(path: Path) -> Catalogue:
    """Read the JSON form that `save_catalogue` writes."""
    return catalogue_from_dict(json.loads(path.read_text(encoding="utf-8")))


def save_catalogue(catalogue: Catalogue, path: Path) -> None:
    path.write_text(json.dumps(catalogue.to_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
