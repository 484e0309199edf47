"""Solvers over a dozen hand-written pages: what they find, what they admit not to know, what they spend."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from datagen.agents.budget import Budget
from datagen.agents.roles import NoProposal, Proposal, SeedQuestion, SkeletonClue, SkeletonNode
from datagen.agents.symbolic.bottomup import BottomUpSolver
from datagen.agents.symbolic.describing import Describer
from datagen.agents.symbolic.gathering import BROAD, DEEP
from datagen.agents.symbolic.page_memory import Competence, PageMemory
from datagen.agents.symbolic.proposer import SymbolicProposer
from datagen.agents.symbolic.topdown import TopDownSolver
from datagen.errors import PageNotFoundError, ParseError
from datagen.knowledge.catalogue import Catalogue, EntityType, Relation, make_catalogue
from datagen.knowledge.dates import day_number
from datagen.knowledge.formula import Edge, EntityRef, Match, Node, Query, Within, depth
from datagen.records.ids import rng_for
from datagen.records.page import Link, Page
from datagen.web.tools import Hit, Window

SITE = "https://atlas.example"


def football_catalogue() -> Catalogue:
    types = [
        EntityType("club", "club", "clubs"),
        EntityType("stadium", "stadium", "stadiums"),
        EntityType("person", "person", "people", who=True),
        EntityType("league", "league", "leagues"),
        EntityType("town", "town", "towns"),
    ]
    relations = [
        Relation(
            "plays_at", "Ground", ("club",), "entity", ("stadium",),
            prose=("{s} play their home matches at {o}",), clue=("whose home ground is {o}",),
            inverse=("that is the home ground of {s}",),
        ),
        Relation(
            "coach", "Head coach", ("club",), "entity", ("person",), changes=True,
            prose=("{s} are coached by {o}",), clue=("coached by {o}",), inverse=("who coaches {s}",),
        ),
        Relation("founded", "Founded", ("club",), "date", clue=("founded in {o}",), ask=("When was {s} founded?",)),
        Relation("opened", "Opened", ("stadium",), "date", clue=("opened in {o}",)),
        Relation("plays_in", "League", ("club",), "entity", ("league",), clue=("that play in {o}",)),
        Relation("lies_in", "Town", ("stadium",), "entity", ("town",), clue=("that lies in {o}",)),
    ]  # fmt: skip
    return make_catalogue("football", types, relations)


class MemoryWeb:
    """A web in memory: search by shared words, titles counting double."""

    def __init__(self, pages: list[Page]) -> None:
        self.pages = {p.url: p for p in pages}
        self.calls: list[str] = []

    def search(self, query: str, top_k: int = 5) -> list[Hit]:
        self.calls.append(f"search {query}")
        words = set(re.findall(r"\w+", query.casefold()))
        scored = []
        for page in self.pages.values():
            title, text = (re.findall(r"\w+", t.casefold()) for t in (page.title, page.text))
            score = sum(1 / (1 + text.count(w)) if w in text else 0 for w in words) + 2 * len(words & set(title))
            if score:
                scored.append((-score, page.url))
        hits = [(self.pages[url], -score) for score, url in sorted(scored)[:top_k]]
        return [Hit(p.url, p.title, p.host, p.source_kind, p.published_at, p.text[:80], score) for p, score in hits]

    def visit(self, url: str, offset: int = 0) -> Window:
        self.calls.append(f"visit {url}")
        if url not in self.pages:
            raise PageNotFoundError(f"no page at {url}")
        p = self.pages[url]
        return Window(
            p.id, p.url, p.host, p.title, p.source_kind, p.published_at, p.about_url, p.entity_type, p.text, p.links,
            0, None, len(p.text),
        )  # fmt: skip


class Phrasebook:
    """Stands in for the parser: questions are known by heart."""

    def __init__(self, questions: dict[str, Query]) -> None:
        self.questions = questions

    def parse(self, text: str) -> Query:
        if text not in self.questions:
            raise ParseError(f"not in the phrasebook: {text}")
        return self.questions[text]


PLACES = {
    "Harlan Rovers": "clubs/harlan-rovers", "Ost United": "clubs/ost-united", "Brim City": "clubs/brim-city",
    "Hill End": "stadiums/hill-end", "Low Park": "stadiums/low-park", "Quay Road": "stadiums/quay-road",
    "Alba Trenn": "people/alba-trenn", "Ivo Marr": "people/ivo-marr", "Northern League": "leagues/northern",
    "Veltrin": "towns/veltrin", "Sund": "towns/sund",
}  # fmt: skip


def url_of(name: str) -> str:
    return f"{SITE}/{PLACES[name]}"


def page(title: str, text: str, url: str | None = None, kind: str = "encyclopedia", **more: str) -> Page:
    """A page whose text links every name of `PLACES` that it mentions, except its own."""
    links = [
        Link(m.start(), m.end(), url_of(name), name)
        for name in PLACES
        if name != title
        for m in re.finditer(re.escape(name), text)
    ]
    address = url or url_of(title)
    links.sort(key=lambda link: link.start)
    return Page("pg-" + address, address, "atlas.example", kind, title, text, tuple(links), **more)


def football_pages() -> list[Page]:
    return [
        page("Harlan Rovers", "A club of the north.\n\nFounded: 1901\nGround: Hill End\nLeague: Northern League"),
        page("Ost United", "A club of the coast.\n\nFounded: 1923\nGround: Low Park\nLeague: Northern League"),
        page("Brim City", "A club of the plains.\n\nFounded: 1905\nGround: Quay Road\nLeague: Northern League"),
        page("Hill End", "A stadium on a hill.\n\nTown: Veltrin\nOpened: 1911"),
        page("Low Park", "A stadium by a park.\n\nTown: Veltrin\nOpened: 1930"),
        page("Quay Road", "A stadium by the sea.\n\nTown: Sund\nOpened: 1912"),
        page("Veltrin", "A town with two grounds."),
        page("Northern League", "The league of the north."),
        page(
            "Clubs of the Northern League",
            "The list below names all clubs that play in Northern League.\n\nHarlan Rovers\nOst United\nBrim City",
            url=f"{SITE}/lists/northern-league",
            kind="list",
        ),
        page(
            "Stadiums of Veltrin",
            "The list below names all stadiums that lies in Veltrin.\n\nHill End\nLow Park",
            url=f"{SITE}/lists/veltrin-stadiums",
            kind="list",
        ),
        page(
            "Rovers appoint Trenn",
            "Harlan Rovers are coached by Alba Trenn.",
            url=f"{SITE}/news/trenn",
            kind="news",
            published_at="2025-03-03",
        ),
    ]


def years(relation: str, first: int, last: int) -> Within:
    return Within(relation, "date", day_number(first, 1, 1), day_number(last, 12, 31))


def named(name: str) -> EntityRef:
    return EntityRef("", name)


VELTRIN_GROUND = Node("stadium", (Match("lies_in", named("Veltrin")), years("opened", 1910, 1919)))
QUESTIONS = {
    "club by ground": Query(
        Node("club", (Match("plays_in", named("Northern League")), Edge("plays_at", VELTRIN_GROUND)))
    ),
    "ground of club": Query(Node("stadium", (Match("plays_at", named("Ost United"), inverse=True),))),
    "founding": Query(
        Node("club", (Match("plays_in", named("Northern League")), years("founded", 1920, 1929))), "founded"
    ),
    "coach on a day": Query(
        Node("person", (Match("coach", named("Harlan Rovers"), inverse=True, as_of="2025-03-03"),))
    ),
    "coach on another day": Query(
        Node("person", (Match("coach", named("Harlan Rovers"), inverse=True, as_of="2019-03-03"),))
    ),
    "two clubs": Query(Node("club", (Match("plays_in", named("Northern League")), years("founded", 1900, 1909)))),
    "nobody": Query(Node("club", (Match("plays_in", named("Southern League")),))),
}
COMPETENCE = Competence.of(football_catalogue(), Phrasebook(QUESTIONS))
SOLVERS = [TopDownSolver(COMPETENCE), BottomUpSolver(COMPETENCE)]


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: s.name)
@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("club by ground", "Harlan Rovers"),
        ("ground of club", "Low Park"),
        ("founding", "1923"),
        ("coach on a day", "Alba Trenn"),
    ],
)
def test_both_solvers_find_the_answer_through_the_tools(solver, question, answer) -> None:
    attempt = solver.solve(question, MemoryWeb(football_pages()))
    assert (attempt.answer, attempt.failure) == (answer, None)


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: s.name)
def test_a_question_with_two_answers_is_called_ambiguous(solver) -> None:
    attempt = solver.solve("two clubs", MemoryWeb(football_pages()))
    assert (attempt.answer, attempt.failure) == (None, "ambiguous")


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: s.name)
def test_a_statement_about_another_day_answers_nothing(solver) -> None:
    attempt = solver.solve("coach on another day", MemoryWeb(football_pages()))
    assert attempt.answer is None


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: s.name)
def test_what_no_search_brings_up_is_a_retrieval_failure(solver) -> None:
    attempt = solver.solve("nobody", MemoryWeb(football_pages()))
    assert attempt.failure == "retrieval"


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: s.name)
def test_words_outside_the_grammar_are_a_parse_failure_that_costs_nothing(solver) -> None:
    attempt = solver.solve("what?", MemoryWeb(football_pages()))
    assert (attempt.failure, attempt.searches, attempt.visits) == ("parse", 0, 0)


@pytest.mark.parametrize("make", [TopDownSolver, BottomUpSolver])
def test_an_attempt_stops_at_its_budget(make) -> None:
    web = MemoryWeb(football_pages())
    attempt = make(COMPETENCE, Budget(searches=1, visits=1)).solve("club by ground", web)
    assert (attempt.failure, len(web.calls)) == ("budget", attempt.searches + attempt.visits)
    assert attempt.searches <= 1
    assert attempt.visits <= 1


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: s.name)
@pytest.mark.parametrize("question", sorted(QUESTIONS))
def test_spending_is_what_the_web_saw_and_attempts_are_repeatable(solver, question) -> None:
    web = MemoryWeb(football_pages())
    attempt = solver.solve(question, web)
    assert attempt.searches == sum(c.startswith("search") for c in web.calls)
    assert attempt.visits == sum(c.startswith("visit") for c in web.calls)
    assert attempt == solver.solve(question, MemoryWeb(football_pages()))


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: s.name)
def test_evidence_is_among_the_pages_that_were_visited(solver) -> None:
    attempt = solver.solve("club by ground", MemoryWeb(football_pages()))
    assert attempt.evidence_urls
    assert set(attempt.evidence_urls) <= set(attempt.urls)


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: s.name)
def test_a_forum_that_disagrees_changes_nothing(solver) -> None:
    rumour = page("Rumours", "Ost United play their home matches at Quay Road.", url=f"{SITE}/forum/1", kind="forum")
    attempt = solver.solve("ground of club", MemoryWeb([*football_pages(), rumour]))
    assert attempt.answer == "Low Park"


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: s.name)
def test_of_two_same_named_towns_the_one_that_fits_the_other_clues_counts(solver) -> None:
    twin = page("Veltrin", "A town in another country.", url=f"{SITE}/towns/veltrin-2")
    attempt = solver.solve("club by ground", MemoryWeb([*football_pages(), twin]))
    assert attempt.answer == "Harlan Rovers"


def test_a_page_that_is_not_there_is_remembered_and_counted_once() -> None:
    web = MemoryWeb([])
    memory = PageMemory(web, COMPETENCE, Budget())
    assert memory.read(f"{SITE}/gone") is None
    assert memory.read(f"{SITE}/gone") is None
    assert (memory.visits, memory.visited) == (1, ())


def elsewhere(title: str, text: str, path: str, host: str = "daily.example") -> Page:
    """A news page on another host, from after the cut-off day."""
    made = page(title, text, url=f"https://{host}/{path}", kind="news", published_at="2025-05-01")
    return replace(made, host=host)


def proposal_web() -> MemoryWeb:
    news = [
        elsewhere("Rovers at home", "Harlan Rovers play their home matches at Hill End.", "rovers"),
        elsewhere("United at home", "Ost United play their home matches at Low Park.", "united"),
        elsewhere("City at home", "Brim City play their home matches at Quay Road.", "city"),
    ]
    return MemoryWeb([*football_pages(), *news])


PROPOSERS = [SymbolicProposer(name, COMPETENCE, kind, min_steps=2) for name, kind in (("M1", DEEP), ("M2", BROAD))]
THEMES = ("club home ground founded", "stadium opened town", "volcano eruption", "league season", "coach appointed")
SEED = SeedQuestion(
    "seed-1",
    "Which club plays at a ground that opened in the 1910s?",
    "entity",
    SkeletonNode(
        "club", (SkeletonClue("edge", "ground", SkeletonNode("stadium", (SkeletonClue("interval", "opened"),))),)
    ),
)


def proposals(proposer: SymbolicProposer, seed: SeedQuestion | None = None) -> list[Proposal]:
    made = [proposer.propose(THEMES, seed, proposal_web(), rng_for(1, proposer.name, i)) for i in range(30)]
    return [p for p in made if isinstance(p, Proposal)]


@pytest.mark.parametrize("proposer", PROPOSERS, ids=lambda p: p.name)
def test_a_chain_that_one_page_states_is_not_proposed(proposer) -> None:
    ended = [proposer.propose(THEMES, SEED, proposal_web(), rng_for(1, proposer.name, i)) for i in range(10)]
    assert {o.reason for o in ended if isinstance(o, NoProposal)} >= {"one_page"}
    assert not any(isinstance(o, Proposal) for o in ended)


@pytest.mark.parametrize("proposer", PROPOSERS, ids=lambda p: p.name)
def test_a_proposal_chains_facts_that_visited_pages_state_word_for_word(proposer) -> None:
    web = proposal_web()
    made = proposals(proposer)
    assert made
    for proposal in made:
        assert depth(proposal.query.root) >= 2
        assert len(proposal.hops) == len(proposal.facts) >= 2
        assert len({hop.host for hop in proposal.hops}) >= 2
        assert any(
            (hop.published_at or "") >= "2024-01-01" or (hop.as_of or "") >= "2024-01-01" for hop in proposal.hops
        )
        for fact in proposal.facts:
            evidence = fact.evidence
            assert web.pages[evidence.url].text[evidence.start : evidence.end] == evidence.quote


@pytest.mark.parametrize("proposer", PROPOSERS, ids=lambda p: p.name)
def test_a_proposer_uses_only_themes_it_was_given_and_repeats_itself_exactly(proposer) -> None:
    first, second = proposals(proposer), proposals(proposer)
    assert first == second
    assert all(p.themes_used and set(p.themes_used) <= set(THEMES) for p in first)


def test_the_two_temperaments_gather_differently() -> None:
    deep, broad = (p.propose(THEMES, None, proposal_web(), rng_for(1, "x")) for p in PROPOSERS)
    assert deep.searches != broad.searches


def test_no_description_rests_on_an_object_that_a_rumour_disputes() -> None:
    rumour = page("Ost United", "Ost United play their home matches at Quay Road.", url=f"{SITE}/forum/1", kind="forum")
    pointed_at = []
    for pages in (football_pages(), [*football_pages(), rumour]):
        memory = PageMemory(MemoryWeb(pages), COMPETENCE, Budget())
        memory.read(url_of("Ost United"))
        described = Describer(memory, rng_for(1, "rumour")).describe(url_of("Low Park"), 1, frozenset())
        pointed_at.append(described is not None)
    assert pointed_at == [True, False]


def test_a_web_without_facts_gives_a_reason_and_the_spend() -> None:
    outcome = PROPOSERS[0].propose(THEMES, None, MemoryWeb([]), rng_for(1, "x"))
    assert isinstance(outcome, NoProposal)
    assert (outcome.reason, outcome.searches, outcome.visits) == ("no_facts", len(THEMES), 0)
