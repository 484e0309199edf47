"""Match formulas against plain rows, one entity at a time: the semantics of `knowledge.evaluator`, written again.

Strangers are entities like any other here: the checker asks whether `STRANGER`, of whom nothing is stated, could match,
and calls a vertex open when it could. Whoever is known is tested one by one.
"""

from __future__ import annotations

from datagen.knowledge.formula import Clue, ClueAddress, Edge, EntityRef, IsA, Match, Node, Within
from datagen.knowledge.plain_world import Known, PlainWorld, Value, day_of, inside, may_equal, value_of

STRANGER = None
"""An entity that no page mentions."""
UNBOUNDED = -1

Key = str | None


class Checker:
    """Matches formulas against a plain world."""

    def __init__(self, world: PlainWorld, *, thorough: bool = False) -> None:
        self.world = world
        self._thorough = thorough
        # By identity of the vertex, which is kept beside the result: comparing whole trees would cost more than judging.
        self._matching: dict[int, tuple[Node, set[str] | None]] = {}
        self._judged: dict[int, tuple[Node, dict[str, tuple[bool, bool]]]] = {}

    # --- who could match ------------------------------------------------------------------------------------------

    def matching(self, node: Node) -> set[str] | None:
        """Everyone who could match; None when a stranger could."""
        if id(node) not in self._matching:
            if self.judge(node, STRANGER)[1]:
                self._matching[id(node)] = (node, None)
            else:
                pool = set(self.world.types) if self._thorough else self._pool(node)
                self._matching[id(node)] = (node, {key for key in pool if self.judge(node, key)[1]})
        return self._matching[id(node)][1]

    def _pool(self, node: Node) -> set[str]:
        """A set that holds everyone who could match: of a clue that excludes strangers, or of the type."""
        smallest = self.world.typed(node.type)
        for clue in node.clues:
            pool = self.clue_pool(clue, node.type)
            if pool is not None and len(pool) < len(smallest):
                smallest = pool
        return smallest

    def clue_pool(self, clue: Clue, type_id: str | None) -> set[str] | None:
        """A set that holds everyone who could fulfil a clue; None where a stranger could."""
        world = self.world
        if isinstance(clue, IsA) or self.judge_clue(clue, type_id, STRANGER)[1]:
            return None
        if not isinstance(clue, Within) and clue.inverse:
            subjects = self._subjects_asked(clue)
            return {v for s in subjects for v in self.known(s, clue).possible if isinstance(v, str)}
        asked = self.matching(clue.child) if isinstance(clue, Edge) else {self._asked(clue)}
        if asked is None or self._silent(clue) or not all(isinstance(value, str) for value in asked):
            stated = set(world.speakers[clue.relation])
        else:
            meant = {twin for value in asked for twin in (value, *world.twins.get(str(value), ()))}
            stated = {s for value in meant for s in world.subjects.get((clue.relation, value), ())}
        for value in asked or ():
            stated |= world.subject_list(clue.relation, value, type_id, self._day(clue)) or set()
        return stated

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
        judged = self._judged.setdefault(id(node), (node, {}))[1]
        if key is not None and key in judged:
            return judged[key]
        sure = key is not None and self.world.is_a(key, node.type)
        possible = self.world.may_be(key, node.type)
        for clue in node.clues:
            if possible:
                clue_sure, clue_possible = self.judge_clue(clue, node.type, key)
                sure, possible = sure and clue_sure, possible and clue_possible
        result = (sure and possible, possible)
        if key is not None:
            judged[key] = result
        return result

    def judge_clue(self, clue: Clue, type_id: str | None, key: Key) -> tuple[bool, bool]:
        if isinstance(clue, IsA):
            return key is not None and self.world.is_a(key, clue.type), self.world.may_be(key, clue.type)
        if not isinstance(clue, Within) and clue.inverse:
            return self._judge_inverse(clue, key)
        known = Known((), frozenset(), settled=False, contested=False) if key is None else self.known(key, clue)
        sure = any(self.fits(clue, value)[0] for value in known.sure)
        possible = any(self.fits(clue, value)[1] for value in known.possible)
        return sure, possible or (self._unsettled(key, clue, known, type_id) and self.unlisted(clue, type_id, key))

    def _day(self, clue: Match | Within | Edge) -> int | None:
        return day_of(clue.as_of) if self.world.catalogue.relations[clue.relation].changes else None

    def known(self, subject: str, clue: Match | Within | Edge) -> Known:
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

    def fits(self, clue: Match | Within | Edge, value: Value) -> tuple[bool, bool]:
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

    def unlisted(self, clue: Match | Within | Edge, type_id: str | None, key: Key) -> bool:
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
            known = self.known(subject, clue)
            if key in known.possible or self._unsettled(subject, clue, known, None):
                return sure, True
        return sure, False

    def _surely_object(self, clue: Match | Edge, key: str) -> bool:
        if isinstance(clue, Match):
            assert isinstance(clue.value, EntityRef)
            known_key = clue.value.key in self.world.types
            return known_key and key in self.known(clue.value.key, clue).sure
        stated_by = self.world.subjects.get((clue.relation, key), ())
        return any(key in self.known(s, clue).sure and self.judge(clue.child, s)[0] for s in stated_by)

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
