"""From what pages state to what is known: who is believed, since when, and what stays open.

Rules, for the statements about one (subject, relation); "agree" means one value lies inside the other (equal entities,
equal normal texts, nested intervals):

- Statements on low-trust pages only make their value *possible*.
- A trusted statement is dropped when one that does not agree with it has the same or higher trust and a strictly later
  date. This holds for timeless single-valued relations; what changes over time is decided by its days instead.
- Single-valued: the statements left agree with the narrowest one -> *settled* on it; else *contested*: every value left
  is possible, none is sure, and no other value is excluded either. A statement of the wrong kind (a text where an
  entity belongs) cannot be compared and contests as well.
- Multi-valued: every trusted value is sure; the subject is settled only by a complete list of its objects.
- A relation that changes is resolved day by day over the statements that cover the day; on a day that two of them cover
  with different values it is contested. A trusted statement without a readable day makes its value possible on any day.
- A trusted statement and a complete list that leaves it out contest each other: the list no longer excludes anyone and
  the statement is only possible. Two lists of the same thing with different members are both set aside.
- A key of an entity without a page may denote any entity of a compatible type with the same name ("twins"). Where one
  of them is stated or listed, the others are possible there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from datagen.knowledge.arrays import Arrays, Ids, Mask, is_in, rows_of, union
from datagen.knowledge.catalogue import Catalogue
from datagen.knowledge.literals import contains
from datagen.knowledge.statements import ALWAYS, KINDS, UNKNOWN_DAY
from datagen.knowledge.taxonomy import Taxonomy
from datagen.records.fact import Literal

Rows = npt.NDArray[np.signedinteger[Any]]
Row = tuple[int, int, int, int, int]
"""(relation, subject, code, first day, last day)"""
SIDES = ("subjects", "objects", "members")


@dataclass(slots=True)
class ClosedList:
    """A complete list that nothing contradicts. `members` include twins of those named."""

    side: str
    relation: int
    anchor: int
    type_code: int
    day: int
    row: int
    """Its row in the `lists` array, for evidence."""
    members: Ids


@dataclass(slots=True)
class Resolved:
    """What is known, as rows; sorted by relation and subject."""

    sure: Arrays
    maybe: Arrays
    contested: Arrays
    settled: Arrays
    """Subjects whose objects are listed completely (multi-valued relations only)."""
    lists: list[ClosedList]
    set_aside: int
    """Lists that a statement or another list contradicts."""


@dataclass(slots=True)
class _Rows:
    """Growing output of one kind."""

    rows: list[Row] = field(default_factory=list)
    blocks: list[Arrays] = field(default_factory=list)

    def block(self, st: Arrays, chosen: Mask) -> None:
        self.blocks.append({name: st[name][chosen] for name in ("rel", "subj", "code", "first", "last")})

    def arrays(self) -> Arrays:
        loose = np.array(self.rows, np.int32).reshape(len(self.rows), 5)
        names = ("rel", "subj", "code", "first", "last")
        parts = [*self.blocks, {name: loose[:, i] for i, name in enumerate(names)}]
        merged = {name: np.concatenate([p[name] for p in parts]).astype(np.int32) for name in names}
        order = np.lexsort([merged[name] for name in reversed(names)])
        ordered = {name: merged[name][order] for name in names}
        fresh = np.ones(len(order), np.bool_)
        if len(order) > 1:
            fresh[1:] = np.logical_or.reduce([ordered[name][1:] != ordered[name][:-1] for name in names])
        return {name: ordered[name][fresh] for name in names}


class Resolver:
    """One pass over the sorted statements; only groups with more than one value take Python time."""

    def __init__(self, catalogue: Catalogue, taxonomy: Taxonomy, entities: int, values: Sequence[Literal]) -> None:
        self._relations = list(catalogue.relations.values())
        self._taxonomy = taxonomy
        self._entities = entities
        self._values = values
        self._sure, self._maybe, self._contested = _Rows(), _Rows(), _Rows()

    def resolve(
        self, st: Arrays, lists: Sequence[ClosedList], types: Ids, twins: Mapping[int, Sequence[int]]
    ) -> Resolved:
        """`st` holds rel, subj, code, first, last, rank, day sorted by (rel, subj, code, -rank, -day)."""
        single = np.array([r.single for r in self._relations] or [False])[st["rel"]]
        changes = np.array([r.changes for r in self._relations] or [False])[st["rel"]]
        fits = self._right_kind(st)
        trusted = st["rank"] > 0
        dated = st["first"] != UNKNOWN_DAY
        self._maybe.block(st, fits & dated & ~trusted)
        undated = {**st, "first": np.full_like(st["first"], ALWAYS[0]), "last": np.full_like(st["last"], ALWAYS[1])}
        self._maybe.block(undated, fits & ~dated)
        self._sure.block(st, trusted & dated & fits & ~single)
        self._resolve_single(st, trusted & dated & single & ~changes, fits, timeless=True)
        self._resolve_single(st, trusted & dated & single & changes, fits, timeless=False)
        sure = self._sure.arrays()
        kept, set_aside = self._check_lists(sure, lists, types)
        settled = self._settled(kept)
        sure = {name: column[~self._demoted] for name, column in sure.items()}
        self._add_twins(sure, twins)
        return Resolved(sure, self._maybe.arrays(), self._contested.arrays(), settled, kept, set_aside)

    def _right_kind(self, st: Arrays) -> Mask:
        expected = np.array([3 if r.object_kind == "entity" else KINDS.index(r.object_kind) for r in self._relations] or [0])  # fmt: skip
        kinds = np.array([KINDS.index(v.kind) for v in self._values] or [0])
        found = np.where(st["code"] < self._entities, 3, kinds[np.maximum(st["code"] - self._entities, 0)])
        fits: Mask = found == expected[st["rel"]]
        return fits

    def _resolve_single(self, st: Arrays, chosen: Mask, fits: Mask, *, timeless: bool) -> None:
        rows = np.flatnonzero(chosen)
        if not len(rows):
            return
        rel, subj, code = st["rel"][rows], st["subj"][rows], st["code"][rows]
        new_group = np.ones(len(rows), np.bool_)
        new_group[1:] = (rel[1:] != rel[:-1]) | (subj[1:] != subj[:-1])
        new_value = new_group.copy()
        new_value[1:] |= code[1:] != code[:-1]
        group = np.cumsum(new_group) - 1
        groups = int(group[-1]) + 1
        # A group with one value is settled as it stands. Where the relation changes, each row keeps its own days, so
        # only a group with one row is.
        distinct = np.bincount(group, weights=new_value if timeless else None, minlength=groups)
        plain = (distinct == 1) & (np.bincount(group, weights=~fits[rows], minlength=groups) == 0)
        taken = np.zeros(len(st["rel"]), np.bool_)
        taken[rows[new_group & plain[group]]] = True
        self._sure.block(st, taken)
        starts = np.append(np.flatnonzero(new_group), len(rows))
        for number in np.flatnonzero(~plain):
            part = rows[starts[number] : starts[number + 1]]
            if timeless:
                self._settle(st, part, fits)
            else:
                self._settle_by_day(st, part, fits)

    def agree(self, a: int, b: int) -> bool:
        """Whether the values of two codes agree: one lies inside the other."""
        if a == b:
            return True
        if a < self._entities or b < self._entities:
            return False
        left, right = self._values[a - self._entities], self._values[b - self._entities]
        return contains(left, right) or contains(right, left)

    def narrowest(self, codes: Iterable[int]) -> int | None:
        """The code that all others contain; None when there is none, or when a statement has the wrong kind (-1)."""
        distinct = sorted(set(codes))
        for code in distinct:
            if code >= 0 and all(self._contains(other, code) for other in distinct):
                return code
        return None

    def _contains(self, outer: int, inner: int) -> bool:
        if outer == inner:
            return True
        if min(outer, inner) < self._entities:
            return False
        return contains(self._values[outer - self._entities], self._values[inner - self._entities])

    def _settle(self, st: Arrays, rows: Rows, fits: Mask) -> None:
        said = [(int(st["code"][r]) if fits[r] else -1, int(st["rank"][r]), int(st["day"][r])) for r in rows]
        left = [a for a in said if not any(self._corrects(b, a) for b in said)]
        rel, subj = int(st["rel"][rows[0]]), int(st["subj"][rows[0]])
        value = self.narrowest(code for code, _, _ in left)
        if value is not None:
            self._sure.rows.append((rel, subj, value, *ALWAYS))
            return
        self._contested.rows.append((rel, subj, -1, *ALWAYS))
        self._maybe.rows += [(rel, subj, code, *ALWAYS) for code, _, _ in left if code >= 0]

    def _corrects(self, later: tuple[int, int, int], earlier: tuple[int, int, int]) -> bool:
        """Whether `later` drops `earlier`: (code, rank, day) each; a wrong kind neither corrects nor agrees."""
        if later[0] < 0 or earlier[2] == UNKNOWN_DAY or later[1] < earlier[1] or later[2] <= earlier[2]:
            return False
        return earlier[0] < 0 or not self.agree(later[0], earlier[0])

    def _settle_by_day(self, st: Arrays, rows: Rows, fits: Mask) -> None:
        said = [(int(st["code"][r]) if fits[r] else -1, int(st["first"][r]), int(st["last"][r])) for r in rows]
        rel, subj = int(st["rel"][rows[0]]), int(st["subj"][rows[0]])
        edges = sorted({first for _, first, _ in said} | {last + 1 for _, _, last in said})
        for start, stop in pairwise(edges):
            codes = [code for code, first, last in said if first <= start and stop - 1 <= last]
            if not codes:
                continue
            value = self.narrowest(codes)
            if value is not None:
                self._sure.rows.append((rel, subj, value, start, stop - 1))
            else:
                self._contested.rows.append((rel, subj, -1, start, stop - 1))
                self._maybe.rows += [(rel, subj, code, start, stop - 1) for code in codes if code >= 0]

    def _check_lists(self, sure: Arrays, lists: Sequence[ClosedList], types: Ids) -> tuple[list[ClosedList], int]:
        """Set aside lists that contradict each other or a sure statement; mark those statements as demoted."""
        self._demoted = np.zeros(len(sure["rel"]), np.bool_)
        groups: dict[tuple[str, int, int, int, int], list[ClosedList]] = defaultdict(list)
        for closed in lists:
            groups[closed.side, closed.relation, closed.anchor, closed.type_code, closed.day].append(closed)
        by_object = np.lexsort((sure["code"], sure["rel"]))
        object_key = (sure["rel"].astype(np.int64) << 32 | sure["code"])[by_object]
        subject_key = sure["rel"].astype(np.int64) << 32 | sure["subj"]
        kept = []
        for same in groups.values():
            closed = same[0]
            sound = all(np.array_equal(closed.members, other.members) for other in same[1:])
            if closed.side == "members":
                known = np.flatnonzero(self._taxonomy.narrower[types, closed.type_code]).astype(np.int32)
                sound &= bool(is_in(known, closed.members).all())
            for each in same if closed.side != "members" else ():
                rows = self._outside(sure, each, types, (by_object, object_key, subject_key))
                self._demoted[rows] = True
                sound &= not len(rows)
            if sound:
                kept.append(closed)
        self._spread(sure)
        self._demote(sure)
        return kept, len(lists) - len(kept)

    def _outside(self, sure: Arrays, closed: ClosedList, types: Ids, keys: tuple[Rows, Rows, Rows]) -> Rows:
        """Rows of `sure` that a list should contain and does not."""
        by_object, object_key, subject_key = keys
        if closed.side == "objects":
            rows = _range(subject_key, closed.relation, closed.anchor)
            ends = sure["code"][rows]
        elif closed.anchor < self._entities:
            rows = by_object[_range(object_key, closed.relation, closed.anchor)]
            ends = sure["subj"][rows]
        else:
            anchor = self._values[closed.anchor - self._entities]
            low, high = sure["rel"].searchsorted([closed.relation, closed.relation + 1])
            codes = np.unique(sure["code"][low:high])
            inside = [c for c in codes if c >= self._entities and contains(anchor, self._values[c - self._entities])]
            rows = low + np.flatnonzero(np.isin(sure["code"][low:high], inside))
            ends = sure["subj"][rows]
        stray = ~is_in(ends, closed.members) & (sure["first"][rows] <= closed.day) & (closed.day <= sure["last"][rows])
        if closed.side == "subjects" and closed.type_code >= 0:
            stray &= self._taxonomy.narrower[types[ends], closed.type_code]
        chosen: Rows = rows[stray]
        return chosen

    def _spread(self, sure: Arrays) -> None:
        """A contradicted (subject, relation, value) is doubted on every day that it is stated for."""
        if self._demoted.any():
            triples = np.stack([sure["rel"], sure["subj"], sure["code"]], axis=1)
            doubted = {tuple(row) for row in triples[self._demoted].tolist()}
            for row in np.flatnonzero(is_in(sure["subj"], np.unique(sure["subj"][self._demoted]))):
                self._demoted[row] = tuple(triples[row].tolist()) in doubted

    def _demote(self, sure: Arrays) -> None:
        for row in np.flatnonzero(self._demoted):
            rel, subj, code, first, last = (int(sure[n][row]) for n in ("rel", "subj", "code", "first", "last"))
            self._maybe.rows.append((rel, subj, code, first, last))
            if self._relations[rel].single:
                self._contested.rows.append((rel, subj, -1, first, last))

    def _settled(self, lists: Sequence[ClosedList]) -> Arrays:
        rows = _Rows()
        for closed in lists:
            if (
                closed.side == "objects"
                and not self._relations[closed.relation].single
                and self._covers_objects(closed)
            ):
                days = (closed.day, closed.day) if self._relations[closed.relation].changes else ALWAYS
                rows.rows.append((closed.relation, closed.anchor, -1, *days))
        return rows.arrays()

    def _covers_objects(self, closed: ClosedList) -> bool:
        """A list of objects "of one type" is complete only where the relation has no objects of another type."""
        if closed.type_code < 0:
            return True
        wanted = self._relations[closed.relation].object_types
        codes = [self._taxonomy.code(t) for t in wanted]
        return bool(codes) and all(self._taxonomy.narrower[c, closed.type_code] for c in codes)

    def _add_twins(self, sure: Arrays, twins: Mapping[int, Sequence[int]]) -> None:
        if not twins:
            return
        with_twin = np.array(sorted(twins), np.int32)
        for table in (sure, self._maybe.arrays()):
            for row in np.flatnonzero(is_in(table["code"], with_twin)):
                rel, subj, code, first, last = (int(table[n][row]) for n in ("rel", "subj", "code", "first", "last"))
                self._maybe.rows += [(rel, subj, twin, first, last) for twin in twins[code]]


def _range(keys: Rows, relation: int, end: int) -> Rows:
    low, high = keys.searchsorted(np.int64(relation << 32 | end)), keys.searchsorted(np.int64(relation << 32 | end), "right")  # fmt: skip
    return np.arange(low, high)


def with_twins(members: Ids, twins: Mapping[int, Sequence[int]]) -> Ids:
    """Members of a list, and everything one of them may denote as well."""
    if not twins:
        return members
    more = [twin for member in members.tolist() for twin in twins.get(member, ())]
    return union([members, np.array(more, np.int32)]) if more else members


__all__ = ["SIDES", "ClosedList", "Resolved", "Resolver", "rows_of", "with_twins"]
