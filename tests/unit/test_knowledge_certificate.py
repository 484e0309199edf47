"""Certificates: sizes, necessity, the smallest identifying set, documents, evidence, and what was assumed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from tests.unit.knowledge_worlds import CATALOGUE, all_of, entities, evidence, fact, match, subjects_list

from datagen.errors import ConfigError, SnapshotError
from datagen.knowledge.bruteforce import fewest_pages, verify_certificate
from datagen.knowledge.certificate import certify, explain
from datagen.knowledge.formula import Clue, Edge, IsA, Node, Query, Within
from datagen.knowledge.graph import FactGraph
from datagen.knowledge.literals import day, number_literal
from datagen.knowledge.plain_world import PlainWorld
from datagen.knowledge.proof import fewest_covering
from datagen.records.fact import Closure, Fact
from datagen.records.question import UNBOUNDED

PEOPLE = entities(b1="person", b2="person", b3="person", p1="place", p2="place", c1="club", c2="club")
ALL_PEOPLE = all_of("person", "b1", "b2", "b3")


def height(key: str, value: float) -> Fact:
    return fact(key, "height", number_literal(value, "cm"))


def founded(key: str, iso_day: str) -> Fact:
    return fact(key, "founded", day(iso_day))


# The toy world of the design notes: subspecies is `height`, named_by is `born_in`, the spouse's job is `founded`.
TOY = [
    height("b1", 3),
    height("b2", 2),
    height("b3", 3),
    fact("b1", "born_in", "p1"),
    fact("b2", "born_in", "p1"),
    fact("b3", "born_in", "p2"),
    founded("p1", "1901-01-01"),
    founded("p2", "1902-02-02"),
]
THREE = Within("height", "number", 3, 3, "cm")
EARLY = match("founded", day("1901-01-01"))
TOY_QUERY = Query(Node("person", (THREE, Edge("born_in", Node("place", (EARLY,))))))


def build(facts: Sequence[Fact], closures: Sequence[Closure] = (ALL_PEOPLE,), closed: Sequence[str] = ()) -> FactGraph:
    return FactGraph.build(CATALOGUE, facts, closures, PEOPLE, closed)


def checked(
    facts: Sequence[Fact], query: Query, closures: Sequence[Closure] = (ALL_PEOPLE,), closed: Sequence[str] = ()
):
    """The certificate, which separate code has recomputed."""
    certificate = certify(build(facts, closures, closed), query)
    world = PlainWorld.read(CATALOGUE, facts, closures, PEOPLE, closed_types=closed)
    assert verify_certificate(world, query, certificate, thorough=True) == []
    return certificate


def test_the_toy_world_needs_both_conjuncts_and_the_projection():
    proof = checked(TOY, TOY_QUERY)

    assert proof.unique
    assert proof.answer_set == ("b1",)
    assert proof.sizes == (2, 1)
    assert proof.necessity == (2, 2, 2)
    assert proof.minimal_subset == (0, 1, 2)
    assert proof.minimal_subset_exact
    assert proof.dependency_depth == 2
    assert proof.min_documents == 2
    assert proof.clues == ("height in 3..3 cm", "born_in -> place", "founded = 1 January 1901")
    assert proof.exposed_constants == ("3..3 cm", "1 January 1901")
    assert proof.excluded_by == {"type": 4, "complete_list": 0, "stated_value": 2}
    assert (proof.mode, proof.assumptions) == ("open_world", ())


def test_without_a_complete_class_the_same_question_is_not_proven():
    proof = checked(TOY, TOY_QUERY, closures=())

    assert not proof.unique
    assert proof.answer_set == ("b1",)
    assert proof.rivals == UNBOUNDED
    assert proof.sizes == (UNBOUNDED, UNBOUNDED)
    assert proof.necessity == (UNBOUNDED,) * 3
    assert (proof.minimal_subset, proof.min_documents, proof.evidence) == ((), 0, ())


def test_one_unstated_value_is_a_rival():
    proof = checked([f for f in TOY if f.subject != "b3" or f.relation != "born_in"], TOY_QUERY)

    assert (proof.answer_set, proof.rivals) == (("b1",), 1)


def test_a_redundant_clue_shows_in_necessity_and_the_smallest_subset():
    extra = Query(replace(TOY_QUERY.root, clues=(*TOY_QUERY.root.clues, IsA("person"))))
    proof = checked(TOY, extra)

    assert proof.necessity == (2, 2, 2, 1)
    assert proof.minimal_subset == (0, 1, 2)


def test_a_single_clue_that_identifies_is_the_smallest_subset():
    over = Query(
        Node(
            "person", (THREE, match("born_in", "p1"), match("height", number_literal(3, "cm")), match("born_in", "p1"))
        )
    )
    proof = checked(TOY, over)

    assert proof.necessity == (1, 1, 1, 1)
    assert proof.minimal_subset == (0, 1)
    assert proof.dependency_depth == 1


def test_a_shallower_subset_is_preferred_among_equally_small_ones():
    child = Node("place", (EARLY,))
    query = Query(Node("person", (Edge("born_in", child), THREE, match("born_in", "p1"))))
    proof = checked(TOY, query)

    assert proof.minimal_subset == (2, 3)
    assert proof.dependency_depth == 1


def test_beyond_eight_clues_a_greedy_subset_is_called_an_upper_bound():
    many: tuple[Clue, ...] = (
        THREE,
        match("born_in", "p1"),
        *[Within("height", "number", 0, 3 + i, "cm") for i in range(8)],
    )
    proof = checked(TOY, Query(Node("person", many)))

    assert not proof.minimal_subset_exact
    assert proof.minimal_subset == (0, 1)


def test_beyond_eight_clues_a_set_of_which_all_are_needed_is_proven_minimal():
    people = [f"x{i}" for i in range(10)]
    facts = [fact(p, "lived_in", f"y{j}") for i, p in enumerate(people) for j in range(9) if i == 9 or j != i]
    closures = [
        all_of("person", *people),
        *[
            Closure(
                "objects",
                "lived_in",
                p,
                None,
                None,
                tuple(f"y{j}" for j in range(9) if i == 9 or j != i),
                evidence("all", "official"),
            )
            for i, p in enumerate(people)
        ],
    ]
    graph = FactGraph.build(CATALOGUE, facts, closures, entities(**dict.fromkeys(people, "person")))
    proof = certify(graph, Query(Node("person", tuple(match("lived_in", f"y{j}") for j in range(9)))))

    assert proof.answer_set == ("x9",)
    assert proof.necessity == (2,) * 9
    assert proof.minimal_subset == tuple(range(9))
    assert proof.minimal_subset_exact


def test_dropping_the_clue_that_closes_the_set_leaves_it_unbounded():
    listed = subjects_list("lived_in", "p1", ("b1", "b2"))
    proof = checked(TOY, Query(Node("person", (THREE, match("lived_in", "p1")))), closures=[listed])

    assert proof.unique
    assert proof.sizes == (UNBOUNDED, 1)
    assert proof.necessity == (2, UNBOUNDED)
    assert proof.excluded_by == {"type": 4, "complete_list": 1, "stated_value": 1}


def test_dropping_a_clue_of_a_listed_child_frees_whom_the_list_had_excluded():
    born = subjects_list("born_in", "p1", ("b1", "b3", "c1", "c2"))
    lived = subjects_list("lived_in", "p2", ("b1", "b2"))
    early = subjects_list("founded", day("1901-01-01"), ("p1",), entity_type="place")
    query = Query(Node("person", (match("lived_in", "p2"), Edge("born_in", Node("place", (EARLY,))))))
    proof = checked([founded("p2", "1950-01-01")], query, closures=[born, lived, early])

    assert proof.answer_set == ("b1",)
    assert proof.necessity == (2, 2, 2)


def test_each_clue_is_quoted_from_a_page_that_states_it():
    proof = checked(TOY, TOY_QUERY)

    assert [(e.clue, e.url) for e in proof.evidence] == [
        (0, "https://encyclopedia.example/b1"),
        (1, "https://encyclopedia.example/b1"),
        (2, "https://encyclopedia.example/p1"),
    ]
    assert {e.host for e in proof.evidence} == {"encyclopedia.example"}
    assert [(e.clue, e.url) for e in proof.exclusion_evidence] == [
        (0, "https://list.example/all-person"),
        (0, "https://encyclopedia.example/b2"),
        (1, "https://encyclopedia.example/b3"),
    ]


def test_evidence_prefers_trusted_late_pages_and_shows_at_most_three():
    more = [
        fact("b1", "height", number_literal(3, "cm"), evidence(f"n{i}", kind, "2025-02-02"))
        for i, kind in enumerate(("news", "official", "forum", "list"))
    ]
    proof = checked([*TOY, *more], TOY_QUERY)

    assert [e.source_kind for e in proof.evidence if e.clue == 0] == ["official", "encyclopedia", "list"]


def test_fewest_documents_find_a_page_that_states_several_clues():
    together = evidence("overview", "reference")
    same_page = [
        fact("b1", "height", number_literal(3, "cm"), together),
        fact("p1", "founded", day("1901-01-01"), together),
        fact("b1", "born_in", "p1", together),
    ]

    assert checked([*TOY, *same_page], TOY_QUERY).min_documents == 1


@pytest.mark.parametrize(
    ("pages", "fewest"),
    [
        ([{1}, {2}, {3}], 3),
        ([{1, 2}, {2, 3}, {3, 1}], 2),
        ([{1, 9}, {2, 9}, {9}], 1),
        ([{1, 2}, {1, 3}, {4, 2}, {4, 3}], 2),
        ([], 0),
    ],
)
def test_the_cover_of_documents_is_exact(pages, fewest):
    assert fewest_covering(pages) == fewest
    if pages:
        assert fewest_pages([{str(p) for p in each} for each in pages]) == fewest


def test_a_large_cover_is_still_an_upper_bound():
    assert fewest_covering([{i, 100} for i in range(20)]) == 1


def test_a_declared_class_marks_the_certificate():
    proof = checked(TOY, TOY_QUERY, closures=(), closed=("person",))

    assert proof.unique
    assert (proof.mode, proof.assumptions) == ("closed_world", ("every person is known",))


def test_a_declaration_that_the_question_does_not_use_leaves_it_open_world():
    assert checked(TOY, TOY_QUERY, closed=("club",)).mode == "open_world"


def test_a_second_sure_answer_is_counted_as_an_answer_not_as_a_rival():
    proof = checked(TOY, Query(Node("person", (THREE,))))

    assert proof.answer_set == ("b1", "b3")
    assert proof.rivals == 0
    assert not proof.unique


def test_a_question_nobody_matches_has_no_answer_and_no_rival():
    proof = checked(TOY, Query(Node("person", (match("height", number_literal(9, "cm")),))))

    assert (proof.answer_set, proof.rivals) == ((), 0)


def test_certificates_are_the_same_from_disk(tmp_path):
    graph = build(TOY)
    graph.save(tmp_path)

    assert certify(FactGraph.load(tmp_path), TOY_QUERY) == certify(graph, TOY_QUERY)
    assert "without it 2 could match" in explain(graph, TOY_QUERY)


def test_a_graph_without_rows_loads_and_answers(tmp_path):
    FactGraph.build(CATALOGUE, [], [], []).save(tmp_path)
    proof = certify(FactGraph.load(tmp_path), TOY_QUERY)

    assert (proof.answer_set, proof.rivals) == ((), UNBOUNDED)


def test_an_unfinished_or_foreign_graph_is_refused(tmp_path):
    with pytest.raises(SnapshotError, match="no finished fact graph"):
        FactGraph.load(tmp_path)
    build(TOY).save(tmp_path)
    meta = tmp_path / "graph.json"
    meta.write_text(meta.read_text().replace('"format": 1', '"format": 99'))
    with pytest.raises(SnapshotError, match="format 99"):
        FactGraph.load(tmp_path)


def test_declaring_what_the_catalogue_lacks_is_refused():
    with pytest.raises(ConfigError, match="'dragon'"):
        build(TOY, closed=["dragon"])
    with pytest.raises(ConfigError, match="'eats'"):
        FactGraph.build(CATALOGUE, [], [], [], silent_relations=["eats"])


def test_the_checker_names_a_smaller_identifying_subset():
    query = Query(Node("person", (THREE, match("born_in", "p1"), IsA("person"))))
    wrong = replace(certify(build(TOY), query), minimal_subset=(0, 1, 2))

    faults = verify_certificate(PlainWorld.read(CATALOGUE, TOY, [ALL_PEOPLE], PEOPLE), query, wrong)

    assert any("fewer than 3" in sentence for sentence in faults)
