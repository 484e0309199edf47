"""Proposals of models: what is wrong with one, which facts it states, and the formula that it means."""

from __future__ import annotations

import json
import random

import pytest
from tests.unit.practice_league import Script, calls, league_web, says, voice
from tests.unit.test_agents_symbolic import url_of
from tests.unit.test_knowledge_grounding import GRAPH

from datagen.agents.budget import Budget
from datagen.agents.llm.proposer import LlmProposer
from datagen.agents.llm.proposing import Joiner, ProposalArguments, asked_claim, is_free, problems_of
from datagen.errors import UnusableReplyError
from datagen.knowledge.formula import Edge, EntityRef, Match, walk_clues, walk_nodes

PLACES = {name: url_of(name) for name in ("Harlan Rovers", "Hill End")}
CLUB = {"id": "A", "name": "Harlan Rovers", "kind": "club", "url": PLACES["Harlan Rovers"]}
GROUND = {"id": "B", "name": "Hill End", "kind": "stadium", "url": PLACES["Hill End"]}


def claim(subject: str, relation: str, value: str, page: str, quote: str) -> dict[str, str]:
    return {"subject": subject, "relation": relation, "object": value, "url": PLACES[page], "quote": quote}


HOME = claim("A", "home ground", "B", "Harlan Rovers", "Ground: Hill End")
FOUNDED = claim("A", "founded", "1901", "Harlan Rovers", "Founded: 1901")
TOWN = claim("B", "in", "Veltrin", "Hill End", "Town: Veltrin")
OPENED = claim("B", "opened", "1911", "Hill End", "Opened: 1911")
LEAGUE = claim("A", "league", "Northern League", "Harlan Rovers", "League: Northern League")


def proposal(*claims, vertices=(CLUB, GROUND), **more) -> ProposalArguments:
    return ProposalArguments.model_validate({"vertices": vertices, "claims": claims, "answer": "A", **more})


def windows():
    return [league_web().visit(url) for url in PLACES.values()]


def joined(said):
    told = Joiner(GRAPH).told(said, windows())
    return Joiner(GRAPH).to_query(said, told), told


def test_a_sound_proposal_has_no_problems_and_speaks_the_graphs_relations():
    said = proposal(HOME, TOWN, LEAGUE)
    query, _ = joined(said)

    assert problems_of(said, windows()) == []
    assert not is_free(query)
    assert [node.type for _, node in walk_nodes(query.root)] == ["club", "stadium"]
    assert {clue.relation for _, clue in walk_clues(query.root)} == {"plays_at", "lies_in", "plays_in"}


@pytest.mark.parametrize(
    ("said", "part"),
    [
        (proposal(HOME, TOWN), "At least 3 claims"),
        (proposal(HOME, TOWN, LEAGUE, answer="C"), "none of the vertices"),
        (proposal(HOME, TOWN, LEAGUE, vertices=(CLUB, GROUND, {**GROUND, "name": "Low Park"})), "same letter"),
        (proposal(HOME, TOWN, {**LEAGUE, "subject": "Harlan Rovers"}), "concerns no vertex"),
        (proposal(TOWN, OPENED, FOUNDED), "No chain of claims leads from the answer to B"),
        (proposal(HOME, TOWN, {**FOUNDED, "quote": "Founded: 1902"}), "contains the quote"),
        (proposal(HOME, TOWN, {**FOUNDED, "quote": "Founded: 190"}), "contains the quote"),
        (proposal(HOME, TOWN, FOUNDED, asked="capacity"), "No claim about A says 'capacity'"),
        (proposal(HOME, TOWN, FOUNDED, asked="home ground"), "No claim about A says 'home ground'"),
    ],
)
def test_each_fault_of_a_proposal_is_told_in_a_sentence(said, part):
    assert any(part in sentence for sentence in problems_of(said, windows()))


def test_a_claim_that_puts_a_fact_the_other_way_round_is_turned():
    turned = {**HOME, "subject": "B", "relation": "is home of", "object": "A"}

    assert joined(proposal(turned, TOWN, LEAGUE))[0] == joined(proposal(HOME, TOWN, LEAGUE))[0]


def test_a_named_subject_becomes_a_clue_that_points_at_the_answer():
    named = {**HOME, "subject": "Harlan Rovers", "object": "B"}
    query, _ = joined(proposal(named, TOWN, OPENED, vertices=(GROUND,), answer="B"))

    pointing = next(clue for _, clue in walk_clues(query.root) if clue.relation == "plays_at")
    assert pointing == Match("plays_at", EntityRef(url_of("Harlan Rovers"), "Harlan Rovers"), inverse=True)


def test_what_is_asked_for_is_one_claim_and_the_others_of_its_relation_stay_clues():
    twice = proposal(HOME, TOWN, FOUNDED, {**LEAGUE, "relation": " Founded"}, asked="FOUNDED ")
    query, told = joined(twice)

    assert asked_claim(twice) is twice.claims[2]
    assert [each.asked for each in told] == [False, False, True, False]
    assert query.ask == "founded"
    assert "plays_in" in {clue.relation for _, clue in walk_clues(query.root)}


def test_a_letter_that_stands_for_two_entities_joins_nothing():
    elsewhere = {
        "subject": "A", "relation": "league", "object": "Northern League",
        "url": url_of("Ost United"), "quote": "League: Northern League",
    }  # fmt: skip
    said = proposal(HOME, TOWN, elsewhere, vertices=({**CLUB, "url": ""}, GROUND))
    told = Joiner(GRAPH).told(said, [*windows(), league_web().visit(url_of("Ost United"))])

    assert is_free(Joiner(GRAPH).to_query(said, told))


def test_one_claim_that_no_fact_states_makes_the_whole_proposal_free():
    query, _ = joined(proposal(HOME, TOWN, {**LEAGUE, "relation": "kind", "object": "a club of the north"}))

    relations = [clue.relation for _, clue in walk_clues(query.root) if isinstance(clue, Match | Edge)]
    assert is_free(query)
    assert sorted(relations) == ["~home ground", "~in", "~kind"]


def propose(*finals):
    visits = calls(*(("visit", {"url": url, "goal": "", "offset": 0}) for url in PLACES.values()))
    script = Script([visits, *finals])
    proposer = LlmProposer(voice(script, "proposer"), "m1", GRAPH, cutoff="2024-01-01", budget=Budget(4, 8))
    return proposer.propose(("football grounds",), None, league_web(), random.Random(1)), script


def final(*claims, **more):
    vertices = [CLUB, GROUND]
    return calls(("propose", {"vertices": vertices, "claims": claims, "answer": "A", "themes_used": [1], **more}))


def test_a_model_hands_over_hops_with_their_quotes_and_an_outline_without_names():
    made, _ = propose(final(HOME, TOWN, FOUNDED, asked="founded"))

    assert made.answer == "1901"
    assert [hop.quote for hop in made.hops] == ["Ground: Hill End", "Town: Veltrin", "Founded: 1901"]
    assert made.outline.claims == (("A", "home ground", "B"), ("B", "in", "Veltrin"))
    assert "Harlan" not in json.dumps([made.outline.kinds, made.outline.claims])


def test_false_quotes_are_corrected_twice_and_then_end_the_record():
    false = final(HOME, TOWN, {**FOUNDED, "quote": "Founded: 1877"})
    made, script = propose(false, final(HOME, TOWN, FOUNDED))
    assert len(made.hops) == 3
    assert "1877" in script.requests[-1].messages[-1].content

    with pytest.raises(UnusableReplyError):
        propose(false, false, false, says("?"))
