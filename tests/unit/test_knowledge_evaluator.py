"""Three-valued matching: what is sure, what is possible, and when strangers could match."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.unit.knowledge_worlds import CATALOGUE, all_of, entities, evidence, fact, match, objects_list, subjects_list

from datagen.knowledge.catalogue import EntityType, make_catalogue
from datagen.knowledge.evaluator import clue_candidates, clue_sizes, contains, evaluate, is_unique
from datagen.knowledge.formula import Edge, EntityRef, IsA, Match, Node, Query, Within
from datagen.knowledge.graph import FactGraph
from datagen.knowledge.literals import day, number_literal, text_literal
from datagen.records.fact import Closure, Entity, Fact, Literal
from datagen.records.question import UNBOUNDED

PEOPLE = entities(
    ann="person", bob="poet", cid="painter", dot="", ayr="city", bly="place", rovers="club", united="club"
)


def build(
    facts: Sequence[Fact] = (),
    closures: Sequence[Closure] = (),
    closed_types: Sequence[str] = (),
    silent: Sequence[str] = (),
    more: Sequence[Entity] = (),
) -> FactGraph:
    return FactGraph.build(CATALOGUE, facts, closures, [*PEOPLE, *more], closed_types, silent_relations=silent)


def keys(graph: FactGraph, ids: object) -> list[str]:
    return [graph.key(i) for i in ids]  # type: ignore[attr-defined]


def matches(graph: FactGraph, node: Node) -> tuple[list[str], list[str], bool]:
    """(sure, only possible, open)"""
    found = evaluate(graph, node)
    return keys(graph, found.sure), keys(graph, found.possible - found.sure), found.open


# --- types -----------------------------------------------------------------------------------------------------------


def test_a_type_holds_its_narrower_types_and_whoever_may_turn_out_to_be_one():
    graph = build()

    assert matches(graph, Node("person", ())) == (["ann", "bob", "cid"], ["dot"], True)
    assert matches(graph, Node("poet", ())) == (["bob"], ["ann", "cid", "dot"], True)
    assert matches(graph, Node("club", ())) == (["rovers", "united"], ["dot"], True)


def test_types_without_a_common_narrower_type_exclude_each_other():
    catalogue = make_catalogue("t", [EntityType("a", "a", "as"), EntityType("b", "b", "bs")], [])
    graph = FactGraph.build(catalogue, [], [], [Entity("x", "X", "a")])

    assert matches(graph, Node("b", ())) == ([], [], True)


def test_a_class_clue_reads_the_known_type():
    graph = build()

    assert matches(graph, Node("person", (IsA("poet"),))) == (["bob"], ["ann", "cid", "dot"], True)
    assert matches(graph, Node("person", (IsA("city"),))) == ([], ["dot"], True)


def test_a_complete_class_excludes_strangers_and_entities_of_unknown_type():
    graph = build(closures=[all_of("person", "ann", "bob", "cid")])

    assert matches(graph, Node("person", ())) == (["ann", "bob", "cid"], [], False)
    assert matches(graph, Node("poet", ())) == (["bob"], ["ann", "cid"], False)
    assert matches(graph, Node(None, (IsA("person"),)))[2] is False


def test_a_declared_class_closes_like_a_listed_one():
    graph = build(closed_types=["person"])

    assert matches(graph, Node("person", ())) == (["ann", "bob", "cid"], [], False)
    assert matches(graph, Node("club", ()))[2] is True


# --- direct clues ----------------------------------------------------------------------------------------------------


def test_a_clue_about_a_constant_is_open_until_a_list_of_its_subjects_is_complete():
    stated = [fact("ann", "born_in", "ayr"), fact("bob", "born_in", "bly")]
    node = Node("person", (match("born_in", "ayr"),))

    assert matches(build(stated), node) == (["ann"], ["cid", "dot"], True)
    assert matches(build(stated, [subjects_list("born_in", "ayr", ("ann",))]), node) == (["ann"], [], False)


def test_two_lists_about_one_clue_leave_the_members_of_both():
    lists = [
        subjects_list("lived_in", "ayr", ("ann", "bob", "cid")),
        subjects_list("lived_in", "ayr", ("ann", "bob"), entity_type="poet"),
    ]

    # cid is a painter: the list of poets says nothing against it until poets are asked for.
    assert matches(build(closures=lists), Node("person", (match("lived_in", "ayr"),)))[0] == ["ann", "bob", "cid"]
    assert matches(build(closures=lists), Node("poet", (match("lived_in", "ayr"),))) == (["bob"], ["ann", "cid"], False)


def test_a_range_takes_values_inside_and_leaves_overlapping_ones_possible():
    graph = build(
        [
            fact("ann", "height", number_literal(180, "cm")),
            fact("bob", "height", number_literal(150, "cm")),
            fact("cid", "height", Literal("number", "about 175 cm", 165, 185, "cm")),
        ]
    )

    assert matches(graph, Node("person", (Within("height", "number", 170, 190, "cm"),))) == (
        ["ann"],
        ["cid", "dot"],
        True,
    )


def test_a_relation_that_cannot_apply_to_the_type_excludes_everyone():
    graph = build()

    assert matches(graph, Node("club", (match("born_in", "ayr"),))) == ([], [], False)


def test_a_relation_is_not_ruled_out_for_a_type_that_may_be_narrower():
    graph = build()

    # `motto` is for clubs and cities; "bly" is known only as a place and may be a city.
    assert matches(graph, Node("place", (match("motto", text_literal("onward")),)))[1] == ["ayr", "bly", "dot"]


def test_an_unknown_constant_is_matched_by_nobody_known_and_by_any_stranger():
    graph = build([fact("ann", "born_in", "ayr")])

    assert matches(graph, Node("person", (match("born_in", "atlantis"),))) == ([], ["bob", "cid", "dot"], True)
    assert matches(graph, Node("place", (match("born_in", "nobody", inverse=True),)))[2] is True


# --- inverse clues ---------------------------------------------------------------------------------------------------


def test_a_stated_single_value_leaves_only_that_object():
    graph = build([fact("ann", "born_in", "ayr")])

    assert matches(graph, Node("place", (match("born_in", "ann", inverse=True),))) == (["ayr"], [], False)
    assert matches(graph, Node("place", (match("born_in", "bob", inverse=True),))) == ([], ["ayr", "bly", "dot"], True)


def test_objects_of_a_multi_valued_relation_are_closed_by_their_list_alone():
    stated = [fact("ann", "lived_in", "ayr")]
    node = Node("place", (match("lived_in", "ann", inverse=True),))

    assert matches(build(stated), node) == (["ayr"], ["bly", "dot"], True)
    assert matches(build(stated, [objects_list("ann", "lived_in", ("ayr",))]), node) == (["ayr"], [], False)


def test_an_object_that_only_a_forum_names_stays_possible_beside_the_stated_one():
    graph = build([fact("ann", "born_in", "ayr"), fact("ann", "born_in", "bly", evidence("t", "forum"))])

    assert matches(graph, Node("place", (match("born_in", "ann", inverse=True),))) == (["ayr"], ["bly"], False)


# --- edges -----------------------------------------------------------------------------------------------------------

FOUNDED = match("founded", day("1901-05-01"))


def test_an_edge_projects_the_child_set_to_its_subjects():
    graph = build(
        [
            fact("ann", "born_in", "ayr"),
            fact("bob", "born_in", "bly"),
            fact("ayr", "founded", day("1901-05-01")),
            fact("bly", "founded", day("1950-05-01")),
        ]
    )

    assert matches(graph, Node("person", (Edge("born_in", Node("place", (FOUNDED,))),))) == (
        ["ann"],
        ["cid", "dot"],
        True,
    )


def test_an_edge_to_a_child_that_may_match_is_possible():
    graph = build(
        [fact("ann", "born_in", "ayr"), fact("bob", "born_in", "bly"), fact("ayr", "founded", day("1950-01-01"))]
    )

    assert matches(graph, Node("person", (Edge("born_in", Node("place", (FOUNDED,))),))) == (
        [],
        ["bob", "cid", "dot"],
        True,
    )


def test_an_edge_is_closed_when_everything_the_child_may_be_is_listed():
    stated = [fact("ayr", "founded", day("1901-05-01")), fact("bly", "founded", day("1950-05-01"))]
    listed = [subjects_list("founded", day("1901-05-01"), ("ayr",), entity_type="place")]
    node = Node("person", (Edge("born_in", Node("place", (FOUNDED,))),))

    assert matches(build(stated, listed), node)[2] is True
    closed = build(stated, [*listed, subjects_list("born_in", "ayr", ("ann", "bob"))])
    assert matches(closed, node) == (["ann", "bob"], [], False)


def test_an_inverse_edge_is_closed_when_every_possible_subject_is_settled():
    stated = [fact("rovers", "seat", "ayr"), fact("united", "seat", "bly")]
    listed = [subjects_list("founded", day("1901-05-01"), ("rovers",))]
    node = Node("place", (Edge("seat", Node("club", (FOUNDED,)), inverse=True),))

    assert matches(build(stated, listed), node) == (["ayr"], [], False)
    assert matches(build(stated), node)[2] is True
    assert matches(build(stated[1:], listed), node)[2] is True


def test_a_bare_child_still_asks_for_its_type():
    graph = build([fact("ann", "born_in", "ayr"), fact("bob", "born_in", "bly")])

    assert matches(graph, Node("person", (Edge("born_in", Node("city", ())),))) == (
        ["ann"],
        ["bob", "cid", "dot"],
        True,
    )


def test_any_sure_object_of_a_multi_valued_relation_makes_the_edge_sure():
    graph = build([fact("ann", "lived_in", "bly"), fact("ann", "lived_in", "ayr")])

    assert matches(graph, Node("person", (Edge("lived_in", Node("city", ())),)))[0] == ["ann"]


# --- conjunctions ----------------------------------------------------------------------------------------------------


def test_a_conjunction_is_open_only_if_all_its_clues_and_its_type_are():
    listed = subjects_list("lived_in", "ayr", ("ann", "bob"))
    graph = build([fact("ann", "born_in", "ayr"), fact("bob", "born_in", "bly")], [listed])
    node = Node("person", (match("born_in", "ayr"), match("lived_in", "ayr")))

    assert matches(graph, node) == (["ann"], [], False)
    assert is_unique(graph, Query(node))
    assert not is_unique(graph, Query(Node("person", (match("born_in", "ayr"),))))


def test_one_sure_match_among_strangers_is_not_unique():
    graph = build([fact("ann", "born_in", "ayr"), fact("bob", "born_in", "bly"), fact("cid", "born_in", "bly")])
    found = evaluate(graph, Node("person", (match("born_in", "ayr"),)))

    assert found.size == UNBOUNDED
    assert len(found.sure) == 1
    assert not is_unique(graph, Query(found.node))


def test_a_rival_of_whom_nothing_is_known_prevents_uniqueness():
    graph = build(
        [fact("ann", "height", number_literal(180, "cm"))], [subjects_list("lived_in", "ayr", ("ann", "bob"))]
    )
    node = Node("person", (match("lived_in", "ayr"), Within("height", "number", 170, 190, "cm")))

    assert matches(graph, node) == (["ann"], ["bob"], False)


# --- silence declared to mean no -------------------------------------------------------------------------------------


def test_silence_about_a_declared_relation_excludes_strangers_too():
    stated = [fact("ann", "lived_in", "ayr")]
    node = Node("person", (match("lived_in", "ayr"),))

    assert matches(build(stated), node) == (["ann"], ["bob", "cid", "dot"], True)
    assert matches(build(stated, silent=["lived_in"]), node) == (["ann"], [], False)
    inverse = Node("place", (match("lived_in", "ann", inverse=True),))
    assert matches(build(stated, silent=["lived_in"]), inverse) == (["ayr"], [], False)


def test_a_contested_value_stays_open_to_everything_even_where_silence_means_no():
    stated = [fact("ann", "born_in", "ayr", evidence("p")), fact("ann", "born_in", "bly", evidence("q"))]
    graph = build(stated, silent=["born_in"])

    assert matches(graph, Node("person", (match("born_in", "rovers"),))) == ([], ["ann"], False)


def test_silence_closes_an_inverse_edge_over_open_subjects():
    graph = build([fact("rovers", "seat", "ayr"), fact("rovers", "founded", day("1901-05-01"))], silent=["seat"])

    assert matches(graph, Node("place", (Edge("seat", Node("club", (FOUNDED,)), inverse=True),))) == (
        ["ayr"],
        [],
        False,
    )


# --- formulas without meaning ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "node",
    [
        Node("dragon", ()),
        Node("person", (IsA("dragon"),)),
        Node("person", (match("eats", "ayr"),)),
        Node("person", (match("born_in", text_literal("Ayr")),)),
        Node("person", (match("height", "ayr"),)),
        Node("person", (Edge("height", Node("place", ())),)),
        Node("place", (match("height", number_literal(3), inverse=True),)),
        Node("person", (Edge("born_in", Node("dragon", ())),)),
    ],
)
def test_a_formula_that_the_catalogue_gives_no_meaning_is_refused(node):
    with pytest.raises(ValueError, match=r"catalogue|objects of"):
        evaluate(build(), node)


# --- tools for growers -----------------------------------------------------------------------------------------------


def test_containment_and_sizes_count_what_is_known():
    graph = build([fact("ann", "height", number_literal(180, "cm")), fact("bob", "height", number_literal(150, "cm"))])
    wide, narrow = Within("height", "number", 100, 200, "cm"), Within("height", "number", 170, 190, "cm")

    assert clue_sizes(graph, "person", (wide, narrow)) == (2, 1)
    assert contains(graph, "person", wide, narrow)
    assert not contains(graph, "person", narrow, wide)


def test_lookups_go_by_key_and_in_a_fixed_order():
    graph = build([fact("ann", "born_in", "ayr"), fact("bob", "born_in", "ayr")])
    ayr = graph.id("ayr")

    assert graph.find("atlantis") is None
    assert [(s.relation, graph.key(s.subject_id)) for s in graph.incoming(ayr)] == [
        ("born_in", "ann"),
        ("born_in", "bob"),
    ]
    assert [s.value for s in graph.outgoing(graph.id("ann"))] == [EntityRef("ayr", "AYR")]
    assert keys(graph, graph.posting("born_in", graph.ref(ayr))) == ["ann", "bob"]
    assert graph.objects(graph.id("ann"), "born_in") == (graph.ref(ayr),)
    assert [f.evidence.url for f in graph.facts(graph.id("ann"), "born_in")] == ["https://encyclopedia.example/ann"]
    assert (graph.type(graph.id("dot")), graph.type(ayr)) == (None, "city")


def test_a_clue_alone_can_be_asked_about():
    graph = build([fact("ann", "born_in", "ayr")])

    assert keys(graph, clue_candidates(graph, "person", Match("born_in", EntityRef("ayr", "Ayr"))).sure) == ["ann"]
