"""The ontology of the synthetic web, read from `data/ontology/*.toml`: what exists, how it is said, how it is drawn.

A type has words (they go into the catalogue) and a share of the world; a relation has words and a `make` table:

    [[relation]]
    id = "plays_at"
    prose = ["{s} play their home matches at {o}", ...]        -> catalogue, for readers, writers and parsers
    make = { rule = "map", scope = "country" }                  -> datagen.web.synthetic.rules, for the world only
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from datagen.knowledge.catalogue import Catalogue, EntityType, Relation, make_catalogue
from datagen.records.shipped import shipped_file

RELATION_FILES = ("places", "organisations", "people", "works", "events")
_RELATION_FIELDS = {f.name for f in fields(Relation)}


@dataclass(frozen=True, slots=True)
class Kind:
    """How entities of one type are made and shown."""

    id: str
    words: EntityType
    weight: int
    least: int
    names: tuple[str, ...]
    schema: str
    section: str
    site: str
    twins: int
    """Percent of entities that share their name with another one."""
    per: tuple[str, int] | None

    @property
    def folder(self) -> str:
        return self.words.plural.replace(" ", "-")


@dataclass(frozen=True, slots=True)
class Sounds:
    """One invented language: the pieces of its words."""

    id: str
    onsets: tuple[str, ...]
    nuclei: tuple[str, ...]
    codas: tuple[str, ...]
    place: tuple[str, ...]
    family: tuple[str, ...]
    land: tuple[str, ...]
    tongue: str


@dataclass(frozen=True, slots=True)
class WordBook:
    """Word lists that names are made of."""

    languages: tuple[Sounds, ...]
    adjectives: tuple[str, ...]
    nouns: tuple[str, ...]
    beasts: tuple[str, ...]
    ordinals: tuple[str, ...]
    avoid: frozenset[str]


@dataclass(frozen=True)
class Ontology:
    """Everything the files say. `kinds` holds the types that have entities, in file order."""

    catalogue: Catalogue
    kinds: Mapping[str, Kind]
    make: Mapping[str, Mapping[str, Any]]
    """How each relation draws its objects, by relation id."""
    words: WordBook

    def subject_kinds(self, relation: Relation) -> tuple[str, ...]:
        """The types with entities that `relation` can have as subject."""
        return tuple(k for k in self.kinds if self.catalogue.applies(relation, k))


def read_data(name: str) -> dict[str, Any]:
    """One of the files of `data/ontology`."""
    return tomllib.loads(shipped_file(f"ontology/{name}.toml").read_text(encoding="utf-8"))


def _read_kind(row: Mapping[str, Any], words: EntityType) -> Kind:
    per = row.get("per")
    return Kind(
        id=row["id"],
        words=words,
        weight=row.get("weight", 0),
        least=row.get("least", 2),
        names=tuple(row["names"]),
        schema=row["schema"],
        section=row["section"],
        site=row["site"],
        twins=row.get("twins", 0),
        per=(per[0], per[1]) if per else None,
    )


def _read_relation(row: Mapping[str, Any]) -> Relation:
    plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in row.items() if k in _RELATION_FIELDS}
    kind = row.get("kind", "entity")
    if kind == "date":
        # A year is said with "in", a day with "on".
        on = (form.replace("in {o}", "on {o}") for form in row["prose"] if "in {o}" in form)
        plain["prose"] = (*row["prose"], *on)
    return Relation(
        subject_types=tuple(row["subject"]), object_kind=kind, object_types=tuple(row.get("object", ())), **plain
    )


def _read_words() -> WordBook:
    raw = read_data("names")
    rows: list[dict[str, Any]] = [
        {k: tuple(v) if isinstance(v, list) else v for k, v in row.items()} for row in raw["language"]
    ]
    languages = tuple(Sounds(**row) for row in rows)
    return WordBook(
        languages=languages,
        adjectives=tuple(raw["adjectives"]),
        nouns=tuple(raw["nouns"]),
        beasts=tuple(raw["beasts"]),
        ordinals=tuple(raw["ordinals"]),
        avoid=frozenset(raw["avoid"]),
    )


@lru_cache(maxsize=1)
def read_ontology() -> Ontology:
    """Read and check all files once per process."""
    rows = read_data("types")["type"]
    types = [
        EntityType(r["id"], r["singular"], r["plural"], tuple(r.get("parents", ())), r.get("who", False)) for r in rows
    ]
    words = {t.id: t for t in types}
    kinds = {r["id"]: _read_kind(r, words[r["id"]]) for r in rows if "names" in r}
    raw = [row for name in RELATION_FILES for row in read_data(name)["relation"]]
    relations = [_read_relation(row) for row in raw]
    properties = {f"type:{kind.schema}": kind.id for kind in reversed(list(kinds.values())) if kind.schema != "Thing"}
    shared = {"type:Person", "type:Event", "type:Organization", "type:Thing"}
    properties = {name: type_id for name, type_id in properties.items() if name not in shared}
    catalogue = make_catalogue("synthetic", types, relations, properties)
    return Ontology(catalogue, kinds, {row["id"]: row["make"] for row in raw}, _read_words())


def load_ontology() -> Catalogue:
    """The curated catalogue of the synthetic web."""
    return read_ontology().catalogue
