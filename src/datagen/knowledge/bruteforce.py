"""Recompute a certificate from the rows alone: the other half of the independent checker.

Strangers are entities like any other here: the checker asks whether `STRANGER`, of whom nothing is stated, could match,
and calls a vertex open when it could. Whoever is known is tested one by one. `verify_certificate` returns a sentence
for everything that differs; an empty list means that the certificate holds.

With `thorough=True` every entity of the world is tested for every vertex and every subset of clues is tried, which is
what the tests do on small worlds; otherwise only entities that an excluding clue leaves are tested, and subsets are
tried only where some clue is not needed (possible sets never shrink when a clue goes).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from datagen.knowledge.formula import Clue, ClueAddress, Edge, EntityRef, IsA, Match, Node, Query, Within, walk_clues
from datagen.knowledge.formula import depth as tree_depth
from datagen.knowledge.plain_world import (  # fmt: skip
    Known,
    PlainWorld,
    Value,
    covers_day,
    day_of,
    inside,
    may_equal,
    stated_value,
    trust_of,
    value_of,
)
from datagen.records.fact import Evidence, Fact
from datagen.records.ids import sha256_hex
from datagen.records.question import Certificate, ClueEvidence

STRANGER = None
"""An entity that no page mentions."""
UNBOUNDED = -1
MANY = 64
"""A certificate of an open query lists at most this many answers."""

Key = str | None


class Checker:
    """Matches formulas against a plain world."""

    def __init__(self, world: PlainWorld, *, thorough: bool = False) -> None:
        self.world = world
        self._thorough = thorough
        self._matching: dict[Node, set[str] | None] = {}
        self._memo: dict[tuple[Node, str], tuple[bool, bool]] = {}

    # --- who could match ------------------------------------------------------------------------------------------

    def matching(self, node: Node) -> set[str] | None:
        """Everyone who could match; None when a stranger could."""
        if node not in self._matching:
            if self.judge(node, STRANGER)[1]:
                self._matching[node] = None
            else:
                pool = set(self.world.types) if self._thorough else self._pool(node)
                self._matching[node] = {key for key in pool if self.judge(node, key)[1]}
        return self._matching[node]

    def _pool(self, node: Node) -> set[str]:
        """A set that holds everyone who could match: of a clue that excludes strangers, or everyone."""
        pools = [pool for clue in node.clues if (pool := self._clue_pool(clue, node.type)) is not None]
        return min(pools, key=len) if pools else set(self.world.types)

    def _clue_pool(self, clue: Clue, type_id: str | None) -> set[str] | None:
        if isinstance(clue, IsA) or self.judge_clue(clue, type_id, STRANGER)[1]:
            return None
        if not isinstance(clue, Within) and clue.inverse:
            subjects = self._subjects_asked(clue)
            return {v for s in subjects for v in self._known(s, clue).possible if isinstance(v, str)}
        if isinstance(clue, Match) and isinstance(clue.value, EntityRef):
            listed = self.world.subject_list(clue.relation, clue.value.key, type_id, self._day(clue))
            twins = {clue.value.key, *self.world.twins.get(clue.value.key, ())}
            stated = {s for v in twins for s in self.world.subjects.get((clue.relation, v), ())}
            return None if listed is None else listed | stated
        return None

    def _subjects_asked(self, clue: Match | Edge) -> set[str]:
        if isinstance(clue, Edge):
            found = self.matching(clue.child)
            return self._silent_subjects(clue) if found is None else found
        assert isinstance(clue.value, EntityRef)
        return {clue.value.key} if clue.value.key in self.world.types else set()

    def _silent_subjects(self, clue: Edge) -> set[str]:
        return {s for s in self.world.speakers[clue.relation] if self.judge(clue.child, s)[1]}

    # --- one entity -----------------------------------------------------------------------------------------------

    def judge(self, node: Node, key: Key) -> tuple[bool, bool]:
        """(surely matches, could match)"""
        if key is not None and (node, key) in self._memo:
            return self._memo[node, key]
        sure = key is not None and self.world.is_a(key, node.type)
        possible = self.world.may_be(key, node.type)
        for clue in node.clues:
            if possible:
                clue_sure, clue_possible = self.judge_clue(clue, node.type, key)
                sure, possible = sure and clue_sure, possible and clue_possible
        result = (sure and possible, possible)
        if key is not None:
            self._memo[node, key] = result
        return result

    def judge_clue(self, clue: Clue, type_id: str | None, key: Key) -> tuple[bool, bool]:
        if isinstance(clue, IsA):
            return key is not None and self.world.is_a(key, clue.type), self.world.may_be(key, clue.type)
        if not isinstance(clue, Within) and clue.inverse:
            return self._judge_inverse(clue, key)
        known = Known((), frozenset(), settled=False, contested=False) if key is None else self._known(key, clue)
        sure = any(self._fits(clue, value)[0] for value in known.sure)
        possible = any(self._fits(clue, value)[1] for value in known.possible)
        return sure, possible or (self._unsettled(key, clue, known, type_id) and self._unlisted(clue, type_id, key))

    def _day(self, clue: Match | Within | Edge) -> int | None:
        return day_of(clue.as_of) if self.world.catalogue.relations[clue.relation].changes else None

    def _known(self, subject: str, clue: Match | Within | Edge) -> Known:
        return self.world.known(subject, clue.relation, self._day(clue))

    def _unsettled(self, key: Key, clue: Match | Within | Edge, known: Known, type_id: str | None) -> bool:
        world = self.world
        if not world.can_apply(clue.relation, type_id):
            return False
        if self._silent(clue):
            return known.contested
        return not known.settled and (key is None or world.applies(clue.relation, world.types[key]))

    def _silent(self, clue: Match | Within | Edge) -> bool:
        dayless = self.world.catalogue.relations[clue.relation].changes and self._day(clue) is None
        return clue.relation in self.world.silent_relations and not dayless

    def _fits(self, clue: Match | Within | Edge, value: Value) -> tuple[bool, bool]:
        if isinstance(clue, Edge):
            return self.judge(clue.child, value) if isinstance(value, str) else (False, False)
        asked = self._asked(clue)
        if isinstance(asked, str) or isinstance(value, str):
            return value == asked, value == asked
        return inside(value, asked), may_equal(value, asked)

    def _asked(self, clue: Match | Within) -> Value:
        if isinstance(clue, Within):
            return (clue.kind, clue.low, clue.high, clue.unit, "")
        return clue.value.key if isinstance(clue.value, EntityRef) else value_of(clue.value)

    def _unlisted(self, clue: Match | Within | Edge, type_id: str | None, key: Key) -> bool:
        """Whether no complete list rules the entity out."""
        asked: set[Value] | None = {self._asked(clue)} if not isinstance(clue, Edge) else None
        if isinstance(clue, Edge):
            found = self.matching(clue.child)
            if found is None or not self.world.has_lists(clue.relation):
                return True
            asked = set(found)
        assert asked is not None
        for value in asked:
            members = self.world.subject_list(clue.relation, value, type_id, self._day(clue))
            if members is None or key in members:
                return True
        return False

    def _judge_inverse(self, clue: Match | Edge, key: Key) -> tuple[bool, bool]:
        """Whether `key` is an object of a subject that the clue names or describes."""
        sure = key is not None and self._surely_object(clue, key)
        subjects: set[str] | None
        if isinstance(clue, Edge):
            subjects = self.matching(clue.child)
            if subjects is None:
                if not self._silent(clue):
                    return sure, True
                subjects = self._silent_subjects(clue)
        else:
            assert isinstance(clue.value, EntityRef)
            if clue.value.key not in self.world.types:
                return False, not self._silent(clue)
            subjects = {clue.value.key}
        for subject in subjects:
            known = self._known(subject, clue)
            if key in known.possible or self._unsettled(subject, clue, known, None):
                return sure, True
        return sure, False

    def _surely_object(self, clue: Match | Edge, key: str) -> bool:
        if isinstance(clue, Match):
            assert isinstance(clue.value, EntityRef)
            known_key = clue.value.key in self.world.types
            return known_key and key in self._known(clue.value.key, clue).sure
        stated_by = self.world.subjects.get((clue.relation, key), ())
        return any(key in self._known(s, clue).sure and self.judge(clue.child, s)[0] for s in stated_by)

    # --- sizes ----------------------------------------------------------------------------------------------------

    def size(self, node: Node) -> int:
        found = self.matching(node)
        return UNBOUNDED if found is None else len(found)

    def sure_matches(self, node: Node) -> list[str]:
        return sorted(key for key in self.world.types if self.judge(node, key)[0])


def subtree(node: Node, kept: set[ClueAddress], prefix: ClueAddress = ()) -> Node:
    """The tree with only the clues at these addresses."""
    clues: list[Clue] = []
    for i, clue in enumerate(node.clues):
        address = (*prefix, i)
        if address in kept:
            if isinstance(clue, Edge):
                clues.append(Edge(clue.relation, subtree(clue.child, kept, address), clue.inverse, clue.as_of))
            else:
                clues.append(clue)
    return Node(node.type, tuple(clues))


def verify_certificate(
    world: PlainWorld, query: Query, certificate: Certificate, *, thorough: bool = False
) -> list[str]:
    """What of the certificate the rows do not bear out, in sentences; empty when everything holds."""
    return list(_Audit(world, query, certificate, thorough=thorough).faults())


class _Audit:
    def __init__(self, world: PlainWorld, query: Query, certificate: Certificate, *, thorough: bool) -> None:
        self._world, self._root, self._claimed, self._thorough = world, query.root, certificate, thorough
        self._checker = Checker(world, thorough=thorough)
        self._walked = list(walk_clues(query.root))
        self._addresses = [address for address, _ in self._walked]

    def faults(self) -> Iterator[str]:
        claimed, checker = self._claimed, self._checker
        found = checker.matching(self._root)
        yield from self._assumed()
        if found is None:
            yield from _differs("rivals", claimed.rivals, UNBOUNDED)
            yield from _differs("answer set", claimed.answer_set, tuple(checker.sure_matches(self._root)[:MANY]))
        else:
            sure = sorted(key for key in found if checker.judge(self._root, key)[0])
            yield from _differs("answer set", claimed.answer_set, tuple(sure[:MANY]))
            yield from _differs("rivals", claimed.rivals, len(found) - len(sure))
            yield from _differs("rivals ruled out", claimed.excluded_by, self._excluded(found))
        sizes = tuple(
            checker.size(Node(self._root.type, self._root.clues[: i + 1])) for i in range(len(self._root.clues))
        )
        yield from _differs("sizes", claimed.sizes, sizes)
        necessity = tuple(checker.size(self._without(address)) for address in self._addresses)
        yield from _differs("necessity", claimed.necessity, necessity)
        if len(claimed.clues) != len(self._addresses):
            yield f"the certificate describes {len(claimed.clues)} clues, the question has {len(self._addresses)}"
        if found is not None and len(found) == 1 and checker.judge(self._root, next(iter(found)))[0]:
            yield from self._subset(necessity)
            yield from self._evidence(next(iter(found)))

    def _without(self, address: ClueAddress) -> Node:
        return subtree(self._root, {a for a in self._addresses if a[: len(address)] != address})

    def _assumed(self) -> Iterator[str]:
        world, catalogue = self._world, self._world.catalogue
        types = {t for t in _types_named(self._root) if t is not None}
        relations = {c.relation for _, c in self._walked if not isinstance(c, IsA)}
        complete = sorted({t for t in world.closed_types for name in types if catalogue.is_a(name, t)})
        silent = sorted(relations & set(world.silent_relations))
        expected = (*(f"every {t} is known" for t in complete), *(f"silence about {r} means no" for r in silent))
        yield from _differs("assumptions", self._claimed.assumptions, expected)
        yield from _differs("mode", self._claimed.mode, "closed_world" if expected else "open_world")

    def _excluded(self, found: set[str]) -> dict[str, int]:
        world, root = self._world, self._root
        typed = {key for key in world.types if world.may_be(key, root.type)} if self._claimed.excluded_by else set()
        left = set(typed)
        for clue in root.clues:
            if isinstance(clue, IsA) or (not isinstance(clue, Within) and clue.inverse):
                continue
            if self._limited(clue):
                left = {key for key in left if self._listed_or_stated(clue, key)}
        return {"type": len(world.types) - len(typed), "complete_list": len(typed) - len(left), "stated_value": len(left) - len(found)}  # fmt: skip

    def _limited(self, clue: Match | Within | Edge) -> bool:
        """Whether complete lists cover everything that the clue may mean."""
        return not self._checker._unlisted(clue, self._root.type, STRANGER)  # noqa: SLF001

    def _listed_or_stated(self, clue: Match | Within | Edge, key: str) -> bool:
        known = self._checker._known(key, clue)  # noqa: SLF001
        stated = any(self._checker._fits(clue, value)[1] for value in known.possible)  # noqa: SLF001
        return stated or self._checker._unlisted(clue, self._root.type, key)  # noqa: SLF001

    # --- smallest subset ------------------------------------------------------------------------------------------

    def _subset(self, necessity: tuple[int, ...]) -> Iterator[str]:
        claimed, count = self._claimed.minimal_subset, len(self._addresses)
        kept = {self._addresses[i] for i in claimed if i < count}
        tree = subtree(self._root, kept)
        if len(kept) != len(claimed) or not self._allowed(kept) or self._checker.size(tree) != 1:
            yield f"the clues {list(claimed)} do not identify the answer"
        yield from _differs("dependency depth", self._claimed.dependency_depth, tree_depth(tree))
        needed = {self._addresses[i] for i, size in enumerate(necessity) if size != 1}
        if count > 8 or (len(needed) == count and not self._thorough):
            if self._claimed.minimal_subset_exact and len(needed) < count:
                yield f"the smallest subset of {count} clues is called exact, but not all subsets were tried"
            elif not needed <= kept:
                yield f"the clues {list(claimed)} leave out one that is needed"
            return
        if not self._claimed.minimal_subset_exact:
            yield f"the smallest subset of {count} clues is not called exact"
        required = set() if self._thorough else needed
        for size in range(len(claimed)):
            for chosen in combinations(self._addresses, size):
                wanted = set(chosen)
                if (
                    required <= wanted
                    and self._allowed(wanted)
                    and self._checker.size(subtree(self._root, wanted)) == 1
                ):
                    yield f"the {size} clues at {sorted(wanted)} identify the answer, fewer than {len(claimed)}"
                    return

    def _allowed(self, kept: set[ClueAddress]) -> bool:
        return all(a[:n] in kept for a in kept for n in range(1, len(a)))

    # --- evidence -------------------------------------------------------------------------------------------------

    def _evidence(self, answer: str) -> Iterator[str]:
        stating = dict(self._stating(self._root, answer, ()))
        pages = [{f.evidence.page_id for f in facts} for facts in stating.values()]
        if any(not p for p in pages):
            yield "a clue of the question is stated on no page"
        elif pages:
            yield from _differs("fewest documents", self._claimed.min_documents, fewest_pages(pages))
        numbers = {address: i for i, address in enumerate(self._addresses)}
        quoted = {row.clue for row in self._claimed.evidence}
        for address, facts in stating.items():
            if numbers[address] not in quoted:
                yield f"clue {numbers[address]} has no evidence"
            allowed = {_span(f.evidence) for f in facts}
            for row in self._claimed.evidence:
                if row.clue == numbers[address] and _span(row) not in allowed:
                    yield f"clue {row.clue} is not stated at {row.url} [{row.start}:{row.end}]"
        for row in (*self._claimed.evidence, *self._claimed.exclusion_evidence):
            if sha256_hex(row.quote.encode()) != row.sha256:
                yield f"the quote at {row.url} [{row.start}:{row.end}] does not have the hash {row.sha256}"

    def _stating(self, node: Node, key: str, prefix: ClueAddress) -> Iterator[tuple[ClueAddress, list[Fact]]]:
        for i, clue in enumerate(node.clues):
            address = (*prefix, i)
            if isinstance(clue, Edge):
                other = self._witness(clue, key)
                yield address, self._facts(clue, *((other, key) if clue.inverse else (key, other)))
                yield from self._stating(clue.child, other, address)
            elif isinstance(clue, Match) and isinstance(clue.value, EntityRef):
                yield address, self._facts(clue, *((clue.value.key, key) if clue.inverse else (key, clue.value.key)))
            elif not isinstance(clue, IsA):
                yield address, self._facts(clue, key, None)

    def _witness(self, clue: Edge, key: str) -> str:
        known, checker = self._checker._known, self._checker  # noqa: SLF001
        if clue.inverse:
            stated_by = self._world.subjects.get((clue.relation, key), ())
            return min(s for s in stated_by if key in known(s, clue).sure and checker.judge(clue.child, s)[0])
        return min(v for v in known(key, clue).sure if isinstance(v, str) and checker.judge(clue.child, v)[0])

    def _facts(self, clue: Match | Within | Edge, subject: str, other: str | None) -> list[Fact]:
        changes, day = self._world.catalogue.relations[clue.relation].changes, day_of(clue.as_of)
        found = []
        for fact in self._world.stated.get((subject, clue.relation), ()):
            value = stated_value(fact)
            same = value == other if other is not None else not isinstance(clue, Edge) and not isinstance(value, str) and self._checker._fits(clue, value)[0]  # fmt: skip  # noqa: SLF001
            if same and trust_of(fact) and (not changes or covers_day(fact, day)):
                found.append(fact)
        return found


def _span(row: Evidence | ClueEvidence) -> tuple[str, str, int, int, str]:
    return row.page_id, row.url, row.start, row.end, row.quote


def _types_named(node: Node) -> Iterator[str | None]:
    yield node.type
    for clue in node.clues:
        if isinstance(clue, IsA):
            yield clue.type
        elif isinstance(clue, Edge):
            yield from _types_named(clue.child)


def fewest_pages(pages: list[set[str]]) -> int:
    """Fewest pages that meet every set, by trying all choices of growing size."""
    every = sorted(set().union(*pages))
    for size in range(1, len(pages)):
        for chosen in combinations(every, size):
            if all(p.intersection(chosen) for p in pages):
                return size
    return len(pages)


def _differs(what: str, claimed: object, found: object) -> Iterator[str]:
    if claimed != found:
        yield f"{what}: the certificate says {claimed}, the rows say {found}"
