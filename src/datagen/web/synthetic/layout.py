"""How many entities of each type a world has, and which country each belongs to.

Entities of a type are numbered so that those of one country are neighbours. Links that stay in a country are then
links between two intervals, whatever the size of the world.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from datagen.web.synthetic.draws import Draws, FanMap, Ring
from datagen.web.synthetic.ontology import Ontology

COUNTRY = "country"
_MOST_JOINTS = 256
"""Joints that an assignment keeps: a large world has a thousand countries, and pages visit them in any order."""


class Ref(NamedTuple):
    """An entity: its type and its number among the entities of that type."""

    type: str
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody asks a reference for


class Layout:
    """Numbers of entities and the country intervals of every type."""

    def __init__(self, ontology: Ontology, entities: int) -> None:
        kinds = ontology.kinds
        shares = {k.id: k.weight for k in kinds.values()}
        shares |= {k.id: shares[k.per[0]] * k.per[1] for k in kinds.values() if k.per}
        total = sum(shares.values())
        self.sizes: dict[str, int] = {
            k.id: max(k.least, round(entities * k.weight / total)) for k in kinds.values() if not k.per
        }
        self.per: dict[str, tuple[str, int]] = {k.id: k.per for k in kinds.values() if k.per}
        self.sizes |= {type_id: self.sizes[whole] * count for type_id, (whole, count) in self.per.items()}
        self.countries = self.sizes[COUNTRY]
        self._fans = {type_id: FanMap(n, self.countries, skew=1) for type_id, n in self.sizes.items()}
        self._spans: dict[tuple[str, int], tuple[int, int]] = {}

    def country(self, ref: Ref) -> int:
        """The country that an entity belongs to."""
        if ref.type == COUNTRY:
            return ref.index
        if ref.type in self.per:
            whole, count = self.per[ref.type]
            return self._fans[whole].forward(ref.index // count)
        return self._fans[ref.type].forward(ref.index)

    def span(self, type_id: str, country: int) -> tuple[int, int]:
        """The interval [low, high) of entities of a type in a country."""
        key = type_id, country
        found = self._spans.get(key)
        if found is None:
            if type_id == COUNTRY:
                found = country, country + 1
            elif type_id in self.per:
                whole, count = self.per[type_id]
                low, high = self.span(whole, country)
                found = low * count, high * count
            else:
                found = self._fans[type_id].interval(country)
            self._spans[key] = found
        return found


class Joint(NamedTuple):
    """The map between the entities of two types within one scope."""

    ring: Ring
    fan: FanMap
    target: Ring
    low: int
    """First subject."""
    first: int
    """First object."""


class Assignment:
    """An invertible map from the entities of one type to those of another, inside each country or across the world."""

    def __init__(
        self, draws: Draws, layout: Layout, name: str, ends: tuple[str, str], *, scope: str = COUNTRY, skew: int = 0
    ) -> None:
        self._draws, self._layout, self._name = draws, layout, name
        self._source, self._target = ends
        self._skew = skew
        self._place: Callable[[Ref], int] = layout.country if scope == COUNTRY else _anywhere
        self._scope = scope
        self._joints: dict[int, Joint | None] = {}

    def _joint(self, place: int) -> Joint | None:
        if place in self._joints:
            return self._joints[place]
        if self._scope == COUNTRY:
            (a, b), (x, y) = self._layout.span(self._source, place), self._layout.span(self._target, place)
        else:
            a, b, x, y = 0, self._layout.sizes[self._source], 0, self._layout.sizes[self._target]
        joint = None
        if a < b and x < y:
            name = f"joint/{self._name}/{self._source}/{self._target}"
            keys = self._draws.bits(name, place, 0), self._draws.bits(name, place, 1)
            joint = Joint(Ring(b - a, keys[0]), FanMap(b - a, y - x, self._skew), Ring(y - x, keys[1]), a, x)
        if len(self._joints) >= _MOST_JOINTS:
            self._joints.clear()
        self._joints[place] = joint
        return joint

    def forward(self, index: int) -> int | None:
        """The object's number; None where the country has no entity of that type."""
        joint = self._joint(self._place(Ref(self._source, index)))
        if joint is None:
            return None
        rank = joint.fan.forward(joint.ring.forward(index - joint.low))
        return joint.first + joint.target.inverse(rank)

    def inverse(self, index: int) -> list[int]:
        """All subjects whose object this is, in the order of their numbers."""
        joint = self._joint(self._place(Ref(self._target, index)))
        if joint is None:
            return []
        low, high = joint.fan.interval(joint.target.forward(index - joint.first))
        return sorted(joint.low + joint.ring.inverse(rank) for rank in range(low, high))


def _anywhere(_ref: Ref) -> int:
    return 0
