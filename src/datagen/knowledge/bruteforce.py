"""Recompute a certificate from the rows alone: the other half of the independent checker.

`verify_certificate` returns a sentence for everything that differs; an empty list means that the certificate holds.
With `thorough=True` every entity of the world is tested for every vertex and every subset of clues is tried, which is
what the tests do on small worlds; otherwise only entities that an excluding clue leaves are tested, and subsets are
tried only where some clue is not needed (possible sets never shrink when a clue goes).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from datagen.knowledge.formula import ClueAddress, Edge, EntityRef, IsA, Match, Node, Query, Within, walk_clues
from datagen.knowledge.formula import depth as tree_depth
from datagen.knowledge.plain_matching import STRANGER, UNBOUNDED, Checker, subtree
from datagen.knowledge.plain_world import PlainWorld, covers_day, day_of, stated_value, trust_of
from datagen.records.fact import Evidence, Fact
from datagen.records.ids import sha256_hex
from datagen.records.question import Certificate, ClueEvidence

MANY = 64
"""A certificate of an open query lists at most this many answers."""


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
        typed = world.typed(root.type)
        left: set[str] = typed
        for clue in root.clues:
            if isinstance(clue, IsA) or (not isinstance(clue, Within) and clue.inverse):
                continue
            if self._limited(clue):
                pool = left if self._thorough else (self._checker.clue_pool(clue, root.type) or set()) & left
                left = {key for key in pool if self._listed_or_stated(clue, key)}
        return {"type": len(world.types) - len(typed), "complete_list": len(typed) - len(left), "stated_value": len(left) - len(found)}  # fmt: skip

    def _limited(self, clue: Match | Within | Edge) -> bool:
        """Whether complete lists cover everything that the clue may mean."""
        return not self._checker.unlisted(clue, self._root.type, STRANGER)

    def _listed_or_stated(self, clue: Match | Within | Edge, key: str) -> bool:
        known = self._checker.known(key, clue)
        stated = any(self._checker.fits(clue, value)[1] for value in known.possible)
        return stated or self._checker.unlisted(clue, self._root.type, key)

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
        known, checker = self._checker.known, self._checker
        if clue.inverse:
            stated_by = self._world.subjects.get((clue.relation, key), ())
            return min(s for s in stated_by if key in known(s, clue).sure and checker.judge(clue.child, s)[0])
        return min(v for v in known(key, clue).sure if isinstance(v, str) and checker.judge(clue.child, v)[0])

    def _facts(self, clue: Match | Within | Edge, subject: str, other: str | None) -> list[Fact]:
        changes, day = self._world.catalogue.relations[clue.relation].changes, day_of(clue.as_of)
        found = []
        for fact in self._world.stated.get((subject, clue.relation), ()):
            value = stated_value(fact)
            same = value == other if other is not None else not isinstance(clue, Edge) and not isinstance(value, str) and self._checker.fits(clue, value)[0]  # fmt: skip
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
    """Fewest pages that meet every set, by trying all choices of growing size among pages that no other one beats."""
    covers = {frozenset(i for i, p in enumerate(pages) if page in p) for page in set().union(*pages)}
    best = [c for c in covers if not any(c < other for other in covers)]
    for size in range(1, len(pages)):
        for chosen in combinations(best, size):
            if len(frozenset().union(*chosen)) == len(pages):
                return size
    return len(pages)


def _differs(what: str, claimed: object, found: object) -> Iterator[str]:
    if claimed != found:
        yield f"{what}: the certificate says {claimed}, the rows say {found}"
