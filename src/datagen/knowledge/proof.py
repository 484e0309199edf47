"""The evidence behind a unique answer: where each clue is written, and what ruled the rivals out.

The proof walks the tree from the answer. Under an edge it takes, of the objects (subjects, for an inverse edge) that
surely match the child, the first in key order. A page states a clue when one of its trusted statements about the right
subject has an object inside what the clue asks, on the asked day.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from datagen.knowledge.arrays import Ids
from datagen.knowledge.dates import ordinal
from datagen.knowledge.evaluator import Evaluation
from datagen.knowledge.formula import Clue, Edge, EntityRef, IsA, Match, Node, Query, Within, walk_nodes
from datagen.knowledge.resolution import ClosedList
from datagen.knowledge.variants import Variants
from datagen.records.fact import Evidence
from datagen.records.question import ClueEvidence

EVIDENCE_PER_CLUE = 3
EXCLUSION_EVIDENCE = 8
EXACT_COVER_UP_TO = 16
"""Clues up to which the fewest documents are found exactly; beyond, greedily."""


@dataclass(frozen=True, slots=True)
class Step:
    """One clue of the path with the rows that state it, best first."""

    clue: int
    rows: tuple[int, ...]


class Proof:
    """Evidence for one answer of one query."""

    def __init__(self, evaluation: Evaluation, query: Query, answer: int) -> None:
        self._evaluation = evaluation
        self._graph = evaluation.graph
        self._root = query.root
        self._answer = answer
        self._counter = 0
        self.steps = tuple(self._walk(query.root, answer))

    def _walk(self, node: Node, entity: int) -> Iterator[Step]:
        for clue in node.clues:
            number = self._counter
            self._counter += 1
            if isinstance(clue, IsA):
                continue
            if isinstance(clue, Edge):
                other = self._witness(clue, entity)
                ends = (other, entity) if clue.inverse else (entity, other)
                yield Step(number, self.rows(clue, *ends))
                yield from self._walk(clue.child, other)
            elif isinstance(clue, Match) and isinstance(clue.value, EntityRef):
                other = self._graph.id(clue.value.key)
                ends = (other, entity) if clue.inverse else (entity, other)
                yield Step(number, self.rows(clue, *ends))
            else:
                yield Step(number, self.rows(clue, entity, None))

    def _witness(self, clue: Edge, entity: int) -> int:
        view = self._graph.view(clue.relation, clue.as_of)
        one = np.array([entity], np.int32)
        others = np.sort((view.inverse_pairs(one) if clue.inverse else view.pairs(one))[1])
        return int(others[self._evaluation.masks(clue.child, others)[0]][0])

    def rows(self, clue: Match | Within | Edge, subject: int, code: int | None) -> tuple[int, ...]:
        """Trusted statements about `subject` that state the clue, the most trusted and latest first, lists last."""
        st = self._graph.statements
        day = ordinal(clue.as_of) if clue.as_of and self._graph.view(clue.relation, clue.as_of).relation.changes else None  # fmt: skip
        found = []
        for row in st.rows(self._graph.relation_index[clue.relation], subject):
            if st.rank[row] == 0 or (day is not None and not st.first[row] <= day <= st.last[row]):
                continue
            stated = int(st.code[row])
            if stated == code if code is not None else self._states(clue, stated):
                found.append(row)
        if len(found) > 1:
            found.sort(key=lambda r: (st.derived[r], -st.rank[r], -st.day[r], st.page[r], r))
        return tuple(found)

    def _states(self, clue: Clue, code: int) -> bool:
        if code < self._graph.values.base:
            return False
        return bool(self._evaluation.value_test(clue)(np.array([code], np.int32))[0][0])

    # --- results --------------------------------------------------------------------------------------------------

    def evidence(self) -> tuple[ClueEvidence, ...]:
        """At most three statements per clue, in clue order."""
        st = self._graph.statements
        return tuple(
            clue_evidence(step.clue, st.evidence(row)) for step in self.steps for row in step.rows[:EVIDENCE_PER_CLUE]
        )

    def min_documents(self) -> int:
        """Fewest pages that together state every clue of the path."""
        return fewest_covering([{int(self._graph.statements.page[r]) for r in step.rows} for step in self.steps])

    def exclusion_evidence(self, universe: Ids, variants: Variants) -> tuple[ClueEvidence, ...]:
        """First the complete lists that closed the tree, then a value of each rival that these left, capped.

        `universe` is the set that closed the root, `variants` what the clues say about it.
        """
        lists = (clue_evidence(number, self._graph.list_evidence(c.row)) for number, c in self._lists())
        found = list(dict.fromkeys(islice(lists, EXCLUSION_EVIDENCE)))
        for position in variants.base.nonzero()[0].tolist():
            if len(found) >= EXCLUSION_EVIDENCE:
                break
            if not variants.full[position]:
                found += self._against(int(universe[position]), [bool(mask[position]) for mask in variants.alone])
        return tuple(found)

    def _lists(self) -> Iterator[tuple[int, ClosedList]]:
        """(clue, complete list) for every list that limits a clue or a type of the tree; a type counts as clue 0."""
        for _, node in walk_nodes(self._root):
            if node.type is not None:
                yield from ((0, c) for c in self._graph.type_lists(node.type))
        for number, (clue, type_id) in enumerate(_typed_clues(self._root)):
            if isinstance(clue, (Match, Within, Edge)) and self._evaluation.allowed(clue, type_id) is not None:
                for group in self._evaluation.limiting(clue, type_id) or ():
                    yield from ((number, c) for c in group)

    def _against(self, rival: int, possible: list[bool]) -> list[ClueEvidence]:
        """The statement about a rival that contradicts the first clue which excludes it."""
        number = 0
        for clue, could in zip(self._root.clues, possible, strict=True):
            if not could and not isinstance(clue, IsA) and (isinstance(clue, Within) or not clue.inverse):
                rows = self._values_of(clue, rival)
                return [clue_evidence(number, self._graph.statements.evidence(rows[0]))] if rows else []
            number += _clue_count(clue)
        return []

    def _values_of(self, clue: Match | Within | Edge, subject: int) -> list[int]:
        """Rows that state the subject's sure objects."""
        view, st = self._graph.view(clue.relation, clue.as_of), self._graph.statements
        codes = set(view.pairs(np.array([subject], np.int32))[1].tolist())
        rows = st.rows(self._graph.relation_index[clue.relation], subject)
        return [r for r in rows if st.rank[r] > 0 and int(st.code[r]) in codes]


def _typed_clues(node: Node) -> Iterator[tuple[Clue, str | None]]:
    """Every clue in walk order with the type of its vertex."""
    for clue in node.clues:
        yield clue, node.type
        if isinstance(clue, Edge):
            yield from _typed_clues(clue.child)


def _clue_count(clue: Clue) -> int:
    return 1 + sum(_clue_count(c) for c in clue.child.clues) if isinstance(clue, Edge) else 1


def clue_evidence(clue: int, evidence: Evidence) -> ClueEvidence:
    host = evidence.url.partition("://")[2].partition("/")[0]
    return ClueEvidence(
        clue,
        evidence.page_id,
        evidence.url,
        host,
        evidence.source_kind,
        evidence.published_at,
        evidence.start,
        evidence.end,
        evidence.quote,
        evidence.sha256,
    )


def fewest_covering(pages_of: list[set[int]]) -> int:
    """Fewest pages such that each clue is stated on one of them; exact up to `EXACT_COVER_UP_TO` clues."""
    wanted = [pages for pages in pages_of if pages]
    if len(wanted) > EXACT_COVER_UP_TO:
        return _greedy_cover(wanted)
    covers: dict[int, int] = {}
    for i, pages in enumerate(wanted):
        for page in pages:
            covers[page] = covers.get(page, 0) | 1 << i
    everything, reached, count = (1 << len(wanted)) - 1, {0}, 0
    while everything not in reached:
        # Each set of covered clues grows by a page for its first uncovered clue: breadth first, so the first hit is least.
        grown = set()
        for mask in reached:
            first = (~mask & (mask + 1)).bit_length() - 1
            grown |= {mask | covers[page] for page in wanted[first]}
        reached, count = grown, count + 1
    return count


def _greedy_cover(wanted: list[set[int]]) -> int:
    left, count = wanted, 0
    while left:
        pages = sorted({p for pages in left for p in pages})
        best = max(pages, key=lambda p: sum(p in pages for pages in left))
        left, count = [pages for pages in left if best not in pages], count + 1
    return count
