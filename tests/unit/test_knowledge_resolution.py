"""Who is believed: every rule by which statements settle, contest, or stay merely possible."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.unit.knowledge_worlds import CATALOGUE, all_of, entities, evidence, fact, match, objects_list, subjects_list

from datagen.knowledge.evaluator import Candidates, clue_candidates
from datagen.knowledge.formula import Clue, Within
from datagen.knowledge.graph import FactGraph
from datagen.knowledge.literals import date_interval, day, number_literal, ordinal, text_literal, year_interval
from datagen.records.fact import Closure, Entity, Fact

PEOPLE = entities(
    ann="person", bob="person", cid="person", ayr="city", bly="city", cork="city", rovers="club", united="club"
)
BORN = match("born_in", "ayr")


def build(facts: list[Fact], closures: Sequence[Closure] = (), more: Sequence[Entity] = ()) -> FactGraph:
    return FactGraph.build(CATALOGUE, facts, closures, [*PEOPLE, *more])


def verdict(graph: FactGraph, key: str, clue: Clue, kind: str | None = "person") -> str:
    """What one clue says of one entity."""
    found: Candidates = clue_candidates(graph, kind, clue)
    i = graph.id(key)
    if i in found.sure:
        return "sure"
    return "possible" if i in found.possible else "excluded"


def test_a_stated_value_of_a_single_valued_relation_excludes_every_other():
    graph = build([fact("ann", "born_in", "ayr"), fact("bob", "born_in", "bly")])

    assert [verdict(graph, k, BORN) for k in ("ann", "bob", "cid")] == ["sure", "excluded", "possible"]


def test_two_trusted_pages_of_one_day_contest_each_other_and_exclude_nothing():
    graph = build([fact("ann", "born_in", "ayr", evidence("p")), fact("ann", "born_in", "bly", evidence("q"))])

    assert verdict(graph, "ann", BORN) == "possible"
    assert verdict(graph, "ann", match("born_in", "cork")) == "possible"


def test_undated_disagreement_stays_contested():
    graph = build(
        [fact("ann", "born_in", "ayr", evidence("p", day=None)), fact("ann", "born_in", "bly", evidence("q"))]
    )

    assert verdict(graph, "ann", match("born_in", "bly")) == "possible"


def test_a_later_page_of_the_same_trust_corrects_an_earlier_one():
    graph = build(
        [fact("ann", "born_in", "ayr", evidence("p", day="2024-01-01")), fact("ann", "born_in", "bly", evidence("q"))]
    )

    assert verdict(graph, "ann", BORN) == "excluded"
    assert verdict(graph, "ann", match("born_in", "bly")) == "sure"


def test_a_later_page_of_lower_trust_does_not_correct():
    graph = build(
        [
            fact("ann", "born_in", "ayr", evidence("p", "official", "2024-01-01")),
            fact("ann", "born_in", "bly", evidence("q", "news", "2025-01-01")),
        ]
    )

    assert verdict(graph, "ann", BORN) == "possible"


@pytest.mark.parametrize("kind", ["blog", "forum", "mirror"])
def test_a_low_trust_page_makes_a_value_possible_and_nothing_more(kind):
    graph = build(
        [
            fact("ann", "born_in", "bly"),
            fact("ann", "born_in", "ayr", evidence("talk", kind)),
            fact("bob", "born_in", "ayr", evidence("talk", kind)),
        ]
    )

    assert verdict(graph, "ann", BORN) == "possible"
    assert verdict(graph, "ann", match("born_in", "bly")) == "sure"
    assert verdict(graph, "ann", match("born_in", "cork")) == "excluded"
    assert verdict(graph, "bob", match("born_in", "cork")) == "possible"


def test_nested_precision_agrees_on_the_narrowest_value():
    year, exact = date_interval(*year_interval(1901)), day("1901-05-01")
    graph = build([fact("rovers", "founded", year, evidence("p")), fact("rovers", "founded", exact, evidence("q"))])

    assert verdict(graph, "rovers", match("founded", exact), "club") == "sure"
    assert verdict(graph, "rovers", match("founded", day("1901-05-02")), "club") == "excluded"


def test_intervals_that_overlap_without_nesting_are_contested():
    graph = build(
        [
            fact("rovers", "founded", date_interval(*year_interval(1900, 1901)), evidence("p")),
            fact("rovers", "founded", date_interval(*year_interval(1901, 1902)), evidence("q")),
        ]
    )

    assert verdict(graph, "rovers", match("founded", date_interval(*year_interval(1950))), "club") == "possible"


def test_a_statement_of_the_wrong_kind_contests_and_is_never_compared():
    graph = build(
        [fact("ann", "born_in", "ayr", evidence("p")), fact("ann", "born_in", text_literal("somewhere"), evidence("q"))]
    )

    assert verdict(graph, "ann", BORN) == "possible"
    assert verdict(graph, "ann", match("born_in", "bly")) == "possible"


def test_a_value_in_another_unit_neither_proves_nor_excludes():
    graph = build([fact("ann", "height", number_literal(180, "stone"))])

    assert verdict(graph, "ann", Within("height", "number", 170, 190, "cm")) == "possible"
    assert verdict(graph, "ann", Within("height", "number", 10, 20, "cm")) == "possible"


def test_texts_with_nested_words_do_not_exclude_each_other():
    graph = build([fact("rovers", "motto", text_literal("Green and white"))])

    assert verdict(graph, "rovers", match("motto", text_literal("green and WHITE.")), "club") == "sure"
    assert verdict(graph, "rovers", match("motto", text_literal("white")), "club") == "possible"
    assert verdict(graph, "rovers", match("motto", text_literal("red")), "club") == "excluded"


def test_silence_about_a_multi_valued_relation_excludes_nobody_until_its_list_is_complete():
    stated = [fact("ann", "lived_in", "ayr"), fact("bob", "lived_in", "bly")]
    clue = match("lived_in", "ayr")

    assert verdict(build(stated), "bob", clue) == "possible"
    assert verdict(build(stated, [objects_list("bob", "lived_in", ("bly",))]), "bob", clue) == "excluded"


def test_members_of_a_complete_list_are_stated_by_it():
    graph = build([], [subjects_list("born_in", "ayr", ("ann", "bob"))])

    assert [verdict(graph, k, BORN) for k in ("ann", "bob", "cid")] == ["sure", "sure", "excluded"]


def test_a_complete_list_and_a_statement_that_it_leaves_out_contest_each_other():
    graph = build([fact("cid", "born_in", "ayr")], [subjects_list("born_in", "ayr", ("ann",))])

    assert graph.lists_set_aside == 1
    assert verdict(graph, "cid", BORN) == "possible"
    assert verdict(graph, "bob", BORN) == "possible"
    assert clue_candidates(graph, "person", BORN).open


def test_two_lists_of_one_thing_with_different_members_are_both_set_aside():
    lists = [
        subjects_list("lived_in", "ayr", ("ann",)),
        subjects_list("lived_in", "ayr", ("ann", "bob"), source=evidence("z", "news")),
    ]

    assert build([], lists).lists_set_aside == 2
    assert clue_candidates(build([], lists), "person", match("lived_in", "ayr")).open


def test_a_list_on_a_low_trust_page_says_nothing():
    graph = build([], [subjects_list("born_in", "ayr", ("ann",), source=evidence("talk", "forum"))])

    assert verdict(graph, "ann", BORN) == "possible"
    assert clue_candidates(graph, "person", BORN).open


def test_a_list_of_one_type_does_not_speak_of_others():
    graph = build([], [subjects_list("founded", day("1901-05-01"), ("rovers",), entity_type="club")])
    clue = match("founded", day("1901-05-01"))

    assert verdict(graph, "united", clue, "club") == "excluded"
    assert verdict(graph, "ayr", clue, "place") == "possible"


def test_a_list_for_a_year_closes_a_day_of_that_year():
    graph = build([], [subjects_list("founded", date_interval(*year_interval(1901)), ("rovers",))])

    assert verdict(graph, "united", match("founded", day("1901-05-01")), "club") == "excluded"
    assert verdict(graph, "rovers", match("founded", day("1901-05-01")), "club") == "possible"
    assert not clue_candidates(graph, "club", match("founded", day("1901-05-01"))).open
    assert clue_candidates(graph, "club", match("founded", date_interval(*year_interval(1901, 1902)))).open


def test_a_list_of_objects_of_one_type_settles_only_relations_without_other_objects():
    listed = Closure("objects", "lived_in", "ann", None, "city", ("ayr",), evidence("l", "official"))
    wide = Closure("objects", "lived_in", "ann", None, "place", ("ayr",), evidence("l", "official"))

    assert verdict(build([], [listed]), "ann", match("lived_in", "bly")) == "possible"
    assert verdict(build([], [wide]), "ann", match("lived_in", "bly")) == "excluded"


def test_a_complete_class_closes_the_type_unless_a_known_member_is_missing():
    graph = build([], [all_of("person", "ann", "bob", "cid")])
    broken = build([], [all_of("person", "ann", "bob")])

    assert graph.type_closed("person")
    assert graph.type_closed("poet")
    assert not broken.type_closed("person")


def test_a_fact_of_an_unknown_relation_is_counted_and_left_out():
    assert build([fact("ann", "shoe_size", number_literal(41))]).skipped == 1


# --- what changes over time ------------------------------------------------------------------------------------------


def coach(
    club: str, who: str, first: str | None, last: str | None, page: str = "p", kind: str = "encyclopedia"
) -> Fact:
    return fact(club, "coach", who, evidence(page, kind, last), first, last)


def test_a_changing_relation_is_sure_only_on_the_days_that_a_statement_covers():
    graph = build([coach("rovers", "ann", "2024-01-01", "2024-06-30")])

    assert verdict(graph, "rovers", match("coach", "ann", as_of="2024-06-30"), "club") == "sure"
    assert verdict(graph, "rovers", match("coach", "ann", as_of="2024-07-01"), "club") == "possible"
    assert verdict(graph, "rovers", match("coach", "bob", as_of="2024-03-01"), "club") == "excluded"
    assert verdict(graph, "rovers", match("coach", "bob", as_of="2023-12-31"), "club") == "possible"


def test_a_clue_without_a_day_about_what_changes_is_never_sure_and_never_excludes():
    graph = build([coach("rovers", "ann", "2024-01-01", "2024-06-30")])

    assert verdict(graph, "rovers", match("coach", "ann"), "club") == "possible"
    assert verdict(graph, "rovers", match("coach", "bob"), "club") == "possible"


def test_successive_tenures_exclude_each_other_and_a_shared_day_is_contested():
    graph = build(
        [coach("rovers", "ann", "2024-01-01", "2024-06-01"), coach("rovers", "bob", "2024-06-01", "2025-01-01", "q")]
    )

    assert verdict(graph, "rovers", match("coach", "ann", as_of="2024-05-31"), "club") == "sure"
    assert verdict(graph, "rovers", match("coach", "ann", as_of="2024-06-01"), "club") == "possible"
    assert verdict(graph, "rovers", match("coach", "cid", as_of="2024-06-01"), "club") == "possible"
    assert verdict(graph, "rovers", match("coach", "ann", as_of="2024-06-02"), "club") == "excluded"


def test_a_stale_page_does_not_reach_past_its_own_date():
    graph = build([coach("rovers", "ann", None, "2023-01-01"), coach("rovers", "bob", "2024-01-01", "2025-01-01", "q")])

    assert verdict(graph, "rovers", match("coach", "ann", as_of="2023-01-01"), "club") == "sure"
    assert verdict(graph, "rovers", match("coach", "ann", as_of="2024-06-01"), "club") == "excluded"


def test_a_trusted_statement_without_a_day_makes_its_value_possible_on_any_day():
    graph = build([fact("rovers", "coach", "ann"), coach("rovers", "bob", "2024-01-01", "2025-01-01", "q")])

    assert verdict(graph, "rovers", match("coach", "ann", as_of="2024-06-01"), "club") == "possible"
    assert verdict(graph, "rovers", match("coach", "cid", as_of="2024-06-01"), "club") == "excluded"


def test_a_low_trust_statement_counts_only_on_its_days():
    graph = build(
        [
            coach("rovers", "ann", "2024-01-01", "2024-02-01", "t", "forum"),
            coach("rovers", "bob", "2024-01-01", "2025-01-01", "q"),
        ]
    )

    assert verdict(graph, "rovers", match("coach", "ann", as_of="2024-01-15"), "club") == "possible"
    assert verdict(graph, "rovers", match("coach", "ann", as_of="2024-06-01"), "club") == "excluded"


def test_a_list_of_what_changes_holds_on_its_day_alone():
    graph = build([], [subjects_list("squad", "ann", ("rovers",), as_of="2025-01-01")])

    assert verdict(graph, "united", match("squad", "ann", as_of="2025-01-01"), "club") == "excluded"
    assert verdict(graph, "united", match("squad", "ann", as_of="2025-01-02"), "club") == "possible"
    assert verdict(graph, "rovers", match("squad", "ann", as_of="2025-01-01"), "club") == "sure"


def test_a_list_of_what_changes_without_any_day_is_left_out():
    graph = build([], [subjects_list("squad", "ann", ("rovers",), source=evidence("l", "list", None))])

    assert graph.skipped == 1
    assert clue_candidates(graph, "club", match("squad", "ann", as_of="2025-01-01")).open


def test_a_statement_that_a_dated_list_contradicts_is_doubted_on_all_its_days():
    graph = build(
        [fact("united", "squad", "ann", evidence("p"), "2024-01-01", "2025-01-01")],
        [subjects_list("squad", "ann", ("rovers",), as_of="2024-06-01")],
    )

    assert verdict(graph, "united", match("squad", "ann", as_of="2024-02-01"), "club") == "possible"


def test_doubt_about_a_value_reaches_its_other_tenures():
    tenures = [("2024-01-01", "2024-02-01", "p"), ("2024-06-01", "2024-07-01", "q")]
    graph = build(
        [fact("united", "squad", "ann", evidence(page), first, last) for first, last, page in tenures],
        [subjects_list("squad", "ann", ("rovers",), as_of="2024-06-15")],
    )

    assert verdict(graph, "united", match("squad", "ann", as_of="2024-01-15"), "club") == "possible"


# --- look-alikes -----------------------------------------------------------------------------------------------------


def test_an_entity_without_a_page_may_be_its_namesake_with_one():
    pages = [Entity("https://e.example/ayr", "Ayr", "city"), Entity("https://e.example/ayr-2", "Ayr", "club")]
    graph = build([fact("ann", "born_in", "entity:place/Ayr")], more=pages)

    assert verdict(graph, "ann", match("born_in", "entity:place/Ayr")) == "sure"
    assert verdict(graph, "ann", match("born_in", "https://e.example/ayr")) == "possible"
    assert verdict(graph, "ann", match("born_in", "https://e.example/ayr-2")) == "excluded"


def test_namesakes_with_pages_are_two():
    pages = [Entity("https://e.example/ayr", "Ayr", "city"), Entity("https://e.example/ayr-2", "Ayr", "city")]
    graph = build([fact("ann", "born_in", "https://e.example/ayr")], more=pages)

    assert verdict(graph, "ann", match("born_in", "https://e.example/ayr-2")) == "excluded"


def test_a_list_that_names_an_entity_without_a_page_leaves_its_namesakes_possible():
    pages = [Entity("https://e.example/dan", "Dan", "person")]
    graph = build([], [subjects_list("born_in", "ayr", ("entity:person/Dan",))], pages)

    assert verdict(graph, "https://e.example/dan", BORN) == "possible"
    assert verdict(graph, "ann", BORN) == "excluded"


def test_day_numbers_of_statements_are_calendar_days():
    graph = build([coach("rovers", "ann", "2024-01-01", "2024-06-30")])
    stated = graph.outgoing(graph.id("rovers"))[0]

    assert (stated.valid_from, stated.as_of) == ("2024-01-01", "2024-06-30")
    assert ordinal("2024-01-01") + 181 == ordinal("2024-06-30")
