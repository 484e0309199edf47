"""Complete lists of a graph: which of them speak about a question, and whom they leave.

Several lists can cover one question ("all clubs of the league", "all women's clubs of the league"): each is complete,
so only members of all of them remain.
"""

from __future__ import annotations

from collections.abc import Iterable

from datagen.knowledge.arrays import Arrays, Ids, is_in
from datagen.knowledge.catalogue import Relation
from datagen.knowledge.dates import ordinal
from datagen.knowledge.literals import contains
from datagen.knowledge.resolution import SIDES, ClosedList
from datagen.knowledge.taxonomy import Taxonomy
from datagen.knowledge.views import Values
from datagen.records.fact import Literal


class ListIndex:
    """Lookup of kept lists by what they are about."""

    def __init__(self, arrays: Arrays, relations: list[Relation], taxonomy: Taxonomy, values: Values) -> None:
        self._relations, self._taxonomy, self._values = relations, taxonomy, values
        self._subjects: dict[tuple[int, int], list[ClosedList]] = {}
        self._by_value: dict[int, list[ClosedList]] = {}
        self._objects: dict[tuple[int, int], list[ClosedList]] = {}
        self.members: dict[int, ClosedList] = {}
        """By type code: the list of all entities of that type."""
        self.relations: set[int] = set()
        """Relations with a complete list of subjects."""
        offsets, members = arrays["kept_offsets"], arrays["kept_members"]
        self.kept: list[ClosedList] = []
        for i, (side, rel, anchor, type_code, day, row) in enumerate(arrays["kept_lists"].tolist()):
            closed = ClosedList(SIDES[side], rel, anchor, type_code, day, row, members[offsets[i] : offsets[i + 1]])
            self.kept.append(closed)
            self._register(closed)

    def _register(self, closed: ClosedList) -> None:
        if closed.side == "members":
            self.members.setdefault(closed.type_code, closed)
        elif closed.side == "objects":
            self._objects.setdefault((closed.relation, closed.anchor), []).append(closed)
        else:
            self.relations.add(closed.relation)
            self._subjects.setdefault((closed.relation, closed.anchor), []).append(closed)
            if closed.anchor >= self._values.base:
                self._by_value.setdefault(closed.relation, []).append(closed)

    def of_subjects(self, relation: int, code: int, type_code: int, as_of: str | None) -> list[ClosedList]:
        """Complete lists of the subjects of this type that have this object on that day."""
        return self._covering(self._subjects.get((relation, code), ()), type_code, as_of)

    def of_value(self, relation: int, asked: Literal, type_code: int, as_of: str | None) -> list[ClosedList]:
        """Complete lists of subjects whose stated value contains the asked one."""
        lists = (c for c in self._by_value.get(relation, ()) if contains(self._values.literal(c.anchor), asked))
        return self._covering(lists, type_code, as_of)

    def of_objects(self, relation: int, subject: int, as_of: str | None) -> list[ClosedList]:
        return self._covering(self._objects.get((relation, subject), ()), -1, as_of)

    def _covering(self, lists: Iterable[ClosedList], type_code: int, as_of: str | None) -> list[ClosedList]:
        return [c for c in lists if self._on_day(c, as_of) and self._of_type(c, type_code)]

    def _on_day(self, closed: ClosedList, as_of: str | None) -> bool:
        return not self._relations[closed.relation].changes or (as_of is not None and ordinal(as_of) == closed.day)

    def _of_type(self, closed: ClosedList, type_code: int) -> bool:
        if closed.side == "objects" or closed.type_code < 0:
            return True
        return bool(self._taxonomy.narrower[type_code, closed.type_code])


def common_members(lists: Iterable[ClosedList]) -> Ids | None:
    """Whom all of the lists contain; None when there is no list."""
    common: Ids | None = None
    for closed in lists:
        common = closed.members if common is None else common[is_in(common, closed.members)]
    return common
