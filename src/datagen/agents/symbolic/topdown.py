"""The top-down solver: from the constants that the question names, up to the entity it asks for.

    "Which football club, whose home ground is a stadium that lies in Veltrin and opened in 1901, wears green?"

    1  parse            club( plays_at -> stadium( located_in Veltrin, opened 1901 ), colours green )
    2  leaf constant    search "stadiums located Veltrin": a list page, Veltrin's own page, pages that name it
    3  the child's set  stadiums read there; those whose own page contradicts a clue are crossed out
    4  climb            for each stadium left: search "football clubs home ground <stadium>", read who plays there
    5  verify           every remaining clue on the candidate's own page, then by one targeted search

Sets are computed for children before their parents, which is the direction opposite to `bottomup`. A name may belong to
several entities; all of them are followed, and the clues decide.
"""

from __future__ import annotations

from datagen.agents.budget import Budget
from datagen.agents.symbolic.comparison import fold
from datagen.agents.symbolic.page_memory import Competence, PageMemory
from datagen.agents.symbolic.scanning import scan_class
from datagen.agents.symbolic.solving import (
    Failure,
    Found,
    attempt,
    child_type,
    dated_first,
    is_list_like,
    lists_about,
    lists_of_all,
    missed,
    naming,
    page_of,
    plural,
    statement_words,
    telling_words,
    titled,
    type_words,
)
from datagen.agents.symbolic.standing import Status, Target, is_nameless
from datagen.knowledge.catalogue import Relation
from datagen.knowledge.formula import Clue, Edge, EntityRef, IsA, Match, Node, Within
from datagen.records.question import Attempt
from datagen.web.tools import Hit, Web

ENOUGH = 12
"""A set this small is checked one by one rather than narrowed further."""
POOL_LIMIT = 60
"""Candidates looked at per vertex; beyond it the question is too open for this solver."""
HEARD = 8
"""Entities behind one edge of a candidate that are looked at."""
CHILD_LIMIT = 4
"""Children of an unidentified child vertex that are climbed from."""


class TopDownSolver:
    """Solves from the leaves upwards; see the module's example."""

    name = "topdown"

    def __init__(self, competence: Competence, budget: Budget | None = None) -> None:
        self._competence = competence
        self._budget = budget or Budget()

    def solve(self, question: str, web: Web) -> Attempt:
        memory = PageMemory(web, self._competence, self._budget)
        return attempt(self.name, memory, self._competence.parser, question, self.find)

    def find(self, memory: PageMemory, root: Node) -> Found:
        """Every entity that meets the clues, as far as the memory's web shows; raises `BudgetSpentError`."""
        return _Climb(memory).solve(root)


class _Climb:
    """One attempt: candidate sets per vertex, and the pages that decided."""

    def __init__(self, memory: PageMemory) -> None:
        self._memory = memory
        self._notebook = memory.notebook
        self._catalogue = memory.notebook.catalogue
        self._sets: dict[Node, list[str]] = {}
        self._evidence: dict[str, None] = {}
        self._pool: list[str] = []

    def solve(self, root: Node) -> Found:
        keys = self._resolve(root)
        failure: Failure | None = None
        if not keys:
            failure = missed(self._memory, self._pool, root)
        elif len(keys) > 1:
            failure = "ambiguous"
        return Found(tuple(keys), tuple(self._evidence), failure)

    def _resolve(self, node: Node) -> list[str]:
        """Entities that satisfy the vertex, as far as the tools showed; computed once per vertex."""
        if node not in self._sets:
            self._sets[node] = []
            self._sets[node] = self._search_for(node)
        return self._sets[node]

    def _search_for(self, node: Node) -> list[str]:
        pool: dict[str, None] = {}
        complete = False
        waiting = sorted(node.clues, key=_cost)
        while waiting and not (pool and (complete or len(pool) <= ENOUGH)):
            clue = waiting.pop(0)
            keys, closed = self._produce(node, clue)
            fitting = [k for k in keys if node.type is None or self._notebook.could_be(k, (node.type,))]
            if pool and closed:
                pool = {k: None for k in fitting if k in pool} or dict.fromkeys(fitting)
            elif fitting:
                pool = {k: None for k in fitting if k in pool} | pool if pool else dict.fromkeys(fitting)
            complete = complete or closed
        survivors = self._verify(list(pool), node, complete=complete)
        while not survivors and waiting:
            keys, _ = self._produce(node, waiting.pop(0))
            fresh = [k for k in keys if k not in pool and (not node.type or self._notebook.could_be(k, (node.type,)))]
            survivors = self._verify(fresh, node, complete=False)
            pool.update(dict.fromkeys(fresh))
        for last_resort in (self._whole_class, self._class_by_page):
            if not survivors and node.type is not None:
                fresh = [k for k in last_resort(node, node.type) if k not in pool]
                survivors = self._verify(fresh, node, complete=False)
                pool.update(dict.fromkeys(fresh))
        self._pool = list(pool)
        return survivors

    # Finding candidates ------------------------------------------------------------------------------------------

    def _produce(self, node: Node, clue: Clue) -> tuple[list[str], bool]:
        """Entities that the clue alone leads to, and whether a list that was read says there are no others."""
        if isinstance(clue, IsA | Within):
            return [], False
        relation = self._catalogue.relations[clue.relation]
        if isinstance(clue, Edge):
            return self._produce_from_child(node, clue, relation)
        if not isinstance(clue.value, EntityRef):
            return self._by_value(node, relation, clue.value.text), False
        if clue.inverse:
            return self._objects_of(clue.value, relation, clue.as_of)
        return self._subjects_of(node.type, relation, clue.value.name, None, clue.as_of)

    def _produce_from_child(self, node: Node, edge: Edge, relation: Relation) -> tuple[list[str], bool]:
        typed = edge.child if edge.child.type else Node(child_type(self._catalogue, edge), edge.child.clues)
        children = self._resolve(typed)[:CHILD_LIMIT]
        found: dict[str, None] = {}
        closed = len(children) == 1  # of several, more may be known to nobody here
        for child in children:
            if edge.inverse:
                keys = self._objects_of_entity(child, relation, edge.as_of)
                closed = closed and bool(keys) and relation.single
            else:
                name = self._notebook.names.get(child, "")
                keys, whole = self._subjects_of(node.type, relation, name, child, edge.as_of)
                closed = closed and whole
            found.update(dict.fromkeys(keys))
        return list(found), closed

    def _subjects_of(
        self, type_id: str | None, relation: Relation, name: str, key: str | None, day: str | None
    ) -> tuple[list[str], bool]:
        """Subjects of relation(x, object): from a complete list, the object's own page, or pages that name the object."""
        if key is not None:
            page_of(self._memory, key)
        whole = self._complete(type_id, relation, name, key, day)
        if whole is not None:
            return whole, True
        hits = self._memory.search(f"{plural(self._catalogue, type_id)} {name}", top_k=10)
        listing = lists_about(hits, name, 3)
        own = [h for h in hits if titled(h, [fold(name)]) and h not in listing][:3]
        for hit in (*listing, *own):
            self._memory.read(hit.url)
            whole = self._complete(type_id, relation, name, key, day)
            if whole is not None:
                return whole, True
        holders = self._holders(relation, name, key, day)
        if not holders:
            rest = [h for h in hits if h not in listing and h not in own and not is_list_like(h)]
            self._read_all(dated_first(rest, day)[:5])
            holders = self._holders(relation, name, key, day)
        return holders, False

    def _target(self, relation: Relation, name: str, key: str | None) -> Target:
        if key is not None:
            return self._notebook.target_of([key])
        return self._notebook.target(EntityRef("", name), relation.object_types)

    def _complete(
        self, type_id: str | None, relation: Relation, name: str, key: str | None, day: str | None
    ) -> list[str] | None:
        return self._notebook.complete_list(relation.id, self._target(relation, name, key), type_id, day)

    def _holders(self, relation: Relation, name: str, key: str | None, day: str | None) -> list[str]:
        return self._notebook.holders(relation.id, self._target(relation, name, key), day)

    def _objects_of(self, constant: EntityRef, relation: Relation, day: str | None) -> tuple[list[str], bool]:
        """Objects of relation(constant, y): read on the constant's own pages."""
        hits = self._memory.search(f"{constant.name} {type_words(self._catalogue, relation.subject_types)}", top_k=6)
        own = [h for h in hits if titled(h, [fold(constant.name)])][:4]
        self._read_all(own)
        target = self._notebook.target(constant, relation.subject_types)
        found = self._notebook.objects(relation.id, target, day)
        if not found:
            self._search_statement(constant.name, relation, day)
            target = self._notebook.target(constant, relation.subject_types)
            found = self._notebook.objects(relation.id, target, day)
        return found, bool(found) and relation.single

    def _objects_of_entity(self, key: str, relation: Relation, day: str | None) -> list[str]:
        """Objects of one subject: on its own page, else on the pages that speak of it and of the relation."""
        page_of(self._memory, key)
        target = self._notebook.target_of([key])
        found = self._notebook.objects(relation.id, target, day)
        if not found:
            self._search_statement(self._notebook.names.get(key, ""), relation, day)
            found = self._notebook.objects(relation.id, target, day)
        return found

    def _search_statement(self, name: str, relation: Relation, day: str | None) -> None:
        """Pages that may state a relation of a known subject: in the relation's words, then on pages of its objects."""
        hits = self._memory.search(statement_words(relation, name), top_k=10)
        self._read_all(dated_first(naming(hits, name, 8, lists=True), day)[:5])
        subjects = [k for k in self._notebook.keys_named(name) if self._notebook.statements(k, relation.id, day)]
        if not subjects:
            classes = type_words(self._catalogue, relation.object_types) or relation.label
            hits = self._memory.search(f"{telling_words(self._catalogue, name)} {classes}", top_k=10)
            self._read_all(dated_first(naming(hits, name, 8, lists=True), day)[:5])

    def _by_value(self, node: Node, relation: Relation, text: str) -> list[str]:
        """Entities whose pages come up for a value as it is written in the question."""
        self._read_all(
            self._memory.search(f"{plural(self._catalogue, node.type)} {relation.label} {text}", top_k=6)[:4]
        )
        return self._of_type(node.type)

    def _whole_class(self, node: Node, type_id: str) -> list[str]:
        """Members of the class that its list pages, and all that was read so far, speak for."""
        words = plural(self._catalogue, type_id)
        self._read_all(lists_of_all(self._memory.search(f"register list {words}", top_k=8), words, 2))
        everyone = self._notebook.members(type_id) or self._of_type(type_id)
        leaves = [c for c in node.clues if not isinstance(c, Edge)]
        return [k for k in everyone if any(self._status(k, c) is Status.YES for c in leaves)]

    def _class_by_page(self, _: Node, type_id: str) -> list[str]:
        """The class page by page: the very last resort."""
        return scan_class(self._memory, self._memory.search(plural(self._catalogue, type_id), top_k=8), type_id)

    def _of_type(self, type_id: str | None) -> list[str]:
        types = self._notebook.types
        return [k for k, t in types.items() if type_id and self._catalogue.is_a(t, type_id)]

    def _read_all(self, hits: list[Hit]) -> None:
        self._memory.read_all(hit.url for hit in hits)

    # Testing candidates ------------------------------------------------------------------------------------------

    def _verify(self, keys: list[str], node: Node, *, complete: bool) -> list[str]:
        """Those that satisfy every clue. In a complete set, the one that is left when all others are excluded."""
        leaves = [c for c in node.clues if not isinstance(c, Edge)]
        edges = [c for c in node.clues if isinstance(c, Edge)]
        alive = [k for k in keys if all(self._status(k, c) is not Status.NO for c in leaves)][:POOL_LIMIT]
        whole = complete and len(alive) < POOL_LIMIT
        unsure = [k for k in alive if any(self._status(k, c) is Status.UNKNOWN for c in leaves)]
        self._memory.expect(key for key in unsure if not is_nameless(key))
        for key in list(alive):
            if any(self._status(key, c) is Status.UNKNOWN for c in leaves):
                page_of(self._memory, key)
                if any(self._status(key, c) is Status.NO for c in leaves):
                    alive.remove(key)
        for edge in edges:
            alive = [k for k in alive if self._edge_status(k, edge) is not Status.NO]
        for clue in node.clues:
            if len(alive) > CHILD_LIMIT:
                break
            for key in alive:
                if self._any_status(key, clue) is Status.UNKNOWN:
                    self._look_for(key, clue)
        alive = [k for k in alive if all(self._any_status(k, c) is not Status.NO for c in node.clues)]
        sure = [k for k in alive if all(self._any_status(k, c) is Status.YES for c in node.clues)]
        return sure or (alive if whole and len(alive) == 1 else [])

    def _any_status(self, key: str, clue: Clue) -> Status:
        return self._edge_status(key, clue) if isinstance(clue, Edge) else self._status(key, clue)

    def _status(self, key: str, clue: Clue) -> Status:
        status, url = self._notebook.check(key, clue)
        if status is Status.YES:
            self._evidence.setdefault(url)
        return status

    def _edge_status(self, key: str, edge: Edge) -> Status:
        """Against the child's set; a related entity outside that set gets its own hearing, for the set may be short."""
        relation = self._catalogue.relations[edge.relation]
        typed = edge.child if edge.child.type else Node(child_type(self._catalogue, edge), edge.child.clues)
        known = self._sets.get(typed)
        if known:
            target = self._notebook.target_of(known)
            status, url = self._notebook.relates(key, relation, target, inverse=edge.inverse, day=edge.as_of)
            if status is Status.YES:
                self._evidence.setdefault(url)
                return status
        page_of(self._memory, key)
        related = self._related(key, edge, relation)
        if related:
            return self._hearing(key, edge, typed, related)
        if known is None and self._resolve(typed):
            return self._edge_status(key, edge)
        return Status.UNKNOWN

    def _hearing(self, key: str, edge: Edge, typed: Node, related: list[str]) -> Status:
        """Whether one of the entities that stand in the relation to the candidate satisfies the child vertex."""
        leaves = [c for c in typed.clues if not isinstance(c, Edge)]
        likely = [k for k in related if all(self._status(k, c) is not Status.NO for c in leaves)][:HEARD]
        if self._verify(likely, typed, complete=False):
            return Status.YES
        relation = self._catalogue.relations[edge.relation]
        only = (relation.single and not edge.inverse) or self._notebook.objects_closed(key, relation.id, edge.as_of)
        ruled_out = all(self._contradicted(k, typed) for k in related)
        return Status.NO if only and ruled_out else Status.UNKNOWN

    def _contradicted(self, key: str, node: Node) -> bool:
        return any(self._any_status(key, clue) is Status.NO for clue in node.clues)

    def _related(self, key: str, edge: Edge, relation: Relation) -> list[str]:
        mine = self._notebook.target_of([key])
        if edge.inverse:
            return self._notebook.holders(relation.id, mine, edge.as_of)
        return self._notebook.objects(relation.id, mine, edge.as_of)

    def _look_for(self, key: str, clue: Clue) -> None:
        """One targeted search for a clue that the candidate's own page leaves open."""
        if isinstance(clue, IsA):
            return
        relation = self._catalogue.relations[clue.relation]
        value = clue.value.name if isinstance(clue, Match) and isinstance(clue.value, EntityRef) else ""
        name = self._notebook.names.get(key, "")
        hits = self._memory.search(f"{statement_words(relation, name)} {value}", top_k=10)
        self._read_all(dated_first(naming(hits, name, 8, lists=True), clue.as_of)[:5])


def _cost(clue: Clue) -> int:
    """Cheapest way in first: an entity that the constant's page names, then lists, then children, then bare values."""
    if isinstance(clue, Match):
        if isinstance(clue.value, EntityRef):
            return 0 if clue.inverse else 1
        return 8
    return 2 if isinstance(clue, Edge) else 9
