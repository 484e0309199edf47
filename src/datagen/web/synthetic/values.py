"""How literals are drawn: dates, numbers and texts, each a function of the entity.

Dates can follow other dates (a novel appears when its author is 22 to 64), so that a sceptical reader finds a life that
could have been lived. Nothing dated lies after `WORLD_TODAY`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from datagen.errors import ConfigError
from datagen.knowledge.literals import date_interval, normalise_unit, number_literal, text_literal
from datagen.records.fact import Literal
from datagen.web.synthetic.layout import Ref
from datagen.web.synthetic.rules import Elder, walk

if TYPE_CHECKING:
    from datagen.web.synthetic.world import World

WORLD_TODAY = date(2026, 6, 30)
"""The day on which every world is written."""
LAST_EVENT = date(2026, 5, 31).toordinal()
_LAST_FULL_YEAR = 2025


class ValueRules:
    """Draws the literal of (entity, relation) from the relation's `make` table."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._draws = world.draws

    def draw(self, subject: Ref, relation: str, make: Mapping[str, Any]) -> Literal | None:
        rule = make["rule"]
        if rule == "text":
            return text_literal(self._text(subject, relation, make))
        if rule == "date":
            return self._date(subject, relation, make)
        if rule == "number":
            return self._number(subject, relation, make)
        if rule == "count":
            return number_literal(float(len(walk(self._world, subject, make["path"]))))
        if rule == "part_of_number":
            return self._part(subject, relation, make)
        if rule in {"edition_day", "editions"}:
            return self._edition(subject, make)
        raise ConfigError(f"The ontology's relation {relation!r} asks for an unknown rule {rule!r}.")

    def _bits(self, subject: Ref, relation: str, part: int = 0) -> int:
        return self._draws.bits(f"value/{relation}/{subject.type}", subject.index, part)

    def _text(self, subject: Ref, relation: str, make: Mapping[str, Any]) -> str:
        bits = self._bits(subject, relation)
        if "values" in make:
            values: Sequence[str] = make["values"]
            return values[bits % len(values)]
        first: Sequence[str] = make["first"]
        second: Sequence[str] = make["second"]
        head, tail = first[bits % len(first)], bits // len(first) % len(second)
        word = second[tail] if second[tail] != head else second[(tail + 1) % len(second)]
        return f"{head}{make.get('joint', ' ')}{word}"

    def _number(self, subject: Ref, relation: str, make: Mapping[str, Any]) -> Literal:
        low, high = make.get("by", {}).get(subject.type) or (make["low"], make["high"])
        bits = self._bits(subject, relation) % 1_000_000
        if make.get("even"):
            number = low + (high - low) * bits // 1_000_000
        else:
            # The cube of an even draw: many small ones, few large ones, as towns and rivers are.
            number = low + (high - low) * bits**3 // 1_000_000**3
        unit = self._world.ontology.catalogue.relations[relation].unit
        return number_literal(float(number), normalise_unit(unit) if unit else "")

    def _part(self, subject: Ref, relation: str, make: Mapping[str, Any]) -> Literal | None:
        *path, relation_of = make["path"]
        for ref in walk(self._world, subject, path):
            whole = self._world.value(ref, relation_of)
            if whole is not None:
                share = 35 + self._bits(subject, relation) % 65
                return number_literal(float(int(whole.low) * share // 100))
        return None

    def _date(self, subject: Ref, relation: str, make: Mapping[str, Any]) -> Literal | None:
        bounds = make.get("by", {}).get(subject.type) or (make["low"], make["high"])
        after = make.get("after")
        source = make.get("from", {}).get(subject.type)
        if source:
            after, bounds = [source[:2]], source[2:]
        if after:
            years = self._years_after(subject, after, bounds, drop_late=make.get("drop_late", False))
        else:
            years = tuple(bounds)
        if years is None:
            return None
        low, high = years
        elder = make.get("order", {}).get(subject.type)
        bits = self._bits(subject, relation)
        if elder:
            rule = self._world.link_rule(elder)
            assert isinstance(rule, Elder)
            ring = rule.ring(subject.type)
            year = low + (high - low + 1) * ring.forward(subject.index) // ring.n
        else:
            year = low + bits % (high - low + 1)
        return self._in_year(year, bits >> 20, exact=make.get("precision", "day") == "day")

    def _years_after(
        self, subject: Ref, paths: Sequence[Sequence[str]], bounds: Sequence[int], *, drop_late: bool
    ) -> tuple[int, int] | None:
        starts = [day for path in paths for day in self._dates(subject, path)]
        if not starts:
            return None
        base = date.fromordinal(int(max(starts))).year
        low, high = base + bounds[0], base + bounds[1]
        if drop_late:
            year = low + self._bits(subject, "late") % (high - low + 1)
            return (year, year) if year <= _LAST_FULL_YEAR else None
        return min(low, _LAST_FULL_YEAR), max(min(high, _LAST_FULL_YEAR), min(low, _LAST_FULL_YEAR))

    def _dates(self, subject: Ref, path: Sequence[str]) -> list[float]:
        *steps, last = path
        found = (self._world.value(ref, last) for ref in walk(self._world, subject, steps))
        return [literal.low for literal in found if literal is not None]

    @staticmethod
    def _in_year(year: int, bits: int, *, exact: bool) -> Literal:
        if not exact:
            return date_interval(date(year, 1, 1).toordinal(), date(year, 12, 31).toordinal())
        day = min(date(year, 1 + bits % 12, 1 + bits // 12 % 28).toordinal(), LAST_EVENT)
        return date_interval(day, day)

    def _edition(self, subject: Ref, make: Mapping[str, Any]) -> Literal | None:
        """Editions come every one to three years, the last one recently; `editions` asks for the first one's year."""
        per = self._world.layout.per
        if make["rule"] == "editions":
            count, number, whole = per[make["of"]][1], 0, subject
        else:
            whole_type, count = per[subject.type]
            number, whole = subject.index % count, Ref(whole_type, subject.index // count)
        period = 1 + self._draws.below(3, f"period/{whole.type}", whole.index)
        year = _LAST_FULL_YEAR - (count - 1 - number) * period
        bits = self._draws.bits(f"edition/{subject.type}", subject.index)
        if make["rule"] == "editions":
            return self._in_year(year, 0, exact=False)
        day = date(year, make["month"] + bits % 2, 1 + bits // 2 % 28).toordinal()
        return date_interval(day, day)
