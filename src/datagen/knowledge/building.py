"""Build the arrays of a fact graph: collect, resolve, index.

Everything a process needs afterwards is in named arrays plus one small JSON object, so a graph in memory and a loaded
one are the same thing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from datagen.errors import ConfigError
from datagen.knowledge.arrays import Arrays, Ids, StringTable
from datagen.knowledge.catalogue import Catalogue
from datagen.knowledge.resolution import SIDES, ClosedList, Resolved, Resolver, with_twins
from datagen.knowledge.statements import KINDS, Collected, Collector
from datagen.knowledge.taxonomy import Taxonomy, find_twins, name_in_key, type_in_key
from datagen.records.fact import Closure, Entity, Fact, Literal

FORMAT = 1
ALIAS_SEPARATOR = "\x1f"


@dataclass(slots=True)
class Built:
    arrays: Arrays
    meta: dict[str, Any]


def build_arrays(
    catalogue: Catalogue,
    facts: Iterable[Fact],
    closures: Iterable[Closure],
    entities: Iterable[Entity],
    *,
    closed_types: Sequence[str] = (),
    silent_relations: Sequence[str] = (),
) -> Built:
    """All arrays and the meta object of a graph. Raises `ConfigError` for a type or relation the catalogue lacks."""
    for name in closed_types:
        if name not in catalogue.types:
            raise ConfigError(f"closed_types names {name!r}, which catalogue {catalogue.name} does not have.")
    for name in silent_relations:
        if name not in catalogue.relations:
            raise ConfigError(f"silent_relations names {name!r}, which catalogue {catalogue.name} does not have.")
    collector = Collector(catalogue)
    for fact in facts:
        collector.add_fact(fact)
    for closure in closures:
        collector.add_closure(closure)
    collected, rows = collector.finish(entities)
    taxonomy = Taxonomy(catalogue)
    described = [row or _undescribed(key, collector.names) for key, row in zip(collected.keys, rows, strict=True)]
    types = np.array([taxonomy.code_or_unknown(e.type) for e in described], np.int32)
    resolved = _resolve(catalogue, taxonomy, collected, described, types)
    units = sorted({v.unit for v in collected.values})
    arrays = collected.arrays | _entity_arrays(described, types) | _value_arrays(collected.values, units)
    arrays |= _resolved_arrays(resolved, len(catalogue.relations), len(described))
    meta = {
        "format": FORMAT,
        "catalogue": catalogue.to_dict(),
        "units": units,
        "closed_types": sorted(closed_types),
        "silent_relations": sorted(silent_relations),
        "skipped": collected.skipped,
        "lists_set_aside": resolved.set_aside,
    }
    return Built(arrays, meta)


def _undescribed(key: str, names: dict[str, str]) -> Entity:
    return Entity(key, names.get(key) or name_in_key(key), type_in_key(key))


def _resolve(
    catalogue: Catalogue, taxonomy: Taxonomy, collected: Collected, described: Sequence[Entity], types: Ids
) -> Resolved:
    st = collected.arrays
    keys = st["st_key"]
    columns = {"rel": (keys >> 32).astype(np.int32), "subj": (keys & 0xFFFFFFFF).astype(np.int32)}
    columns |= {name: st[f"st_{name}"] for name in ("code", "first", "last", "rank", "day")}
    twins = find_twins(described, types, taxonomy)
    lists = [
        ClosedList(
            side=SIDES[row[0]],
            relation=row[1],
            anchor=row[2],
            type_code=row[3],
            day=row[4],
            row=i,
            members=with_twins(members, twins),
        )
        for i, (row, members) in enumerate(zip(st["lists"].tolist(), collected.member_lists, strict=True))
    ]
    return Resolver(catalogue, taxonomy, len(described), collected.values).resolve(columns, lists, types, twins)


def _entity_arrays(entities: Sequence[Entity], types: Ids) -> Arrays:
    keys = StringTable.of(e.key for e in entities).arrays("keys")
    names = StringTable.of(e.name for e in entities).arrays("names")
    aliases = StringTable.of(ALIAS_SEPARATOR.join(e.aliases) for e in entities).arrays("aliases")
    return keys | names | aliases | {"types": types}


def _value_arrays(values: Sequence[Literal], units: Sequence[str]) -> Arrays:
    unit_code = {unit: i for i, unit in enumerate(units)}
    return StringTable.of(v.text for v in values).arrays("value_texts") | {
        "value_kind": np.array([KINDS.index(v.kind) for v in values], np.int8),
        "value_low": np.array([v.low for v in values], np.float64),
        "value_high": np.array([v.high for v in values], np.float64),
        "value_unit": np.array([unit_code[v.unit] for v in values], np.int32),
    }


def _resolved_arrays(resolved: Resolved, relations: int, entities: int) -> Arrays:
    arrays: Arrays = {}
    for name in ("sure", "maybe", "contested", "settled"):
        table: Arrays = getattr(resolved, name)
        arrays |= {f"{name}_{column}": table[column] for column in ("subj", "code", "first", "last")}
        arrays[f"{name}_offsets"] = table["rel"].searchsorted(np.arange(relations + 1)).astype(np.int64)
    sure = resolved.sure
    outgoing = np.argsort(sure["subj"], kind="stable")
    arrays["out_row"], arrays["out_subj"] = outgoing.astype(np.int32), sure["subj"][outgoing]
    incoming = np.argsort(sure["code"], kind="stable")
    incoming = incoming[: sure["code"][incoming].searchsorted(entities)]
    arrays["in_row"], arrays["in_code"] = incoming.astype(np.int32), sure["code"][incoming]
    kept = [(SIDES.index(c.side), c.relation, c.anchor, c.type_code, c.day, c.row) for c in resolved.lists]
    arrays["kept_lists"] = np.array(kept, np.int32).reshape(len(kept), 6)
    arrays["kept_offsets"] = np.cumsum([0, *(len(c.members) for c in resolved.lists)]).astype(np.int64)
    members = [c.members for c in resolved.lists]
    arrays["kept_members"] = np.concatenate(members).astype(np.int32) if members else np.empty(0, np.int32)
    return arrays
