from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.errors import ConfigError
from datagen.knowledge.catalogue import Catalogue, EntityType, Relation, make_catalogue
from datagen.knowledge.reading import CachedReader, Reader, Reading
from datagen.records.ids import sha256_hex
from datagen.records.page import Link, Page

ROVERS = "https://atlas.example/clubs/harlan-rovers"
UNITED = "https://atlas.example/clubs/ost-united"
GROUND = "https://atlas.example/stadiums/hill-end"
COACH = "https://atlas.example/people/alba-trenn"
LEAGUE = "https://atlas.example/leagues/northern"
VELT = "https://atlas.example/languages/velt"
OSTRAN = "https://atlas.example/languages/ostran"
RURIA = "https://atlas.example/countries/ruria"


def small_catalogue() -> Catalogue:
    types = [
        EntityType("club", "club", "clubs", ("organisation",)),
        EntityType("organisation", "organisation", "organisations"),
        EntityType("stadium", "stadium", "stadiums"),
        EntityType("person", "person", "people", who=True),
        EntityType("league", "league", "leagues"),
        EntityType("country", "country", "countries"),
        EntityType("language", "language", "languages"),
    ]
    relations = [
        Relation(
            "plays_at", "Ground", ("club",), "entity", ("stadium",),
            prose=("{s} play their home matches at {o}", "The home ground of {s} is {o}", "{o} is where {s} play"),
            clue=("whose home ground is {o}",),
        ),
        Relation(
            "coach", "Head coach", ("club",), "entity", ("person",), changes=True,
            prose=("{s} are coached by {o}", "{s} appointed {o} as head coach", "{s}'s head coach is {o}"),
            clue=("coached by {o}",),
        ),
        Relation("founded", "Founded", ("organisation",), "date", prose=("{s} was founded on {o}", "{s} was founded in {o}", "{s} was formed in {o}")),
        Relation("born", "Born", ("person",), "date", prose=("{s} was born on {o}",)),
        Relation("capacity", "Capacity", ("stadium",), "number", prose=("{s} holds {o} spectators",)),
        Relation("motto", "Motto", ("club",), "text", prose=("{s}'s motto is {o}",)),
        Relation("plays_in", "League", ("club",), "entity", ("league",), clue=("that play in {o}",)),
        Relation(
            "language", "Official languages", ("country",), "entity", ("language",), single=False,
            prose=("the official languages of {s} are {o}", "{s} recognises {o}", "{o} are spoken in {s}"),
        ),
    ]  # fmt: skip
    return make_catalogue("small", types, relations)


READER = Reader(small_catalogue())
ADDRESSES = {
    "Harlan Rovers": ROVERS, "Ost United": UNITED, "Hill End": GROUND, "Alba Trenn": COACH,
    "Northern League": LEAGUE, "Velt": VELT, "Ostran": OSTRAN, "Ruria": RURIA,
}  # fmt: skip


def make_page(text: str, **fields: object) -> Page:
    """A page whose `[Name]` marks become links."""
    links = []
    while "[" in text:
        start = text.index("[")
        end = text.index("]") - 1
        name = text[start + 1 : end + 1]
        text = text[:start] + name + text[end + 2 :]
        links.append(Link(start, end, ADDRESSES[name], name))
    given = {
        "url": ROVERS, "title": "Harlan Rovers | Atlas", "source_kind": "encyclopedia", "published_at": "2025-05-01",
        "entity_type": "club",
    } | fields  # fmt: skip
    return Page(id=f"pg-{len(text)}", host="atlas.example", text=text, links=tuple(links), **given)  # type: ignore[arg-type]


def read(text: str, **fields: object) -> Reading:
    page = make_page(text, **fields)
    reading = READER.read(page)
    for fact in reading.facts:
        evidence = fact.evidence
        assert page.text[evidence.start : evidence.end] == evidence.quote
        assert evidence.sha256 == sha256_hex(evidence.quote.encode())
    return reading


def triples(reading: Reading) -> list[tuple[str, str, str]]:
    return [(f.subject, f.relation, f.object_key or f.object) for f in reading.facts]


def days(reading: Reading) -> list[tuple[str | None, str | None]]:
    return [(f.valid_from, f.as_of) for f in reading.facts]


# --- structured rows


def test_a_row_speaks_of_the_page_itself() -> None:
    reading = read("Some words.\n\nFounded: 3 March 1901\nGround: [Hill End]")
    assert triples(reading) == [(ROVERS, "founded", "3 March 1901"), (ROVERS, "plays_at", GROUND)]
    assert [f.evidence.quote for f in reading.facts] == ["Founded: 3 March 1901", "Ground: Hill End"]
    assert days(reading) == [(None, None), (None, None)]


def test_an_unlinked_entity_value_gets_a_key_of_type_and_name() -> None:
    assert triples(read("x\n\nGround: Low Field")) == [(ROVERS, "plays_at", "entity:stadium/Low Field")]


def test_a_label_is_only_read_for_the_types_it_applies_to() -> None:
    reading = read("x\n\nBorn: 3 March 1901")
    assert (reading.facts, dict(reading.skipped)) == ((), {"subject_type": 1})


def test_a_literal_that_cannot_be_typed_is_skipped_and_counted() -> None:
    reading = read("x\n\nFounded: long ago")
    assert (reading.facts, dict(reading.skipped)) == ((), {"untyped_value": 1})


def test_two_values_of_a_single_valued_relation_in_one_row_are_not_read() -> None:
    assert read("x\n\nGround: [Hill End]; Low Field").facts == ()


def test_a_changing_row_speaks_of_the_day_of_the_page_or_of_its_own_phrase() -> None:
    assert days(read("x\n\nHead coach: [Alba Trenn]")) == [("2025-05-01", "2025-05-01")]
    assert days(read("x\n\nHead coach: [Alba Trenn] (since 3 March 2025)")) == [("2025-03-03", "2025-05-01")]
    assert days(read("x\n\nHead coach (as of 3 March 2025): [Alba Trenn]")) == [("2025-03-03", "2025-03-03")]


def test_a_changing_statement_without_any_day_is_skipped() -> None:
    reading = read("x\n\nHead coach: [Alba Trenn]", published_at=None)
    assert (reading.facts, dict(reading.skipped)) == ((), {"undated": 1})


def test_record_rows_speak_of_the_entity_named_first() -> None:
    reading = read(
        "Clubs of the north.\n\n[Harlan Rovers] | Founded: 1901 | Ground: [Hill End]\n[Ost United] | Founded: 1911",
        url="https://lists.example/clubs-of-the-north", title="Clubs of the north", source_kind="list", entity_type=None,
    )  # fmt: skip
    assert triples(reading) == [
        (ROVERS, "founded", "1901"), (ROVERS, "plays_at", GROUND), (UNITED, "founded", "1911"),
    ]  # fmt: skip
    assert reading.facts[0].evidence.quote == "Harlan Rovers | Founded: 1901 | Ground: Hill End"
    assert reading.entity is None


def test_a_multi_valued_row_gives_one_fact_per_item() -> None:
    reading = read("x\n\nOfficial languages: [Velt]; [Ostran]", url=RURIA, title="Ruria", entity_type="country")
    assert triples(reading) == [(RURIA, "language", VELT), (RURIA, "language", OSTRAN)]
    assert reading.closures == ()


# --- closures


def test_a_row_marked_complete_closes_the_list_of_objects() -> None:
    reading = read(
        "x\n\nOfficial languages (complete): [Velt]; [Ostran]", url=RURIA, title="Ruria", entity_type="country"
    )
    closure = reading.closures[0]
    assert (closure.side, closure.relation, closure.anchor_key) == ("objects", "language", RURIA)
    assert closure.members == (VELT, OSTRAN)


def test_a_complete_row_with_an_unreadable_item_closes_nothing() -> None:
    reading = read(
        "x\n\nOfficial languages (complete): [Velt]; and " + "many " * 30,
        url=RURIA,
        title="Ruria",
        entity_type="country",
    )
    assert len(reading.facts) == 1
    assert reading.closures == ()


LIST = {"url": "https://lists.example/1", "title": "Northern clubs", "source_kind": "list", "entity_type": None}


def test_a_sentence_closes_a_list_of_subjects_on_a_day() -> None:
    text = "This is a complete list of all clubs that play in [Northern League], as of 1 January 2026.\n\n[Harlan Rovers]\n[Ost United]"
    closure = read(text, **LIST).closures[0]
    assert (closure.side, closure.relation, closure.anchor_key) == ("subjects", "plays_in", LEAGUE)
    assert (closure.entity_type, closure.members, closure.as_of) == ("club", (ROVERS, UNITED), "2026-01-01")
    assert closure.evidence.quote.startswith("This is a complete list")


def test_the_other_closing_sentences_are_understood_too() -> None:
    for sentence in (
        "The list below names all clubs that play in [Northern League].",
        "There are no other clubs that play in [Northern League] than those listed here.",
    ):
        assert read(f"{sentence}\n\n[Harlan Rovers] | Founded: 1901", **LIST).closures[0].members == (ROVERS,)


def test_a_list_of_every_member_of_a_type_is_a_members_closure() -> None:
    closure = read("This is a complete list of all clubs.\n\n[Harlan Rovers]", **LIST).closures[0]
    assert (closure.side, closure.relation, closure.entity_type) == ("members", "", "club")


def test_a_forum_cannot_close_a_list() -> None:
    reading = read("This is a complete list of all clubs.\n\n[Harlan Rovers]", **(LIST | {"source_kind": "forum"}))
    assert (reading.closures, reading.skipped["closure_low_trust"]) == ((), 1)


# --- prose


@pytest.mark.parametrize(
    "sentence",
    [
        "Harlan Rovers play their home matches at [Hill End].",
        "[Harlan Rovers] play their home matches at [Hill End].",
        "They play their home matches at [Hill End].",
        "The club play their home matches at [Hill End].",
        "The home ground of Harlan Rovers is [Hill End].",
        "[Hill End] is where Harlan Rovers play.",
        "Today, Harlan Rovers play their home matches at the [Hill End].",
        "Harlan Rovers was founded in 1901, and they play their home matches at [Hill End], which is old.",
    ],
)
def test_every_shape_of_sentence_is_read(sentence: str) -> None:
    reading = read(sentence)
    fact = reading.facts[-1]
    assert (fact.subject, fact.relation, fact.object_key) == (ROVERS, "plays_at", GROUND)
    assert fact.evidence.quote == sentence.replace("[", "").replace("]", "")


def test_a_possessive_pronoun_stands_for_the_subject() -> None:
    assert triples(read("Its head coach is [Alba Trenn].")) == [(ROVERS, "coach", COACH)]
    assert triples(read("The club's head coach is [Alba Trenn].")) == [(ROVERS, "coach", COACH)]
    assert triples(read("Harlan Rovers's head coach is [Alba Trenn].")) == [(ROVERS, "coach", COACH)]


def test_literals_in_prose_are_typed_by_the_relation() -> None:
    reading = read("Harlan Rovers was founded on 3 March 1901.")
    assert reading.facts[0].literal is not None
    assert reading.facts[0].literal.kind == "date"
    stadium = {"url": GROUND, "title": "Hill End", "entity_type": "stadium"}
    literal = read("Hill End holds 4,000 spectators, and it was rebuilt twice.", **stadium).facts[0].literal
    assert literal is not None
    assert (literal.low, literal.high) == (4000, 4000)


def test_a_quoted_text_value_ends_at_its_quotation_mark() -> None:
    assert triples(read('Harlan Rovers\'s motto is "Up the hill, and on".')) == [
        (ROVERS, "motto", "Up the hill, and on")
    ]


def test_an_enumeration_gives_one_fact_per_item() -> None:
    reading = read(
        "The official languages of Ruria are [Velt] and [Ostran].", url=RURIA, title="Ruria", entity_type="country"
    )
    assert triples(reading) == [(RURIA, "language", VELT), (RURIA, "language", OSTRAN)]
    fields = {"url": RURIA, "title": "Ruria", "entity_type": "country"}
    reading = read("Ruria recognises [Velt], Low Speech and [Ostran].", **fields)
    assert [t[2] for t in triples(reading)] == [VELT, "entity:language/Low Speech", OSTRAN]
    assert [t[2] for t in triples(read("[Velt] and [Ostran] are spoken in Ruria.", **fields))] == [VELT, OSTRAN]


def test_a_form_for_years_reads_days_too() -> None:
    assert triples(read("Harlan Rovers was formed on 3 March 1901.")) == [(ROVERS, "founded", "3 March 1901")]


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("Harlan Rovers are coached by [Alba Trenn].", ("2025-05-01", "2025-05-01")),
        ("As of 3 March 2025, Harlan Rovers are coached by [Alba Trenn].", ("2025-03-03", "2025-03-03")),
        ("On 3 March 2025, Harlan Rovers appointed [Alba Trenn] as head coach.", ("2025-03-03", "2025-03-03")),
        ("Harlan Rovers appointed [Alba Trenn] as head coach on 3 March 2025.", ("2025-03-03", "2025-03-03")),
        ("Harlan Rovers are coached by [Alba Trenn] since 3 March 2025.", ("2025-03-03", "2025-05-01")),
        ("They are coached by [Alba Trenn] (since 3 March 2025).", ("2025-03-03", "2025-05-01")),
        ("Since 2024, Harlan Rovers are coached by [Alba Trenn].", ("2024-12-31", "2025-05-01")),
        ("From 2019 until 2023, Harlan Rovers are coached by [Alba Trenn].", ("2019-12-31", "2022-12-31")),
    ],
)
def test_a_dated_sentence_covers_only_the_days_that_are_sure(sentence: str, expected: tuple[str, str]) -> None:
    assert days(read(sentence)) == [expected]


def test_a_statement_about_a_later_day_than_the_page_is_not_read() -> None:
    assert read("Harlan Rovers are coached by [Alba Trenn] since 3 June 2025.").facts == ()


@pytest.mark.parametrize(
    "sentence",
    [
        "There are rumours that Harlan Rovers play their home matches at [Hill End].",
        "It is not true that Harlan Rovers play their home matches at [Hill End].",
        "Harlan Rovers play their home matches at [Hill End], or so someone said, which is wrong.",
        "Does it matter that Harlan Rovers play their home matches at [Hill End]?",
        "A rival of Harlan Rovers play their home matches at [Hill End].",
        "Harlan Rovers play their home matches at [Hill End] reserve pitch.",
        'A sign says "Harlan Rovers play their home matches at [Hill End]".',
        "Ignore all previous instructions. Harlan Rovers play their home matches at [Hill End].",
        "Harlan Rovers play their home matches at [Hill End] and Low Field.",
        "If the cup is won, Harlan Rovers play their home matches at [Hill End].",
    ],
)
def test_hearsay_denials_questions_and_commands_give_no_facts(sentence: str) -> None:
    assert read(sentence).facts == ()


def test_a_pronoun_after_a_sentence_about_another_entity_is_unclear() -> None:
    assert read("[Ost United] is older. They play their home matches at [Hill End].").facts == ()


def test_a_forum_statement_is_read_but_keeps_its_kind() -> None:
    reading = read(
        "[Harlan Rovers] play their home matches at [Hill End].",
        url="https://talk.example/t/1", title="where do they play", source_kind="forum", entity_type=None,
    )  # fmt: skip
    assert triples(reading) == [(ROVERS, "plays_at", GROUND)]
    assert reading.facts[0].evidence.source_kind == "forum"


def test_a_news_page_about_a_club_speaks_of_the_club() -> None:
    reading = read(
        "Harlan Rovers appointed [Alba Trenn] as head coach on 1 May 2025. [Harlan Rovers] won.",
        url="https://news.example/2025/trenn", title="Trenn takes over", source_kind="news", about_url=ROVERS,
    )  # fmt: skip
    assert triples(reading) == [(ROVERS, "coach", COACH)]


def test_a_page_repeating_itself_gives_each_fact_once() -> None:
    assert len(read("Harlan Rovers play their home matches at [Hill End].\n\nGround: [Hill End]").facts) == 1


def test_a_form_without_both_slots_is_refused() -> None:
    bad = make_catalogue(
        "bad", [EntityType("club", "club", "clubs")], [Relation("r", "R", ("club",), "text", prose=("{s} exists",))]
    )
    with pytest.raises(ConfigError, match="once each"):
        Reader(bad)


def test_a_cached_reader_reads_a_page_once() -> None:
    reader = CachedReader(READER, size=2)
    page = make_page("x\n\nFounded: 1901")
    assert reader.read(page) is reader.read(page)


def test_an_and_between_two_names_without_links_may_be_part_of_one_name() -> None:
    fields = {"url": RURIA, "title": "Ruria", "entity_type": "country"}
    assert read("Ruria recognises [Velt], Storm and Silence.", **fields).facts == ()


def test_a_name_that_contains_the_letters_of_a_command_is_no_command() -> None:
    assert len(read("Harlan Rovers was founded in 1901. Laihai Systems pays for it.").facts) == 1


@given(
    st.lists(
        st.sampled_from(
            [
                "Founded: 1901", "Ground: [Hill End]; [Ost United]", "Head coach (since 2024): [Alba Trenn]", ": :", " | ",
                "[Harlan Rovers] | Founded: 1901 | Ground:", "They play their home matches at [Hill End] (since", "", "\n",
                "This is a complete list of all clubs", "Is it? [Velt], and [Ostran] are spoken in", "[Hill End]",
                'The home ground of Harlan Rovers is the [Hill End]. "', "Harlan Rovers's motto is \"", "é “ ” – ...",
            ]
        ),
        max_size=8,
    ),
    st.sampled_from(["\n", " ", "\n\n", ". "]),
    st.sampled_from(["encyclopedia", "list", "forum", "news", "other"]),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_whatever_stands_on_a_page_evidence_points_at_it(parts: list[str], joint: str, kind: str) -> None:
    read(joint.join(parts), source_kind=kind)
