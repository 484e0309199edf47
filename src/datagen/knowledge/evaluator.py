"""Three-valued matching of formulas: who surely matches, who could, and whether strangers could.

For a vertex and an entity x each clue says *sure*, *possible* or *excluded*; x surely matches when its type is known to
fit and every clue is sure, and possibly when nothing excludes it. With S(c) the sure subjects of a clue and "unsettled"
as in `knowledge.views`:

    Match r -> v        sure: v is a sure object          possible: v is stated, or x is unsettled
    Within r in I       sure: a sure value inside I       possible: a stated value meets I, or x is unsettled
    IsA t               sure: known type is t             possible: the type allows it (`FactGraph.may_be`)
    Edge r -> child     sure: a sure object surely matches the child
                        possible: a stated object may match the child, or x is unsettled
    inverse Match/Edge  x is an object of a given or described subject y: sure when stated of a y that surely matches;
                        when every possible y is settled, only the objects stated of them are possible

A complete list of subjects limits the unsettled: for `Match r -> v` with a complete list for v (that covers the vertex's
type and, where r changes, the asked day) only its members stay possible; for an edge the same holds when the child is
closed and every entity that may be the child has such a list.

*Open* means that entities no page mentions could match. A vertex is open when its type and all its clues are. Closed
are: a type known completely (a list, or by declaration); a clue with such complete lists; an inverse clue whose every
possible subject is settled; a relation declared silent; a relation that cannot apply to the type at all. A query is
*unique* when one entity surely matches, no other possibly, and it is not open.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from pyroaring import BitMap

from datagen.knowledge.arrays import NO_IDS, Ids, Mask, is_in, union
from datagen.knowledge.formula import Clue, Edge, EntityRef, IsA, Match, Node, Query, Within
from datagen.knowledge.graph import FactGraph
from datagen.knowledge.lists import common_members
from datagen.knowledge.resolution import ClosedList
from datagen.knowledge.views import RelationView, Said, ValueTest
from datagen.knowledge.wellformed import check_formula
from datagen.records.fact import Literal
from datagen.records.question import UNBOUNDED

NO_CODE = -1
"""Stands for an entity that no page mentions."""
COMPRESS = 64
"""Above this many candidates, a clue is tested only on those that earlier clues left."""


@dataclass(frozen=True)
class Candidates:
    """Who matches. `possible` includes `sure`; where `open` is True, entities that no page mentions could match too."""

    evaluation: Evaluation = field(repr=False)
    node: Node
    open: bool
    _closed: Ids | None = field(repr=False)

    @cached_property
    def sure(self) -> BitMap:
        return BitMap(self.evaluation.sure(self.node))

    @cached_property
    def possible(self) -> BitMap:
        """Known entities that could match; for an open vertex this looks at every entity of the type."""
        return BitMap(self.evaluation.possible(self.node) if self._closed is None else self._closed)

    @property
    def size(self) -> int:
        """Entities that could match; `UNBOUNDED` when open."""
        return UNBOUNDED if self._closed is None else len(self._closed)


class Evaluation:
    """Evaluates formulas against one graph; remembers closed vertices while it lives (one query and its variants)."""

    def __init__(self, graph: FactGraph, *nodes: Node) -> None:
        """Raises ValueError for a vertex that the catalogue gives no meaning: see `check_formula`."""
        for node in nodes:
            check_formula(graph.catalogue, node)
        self.graph = graph
        self._closed: dict[int, tuple[Node, Ids | None]] = {}
        self._universes: dict[tuple[int, str | None], tuple[Clue, Ids | None]] = {}
        self._masks: dict[tuple[int, str | None, int], tuple[Clue, Ids, Mask]] = {}
        self._allowed: dict[tuple[int, str | None], tuple[Clue, Ids | None]] = {}

    # --- closed vertices: everyone who could match, when that is known --------------------------------------------

    def closed(self, node: Node) -> Ids | None:
        """Everyone who could match, ascending; None when the vertex is open."""
        known = self._closed.get(id(node))
        if known is None:
            universe = self.universe(node)
            # The node is kept beside the result: its id may not be reused while it is a key.
            known = self._closed[id(node)] = (node, None if universe is None else self._left(node, universe))
        return known[1]

    def _left(self, node: Node, universe: Ids) -> Ids:
        """Those of a universe who could match. Universes recur between variants of a tree, so masks are remembered."""
        if len(universe) > COMPRESS:
            return self.keep(node, universe)
        possible = self.graph.may_be(universe, node.type)
        for clue in node.clues:
            possible = possible & self.possible_mask(clue, node.type, universe)
        return universe[possible]

    def possible_mask(self, clue: Clue, type_id: str | None, universe: Ids) -> Mask:
        """`clue_masks` on a set that lives as long as this evaluation, possible half, remembered."""
        key = (id(clue), type_id, id(universe))
        known = self._masks.get(key)
        if known is None:
            self.remember(clue, type_id, universe, self.clue_masks(clue, type_id, universe)[1])
            known = self._masks[key]
        return known[2]

    def remember(self, clue: Clue, type_id: str | None, universe: Ids, mask: Mask) -> None:
        self._masks[id(clue), type_id, id(universe)] = (clue, universe, mask)

    def universe(self, node: Node) -> Ids | None:
        """The smallest set at hand that holds everyone who could match; None when the vertex is open."""
        return self.universe_and_clue(node)[0]

    def universe_and_clue(self, node: Node) -> tuple[Ids | None, int | None]:
        """The universe of a vertex and the position of the clue that closes it, None where its type does."""
        best, position = None, None
        for i, clue in enumerate(node.clues):
            found = self.clue_universe(clue, node.type)
            if found is not None and (best is None or len(found) < len(best)):
                best, position = found, i
        if best is None and self.graph.type_closed(node.type):
            best = self.graph.maybe_members(node.type)
        return best, position

    def clue_universe(self, clue: Clue, type_id: str | None) -> Ids | None:
        """Ascending ids that include everyone who could fulfil the clue; None when strangers could."""
        if isinstance(clue, (Match, Edge)) and clue.inverse:
            type_id = None  # the objects of the subject, whatever their type
        known = self._universes.get((id(clue), type_id))
        if known is None:
            known = self._universes[id(clue), type_id] = (clue, self._find_universe(clue, type_id))
        return known[1]

    def _find_universe(self, clue: Clue, type_id: str | None) -> Ids | None:
        graph = self.graph
        if isinstance(clue, IsA):
            return graph.maybe_members(clue.type) if graph.type_closed(clue.type) else None
        view = graph.view(clue.relation, clue.as_of)
        if isinstance(clue, (Match, Edge)) and clue.inverse:
            return self._objects_of(clue, view)
        if not graph.can_apply(clue.relation, type_id):
            return view.speakers()
        listed = self.listed(clue, type_id)
        return view.speakers() if listed is None and view.silent else listed

    def listed(self, clue: Clue, type_id: str | None) -> Ids | None:
        """Members of the complete lists that speak of a clue and everyone stated to fulfil it; None without lists."""
        allowed = self.allowed(clue, type_id)
        if allowed is None or isinstance(clue, IsA):
            return None
        return union([allowed, *self._stated_subjects(clue, self.graph.view(clue.relation, clue.as_of))])

    def _stated_subjects(self, clue: Match | Within | Edge, view: RelationView) -> list[Ids]:
        """Subjects of whom a possibly fitting object is stated; asked only for clues with a complete list."""
        if isinstance(clue, Edge):
            child = self.closed(clue.child)
            assert child is not None, "an edge is listed only when its child is closed"
            return [view.subj[is_in(view.obj, child)], view.maybe_subj[is_in(view.maybe_obj, child)]]
        if isinstance(clue, Match) and isinstance(clue.value, EntityRef):
            code = self.graph.find(clue.value.key)
            return [] if code is None else [view.posting(code), view.maybe_posting(code)]
        test = self.value_test(clue)
        return [
            subj[test(obj)[1]] for subj, obj in ((view.subj, view.obj), (view.maybe_subj, view.maybe_obj)) if len(subj)
        ]

    def _objects_of(self, clue: Match | Edge, view: RelationView) -> Ids | None:
        """All that the subjects of an inverse clue have as objects, when every possible subject is settled."""
        if isinstance(clue, Match):
            assert isinstance(clue.value, EntityRef), "an inverse clue names an entity"
            code = self.graph.find(clue.value.key)
            if code is None:
                return NO_IDS if view.silent else None
            subjects: Ids | None = np.array([code], np.int32)
        else:
            subjects = self.closed(clue.child)
            if subjects is None and view.silent:
                speakers = view.speakers()
                subjects = speakers[self.masks(clue.child, speakers)[1]]
        if subjects is None or view.unsettled(view.said(subjects)).any():
            return None
        return view.values_of(subjects)

    def allowed(self, clue: Clue, type_id: str | None) -> Ids | None:
        """Whom complete lists leave among the unsettled subjects of a clue; None when no list speaks of it."""
        if isinstance(clue, IsA) or (not isinstance(clue, Within) and clue.inverse):
            return None
        if not self.graph.has_lists(clue.relation):
            return None
        known = self._allowed.get((id(clue), type_id))
        if known is None:
            known = self._allowed[id(clue), type_id] = (clue, self._find_allowed(clue, type_id))
        return known[1]

    def _find_allowed(self, clue: Match | Within | Edge, type_id: str | None) -> Ids | None:
        groups = self.limiting(clue, type_id)
        return None if groups is None else union([self._common(group) for group in groups])

    def _common(self, group: list[ClosedList]) -> Ids:
        common = common_members(group)
        assert common is not None, "a group holds at least one list"
        return common

    def limiting(self, clue: Match | Within | Edge, type_id: str | None) -> list[list[ClosedList]] | None:
        """The complete lists that speak of a clue, one group for each object it may mean; None unless all are listed.

        Where nothing can match the child there is nothing to list, and nobody is left. A relation without any complete
        list limits nobody, even then: that saves looking, and costs only impossible questions.
        """
        graph = self.graph
        relation, type_code = graph.relation_index[clue.relation], graph.taxonomy.code(type_id)
        if isinstance(clue, Edge):
            child = self.closed(clue.child)
            if child is None:
                return None
            groups = [graph.lists.of_subjects(relation, int(w), type_code, clue.as_of) for w in child]
        elif isinstance(clue, Match) and isinstance(clue.value, EntityRef):
            code = graph.find(clue.value.key)
            groups = [[] if code is None else graph.lists.of_subjects(relation, code, type_code, clue.as_of)]
        else:
            groups = [graph.lists.of_value(relation, self.asked(clue), type_code, clue.as_of)]
        return groups if all(groups) else None

    # --- masks: what each clue says of given entities -------------------------------------------------------------

    def masks(self, node: Node, ids: Ids) -> tuple[Mask, Mask]:
        """(sure, possible) for each of `ids`, which may repeat and have any order."""
        sure, possible = self.graph.is_a(ids, node.type), self.graph.may_be(ids, node.type)
        if len(ids) > COMPRESS:
            return self._masks_of_many(node, ids, sure, possible)
        for clue in node.clues:
            clue_sure, clue_possible = self.clue_masks(clue, node.type, ids)
            sure, possible = sure & clue_sure, possible & clue_possible
        return sure, possible

    def _masks_of_many(self, node: Node, ids: Ids, sure: Mask, possible: Mask) -> tuple[Mask, Mask]:
        left = possible.nonzero()[0]
        sure = sure & possible
        for clue in sorted(node.clues, key=lambda c: isinstance(c, Edge)):
            clue_sure, clue_possible = self.clue_masks(clue, node.type, ids[left])
            sure[left[~clue_sure]] = False
            possible[left[~clue_possible]] = False
            left = left[clue_possible]
        return sure, possible

    def keep(self, node: Node, ids: Ids) -> Ids:
        """Those of `ids` that could match."""
        return ids[self.masks(node, ids)[1]] if len(ids) else ids

    def clue_masks(self, clue: Clue, type_id: str | None, ids: Ids) -> tuple[Mask, Mask]:
        """(sure, possible) of one clue for each of `ids`."""
        graph = self.graph
        if isinstance(clue, IsA):
            return graph.is_a(ids, clue.type), graph.may_be(ids, clue.type)
        view = graph.view(clue.relation, clue.as_of)
        if not isinstance(clue, Within) and clue.inverse:
            return self._inverse_masks(clue, view, ids)
        said = view.said(ids)
        sure, possible = np.zeros(len(ids), np.bool_), self.undecided(clue, type_id, view, said)
        if len(said.position):
            object_sure, object_possible = self.object_masks(clue, said.codes)
            sure[said.position[object_sure]] = True
            possible[said.position[object_possible]] = True
        if len(said.maybe_position):
            possible[said.maybe_position[self.object_masks(clue, said.maybe_codes)[1]]] = True
        return sure, possible

    def object_masks(self, clue: Match | Within | Edge, codes: Ids) -> tuple[Mask, Mask]:
        """Whether an object surely is, or could be, what the clue asks for."""
        if isinstance(clue, Edge):
            return self.masks(clue.child, codes)
        if isinstance(clue, Match) and isinstance(clue.value, EntityRef):
            code = self.graph.find(clue.value.key)
            same: Mask = codes == (NO_CODE if code is None else code)
            return same, same
        return self.value_test(clue)(codes)

    def undecided(self, clue: Clue, type_id: str | None, view: RelationView, said: Said) -> Mask:
        """Unsettled subjects that no complete list leaves out: they could have any object. A fresh array."""
        if not self.graph.can_apply(view.relation.id, type_id):
            return np.zeros(len(said.ids), np.bool_)
        mask = view.unsettled(said, every_type=self.graph.always_applies(view.relation.id, type_id))
        allowed = self.allowed(clue, type_id)
        return mask if allowed is None else mask & is_in(said.ids, allowed)

    def asked(self, clue: Match | Within) -> Literal:
        """What a clue about a literal asks for, as one."""
        if isinstance(clue, Within):
            return Literal(clue.kind, "", clue.low, clue.high, clue.unit)  # type: ignore[arg-type]
        assert isinstance(clue.value, Literal)
        return clue.value

    def value_test(self, clue: Clue) -> ValueTest:
        if isinstance(clue, Within):
            return self.graph.values.within(clue.kind, clue.low, clue.high, clue.unit)
        assert isinstance(clue, Match)
        assert isinstance(clue.value, Literal)
        return self.graph.values.test(clue.value)

    def _inverse_masks(self, clue: Match | Edge, view: RelationView, ids: Ids) -> tuple[Mask, Mask]:
        if isinstance(clue, Edge):
            sure = np.zeros(len(ids), np.bool_)
            position, subjects = view.inverse_pairs(ids)
            if len(position):
                sure[position[self.masks(clue.child, subjects)[0]]] = True
        else:
            assert isinstance(clue.value, EntityRef), "an inverse clue names an entity"
            code = self.graph.find(clue.value.key)
            objects = view.pairs(np.array([NO_CODE if code is None else code], np.int32))[1]
            sure = is_in(ids, np.sort(objects))
        universe = self.clue_universe(clue, None)
        return sure, np.ones(len(ids), np.bool_) if universe is None else is_in(ids, universe)

    # --- sets -----------------------------------------------------------------------------------------------------

    def sure(self, node: Node) -> Ids:
        """Everyone who surely matches, ascending: from the shortest posting, tested against the other clues."""
        start = self._sure_universe(node)
        return start[self.masks(node, start)[0]]

    def _sure_universe(self, node: Node) -> Ids:
        best: Ids | None = None
        leaves = [c for c in node.clues if not isinstance(c, (Edge, IsA))]
        for clue in leaves or [c for c in node.clues if isinstance(c, Edge)][:1]:
            found = self._sure_subjects(clue)
            if best is None or len(found) < len(best):
                best = found
        return self.graph.members(node.type) if best is None else best

    def _sure_subjects(self, clue: Match | Within | Edge) -> Ids:
        """Ascending ids that include everyone who surely fulfils the clue."""
        view = self.graph.view(clue.relation, clue.as_of)
        if isinstance(clue, Edge):
            child = self.sure(clue.child)
            if clue.inverse:
                return union([view.pairs(child)[1]])
            return union([view.inverse_pairs(child)[1]])
        if isinstance(clue, Within):
            return view.subjects_from(self.graph.values, clue.low, clue.high)
        if not isinstance(clue.value, EntityRef):
            return np.unique(view.subj[self.value_test(clue)(view.obj)[0]]) if len(view.subj) else NO_IDS
        code = self.graph.find(clue.value.key)
        if code is None:
            return NO_IDS
        return union([view.pairs(np.array([code], np.int32))[1]]) if clue.inverse else np.unique(view.posting(code))

    def possible(self, node: Node) -> Ids:
        """Every known entity that could match, ascending, also for an open vertex."""
        closed = self.closed(node)
        return self.keep(node, self.graph.maybe_members(node.type)) if closed is None else closed


def evaluate(graph: FactGraph, node: Node) -> Candidates:
    """Who matches a vertex. Costs the length of the shortest closed posting; `possible` of an open vertex is lazy."""
    evaluation = Evaluation(graph, node)
    closed = evaluation.closed(node)
    return Candidates(evaluation, node, closed is None, closed)


def clue_candidates(graph: FactGraph, type_id: str | None, clue: Clue) -> Candidates:
    """Who of a type matches one clue alone."""
    return evaluate(graph, Node(type_id, (clue,)))


def is_unique(graph: FactGraph, query: Query) -> bool:
    """Whether exactly one entity surely matches and no other could: the fast test for growers."""
    evaluation = Evaluation(graph, query.root)
    closed = evaluation.closed(query.root)
    return closed is not None and len(closed) == 1 and bool(evaluation.masks(query.root, closed)[0].all())


def clue_sizes(graph: FactGraph, type_id: str | None, clues: tuple[Clue, ...]) -> tuple[int, ...]:
    """For each clue how many entities of the type are *known* to match it: how much it narrows a search."""
    evaluation = Evaluation(graph, Node(type_id, clues))
    return tuple(len(evaluation.sure(Node(type_id, (clue,)))) for clue in clues)


def contains(graph: FactGraph, type_id: str | None, wide: Clue, narrow: Clue) -> bool:
    """Whether everyone of the type who is known to match `narrow` is known to match `wide`: S(narrow) ⊆ S(wide)."""
    evaluation = Evaluation(graph, Node(type_id, (wide, narrow)))
    matches = evaluation.sure(Node(type_id, (narrow,)))
    return bool(evaluation.masks(Node(type_id, (wide,)), matches)[0].all())
