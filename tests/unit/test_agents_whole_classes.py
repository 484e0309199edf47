"""Agents on a corpus of profiles: every member has a page, an index links them, and no page lists who shares what."""

from __future__ import annotations

import re

import pytest

from datagen.agents.budget import Budget
from datagen.agents.roles import Proposal
from datagen.agents.symbolic.bottomup import BottomUpSolver
from datagen.agents.symbolic.gathering import BROAD, DEEP
from datagen.agents.symbolic.page_memory import Competence, PageMemory
from datagen.agents.symbolic.proposer import SymbolicProposer
from datagen.agents.symbolic.scanning import RESERVE, scan_class
from datagen.agents.symbolic.topdown import TopDownSolver
from datagen.errors import PageNotFoundError
from datagen.knowledge.catalogue import EntityType, Relation, make_catalogue
from datagen.knowledge.formula import Edge, Match, Node, Query, Within, depth, walk_clues
from datagen.language.parse import Parser
from datagen.language.verbalise import Verbaliser
from datagen.records.ids import rng_for
from datagen.records.page import Link, Page
from datagen.web.tools import Hit, Window

FOLDER = "https://profiles.example/countries/"
NAMES = tuple(f"{a}{b}land" for a in ("Bar", "Cor", "Del", "Fen", "Gal", "Hol") for b in ("ma", "ne", "vi", "ro", "su"))
CATALOGUE = make_catalogue(
    "profiles",
    [EntityType("country", "country", "countries")],
    [
        Relation("area", "Area", ("country",), "number", unit="sq km", clue=("whose area is {o}",),
                 ask=("What is the area of {s}?",)),
        Relation("people", "Population", ("country",), "number", clue=("whose population is {o}",)),
        Relation("coast", "Coastline", ("country",), "number", unit="km", clue=("whose coastline is {o}",)),
        Relation("borders", "Neighbours", ("country",), "entity", ("country",), single=False,
                 clue=("that borders {o}",), inverse=("that {s} borders",)),
    ],
)  # fmt: skip


def profile(i):
    """Country i borders the next two; its numbers are spread so that no two are alike."""
    neighbours = [(i + 1) % len(NAMES), (i + 2) % len(NAMES)]
    rows = [
        f"{NAMES[i]} is one of the countries.",
        "",
        f"Area: {1000 + 137 * i:,} sq km",
        f"Population: {50_000 + 7_919 * ((i * 7) % len(NAMES)):,}",
        f"Coastline: {100 + 31 * ((i * 11) % len(NAMES))} km",
        f"Neighbours: {'; '.join(NAMES[n] for n in neighbours)}",
    ]
    text = "\n".join(rows)
    links = []
    for n in neighbours:
        start = text.rindex(NAMES[n])
        links.append(Link(start, start + len(NAMES[n]), address(n), NAMES[n]))
    return page(address(i), NAMES[i], text, tuple(sorted(links, key=lambda link: link.start)), "country")


def address(i):
    return f"{FOLDER}{NAMES[i].lower()}/"


def index_page():
    text, links = "All profiles\n\n", []
    for i, name in enumerate(NAMES):
        links.append(Link(len(text), len(text) + len(name), address(i), name))
        text += name + "\n"
    return page(FOLDER, "All profiles", text, tuple(links), None)


def page(url, title, text, links, kind):
    return Page(f"pg-{title}", url, "profiles.example", "reference", title, text, links, "2025-06-01", None, kind)


class ProfileWeb:
    """Search by shared words; ties by address."""

    def __init__(self):
        self.pages = {p.url: p for p in (index_page(), *(profile(i) for i in range(len(NAMES))))}

    def search(self, query, top_k=5):
        words = set(re.findall(r"\w+", query.casefold()))
        scored = [
            (-len(words & set(re.findall(r"\w+", f"{p.title} {p.text}".casefold()))), u) for u, p in self.pages.items()
        ]
        hits = [(self.pages[url], -score) for score, url in sorted(scored)[:top_k] if score]
        return [Hit(p.url, p.title, p.host, p.source_kind, p.published_at, p.text[:60], s) for p, s in hits]

    def visit(self, url, offset=0):
        if url not in self.pages:
            raise PageNotFoundError(f"no page at {url}")
        p = self.pages[url]
        return Window(
            p.id, p.url, p.host, p.title, p.source_kind, p.published_at, None, p.entity_type, p.text, p.links, 0, None,
            len(p.text),
        )  # fmt: skip


COMPETENCE = Competence.of(CATALOGUE, Parser(CATALOGUE))


def test_a_scan_visits_the_members_that_the_folder_above_a_hit_links_to():
    memory = PageMemory(ProfileWeb(), COMPETENCE, Budget(10, 200))

    found = scan_class(memory, memory.search("countries", top_k=5), "country")

    assert sorted(found) == sorted(address(i) for i in range(len(NAMES)))
    assert memory.visits == len(NAMES) + 1


def test_a_scan_keeps_a_reserve_of_visits_for_what_follows():
    memory = PageMemory(ProfileWeb(), COMPETENCE, Budget(10, RESERVE + 8))

    scan_class(memory, memory.search("countries", top_k=5), "country")

    assert memory.visits_left == RESERVE


@pytest.mark.parametrize("solver", [TopDownSolver, BottomUpSolver])
def test_solvers_go_through_the_class_where_no_search_can_help(solver):
    near = Node("country", (Within("coast", "number", 840.0, 850.0, "km"),))
    query = Query(Node("country", (Within("area", "number", 4000.0, 4100.0, "sq km"), Edge("borders", near))))
    question = Verbaliser(CATALOGUE).write(query, rng_for(1))

    attempt = solver(COMPETENCE, Budget(40, 400)).solve(question, ProfileWeb())

    assert attempt.answer == NAMES[22]


@pytest.mark.parametrize(("name", "temperament"), [("broad", BROAD), ("deep", DEEP)])
def test_members_of_a_class_declared_complete_are_described_from_their_profiles(name, temperament):
    proposer = SymbolicProposer(
        name, COMPETENCE, temperament, min_hosts=1, complete_types=("country",), cutoff="2024-01-01"
    )
    themes = ("country area", "population", "coastline", "neighbours", "profiles")
    outcomes = [proposer.propose(themes, None, ProfileWeb(), rng_for(3, name, i)) for i in range(20)]
    made = [p for p in outcomes if isinstance(p, Proposal)]

    assert len(made) >= 10
    for proposal in made:
        assert depth(proposal.query.root) >= 2
        clues = [clue for _, clue in walk_clues(proposal.query.root)]
        assert any(isinstance(clue, Edge) for clue in clues)
        assert not any(isinstance(clue, Match) and clue.relation != "borders" for clue in clues)
        assert len(proposal.hops) == len(proposal.facts)


def test_without_the_declaration_nothing_is_proposed_of_them():
    proposer = SymbolicProposer("deep", COMPETENCE, DEEP, min_hosts=1, cutoff="2024-01-01")
    outcomes = [proposer.propose(("country area",) * 5, None, ProfileWeb(), rng_for(3, "none", i)) for i in range(5)]

    assert not any(isinstance(outcome, Proposal) for outcome in outcomes)
