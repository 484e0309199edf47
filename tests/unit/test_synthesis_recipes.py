"""Both recipes over a hand-made league of eight clubs, with scripted roles."""

from __future__ import annotations

import pickle
import random
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.agents.roles import NoGrowth, NoProposal, Proposal, ResearchTree, TreeAction
from datagen.errors import ConfigError, ParseError
from datagen.knowledge.catalogue import EntityType, Relation, make_catalogue
from datagen.knowledge.evaluator import contains
from datagen.knowledge.formula import Edge, EntityRef, IsA, Match, Node, Query, Within, count_vertices, walk_clues
from datagen.knowledge.graph import FactGraph
from datagen.knowledge.literals import number_literal, parse_date
from datagen.language.parse import Parser
from datagen.language.verbalise import Verbaliser
from datagen.records.fact import Closure, Entity, Evidence, Fact
from datagen.records.ids import sha256_hex
from datagen.records.question import Hop
from datagen.synthesis.draft import Draft, Rejected
from datagen.synthesis.duetqa import make_duetqa
from datagen.synthesis.infoseek import make_infoseek
from datagen.synthesis.obfuscation import obfuscate
from datagen.synthesis.proving import Proven, Stop, prove, prune
from datagen.synthesis.settings import DuetqaSettings, InfoseekSettings, Workbench
from datagen.synthesis.telling import tell
from datagen.synthesis.themes import Taxonomy, Theme

CATALOGUE = make_catalogue(
    "league",
    [
        EntityType("club", "football club", "football clubs"),
        EntityType("stadium", "stadium", "stadiums"),
        EntityType("track", "rowing course", "rowing courses", ("stadium",)),
        EntityType("arena", "arena", "arenas", ("stadium",)),
        EntityType("league", "league", "leagues"),
        EntityType("town", "town", "towns"),
    ],
    [
        Relation("league", "League", ("club",), "entity", ("league",), clue=("that plays in {o}",)),
        Relation("ground", "Ground", ("club",), "entity", ("stadium",), clue=("whose home ground is {o}",)),
        Relation("town", "Town", ("stadium",), "entity", ("town",), clue=("that is located in {o}",)),
        Relation("founded", "Founded", ("club",), "date", clue=("that was founded in {o}",),
                 ask=("In which year was {s} founded?",)),
        Relation("people", "Population", ("town",), "number", clue=("that has {o} inhabitants",)),
        Relation("capacity", "Capacity", ("stadium",), "number", unit="seats", clue=("that holds {o}",)),
    ],
)  # fmt: skip


def url(kind, i):
    return f"https://a.test/{kind}/{i}"


def evidence(page, quote="as the page says"):
    return Evidence(
        f"pg-{page}", f"https://a.test/page/{page}", 0, len(quote), quote, sha256_hex(quote.encode()), "official",
        "2025-06-01",
    )  # fmt: skip


YEARS = (1900, 1903, 1890, 1909, 1912, 1915, 1918, 1921)


def make_graph():
    """Clubs 0..7 play in the one league (a complete list); two each share a town; capacities go up."""
    facts, entities = [], [Entity(url("league", 0), "Northern League", "league")]
    for i in range(4):
        entities.append(Entity(url("town", i), f"Town{'abcd'[i]}ville", "town"))
        people = number_literal(1000 * 3**i)
        facts.append(Fact(url("town", i), "people", people.text, None, people, evidence(f"town{i}")))
    for i in range(8):
        club, ground, town = url("club", i), url("stadium", i), url("town", i // 2)
        entities.append(Entity(club, f"Club{'abcdefgh'[i]}ton", "club"))
        entities.append(Entity(ground, f"Ground{'abcdefgh'[i]}field", "track" if i == 5 else "arena"))
        year = parse_date(str(YEARS[i]))
        facts += [
            Fact(club, "league", "Northern League", url("league", 0), None, evidence("league")),
            Fact(club, "ground", f"Ground{'abcdefgh'[i]}field", ground, None, evidence(f"club{i}")),
            Fact(club, "founded", year.text, None, year, evidence(f"club{i}")),
            Fact(ground, "town", f"Town{'abcd'[i // 2]}ville", town, None, evidence(f"ground{i}")),
            Fact(ground, "capacity", str(1000 * (i + 1)), None, number_literal(1000 * (i + 1), "seats"),
                 evidence(f"ground{i}")),
        ]  # fmt: skip
    closed = Closure(
        "subjects",
        "league",
        url("league", 0),
        None,
        "club",
        tuple(url("club", i) for i in range(8)),
        evidence("league"),
    )
    return FactGraph.build(CATALOGUE, facts, [closed], entities)


GRAPH = make_graph()
LEAGUE = Match("league", EntityRef(url("league", 0), "Northern League"))


def ground_in_town(i, *more):
    return Edge("ground", Node("stadium", (Match("town", EntityRef(url("town", i), f"Town{'abcd'[i]}ville")), *more)))


def club_query(*clues, ask=None):
    return Query(Node("club", (LEAGUE, *clues)), ask)


@pytest.fixture
def bench():
    return Workbench(
        web=None, graph=GRAPH, catalogue=CATALOGUE, verbaliser=Verbaliser(CATALOGUE), parser=Parser(CATALOGUE)
    )


def needed_pair():
    """Club 3 by a span that holds clubs 3 and 4, and by the town that holds clubs 2 and 3."""
    span = (parse_date("1908").low, parse_date("1912").high)
    return club_query(Within("founded", "date", *span), ground_in_town(1))


def test_a_query_with_one_answer_is_proven_and_one_with_two_is_not(bench):
    proven = prove(bench, needed_pair(), url("club", 3))
    several = prove(bench, club_query(ground_in_town(1)), url("club", 3))
    wrong = prove(bench, needed_pair(), url("club", 7))

    assert isinstance(proven, Proven)
    assert proven.key == url("club", 3)
    assert isinstance(several, Stop)
    assert several.reason == "not_unique"
    assert isinstance(wrong, Stop)
    assert wrong.reason == "answer_not_proven"


def test_idle_clues_are_pruned_until_every_clue_is_needed(bench):
    query = club_query(*needed_pair().root.clues[1:], Edge("ground", Node("stadium", (LEAGUELESS,))))
    proven = prove(bench, query, url("club", 3))
    assert isinstance(proven, Proven)

    pruned = prune(bench, proven)

    assert isinstance(pruned, Proven)
    assert all(size != 1 for size in pruned.proof.necessity)
    assert count_vertices(pruned.query.root) < count_vertices(query.root)


LARGE_GROUND = Within("capacity", "number", 3500.0, 9000.0, "seats")
LEAGUELESS = Within("capacity", "number", 1000.0, 9000.0, "seats")


def test_obfuscation_keeps_the_answer_and_only_ever_widens(bench):
    changed = set()
    for i in range(12):
        proven = prove(bench, needed_pair(), url("club", 3))
        vague, edits = obfuscate(bench, proven, frozenset({url("club", 3)}), 1.0, random.Random(i))
        assert vague.proof.unique
        assert vague.key == url("club", 3)
        assert all(e.size_after >= e.size_before for e in edits)
        changed |= {e.kind for e in edits}
        if not edits:
            assert vague.query == proven.query

    assert changed == {"date", "entity"}


def test_a_vaguer_clue_contains_the_clue_it_replaces(bench):
    proven = prove(bench, needed_pair(), url("club", 3))
    for i in range(12):
        vague, edits = obfuscate(bench, proven, frozenset({url("club", 3)}), 1.0, random.Random(i))
        before = dict(walk_clues(proven.query.root))
        for address, clue in walk_clues(vague.query.root):
            if len(address) == 1 and not isinstance(clue, IsA):
                assert contains(GRAPH, "club", clue, before[address])
        assert len(edits) <= 4


def test_a_class_that_a_clue_names_is_folded_into_the_noun(bench):
    bare = Edge("ground", Node("stadium", (IsA("track"),)))
    proven = prove(bench, club_query(bare), url("club", 5))
    assert isinstance(proven, Proven)

    vague, edits = obfuscate(bench, proven, frozenset({url("club", 5)}), 1.0, random.Random(3))

    assert "connective" in {e.kind for e in edits}
    assert any(clue == Edge("ground", Node("track", ())) for clue in vague.query.root.clues)


def test_leaves_near_the_root_are_pruned_before_edges(bench):
    span = (parse_date("1908").low, parse_date("1910").high)
    query = club_query(Within("founded", "date", *span), ground_in_town(1, LARGE_GROUND))
    proven = prove(bench, query, url("club", 3))
    assert isinstance(proven, Proven)

    pruned = prune(bench, proven)

    assert isinstance(pruned, Proven)
    assert any(isinstance(clue, Edge) for clue in pruned.query.root.clues)
    assert not any(isinstance(clue, Within) for clue in pruned.query.root.clues)


@given(st.integers(0, 7), st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_whatever_is_obfuscated_the_proof_still_names_the_same_entity_and_needs_every_clue(club, seed):
    bench = Workbench(web=None, graph=GRAPH, catalogue=CATALOGUE, verbaliser=None, parser=None)
    year = parse_date(str(YEARS[club]))
    query = club_query(Match("founded", year), ground_in_town(club // 2))
    proven = prune(bench, prove(bench, query, url("club", club)))
    assert isinstance(proven, Proven)

    vague, _ = obfuscate(bench, proven, frozenset({url("club", club)}), 1.0, random.Random(seed))

    assert vague.proof.answer_set == (url("club", club),)
    assert vague.proof.unique
    assert all(size != 1 for size in vague.proof.necessity)


def test_a_told_question_reads_back_and_hides_every_entity_behind_a_vertex(bench):
    told = tell(bench, prove(bench, needed_pair(), url("club", 3)), 0.0, random.Random(1))

    assert not isinstance(told, Stop)
    assert told.question == told.question_raw
    assert told.answer.text == "Clubdton"
    assert set(told.hidden_names) == {"Clubdton", "Grounddfield"}
    assert not any(name in told.question for name in told.hidden_names)


def test_words_that_mean_something_else_end_the_candidate(bench):
    @dataclass(frozen=True)
    class Careless:
        def write(self, query, rng):
            return Verbaliser(CATALOGUE).write(
                replace(query, root=replace(query.root, clues=query.root.clues[:2])), rng
            )

    @dataclass(frozen=True)
    class Mumbling:
        def write(self, query, rng):
            return "Which mumble mumble?"

    proven = prove(bench, needed_pair(), url("club", 3))
    careless = tell(replace(bench, verbaliser=Careless()), proven, 0.0, random.Random(1))
    mumbling = tell(replace(bench, verbaliser=Mumbling()), proven, 0.0, random.Random(1))

    assert isinstance(careless, Stop)
    assert careless.reason == "means_something_else"
    assert isinstance(mumbling, Stop)
    assert mumbling.reason == "does_not_parse"
    with pytest.raises(ParseError):
        bench.parser.parse("Which mumble mumble?")


@dataclass(frozen=True)
class ScriptedPlanner:
    """Initialise, one blur, stop."""

    def plan(self, tree, target, last, rng):
        if tree is None:
            return TreeAction("terminate", reason="gave up") if last else TreeAction("initialise")
        if len(tree.query.root.clues) < 3:
            return TreeAction("blur", (), 2)
        return TreeAction("terminate", reason="target met")


@dataclass(frozen=True)
class ScriptedBrowser:
    query: Query
    fails: bool = False
    name: str = "scripted"

    def act(self, action, tree, target, rng):
        if self.fails:
            return NoGrowth("no_anchor", "nothing to start from")
        clues = self.query.root.clues[:1] if action.kind == "initialise" else self.query.root.clues
        query = replace(self.query, root=replace(self.query.root, clues=clues))
        return ResearchTree(query, (((), url("club", 3)),))


def test_infoseek_grows_proves_and_tells_a_tree(bench):
    bench = replace(bench, planner=ScriptedPlanner(), browser=ScriptedBrowser(needed_pair()))
    made = make_infoseek(4, 7, bench, InfoseekSettings(ask_share=0.0))

    assert isinstance(made, Draft)
    assert made.recipe == "infoseek"
    assert made.mode == "target met"
    assert made.certificate is not None
    assert made.certificate.unique
    assert made == pickle.loads(pickle.dumps(make_infoseek(4, 7, bench, InfoseekSettings(ask_share=0.0))))


def test_infoseek_can_ask_for_a_literal_of_the_root(bench):
    query = club_query(ground_in_town(1, Within("capacity", "number", 3500.0, 4500.0, "seats")))
    bench = replace(bench, planner=ScriptedPlanner(), browser=ScriptedBrowser(query))

    @dataclass(frozen=True)
    class OneStep(ScriptedPlanner):
        def plan(self, tree, target, last, rng):
            return TreeAction("initialise") if tree is None else TreeAction("terminate", reason="target met")

    @dataclass(frozen=True)
    class Whole(ScriptedBrowser):
        def act(self, action, tree, target, rng):
            return ResearchTree(self.query, (((), url("club", 3)),))

    bench = replace(bench, planner=OneStep(), browser=Whole(query))
    made = make_infoseek(4, 7, bench, InfoseekSettings(ask_share=1.0, obfuscate=0.0))

    assert isinstance(made, Draft), made
    assert (made.query.ask, made.answer.text, made.answer.type) == ("founded", "1909", "date")
    assert "Clubdton" in made.hidden_names


def test_infoseek_says_why_a_tree_did_not_grow(bench):
    bench = replace(bench, planner=ScriptedPlanner(), browser=ScriptedBrowser(needed_pair(), fails=True))
    made = make_infoseek(4, 7, bench, InfoseekSettings())

    assert isinstance(made, Rejected)
    assert (made.gate, made.reason) == ("grow", "no_anchor")


TAXONOMY = Taxonomy(tuple(Theme(f"d/t{i}", "d", f"Theme {i}", (f"words{i}", "more")) for i in range(9)))


@dataclass(frozen=True)
class ScriptedProposer:
    name: str
    outcome: Proposal | NoProposal

    def propose(self, themes, seed_question, web, rng):
        if isinstance(self.outcome, NoProposal):
            return self.outcome
        return replace(self.outcome, themes_used=themes[:2])


def proposal(published="2025-06-01"):
    hop = Hop("Clubdton", "ground", "Grounddfield", "f", url("page", 1), "a.test", "official", published, None, "q")
    return Proposal(needed_pair(), (hop,), (), (), searches=6, visits=9)


def test_duetqa_samples_themes_and_records_who_proposed_and_what_it_cost(bench):
    proposers = (ScriptedProposer("m1", proposal()), ScriptedProposer("m2", proposal()))
    bench = replace(bench, taxonomy=TAXONOMY, proposers=proposers)
    made = [make_duetqa(i, 7, bench, DuetqaSettings(cutoff="2024-01-01")) for i in range(20)]

    assert all(isinstance(d, Draft) for d in made)
    assert {d.proposer for d in made} == {"m1", "m2"}
    assert {len(d.themes) for d in made} == {5, 6, 7}
    assert all(d.themes_used == d.themes[:2] and d.mode == "mixture" for d in made)
    assert made[3].spend == {"searches": 6, "visits": 9}
    assert made[3] == make_duetqa(3, 7, bench, DuetqaSettings(cutoff="2024-01-01"))


def test_duetqa_counts_what_it_gives_up_with_its_stage_and_spend(bench):
    empty = NoProposal("no_chain", "nothing links", searches=3, visits=4)
    bench = replace(bench, taxonomy=TAXONOMY, proposers=(ScriptedProposer("m1", empty),))
    old = replace(bench, proposers=(ScriptedProposer("m1", proposal("2023-12-31")),))
    ended = make_duetqa(1, 7, bench, DuetqaSettings())
    stale = make_duetqa(1, 7, old, DuetqaSettings(cutoff="2024-01-01"))

    assert (ended.gate, ended.reason, ended.spend) == ("propose", "no_chain", {"searches": 3, "visits": 4})
    assert (stale.gate, stale.reason) == ("dates", "nothing_after_cutoff")


def test_recipes_refuse_to_run_without_their_cast(bench):
    with pytest.raises(ConfigError, match="browser"):
        make_infoseek(1, 7, bench, InfoseekSettings())
    with pytest.raises(ConfigError, match="proposers"):
        make_duetqa(1, 7, bench, DuetqaSettings())
