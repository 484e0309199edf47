"""Questions without a proof: what a quote does not say is not asked, and a rumour is not taken for something new."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from tests.unit.practice_league import CATALOGUE, Table, voice
from tests.unit.test_agents_symbolic import SITE, football_pages, page, url_of

from datagen.agents.llm.fencing import plain
from datagen.agents.llm.writer import LlmRewriter
from datagen.agents.roles import Outline, Proposal
from datagen.knowledge.formula import Edge, Match, Node, Query
from datagen.knowledge.graph import FactGraph
from datagen.knowledge.grounding import Grounder, Quotation
from datagen.knowledge.literals import text_literal
from datagen.knowledge.reading import Reader
from datagen.practice.minds import SymbolicMind
from datagen.records.fact import Evidence, Fact
from datagen.records.question import Hop
from datagen.synthesis.draft import Draft
from datagen.synthesis.proving import Stop
from datagen.synthesis.settings import Workbench
from datagen.synthesis.uncertified import draft_uncertified, figures


def hop(value: str, quote: str, relation: str = "opened") -> Hop:
    return Hop(
        "Hill End", relation, value, f"Hill End | opened: {value}", SITE, "atlas.example", "official", None, None, quote
    )


def proposal(*hops: Hop) -> Proposal:
    query = Query(Node(None, (Edge("~home ground", Node(None, (Match("~opened", text_literal("1911")),))),)))
    outline = Outline((("A", "club"), ("B", "stadium")), (("A", "home ground", "B"), ("B", "opened", "1911")), "A")
    return Proposal(query, hops, (), (), 1, 1, "Harlan Rovers", ("Harlan Rovers", "Hill End"), outline)


class Scribe:
    name = "scribe"

    def write(self, outline, rng):
        return "Which club has a home ground that opened in 1911?"


BENCH = Workbench(None, None, CATALOGUE, None, None, rewriter=Scribe())


def test_a_writer_puts_quoted_claims_into_words_and_the_row_has_no_proof():
    made = draft_uncertified(BENCH, proposal(hop("1911", "It opened in 1911.")), random.Random(1))

    assert isinstance(made, Draft)
    assert (made.certificate, made.wording, made.answer.text) == (None, "model", "Harlan Rovers")
    assert made.hidden_names == ("Harlan Rovers", "Hill End")


def test_the_writer_is_told_the_day_of_a_claim():
    table = Table(SymbolicMind(CATALOGUE).answer)
    outline = Outline((("A", "person"),), (("Harlan Rovers", "Head coach", "A"),), "A", days=("2025-03-03",))
    question = LlmRewriter(voice(table, "writer")).write(outline, random.Random(1))

    assert '"as_of":"2025-03-03"' in plain(table.requests[0].messages[-1].content)
    assert "3 March 2025" in question


def test_a_value_that_the_quote_does_not_say_ends_the_candidate():
    made = draft_uncertified(BENCH, proposal(hop("1950", "It opened in 1911.")), random.Random(1))

    assert isinstance(made, Stop)
    assert (made.stage, made.reason) == ("prove", "value_not_quoted")


def test_a_value_that_the_graph_vouches_for_may_be_written_in_another_way_than_the_page():
    stated = hop("1 May 1911", "on the first of May")
    place = Evidence("pg-1", SITE, 0, 5, "quote", "0", "official", None)
    fact = Fact("x", "opened", "1 May 1911", None, None, place)

    assert isinstance(draft_uncertified(BENCH, replace(proposal(stated), facts=(fact,)), random.Random(1)), Draft)
    assert isinstance(draft_uncertified(BENCH, proposal(stated), random.Random(1)), Stop)


def test_without_a_writer_nobody_can_say_it():
    made = draft_uncertified(replace(BENCH, rewriter=None), proposal(hop("1911", "1911")), random.Random(1))

    assert isinstance(made, Stop)
    assert made.reason == "not_joined"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4,812 seats", {"4812"}),
        ("1 234 567", {"1234567"}),
        ("3.5 km", {"3", "5"}),
        ("2026-03-05", {"2026", "3", "5"}),
        ("5 March 2026", {"5", "2026"}),
        ("in 1911, 1912", {"1911", "1912"}),
        ("the club", set()),
    ],
)
def test_figures_are_read_whatever_way_thousands_are_set(text, expected):
    assert figures(text) == expected


def test_a_statement_that_is_heard_and_not_believed_joins_so_that_the_proof_can_fail_by_it():
    """The only word on the ground is a forum's: nothing sure is known, and still it is no claim that nobody knows."""
    bare = page("Ost United", "A club of the coast.\n\nFounded: 1923")
    rumour = page("Talk", "Ost United play their home matches at Quay Road.", url=f"{SITE}/forum/1", kind="forum")
    other = page("Talk", "Ost United play their home matches at Low Park.", url=f"{SITE}/forum/2", kind="forum")
    pages = [*(p for p in football_pages() if p.title != "Ost United"), bare, rumour, other]
    reader = Reader(CATALOGUE)
    readings = [reader.read(p) for p in pages]
    graph = FactGraph.build(
        CATALOGUE, [f for r in readings for f in r.facts], [], [r.entity for r in readings if r.entity is not None]
    )
    club = graph.id(url_of("Ost United"))
    assert "plays_at" not in {stated.relation for stated in graph.outgoing(club)}

    for fact in graph.facts(club, "plays_at"):
        place = fact.evidence
        said = Quotation("Ost United", "home ground", fact.object, place.url, place.start, place.end)
        assert Grounder(graph).ground(said) == fact
