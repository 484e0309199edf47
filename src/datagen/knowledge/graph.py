"""The fact graph: what pages let one know, as posting lists.

Entities are ints in the order of their keys. `FactGraph.build` resolves statements once (`knowledge.resolution`);
after `save`, `load` maps the same arrays from disk, so worker processes share them. The graph answers lookups; matching
formulas against it is `knowledge.evaluator`, proofs are `knowledge.certificate`.

    graph.id("https://enc.example/club/harlan")   -> 4711            graph.name(4711)      -> "Harlan Rovers"
    graph.outgoing(4711)                          -> (Stated("plays_at", EntityRef(...), ...), ...)
    graph.view("plays_at", None).posting(17)      -> ids of clubs that surely play at entity 17
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datagen.errors import SnapshotError
from datagen.knowledge.arrays import Ids, Mask, StringTable, is_in, load_arrays, save_arrays
from datagen.knowledge.building import ALIAS_SEPARATOR, FORMAT, Built, build_arrays
from datagen.knowledge.catalogue import Catalogue, Relation, catalogue_from_dict
from datagen.knowledge.dates import iso, ordinal
from datagen.knowledge.formula import Constant, EntityRef
from datagen.knowledge.kept import Kept
from datagen.knowledge.lists import ListIndex
from datagen.knowledge.resolution import ClosedList
from datagen.knowledge.statements import ALWAYS, Statements
from datagen.knowledge.taxonomy import Taxonomy
from datagen.knowledge.views import RelationView, Values
from datagen.records.fact import Closure, Entity, Evidence, Fact

DAY_VIEWS_KEPT = 256
"""Relation-days kept per process; a view of 20,000 statements takes about 0.2 ms to cut out again."""
META = "graph.json"


class Stated(NamedTuple):
    """One sure statement: `object_id` is the entity's id, None for a literal; days only where the relation changes."""

    relation: str
    value: Constant
    object_id: int | None
    valid_from: str | None
    as_of: str | None


class Subject(NamedTuple):
    """One sure statement seen from its object."""

    relation: str
    subject_id: int
    valid_from: str | None
    as_of: str | None


class FactGraph:
    """Read-only. All collections come in a fixed order."""

    def __init__(self, built: Built) -> None:
        arrays, meta = built.arrays, built.meta
        self._arrays, self._meta = arrays, meta
        self.catalogue: Catalogue = catalogue_from_dict(meta["catalogue"])
        self.taxonomy = Taxonomy(self.catalogue)
        self.types: Ids = arrays["types"]
        self._keys, self._names, self._aliases = (StringTable.load(arrays, n) for n in ("keys", "names", "aliases"))
        self.values = Values(arrays, meta["units"], len(self._keys))
        self.statements = Statements(arrays)
        self.relations: list[Relation] = list(self.catalogue.relations.values())
        self.relation_index = {name: i for i, name in enumerate(self.catalogue.relations)}
        self.closed_types: tuple[str, ...] = tuple(meta["closed_types"])
        self.silent_relations: tuple[str, ...] = tuple(meta["silent_relations"])
        self._able = [self.taxonomy.applicable(r) for r in self.relations]
        self._views: Kept[tuple[int, int | None], RelationView] = Kept(len(self.relations))
        self._day_views: Kept[tuple[int, int | None], RelationView] = Kept(DAY_VIEWS_KEPT)
        self._applies: dict[tuple[str, str | None], tuple[bool, bool]] = {}
        self._ids: Kept[str, int | None] = Kept(100_000)
        self._members: dict[str | None, Ids] = {}
        self._maybe_members: dict[str | None, Ids] = {}
        self.lists = ListIndex(arrays, self.relations, self.taxonomy, self.values)

    @classmethod
    def build(
        cls,
        catalogue: Catalogue,
        facts: Iterable[Fact],
        closures: Iterable[Closure],
        entities: Iterable[Entity],
        closed_types: Sequence[str] = (),
        *,
        silent_relations: Sequence[str] = (),
    ) -> FactGraph:
        """Read all rows once. `closed_types` are taken to be complete, `silent_relations` to say everything there is."""
        return cls(
            build_arrays(
                catalogue, facts, closures, entities, closed_types=closed_types, silent_relations=silent_relations
            )
        )

    def save(self, folder: Path) -> None:
        """Write the graph; the JSON object comes last and marks it complete."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / META).unlink(missing_ok=True)
        save_arrays(self._arrays, folder)
        (folder / META).write_text(json.dumps(self._meta, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> FactGraph:
        """Map a saved graph. Raises `SnapshotError` when it is missing, unfinished or of another version."""
        path = folder / META
        if not path.is_file():
            raise SnapshotError(f"{folder} holds no finished fact graph. `datagen snapshot build` writes one.")
        meta: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if meta.get("format") != FORMAT:
            raise SnapshotError(
                f"{folder} holds a fact graph of format {meta.get('format')}, this version reads {FORMAT}. "
                "`datagen snapshot build` writes it anew."
            )
        return cls(Built(load_arrays(folder), meta))

    # --- entities -----------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def skipped(self) -> int:
        """Facts and lists that the catalogue could not place."""
        return int(self._meta["skipped"])

    @property
    def lists_set_aside(self) -> int:
        """Complete lists that a statement or another list contradicts."""
        return int(self._meta["lists_set_aside"])

    def key(self, i: int) -> str:
        return self._keys[i]

    def find(self, key: str) -> int | None:
        """The id of a key, None when no page mentions it."""
        return self._ids.get(key, lambda: self._look_up(key))

    def _look_up(self, key: str) -> int | None:
        wanted = key.encode()
        i = bisect_left(range(len(self._keys)), wanted, key=self._keys.raw)
        return i if i < len(self._keys) and self._keys.raw(i) == wanted else None

    def id(self, key: str) -> int:
        """The id of a key; raises KeyError with the key."""
        found = self.find(key)
        if found is None:
            raise KeyError(key)
        return found

    def name(self, i: int) -> str:
        return self._names[i]

    def aliases(self, i: int) -> tuple[str, ...]:
        joined = self._aliases[i]
        return tuple(joined.split(ALIAS_SEPARATOR)) if joined else ()

    def type(self, i: int) -> str | None:
        code = int(self.types[i])
        return None if code == self.taxonomy.unknown else self.taxonomy.names[code]

    def ref(self, i: int) -> EntityRef:
        return EntityRef(self.key(i), self.name(i))

    def constant(self, code: int) -> Constant:
        """The entity or value that a code stands for."""
        return self.ref(code) if code < len(self) else self.values.literal(code)

    # --- types --------------------------------------------------------------------------------------------------

    def members(self, type_id: str | None) -> Ids:
        """Ids known to be of this type or a narrower one, ascending; everything for None."""
        found = self._members.get(type_id)
        if found is None:
            chosen = (
                np.ones(len(self), np.bool_)
                if type_id is None
                else self.is_a(np.arange(len(self), dtype=np.int32), type_id)
            )
            found = self._members[type_id] = np.flatnonzero(chosen).astype(np.int32)
        return found

    def maybe_members(self, type_id: str | None) -> Ids:
        """Ids that may be of this type, ascending."""
        found = self._maybe_members.get(type_id)
        if found is None:
            every = np.arange(len(self), dtype=np.int32)
            found = self._maybe_members[type_id] = every[self.may_be(every, type_id)]
        return found

    def is_a(self, ids: Ids, type_id: str | None) -> Mask:
        if type_id is None:
            return np.ones(len(ids), np.bool_)
        known: Mask = self.taxonomy.narrower[:, self.taxonomy.code(type_id)].take(self.types.take(ids))
        return known

    def may_be(self, ids: Ids, type_id: str | None) -> Mask:
        """Whether the known type allows it, and no complete class of entities leaves the entity out."""
        if type_id is None:
            return np.ones(len(ids), np.bool_)
        allowed, lists = self._type_rules(type_id)
        mask: Mask = allowed.take(self.types.take(ids))
        for members in lists:
            mask = mask & is_in(ids, members)
        return mask

    def type_closed(self, type_id: str | None) -> bool:
        """Whether entities that no page mentions are excluded: the class, or a wider one, is known completely."""
        return type_id is not None and bool(self.type_lists(type_id) or self.type_assumptions(type_id))

    def type_assumptions(self, type_id: str) -> tuple[str, ...]:
        """Types declared complete that are this type or wider."""
        return tuple(t for t in self.closed_types if self.catalogue.is_a(type_id, t))

    def type_lists(self, type_id: str) -> list[ClosedList]:
        """Complete lists of this type or a wider one."""
        code = self.taxonomy.code(type_id)
        return [c for t, c in self.lists.members.items() if self.taxonomy.narrower[code, t]]

    def _type_rules(self, type_id: str) -> tuple[Mask, list[Ids]]:
        rules = self._rules.get(type_id)
        if rules is None:
            allowed = self.taxonomy.compatible[:, self.taxonomy.code(type_id)].copy()
            for complete in self.type_assumptions(type_id):
                allowed &= self.taxonomy.narrower[:, self.taxonomy.code(complete)]
            rules = self._rules[type_id] = (allowed, [c.members for c in self.type_lists(type_id)])
        return rules

    @cached_property
    def _rules(self) -> dict[str, tuple[Mask, list[Ids]]]:
        return {}

    # --- relations ----------------------------------------------------------------------------------------------

    def view(self, relation: str, as_of: str | None) -> RelationView:
        """The relation on a day; `as_of` matters only where it changes. Raises KeyError for an unknown relation."""
        index = self.relation_index[relation]
        day = ordinal(as_of) if as_of and self.relations[index].changes else None
        views = self._views if day is None else self._day_views
        return views.get((index, day), lambda: self._cut(index, day))

    def _cut(self, index: int, day: int | None) -> RelationView:
        relation = self.relations[index]
        dayless = relation.changes and day is None
        rows: dict[str, Ids] = {}
        wanted = (("sure", "subj", "obj"), ("maybe", "maybe_subj", "maybe_obj"), ("contested", "contested", ""), ("settled", "settled", ""))  # fmt: skip
        for name, subj, obj in wanted:
            low, high = self._arrays[f"{name}_offsets"][index : index + 2]
            first, last = self._arrays[f"{name}_first"][low:high], self._arrays[f"{name}_last"][low:high]
            table = {c: self._arrays[f"{name}_{c}"][low:high] for c in ("subj", "code")}
            if dayless:
                table = {c: column[:0] for c, column in table.items()}
            elif relation.changes:
                table = _distinct({c: column[(first <= day) & (day <= last)] for c, column in table.items()})
            rows[subj] = table["subj"]
            if obj:
                rows[obj] = table["code"]
        silent = relation.id in self.silent_relations
        return RelationView(relation, rows, self._able[index], self.types, silent=silent, dayless=dayless)

    # --- statements ---------------------------------------------------------------------------------------------

    def outgoing(self, i: int) -> tuple[Stated, ...]:
        """Sure statements about an entity, by relation in catalogue order."""
        keys = self._arrays["out_subj"]
        low, high = keys.searchsorted(np.int32(i)), keys.searchsorted(np.int32(i), "right")
        return tuple(self._stated(int(row)) for row in self._arrays["out_row"][low:high])

    def incoming(self, i: int) -> tuple[Subject, ...]:
        """Sure statements whose object is this entity."""
        keys = self._arrays["in_code"]
        low, high = keys.searchsorted(np.int32(i)), keys.searchsorted(np.int32(i), "right")
        rows = self._arrays["in_row"][low:high].tolist()
        return tuple(Subject(self._relation_of(r), int(self._arrays["sure_subj"][r]), *self._days(r)) for r in rows)

    def _relation_of(self, row: int) -> str:
        offsets = self._arrays["sure_offsets"]
        return self.relations[int(offsets.searchsorted(row, "right")) - 1].id

    def _days(self, row: int) -> tuple[str | None, str | None]:
        first, last = int(self._arrays["sure_first"][row]), int(self._arrays["sure_last"][row])
        return (None, None) if first == ALWAYS[0] else (iso(first), iso(last))

    def _stated(self, row: int) -> Stated:
        code = int(self._arrays["sure_code"][row])
        object_id = code if code < len(self) else None
        return Stated(self._relation_of(row), self.constant(code), object_id, *self._days(row))

    def posting(self, relation: str, value: Constant, as_of: str | None = None) -> Ids:
        """Subjects that surely have this object (for a literal: a value inside it), ascending."""
        view = self.view(relation, as_of)
        if isinstance(value, EntityRef):
            found = self.find(value.key)
            return view.subj[:0] if found is None else view.posting(found)
        return np.unique(view.subj[self.values.test(value)(view.obj)[0]]) if len(view.obj) else view.subj

    def objects(self, i: int, relation: str, as_of: str | None = None) -> tuple[Constant, ...]:
        """Sure objects of one subject."""
        codes = self.view(relation, as_of).pairs(np.array([i], np.int32))[1]
        return tuple(self.constant(c) for c in codes.tolist())

    def facts(self, i: int, relation: str) -> tuple[Fact, ...]:
        """Every statement about (entity, relation) with its evidence, believed or not."""
        rows = self.statements.rows(self.relation_index[relation], i)
        return tuple(self._fact(row, i, relation) for row in rows)

    def _fact(self, row: int, i: int, relation: str) -> Fact:
        value = self.constant(int(self.statements.code[row]))
        name, key, literal = (
            (value.name, value.key, None) if isinstance(value, EntityRef) else (value.text, None, value)
        )
        evidence = self.statements.evidence(row)
        return Fact(self.key(i), relation, name, key, literal, evidence, *self.statements.period(row))

    def list_evidence(self, row: int) -> Evidence:
        """Where a complete list says that it is one."""
        _, _, _, _, _, page, start, end = self._arrays["lists"][row].tolist()
        return self.statements.evidence_at(page, start, end, StringTable.load(self._arrays, "list_quotes").raw(row))

    def can_apply(self, relation: str, type_id: str | None) -> bool:
        """Whether anything that may be of this type can be a subject of the relation."""
        return self._application(relation, type_id)[0]

    def always_applies(self, relation: str, type_id: str | None) -> bool:
        """Whether everything that may be of this type can be a subject of the relation."""
        return self._application(relation, type_id)[1]

    def _application(self, relation: str, type_id: str | None) -> tuple[bool, bool]:
        known = self._applies.get((relation, type_id))
        if known is None:
            able = self._able[self.relation_index[relation]]
            fits = self.taxonomy.compatible[:, self.taxonomy.code(type_id)]
            some = type_id is None or bool((able & fits)[:-1].any())
            known = self._applies[relation, type_id] = (some, bool(able[fits].all()))
        return known

    def subject_list(self, relation: str, code: int, type_id: str | None, as_of: str | None) -> ClosedList | None:
        """A complete list of the subjects of this type that have this object on that day, if there is one."""
        found = self.lists.of_subjects(self.relation_index[relation], code, self.taxonomy.code(type_id), as_of)
        return found[0] if found else None

    def subject_lists(self) -> list[ClosedList]:
        """Every complete list of subjects, in a fixed order."""
        return [c for c in self.lists.kept if c.side == "subjects"]

    def has_lists(self, relation: str) -> bool:
        """Whether any complete list of subjects exists for the relation."""
        return self.relation_index[relation] in self.lists.relations


def _distinct(table: dict[str, Ids]) -> dict[str, Ids]:
    """Rows without repetitions; a slice in time can hold one pair twice."""
    order = np.lexsort((table["code"], table["subj"]))
    subj, code = table["subj"][order], table["code"][order]
    fresh = np.ones(len(order), np.bool_)
    fresh[1:] = (subj[1:] != subj[:-1]) | (code[1:] != code[:-1])
    return {"subj": subj[fresh], "code": code[fresh]}


__all__ = ["FactGraph", "Stated", "Subject"]
