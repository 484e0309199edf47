"""One relation on one day, as posting lists: what is sure, what is possible, and who is not settled.

A view answers for arbitrary ids at once, so an unselective clue costs the number of candidates left, not the size of
the relation. For a subject x the possible objects are its sure ones, its possible ones, and, while x is *unsettled*,
anything:

    unsettled    no settled value (single-valued) or no complete list of objects (multi-valued), and the relation can
                 apply to x's type; under "silence means no" only subjects whose statements are contested
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from datagen.knowledge.arrays import Arrays, Ids, Mask, StringTable, is_in, rows_of, sorted_ids, union
from datagen.knowledge.catalogue import Relation
from datagen.knowledge.literals import normalise_text, words_of
from datagen.knowledge.statements import KINDS
from datagen.records.fact import Literal

Positions = npt.NDArray[np.intp]


class ValueTest(Protocol):
    """A condition on objects: for each code (surely fulfils it, may fulfil it)."""

    def __call__(self, codes: Ids) -> tuple[Mask, Mask]: ...


class Values:
    """Typed values by code; codes start at `base`, the number of entities."""

    def __init__(self, arrays: Arrays, units: list[str], base: int) -> None:
        self.base = base
        self.kind, self.low, self.high, self.unit = (arrays[f"value_{n}"] for n in ("kind", "low", "high", "unit"))
        self._texts = StringTable.load(arrays, "value_texts")
        self._units = units
        self._unit_code = {unit: i for i, unit in enumerate(units)}
        self._overlaps: dict[str, Ids] = {}

    def __len__(self) -> int:
        return len(self.kind)

    def literal(self, code: int) -> Literal:
        i = code - self.base
        kind = KINDS[self.kind[i]]
        return Literal(kind, self._texts[i], float(self.low[i]), float(self.high[i]), self._units[self.unit[i]])  # type: ignore[arg-type]

    def within(self, kind: str, low: float, high: float, unit: str) -> ValueTest:
        """Inside -> sure, disjoint -> no, and a value of another kind or unit may be anything."""
        kind_code, unit_code = KINDS.index(kind), self._unit_code.get(unit, -1)

        def test(codes: Ids) -> tuple[Mask, Mask]:
            i = codes - self.base
            known = (self.unit.take(i) == unit_code) & (self.kind.take(i) == kind_code)
            lows, highs = self.low.take(i), self.high.take(i)
            return known & (lows >= low) & (highs <= high), ~known | ((lows <= high) & (highs >= low))

        return test

    def equal_text(self, text: str) -> ValueTest:
        """The same normal text -> sure, words of one among the words of the other -> possible."""
        normal = normalise_text(text)
        overlapping = self._overlapping(normal)
        same = [c for c in overlapping.tolist() if self._normal[c - self.base] == normal]

        def test(codes: Ids) -> tuple[Mask, Mask]:
            foreign = self.kind.take(codes - self.base) != KINDS.index("text")
            sure = codes == same[0] if same else np.zeros(len(codes), np.bool_)
            return sure, is_in(codes, overlapping) | foreign

        return test

    def test(self, literal: Literal) -> ValueTest:
        if literal.kind == "text":
            return self.equal_text(literal.text)
        return self.within(literal.kind, literal.low, literal.high, literal.unit)

    @cached_property
    def _normal(self) -> dict[int, str]:
        texts = np.flatnonzero(np.asarray(self.kind) == KINDS.index("text")).tolist()
        return {i: normalise_text(self._texts[i]) for i in texts}

    @cached_property
    def _postings(self) -> tuple[dict[str, list[int]], dict[int, int]]:
        """Texts by word, and the number of words of each text."""
        by_word: dict[str, list[int]] = {}
        sizes = {}
        for i, normal in self._normal.items():
            words = words_of(normal)
            sizes[i] = len(words)
            for word in words:
                by_word.setdefault(word, []).append(i)
        return by_word, sizes

    def _overlapping(self, normal: str) -> Ids:
        """Codes of texts that may state the same as `normal` (`literals.texts_overlap`)."""
        found = self._overlaps.get(normal)
        if found is None:
            by_word, sizes = self._postings
            words = words_of(normal)
            shared: dict[int, int] = {i: 0 for i, size in sizes.items() if not size or not words}
            for word in words:
                for i in by_word.get(word, ()):
                    shared[i] = shared.get(i, 0) + 1
            chosen = [self.base + i for i, n in shared.items() if n in (sizes[i], len(words))]
            found = self._overlaps[normal] = sorted_ids(chosen)
        return found


class Said(NamedTuple):
    """What a view holds about some ids: who is settled, and (position in `ids`, object) of each statement."""

    ids: Ids
    settled: Mask
    position: Positions
    codes: Ids
    maybe_position: Positions
    maybe_codes: Ids


class RelationView:
    """Rows of one relation that hold on one day. `subj` ascending; a single-valued subject occurs once."""

    def __init__(
        self, relation: Relation, rows: dict[str, Ids], able: Mask, types: Ids, *, silent: bool, dayless: bool
    ) -> None:
        self.relation = relation
        self.subj, self.obj = rows["subj"], rows["obj"]
        self.maybe_subj, self.maybe_obj = rows["maybe_subj"], rows["maybe_obj"]
        self.contested = rows["contested"]
        self._listed = rows["settled"]
        self._able, self._types = able, types
        self._able_all = bool(able.all())
        self.silent = silent and not dayless
        self._dayless = dayless
        """A clue about what changes, asked without a day: nothing is sure and nobody is settled."""
        self._by_low: tuple[npt.NDArray[Any], Ids] | None = None

    @property
    def settled(self) -> Ids:
        """Subjects, ascending, whose objects are all known."""
        return self.subj if self.relation.single else self._listed

    def said(self, ids: Ids) -> Said:
        """What is stated about each of `ids`, which may repeat and have any order."""
        if self.relation.single and len(self.subj):
            rows = self.subj.searchsorted(ids)
            settled: Mask = self.subj.take(rows, mode="clip") == ids
            position = settled.nonzero()[0]
            codes = self.obj.take(rows[position])
        else:
            position, codes = self.pairs(ids)
            settled = is_in(ids, self._listed)
        return Said(ids, settled, position, codes, *self.maybe_pairs(ids))

    def unsettled(self, said: Said, *, every_type: bool = False) -> Mask:
        """Who could have any object. `every_type` says that the caller asks only about types that can be subjects."""
        if self.silent:
            return is_in(said.ids, self.contested)
        mask = np.ones(len(said.ids), np.bool_) if self._dayless else ~said.settled
        return mask if every_type or self._able_all else mask & self._able[self._types.take(said.ids)]

    @cached_property
    def _by_object(self) -> tuple[Ids, Ids]:
        order = np.argsort(self.obj, kind="stable")
        return self.obj[order], self.subj[order]

    @cached_property
    def _maybe_by_object(self) -> tuple[Ids, Ids]:
        order = np.argsort(self.maybe_obj, kind="stable")
        return self.maybe_obj[order], self.maybe_subj[order]

    def posting(self, code: int) -> Ids:
        """Subjects that surely have this object, ascending."""
        return _slice(*self._by_object, code)

    def maybe_posting(self, code: int) -> Ids:
        return _slice(*self._maybe_by_object, code) if len(self.maybe_subj) else self.maybe_subj

    def pairs(self, ids: Ids) -> tuple[Positions, Ids]:
        """(position in `ids`, sure object) of every sure statement about one of `ids`."""
        if self.relation.single:
            if not len(self.subj):
                return np.empty(0, np.intp), self.subj
            rows = self.subj.searchsorted(ids)
            found = (self.subj.take(rows, mode="clip") == ids).nonzero()[0]
            return found, self.obj.take(rows[found])
        position, rows = rows_of(ids, self.subj)
        return position, self.obj[rows]

    def maybe_pairs(self, ids: Ids) -> tuple[Positions, Ids]:
        if not len(self.maybe_subj):
            return np.empty(0, np.intp), self.maybe_subj
        position, rows = rows_of(ids, self.maybe_subj)
        return position, self.maybe_obj[rows]

    def inverse_pairs(self, ids: Ids) -> tuple[Positions, Ids]:
        """(position in `ids`, subject) of every sure statement whose object is one of `ids`."""
        objects, subjects = self._by_object
        position, rows = rows_of(ids, objects)
        return position, subjects[rows]

    def subjects_from(self, values: Values, low: float, high: float) -> Ids:
        """Superset of the subjects whose sure value lies inside [low, high], cut out of the rows ordered by lower end."""
        if self._by_low is None:
            lows = values.low.take(self.obj - values.base)
            order = np.argsort(lows, kind="stable")
            self._by_low = (lows[order], self.subj[order])
        lows, subjects = self._by_low
        return sorted_ids(subjects[lows.searchsorted(low) : lows.searchsorted(high, "right")])

    def speakers(self) -> Ids:
        """Everyone about whom something is stated here, sure or not."""
        return union([self.subj, self.maybe_subj, self.contested])

    def values_of(self, ids: Ids) -> Ids:
        """Every object, sure or possible, of `ids`."""
        return union([self.pairs(ids)[1], self.maybe_pairs(ids)[1]])


def _slice(keys: Ids, values: Ids, key: int) -> Ids:
    wanted = np.int32(key)
    return values[keys.searchsorted(wanted) : keys.searchsorted(wanted, "right")]
