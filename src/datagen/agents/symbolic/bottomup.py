"""The bottom-up solver: from entities of the answer's class that searches bring up, down to their details.

    "Which football club, whose home ground is a stadium that lies in Veltrin and opened in 1901, wears green?"

    1  gather   search the question's own words; every football club that the visited pages speak of is a candidate
    2  rank     by the clues that those pages already confirm or contradict
    3  test     on the candidate's own page: colours green? Its ground: visit that page; in Veltrin? opened 1901?
    4  widen    while nobody passes: one search per clue, then pages of the class, then clubs of the likeliest grounds
    5  accept   one candidate that passes every clue, while no rival passes too

A child vertex is only ever tested on the entity that a candidate's page names, which is the direction opposite to
`topdown`; the two share words and reading, not the way they look for candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

from datagen.agents.budget import Budget
from datagen.agents.symbolic.page_memory import Competence, PageMemory
from datagen.agents.symbolic.scanning import scan_class
from datagen.agents.symbolic.solving import (
    Failure,
    Found,
    attempt,
    child_type,
    clue_words,
    dated_first,
    is_list_like,
    lists_about,
    lists_of_all,
    missed,
    named_constants,
    naming,
    page_of,
    plural,
    statement_words,
)
from datagen.agents.symbolic.standing import Status, is_nameless
from datagen.knowledge.catalogue import Relation
from datagen.knowledge.formula import Clue, Edge, EntityRef, IsA, Match, Node, Within
from datagen.records.question import Attempt
from datagen.web.tools import Hit, Web

TESTED = 10
"""Candidates of one vertex whose own pages are visited in one round."""
UNLIKELY = 20
"""Candidates per round that are heard although nothing speaks for them yet."""
RELATED = 6
"""Entities behind one edge of a candidate that are looked at."""


class BottomUpSolver:
    """Solves from candidates downwards; see the module's example."""

    name = "bottomup"

    def __init__(self, competence: Competence, budget: Budget | None = None) -> None:
        self._competence = competence
        self._budget = budget or Budget()

    def solve(self, question: str, web: Web) -> Attempt:
        memory = PageMemory(web, self._competence, self._budget)
        return attempt(self.name, memory, self._competence.parser, question, self.find)

    def find(self, memory: PageMemory, root: Node) -> Found:
        """Every entity that meets the clues, as far as the memory's web shows; raises `BudgetSpentError`."""
        return _Casting(memory).solve(root)


@dataclass(frozen=True, slots=True)
class _Score:
    """How a candidate did: clues confirmed, contradicted, and left open."""

    yes: int
    no: int
    unknown: int

    @property
    def status(self) -> Status:
        if self.no:
            return Status.NO
        return Status.UNKNOWN if self.unknown else Status.YES


class _Casting:
    """One attempt: candidates come in rounds, each is heard once."""

    def __init__(self, memory: PageMemory) -> None:
        self._memory = memory
        self._notebook = memory.notebook
        self._catalogue = memory.notebook.catalogue
        self._heard: dict[tuple[str, Node], _Score] = {}
        self._found: dict[Node, list[str]] = {}
        self._evidence: dict[str, None] = {}

    def solve(self, root: Node) -> Found:
        passed = self._find(root)
        failure: Failure | None = None
        if not passed:
            heard = sorted((k for k, n in self._heard if n == root), key=lambda k: -self._heard[k, root].yes)
            failure = missed(self._memory, heard, root)
        elif len(passed) > 1:
            failure = "ambiguous"
        return Found(tuple(passed), tuple(self._evidence), failure)

    def _find(self, node: Node) -> list[str]:
        """Candidates that pass, from the first round of gathering that has any; looked for once per vertex."""
        if node not in self._found:
            self._found[node] = []
            self._found[node] = self._search_for(node)
        return self._found[node]

    def _search_for(self, node: Node) -> list[str]:
        rounds = [self._by_joint_words, self._by_single_clues, self._by_class, self._by_children, self._by_scan]
        if all(isinstance(c, Edge) for c in node.clues):
            rounds = [self._by_children, self._by_joint_words, self._by_class, self._by_scan]
        for gather in rounds:
            gather(node)
            self._reopen()
            passed = self._test_round(node)
            if passed:
                return passed
        return []

    def _reopen(self) -> None:
        """Whoever was left undecided may be decided by what was read since."""
        self._heard = {case: score for case, score in self._heard.items() if score.status is not Status.UNKNOWN}

    # Gathering ---------------------------------------------------------------------------------------------------

    def _by_joint_words(self, node: Node) -> None:
        words = " ".join(self._words_of(c) for c in node.clues if not isinstance(c, Edge))
        deeper = " ".join(name for c in node.clues if isinstance(c, Edge) for name in named_constants(c.child))
        hits = self._memory.search(f"{plural(self._catalogue, node.type)} {words} {deeper}", top_k=10)
        about = [h for name in named_constants(node) for h in lists_about(hits, name, 2)]
        self._read([h for h in hits if h in about or not is_list_like(h)], 6)

    def _by_single_clues(self, node: Node) -> None:
        for clue in node.clues:
            if isinstance(clue, Match) and isinstance(clue.value, EntityRef):
                self._read_about(node, clue.value.name, clue.as_of)
                if clue.inverse:
                    self._read(self._memory.search(clue.value.name, top_k=4), 3)
            elif isinstance(clue, Match):
                hits = self._memory.search(f"{plural(self._catalogue, node.type)} {self._words_of(clue)}", top_k=6)
                self._read(hits, 4)

    def _read_about(self, node: Node, name: str, day: str | None) -> None:
        """Lists of the class about a name, then other pages that speak of it."""
        hits = self._memory.search(f"{plural(self._catalogue, node.type)} {name}", top_k=10)
        lists = lists_about(hits, name, 2)
        self._read([*lists, *dated_first([h for h in naming(hits, name, 8) if h not in lists], day)], 5)

    def _by_class(self, node: Node) -> None:
        if node.type is not None:
            words = plural(self._catalogue, node.type)
            self._read(lists_of_all(self._memory.search(f"register list {words}", top_k=8), words, 2), 2)

    def _by_scan(self, node: Node) -> None:
        """The class page by page: the last resort."""
        if node.type is not None:
            scan_class(self._memory, self._memory.search(plural(self._catalogue, node.type), top_k=8), node.type)

    def _by_children(self, node: Node) -> None:
        """Entities that pages about a likely child name, and pages that come up for the child's name."""
        for edge in node.clues:
            if not isinstance(edge, Edge):
                continue
            relation = self._catalogue.relations[edge.relation]
            for child in self._find(self._typed(edge))[:RELATED]:
                page_of(self._memory, child)
                if not self._parents_known(child, edge, relation, node.type):
                    name = self._notebook.names.get(child, "")
                    self._read_about(node, name, edge.as_of)

    def _parents_known(self, child: str, edge: Edge, relation: Relation, type_id: str | None) -> bool:
        """Whether nothing more is to be learnt about who stands at the other end of a child's edge."""
        if edge.inverse:
            return bool(self._parents(child, edge, relation))
        target = self._notebook.target_of([child])
        return self._notebook.complete_list(relation.id, target, type_id, edge.as_of) is not None

    def _parents(self, child: str, edge: Edge, relation: Relation) -> list[str]:
        mine = self._notebook.target_of([child])
        if edge.inverse:
            return self._notebook.objects(relation.id, mine, edge.as_of)
        return self._notebook.holders(relation.id, mine, edge.as_of)

    def _typed(self, edge: Edge) -> Node:
        return edge.child if edge.child.type else Node(child_type(self._catalogue, edge), edge.child.clues)

    def _words_of(self, clue: Clue) -> str:
        if isinstance(clue, IsA):
            return self._catalogue.types[clue.type].singular
        relation = self._catalogue.relations[clue.relation]
        if isinstance(clue, Match):
            value = clue.value.name if isinstance(clue.value, EntityRef) else clue.value.text
            return clue_words(relation, value, inverse=clue.inverse)
        return relation.label

    def _read(self, hits: list[Hit], limit: int) -> None:
        self._memory.read_all(hit.url for hit in hits[:limit])

    # Testing -----------------------------------------------------------------------------------------------------

    def _test_round(self, node: Node) -> list[str]:
        """Hear the most promising candidates read of so far; the promise is what the notebook already says."""
        known = list(self._notebook.types.items())
        of_class = (k for k, t in known if node.type is None or self._catalogue.is_a(t, node.type))
        cast = list(dict.fromkeys(map(self._notebook.known_as, of_class)))
        ranked = sorted((self._promise(k, node), i, k) for i, k in enumerate(cast) if (k, node) not in self._heard)
        passed = [k for k, n in self._heard if n == node and self._heard[k, n].status is Status.YES]
        promising, unlikely = list[str](), 0
        for (contradicted, confirmed), _, key in ranked[: TESTED * 3]:
            unlikely += not contradicted and not confirmed
            if not contradicted and (confirmed or unlikely <= UNLIKELY):
                promising.append(key)
        self._memory.expect(key for key in promising if not is_nameless(key))
        for key in promising:
            if len([k for k, n in self._heard if n == node]) >= TESTED * 4:
                break
            if self._hear(key, node, last=False).status is Status.YES:
                passed.append(key)
                if len(passed) == RELATED:
                    break
        if not passed:
            passed = self._second_hearing(node)
        return passed

    def _promise(self, key: str, node: Node) -> tuple[int, int]:
        statuses = [self._notebook.check(key, c)[0] for c in node.clues if not isinstance(c, Edge)]
        statuses += [Status.YES for c in node.clues if isinstance(c, Edge) and self._leads(key, c)]
        return int(Status.NO in statuses), -statuses.count(Status.YES)

    def _leads(self, key: str, edge: Edge) -> bool:
        """Whether the notebook already says to whom the edge leads from here."""
        return bool(self._related(key, edge, self._catalogue.relations[edge.relation]))

    def _second_hearing(self, node: Node) -> list[str]:
        """Candidates with something confirmed, nothing contradicted and little open get one search per open clue."""
        open_cases = [(k, s) for (k, n), s in self._heard.items() if n == node and s.status is Status.UNKNOWN and s.yes]
        open_cases.sort(key=lambda case: (case[1].unknown, -case[1].yes))
        return [key for key, _ in open_cases[:3] if self._hear(key, node, last=True).status is Status.YES]

    def _hear(self, key: str, node: Node, *, last: bool) -> _Score:
        """Every clue on the candidate's own page; `last` adds a targeted search for what stays open."""
        page_of(self._memory, key)
        counts = dict.fromkeys(Status, 0)
        for clue in sorted(node.clues, key=lambda c: isinstance(c, Edge)):
            status = self._clue_status(key, clue, last=last)
            counts[status] += 1
            if status is Status.NO:
                break
        score = _Score(counts[Status.YES], counts[Status.NO], counts[Status.UNKNOWN])
        self._heard[key, node] = score
        return score

    def _clue_status(self, key: str, clue: Clue, *, last: bool) -> Status:
        status = self._once(key, clue, last=last)
        if status is Status.UNKNOWN and last and not isinstance(clue, IsA):
            self._look_for(key, clue)
            status = self._once(key, clue, last=last)
        return status

    def _look_for(self, key: str, clue: Match | Within | Edge) -> None:
        """One search for what a candidate's own page leaves open; for an edge also from the child's end."""
        name = self._notebook.names.get(key, "")
        relation = self._catalogue.relations[clue.relation]
        value = clue.value.name if isinstance(clue, Match) and isinstance(clue.value, EntityRef) else ""
        hits = self._memory.search(f"{statement_words(relation, name)} {value}", top_k=10)
        self._read(dated_first(naming(hits, name, 8), clue.as_of), 4)
        if not isinstance(clue, Edge):
            return
        own_type = self._notebook.types.get(key)
        for child in self._find(self._typed(clue))[:2]:
            page_of(self._memory, child)
            if own_type is not None and key not in self._parents(child, clue, relation):
                self._read_about(Node(own_type, ()), self._notebook.names.get(child, ""), clue.as_of)

    def _once(self, key: str, clue: Clue, *, last: bool) -> Status:
        if isinstance(clue, Edge):
            return self._through(key, clue, last=last)
        status, url = self._notebook.check(key, clue)
        if status is Status.YES:
            self._evidence.setdefault(url)
        return status

    def _through(self, key: str, edge: Edge, *, last: bool) -> Status:
        """Down an edge: the entities that the pages name there, each heard against the child vertex."""
        relation = self._catalogue.relations[edge.relation]
        related = self._related(key, edge, relation)
        child = self._typed(edge)
        ranked = sorted((self._promise(k, child), i, k) for i, k in enumerate(related))
        likely = [k for (contradicted, _), _, k in ranked if not contradicted]
        statuses: list[Status] = []
        for key_there in likely[:RELATED]:
            statuses.append(self._child_status(key_there, child, last=last))
            if statuses[-1] is Status.YES:
                return Status.YES
        closed = relation.single if not edge.inverse else False
        all_out = bool(related) and len(likely) <= RELATED and all(s is Status.NO for s in statuses)
        return Status.NO if all_out and closed else Status.UNKNOWN

    def _child_status(self, key: str, child: Node, *, last: bool) -> Status:
        heard = self._heard.get((key, child))
        if heard is not None and (heard.status is not Status.UNKNOWN or not last):
            return heard.status
        return self._hear(key, child, last=last).status

    def _related(self, key: str, edge: Edge, relation: Relation) -> list[str]:
        mine = self._notebook.target_of([key])
        if edge.inverse:
            return self._notebook.holders(relation.id, mine, edge.as_of)
        return self._notebook.objects(relation.id, mine, edge.as_of)
