"""A proposal as a model writes it: vertices by letter, claims with quotes, and which vertex answers.

    vertices  A Harlan Rovers (football club), B Hill End (stadium)
    claims    A "home ground" B · B "opened" "1901" · A "colours" "green and white"      each with its page and quote
    answer    A, or a relation of A whose object is a date or a number

`problems_of` says what is wrong with one; `to_query` turns it into a formula. Claims that are grounded in the graph become
clues on its relations. Where one is not, the whole proposal is told in free relations ("~home ground"): half a proof
would be none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field

from datagen.agents.llm.quoting import place_of
from datagen.agents.toolbox import MAX_URL_CHARS, Arguments
from datagen.knowledge.formula import Clue, Edge, EntityRef, Match, Node, Query
from datagen.knowledge.graph import FactGraph
from datagen.knowledge.grounding import Grounder, Quotation
from datagen.knowledge.literals import text_literal
from datagen.records.fact import Fact
from datagen.web.tools import Window

FREE = "~"
"""Begins the id of a relation that no catalogue has."""
MIN_CLAIMS = 3
MAX_CLAIMS = 24
"""More than a question needs: claims that the proof can do without are pruned."""


class VertexArgument(Arguments):
    id: str = Field(pattern=r"^[A-Z]$", description="A letter.")
    name: str = Field(min_length=1, max_length=300, description="What the thing is called.")
    kind: str = Field(max_length=100, description="What sort of thing it is: 'football club'.")
    url: str = Field(default="", max_length=MAX_URL_CHARS, description="Its own page, if it has one.")


class ClaimArgument(Arguments):
    subject: str = Field(min_length=1, max_length=300, description="Letter of a vertex, or a name.")
    relation: str = Field(min_length=1, max_length=200, description="What is said, in a few words.")
    object: str = Field(min_length=1, max_length=300, description="Letter of a vertex, a name, a date or a number.")
    url: str = Field(max_length=MAX_URL_CHARS, description="Address of the visited page that says so.")
    quote: str = Field(min_length=1, max_length=600, description="The page's own words, copied exactly.")


class ProposalArguments(Arguments):
    vertices: tuple[VertexArgument, ...] = Field(max_length=10)
    claims: tuple[ClaimArgument, ...] = Field(max_length=MAX_CLAIMS)
    answer: str = Field(max_length=1, description="Letter of the vertex that the question asks for.")
    asked: str = Field(
        default="",
        max_length=200,
        description="Empty to ask for the vertex's name; else the relation of one claim about it, whose object is asked for.",
    )
    themes_used: tuple[int, ...] = Field(default=(), max_length=10, description="Numbers of the themes that were used.")
    failure: str = Field(default="", max_length=300, description="Why there is no proposal; then leave the rest empty.")


def problems_of(said: ProposalArguments, windows: Sequence[Window]) -> list[str]:
    """What is wrong with a proposal, for whoever made it."""
    if said.failure and not said.claims:
        return []
    known = {vertex.id for vertex in said.vertices}
    found = []
    if len(said.claims) < MIN_CLAIMS:
        found.append(f"At least {MIN_CLAIMS} claims are needed.")
    if len(known) < len(said.vertices):
        found.append("Two vertices have the same letter.")
    if said.answer not in known:
        found.append(f"The answer {said.answer!r} is none of the vertices.")
    elif said.asked.strip() and asked_claim(said) is None:
        found.append(f"No claim about {said.answer} says {said.asked!r} of it with a date or number as its object.")
    for claim in said.claims:
        if not any(window.url == claim.url and place_of(window, claim.quote) for window in windows):
            found.append(f"No visited window of {claim.url[:200]} contains the quote {claim.quote[:120]!r}.")
        if not {claim.subject, claim.object} & known:
            found.append(f"The claim {claim.relation[:100]!r} of {claim.subject[:100]!r} concerns no vertex.")
    unreached = known - reached_from(said)
    if said.answer in known and unreached:
        found.append(f"No chain of claims leads from the answer to {', '.join(sorted(unreached))}.")
    return found[:8]


def asked_claim(said: ProposalArguments) -> ClaimArgument | None:
    """The claim whose object is asked for; the first one where several have the relation. None where a name is."""
    wanted, vertices = _folded(said.asked), {vertex.id for vertex in said.vertices}
    about = (c for c in said.claims if c.subject == said.answer and c.object not in vertices)
    return next((claim for claim in about if wanted and _folded(claim.relation) == wanted), None)


def _folded(words: str) -> str:
    return " ".join(words.casefold().split())


def reached_from(said: ProposalArguments) -> set[str]:
    """Vertices that claims connect with the answer."""
    known = {vertex.id for vertex in said.vertices}
    reached = {said.answer} & known
    while True:
        ends = [{c.subject, c.object} & known for c in said.claims]
        wider = reached.union(*(pair for pair in ends if pair & reached)) if ends else reached
        if wider == reached:
            return reached
        reached = wider


@dataclass(frozen=True, slots=True)
class Told:
    """A claim with what is known of it: its place in the page, and the fact of the graph that it states, if any.

    A claim that puts a fact the other way round ("Hill End", "home of", "Harlan Rovers") is turned to stand as the fact.
    """

    claim: ClaimArgument
    window: Window
    start: int
    end: int
    fact: Fact | None
    asked: bool = False
    """Whether its object is what the question asks for."""


class Joiner:
    """Joins proposals with a graph."""

    def __init__(self, graph: FactGraph) -> None:
        self._graph = graph
        self._grounder = Grounder(graph)

    def told(self, said: ProposalArguments, windows: Sequence[Window]) -> list[Told]:
        """Claims whose quote was found, in order."""
        by_id = {vertex.id: vertex for vertex in said.vertices}
        asked = asked_claim(said)
        told = []
        for claim in said.claims:
            for window in windows:
                span = place_of(window, claim.quote) if window.url == claim.url else None
                if span is not None:
                    joined, fact = self._joined(claim, by_id, *span)
                    told.append(Told(joined, window, *span, fact, claim is asked))
                    break
        return told

    def _joined(
        self, claim: ClaimArgument, by_id: Mapping[str, VertexArgument], start: int, end: int
    ) -> tuple[ClaimArgument, Fact | None]:
        """The claim, turned round if that is how it states a fact, and the fact."""
        fact = self._fact(claim, by_id, start, end)
        if fact is not None:
            return claim, fact
        turned = claim.model_copy(update={"subject": claim.object, "object": claim.subject})
        fact = self._fact(turned, by_id, start, end)
        if fact is None or fact.object_key is None:
            return claim, None
        label = self._graph.catalogue.relations[fact.relation].label
        return turned.model_copy(update={"relation": label}), fact

    def _fact(self, claim: ClaimArgument, by_id: Mapping[str, VertexArgument], start: int, end: int) -> Fact | None:
        subject, value = (by_id[e].name if e in by_id else e for e in (claim.subject, claim.object))
        about = [by_id[claim.subject].url] if claim.subject in by_id and by_id[claim.subject].url else []
        quotation = Quotation(subject, claim.relation, value, claim.url, start, end)
        return self._grounder.ground(quotation, about) or (self._grounder.ground(quotation) if about else None)

    def to_query(self, said: ProposalArguments, told: Sequence[Told]) -> Query:
        """The formula of a proposal: over the graph's relations where every claim is grounded, else over free ones."""
        tree = _Tree(self._graph, said, told, grounded=_agree(said, told))
        return tree.query()


def _agree(said: ProposalArguments, told: Sequence[Told]) -> bool:
    """Whether every claim is grounded, and each letter is one entity in all of its claims."""
    keys: dict[str, set[str | None]] = {vertex.id: set() for vertex in said.vertices}
    for each in told:
        if each.fact is None:
            return False
        for end, key in ((each.claim.subject, each.fact.subject), (each.claim.object, each.fact.object_key)):
            if end in keys:
                keys[end].add(key)
    return all(len(found) <= 1 and None not in found for found in keys.values())


class _Tree:
    """A proposal's claims, walked from the answer outwards; each is used once."""

    def __init__(self, graph: FactGraph, said: ProposalArguments, told: Sequence[Told], *, grounded: bool) -> None:
        self._graph = graph
        self._said = said
        self._all = tuple(told)
        self._waiting = list(told)
        self._grounded = grounded
        self._vertices = {vertex.id: vertex for vertex in said.vertices}
        self._placed: set[str] = set()

    def query(self) -> Query:
        asked = self._take_asked()
        root = self._node(self._said.answer)
        if asked is None:
            return Query(root)
        day = asked.fact.as_of if asked.fact is not None and self._changes(asked) else None
        return Query(root, self._relation(asked), day)

    def _take_asked(self) -> Told | None:
        """The claim whose object is the answer."""
        asked = next((told for told in self._waiting if told.asked), None)
        if asked is not None:
            self._waiting.remove(asked)
        return asked

    def _node(self, vertex: str) -> Node:
        self._placed.add(vertex)
        clues: list[Clue] = []
        for told in list(self._waiting):
            ends = (told.claim.subject, told.claim.object)
            other = ends[1] if ends[0] == vertex else ends[0]
            if vertex not in ends or told not in self._waiting or other in self._placed:
                continue
            self._waiting.remove(told)
            clues.append(self._clue(told, other, inverse=ends[0] != vertex))
        return Node(self._type(vertex), tuple(clues))

    def _clue(self, told: Told, other: str, *, inverse: bool) -> Clue:
        relation = self._relation(told)
        day = told.fact.as_of if told.fact is not None and self._changes(told) else None
        if other in self._vertices:
            return Edge(relation, self._node(other), inverse, day)
        if told.fact is None or not self._grounded:
            return Match(relation, EntityRef("", other) if inverse else text_literal(other), inverse, day)
        if inverse:
            i = self._graph.id(told.fact.subject)
            return Match(relation, self._graph.ref(i), inverse=True, as_of=day)
        if told.fact.object_key is not None:
            i = self._graph.id(told.fact.object_key)
            return Match(relation, self._graph.ref(i), as_of=day)
        assert told.fact.literal is not None
        return Match(relation, told.fact.literal, as_of=day)

    def _relation(self, told: Told) -> str:
        if self._grounded and told.fact is not None:
            return told.fact.relation
        return FREE + " ".join(told.claim.relation.split())

    def _changes(self, told: Told) -> bool:
        return self._grounded and told.fact is not None and self._graph.catalogue.relations[told.fact.relation].changes

    def _type(self, vertex: str) -> str | None:
        """The catalogue's type where the graph knows the entity."""
        if not self._grounded:
            return None
        keys = [self._vertices[vertex].url]
        keys += [t.fact.subject for t in self._told_of(vertex, 0) if t.fact is not None]
        keys += [t.fact.object_key or "" for t in self._told_of(vertex, 1) if t.fact is not None]
        for key in keys:
            i = self._graph.find(key)
            if i is not None:
                return self._graph.type(i)
        return None

    def _told_of(self, vertex: str, end: int) -> list[Told]:
        return [t for t in self._all if (t.claim.subject, t.claim.object)[end] == vertex]


def is_free(query: Query) -> bool:
    """Whether a query speaks in relations that no catalogue has, so that nothing can be proven of it."""
    return (query.ask or "").startswith(FREE) or _has_free(query.root)


def _has_free(node: Node) -> bool:
    for clue in node.clues:
        if isinstance(clue, Match | Edge) and clue.relation.startswith(FREE):
            return True
        if isinstance(clue, Edge) and _has_free(clue.child):
            return True
    return False
