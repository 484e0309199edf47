"""How timeless relations between entities are drawn, each with its inverse.

    home      the entity's own country                      part    the award of which a ceremony is an edition
    map       an invertible assignment; several slots for multi-valued relations
    path      a walk over other relations: a club's town is the town of its ground
    pick      one of those that a path leads to: a cup is won by a club of its league
    pair      a symmetric bond within a type: twin towns    marry   a symmetric bond between two types
    elder     an older one of the same type: doctoral advisors, owning companies

A path step is a relation id, or `~relation:type` for the subjects of that type. `share` leaves some subjects without an
object, `guard` forbids what time makes impossible: a student is born before the university is founded, and so on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from datagen.errors import ConfigError
from datagen.web.synthetic.draws import Ring
from datagen.web.synthetic.layout import COUNTRY, Assignment, Ref

if TYPE_CHECKING:
    from datagen.web.synthetic.world import World

DAYS_PER_YEAR = 365


class LinkRule(Protocol):
    """Objects of a subject and subjects of an object; each is the inverse of the other."""

    def objects(self, subject: Ref) -> tuple[Ref, ...]: ...

    def subjects(self, target: Ref, type_id: str) -> tuple[Ref, ...]:
        """Subjects of the type `type_id`, which the relation must have as subject type."""
        ...


class Home:
    """Every entity to the country it lies in."""

    def __init__(self, world: World) -> None:
        self._layout = world.layout

    def objects(self, subject: Ref) -> tuple[Ref, ...]:
        return (Ref(COUNTRY, self._layout.country(subject)),)

    def subjects(self, target: Ref, type_id: str) -> tuple[Ref, ...]:
        return tuple(Ref(type_id, i) for i in range(*self._layout.span(type_id, target.index)))


class Part:
    """A numbered edition to the whole that it belongs to."""

    def __init__(self, world: World) -> None:
        self._per = world.layout.per

    def objects(self, subject: Ref) -> tuple[Ref, ...]:
        whole, count = self._per[subject.type]
        return (Ref(whole, subject.index // count),)

    def subjects(self, target: Ref, type_id: str) -> tuple[Ref, ...]:
        count = self._per[type_id][1]
        return tuple(Ref(type_id, target.index * count + i) for i in range(count))


class Mapped:
    """One assignment for each slot and pair of types."""

    def __init__(self, world: World, relation: str, make: Mapping[str, Any]) -> None:
        self._world, self._relation, self._make = world, relation, make
        self._target = world.ontology.catalogue.relations[relation].object_types[0]
        slots = make.get("slots", [make.get("share", 1.0)])
        self._shares: Sequence[float] = slots
        self._scope = make.get("scope", COUNTRY)
        self._needs = make.get("needs")
        self._guards = [tuple(g) for g in make.get("guard", ())]
        self._maps: dict[tuple[str, int], Assignment] = {}

    def _map(self, type_id: str, slot: int) -> Assignment:
        found = self._maps.get((type_id, slot))
        if found is None:
            world = self._world
            found = Assignment(
                world.draws,
                world.layout,
                f"{self._relation}/{slot}",
                (type_id, self._target),
                scope=self._scope,
                skew=self._make.get("skew", 0),
            )
            self._maps[type_id, slot] = found
        return found

    def _takes_part(self, subject: Ref, slot: int) -> bool:
        return self._world.draws.happens(
            self._shares[slot], f"share/{self._relation}/{subject.type}", subject.index, slot
        )

    def objects(self, subject: Ref) -> tuple[Ref, ...]:
        if self._needs and self._world.value(subject, self._needs) is None:
            return ()
        found: dict[Ref, None] = {}
        for slot in range(len(self._shares)):
            if not self._takes_part(subject, slot):
                continue
            index = self._map(subject.type, slot).forward(subject.index)
            if index is not None and Ref(self._target, index) != subject:
                found[Ref(self._target, index)] = None
        if self._guards:
            return tuple(o for o in found if self._allowed(subject, o))
        return tuple(found)

    def _allowed(self, subject: Ref, target: Ref) -> bool:
        return all(time_allows(self._world, subject, target, guard) for guard in self._guards)

    def subjects(self, target: Ref, type_id: str) -> tuple[Ref, ...]:
        if target.type != self._target:
            return ()
        numbers: set[int] = set()
        for slot in range(len(self._shares)):
            numbers.update(self._map(type_id, slot).inverse(target.index))
        candidates = (Ref(type_id, i) for i in sorted(numbers))
        if self._guards or self._needs or min(self._shares) < 1.0 or type_id == target.type or len(self._shares) > 1:
            return tuple(s for s in candidates if target in self.objects(s))
        return tuple(candidates)


def time_allows(world: World, subject: Ref, target: Ref, guard: tuple[Any, ...]) -> bool:
    """`[a, b, years]`: the object's date `a` plus years is not after the subject's date `b`; `~b` first swaps the sides.

    What has no such date is allowed.
    """
    first, second, years = guard
    early = world.value(subject, first[1:]) if first.startswith("~") else world.value(target, first)
    late = world.value(target, second) if first.startswith("~") else world.value(subject, second)
    return early is None or late is None or early.low + years * DAYS_PER_YEAR <= late.low


class Path:
    """A walk over other relations."""

    def __init__(self, world: World, path: Sequence[str]) -> None:
        self._world, self._steps = world, tuple(path)

    def objects(self, subject: Ref) -> tuple[Ref, ...]:
        return walk(self._world, subject, self._steps)

    def subjects(self, target: Ref, type_id: str) -> tuple[Ref, ...]:
        back = reversed(list(reverse_steps(self._world, self._steps, type_id)))
        return tuple(sorted(r for r in walk(self._world, target, tuple(back)) if r.type == type_id))


def walk(world: World, start: Ref, steps: Sequence[str]) -> tuple[Ref, ...]:
    """Everything that the steps lead to, without repeats, in the order found."""
    here: tuple[Ref, ...] = (start,)
    for step in steps:
        found: dict[Ref, None] = {}
        for ref in here:
            found.update(dict.fromkeys(_step(world, ref, step)))
        here = tuple(found)
    return here


def _step(world: World, ref: Ref, step: str) -> Iterable[Ref]:
    if step.startswith("~"):
        relation, _, type_id = step[1:].partition(":")
        return world.subjects(ref, relation, type_id)
    return world.objects(ref, step)


def reverse_steps(world: World, steps: Sequence[str], type_id: str) -> Iterator[str]:
    """For each step the one that undoes it, given the type from which the first one starts."""
    relations = world.ontology.catalogue.relations
    for step in steps:
        if step.startswith("~"):
            relation, _, type_id = step[1:].partition(":")
            yield relation
        else:
            yield f"~{step}:{type_id}"
            type_id = relations[step].object_types[0]


class Pick:
    """One of those that a path leads to, by draw. `shift` picks another one than the rule without it would."""

    def __init__(self, world: World, _relation: str, make: Mapping[str, Any]) -> None:
        self._world = world
        self._path = Path(world, make["path"])
        self._name = "pick/" + "/".join(make["path"])
        self._shift: int = make.get("shift", 0)
        self._least: int = make.get("least", 1)

    def objects(self, subject: Ref) -> tuple[Ref, ...]:
        choice = self._path.objects(subject)
        if len(choice) < self._least:
            return ()
        return (choice[(self._world.draws.bits(self._name, subject.index) + self._shift) % len(choice)],)

    def subjects(self, target: Ref, type_id: str) -> tuple[Ref, ...]:
        return tuple(s for s in self._path.subjects(target, type_id) if target in self.objects(s))


class Pair:
    """Twins: each slot mirrors the numbers of a type in a point of its own, so the bond is its own inverse."""

    def __init__(self, world: World, relation: str, make: Mapping[str, Any]) -> None:
        self._world, self._relation = world, relation
        self._shares: list[float] = make["slots"]

    def objects(self, subject: Ref) -> tuple[Ref, ...]:
        draws, size = self._world.draws, self._world.layout.sizes[subject.type]
        found: dict[Ref, None] = {}
        for slot, share in enumerate(self._shares):
            other = (draws.bits(f"pair/{self._relation}", slot) - subject.index) % size
            low, high = sorted((subject.index, other))
            if other != subject.index and draws.happens(share, f"bond/{self._relation}/{slot}", low, high):
                found[Ref(subject.type, other)] = None
        return tuple(found)

    def subjects(self, target: Ref, type_id: str) -> tuple[Ref, ...]:
        return self.objects(target) if target.type == type_id else ()


class Marry:
    """Couples of two types who live in one country and are of similar age."""

    def __init__(self, world: World, _relation: str, make: Mapping[str, Any]) -> None:
        self._world = world
        self._share: float = make["slots"][0]
        self._days: int = make["years"] * DAYS_PER_YEAR
        self._partner = {a: (b, True) for a, b in make["couples"]} | {b: (a, False) for a, b in make["couples"]}
        self._rings: dict[tuple[str, int, int], Ring] = {}

    def _ring(self, first: str, country: int, size: int) -> Ring:
        key = first, country, size
        if key not in self._rings:
            self._rings[key] = Ring(size, self._world.draws.bits(f"couples/{first}", country))
        return self._rings[key]

    def objects(self, subject: Ref) -> tuple[Ref, ...]:
        layout, draws = self._world.layout, self._world.draws
        other_type, leads = self._partner[subject.type]
        country = layout.country(subject)
        (a, b), (x, y) = layout.span(subject.type, country), layout.span(other_type, country)
        size = min(b - a, y - x)
        place = subject.index - a
        if place >= size:
            return ()
        first = subject.type if leads else other_type
        ring = self._ring(first, country, size)
        other = Ref(other_type, x + (ring.forward(place) if leads else ring.inverse(place)))
        leader = subject if leads else other
        if not draws.happens(self._share, f"married/{first}", leader.index):
            return ()
        born, their = self._world.value(subject, "birth_date"), self._world.value(other, "birth_date")
        if born is None or their is None or abs(born.low - their.low) > self._days:
            return ()
        return (other,)

    def subjects(self, target: Ref, type_id: str) -> tuple[Ref, ...]:
        if target.type not in self._partner or self._partner[target.type][0] != type_id:
            return ()
        return self.objects(target)


class Elder:
    """An earlier one in an order of the whole type, so that chains run back in time and never in circles.

    With `gap` (years) and `every`: students of rank k have the elder of the rank a gap earlier, rounded down so that
    some elders have several. With `ratio`: rank k belongs to rank k // ratio.
    """

    def __init__(self, world: World, relation: str, make: Mapping[str, Any]) -> None:
        self._world, self._relation, self._make = world, relation, make
        self._rings: dict[str, Ring] = {}
        births = world.ontology.make["birth_date"]["by"]
        self._years: dict[str, int] = {t: births[t][1] - births[t][0] + 1 for t in births}

    def ring(self, type_id: str) -> Ring:
        """The order of a type; dates of birth follow it."""
        if type_id not in self._rings:
            key = self._world.draws.bits(f"order/{self._relation}/{type_id}")
            self._rings[type_id] = Ring(self._world.layout.sizes[type_id], key)
        return self._rings[type_id]

    def _gap(self, type_id: str) -> int:
        gap: int = self._make["gap"]
        return -(-self._world.layout.sizes[type_id] * gap // self._years[type_id])

    def _above(self, type_id: str, rank: int) -> int | None:
        if "ratio" in self._make:
            ratio: int = self._make["ratio"]
            return rank // ratio if rank >= 1 else None
        every: int = self._make["every"]
        back = rank - self._gap(type_id)
        return back - back % every if back >= 0 else None

    def objects(self, subject: Ref) -> tuple[Ref, ...]:
        share: float = self._make["share"]
        if not self._world.draws.happens(share, f"elder/{self._relation}/{subject.type}", subject.index):
            return ()
        ring = self.ring(subject.type)
        above = self._above(subject.type, ring.forward(subject.index))
        return () if above is None else (Ref(subject.type, ring.inverse(above)),)

    def subjects(self, target: Ref, type_id: str) -> tuple[Ref, ...]:
        if target.type != type_id:
            return ()
        ring = self.ring(type_id)
        rank = ring.forward(target.index)
        if "ratio" in self._make:
            low, high = rank * self._make["ratio"], (rank + 1) * self._make["ratio"]
        else:
            low = rank + self._gap(type_id)
            high = low + self._make["every"]
        below = (ring.inverse(k) for k in range(low, min(high, ring.n)))
        return tuple(sorted(s for i in below if target in self.objects(s := Ref(type_id, i))))


class ByType:
    """Different rules for different subject types."""

    def __init__(self, usual: LinkRule, others: Mapping[str, LinkRule]) -> None:
        self._usual, self._others = usual, others

    def objects(self, subject: Ref) -> tuple[Ref, ...]:
        return self._others.get(subject.type, self._usual).objects(subject)

    def subjects(self, target: Ref, type_id: str) -> tuple[Ref, ...]:
        return self._others.get(type_id, self._usual).subjects(target, type_id)


def make_link_rule(world: World, relation: str, make: Mapping[str, Any]) -> LinkRule:
    """The rule that a relation's `make` table names."""
    rule = make["rule"]
    if rule == "elder":
        elder = Elder(world, relation, make)
        others: dict[str, LinkRule] = {t: Mapped(world, relation, {**make, "share": 1.0}) for t in make.get("by", {})}
        return ByType(elder, others) if others else elder
    if rule in {"map", "pick", "pair", "marry"}:
        makers: dict[str, Callable[[World, str, Mapping[str, Any]], LinkRule]]
        makers = {"map": Mapped, "pick": Pick, "pair": Pair, "marry": Marry}
        return makers[rule](world, relation, make)
    if rule == "path":
        return Path(world, make["path"])
    if rule in {"home", "part"}:
        return Home(world) if rule == "home" else Part(world)
    raise ConfigError(f"The ontology's relation {relation!r} asks for an unknown rule {rule!r}.")
