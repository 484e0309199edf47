"""What programs say aloud: what fits before what does not, nothing twice, plans with their calls, answers that were said."""

from __future__ import annotations

import re
import tomllib

import pytest
from tests.unit.practice_league import CATALOGUE, words
from tests.unit.test_symbolic_policies import COMPETENCE, NAMES, roll_out, statements, teller_of, told

from datagen.agents.symbolic.findings import Classes, clues_of, findings_on
from datagen.agents.symbolic.logbook import Action
from datagen.agents.symbolic.narrating import Narrator
from datagen.agents.symbolic.policies import SYMBOLIC_POLICIES, _described
from datagen.agents.symbolic.restating import phrase_clue
from datagen.knowledge.formula import Edge, EntityRef, Match, Node, Query
from datagen.knowledge.reading import Reading
from datagen.records.fact import Entity, Evidence, Fact
from datagen.records.ids import rng_for
from datagen.records.shipped import shipped_file
from datagen.web.tools import Link, Window

FORMS = tomllib.loads(shipped_file("narration.toml").read_text(encoding="utf-8"))


def fits_a_form(said: str, section: str, key: str) -> bool:
    """Whether a sentence was made from one of the ways to say something."""
    forms = (re.sub(r"\\{\w+\\}", ".+", re.escape(form)) for form in FORMS[section][key])
    return any(re.fullmatch(form, said, re.IGNORECASE) for form in forms)


def test_what_fits_is_told_before_what_does_not():
    both = told(("differs", "Bea", "Y"), ("fits", "Ada", "X"), ("fits", "Bea", "X"))

    assert both.index("Ada") < both.index("Bea", both.index("Ada"))


def test_nobody_is_excluded_who_was_never_considered():
    assert told(("differs", "Bea", "Y")) == ""
    assert "Bea" in told(("differs", "Bea", "Y"), ("link", "Bea", "Z"))


def test_what_is_out_is_not_ruled_out_twice():
    found = statements([("differs", "Bea", "Y")])
    teller = teller_of(found)
    first, again = (teller.tell(found, ["Bea"])[0] for _ in range(2))

    assert not fits_a_form(first, "learned", "out_again")
    assert fits_a_form(again, "learned", "out_again")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("policy", SYMBOLIC_POLICIES)
def test_an_attempt_says_what_it_answers_before_it_does(policy, name):
    script = roll_out(policy, name)
    if script.answer is not None:
        last = [event for event in script.events if event.kind == "thought"][-1]
        assert script.answer in last.text


@pytest.mark.parametrize("name", NAMES)
def test_a_hasty_answer_cites_pages_that_state_it(name):
    script = roll_out("hasty", name)
    if script.answer is not None:
        cited = {document.url for document in script.events[-1].documents}
        shown = [e.text for e in script.events if e.kind == "result" and any(d.url in cited for d in e.documents)]
        assert any(script.answer in text for text in shown)


@pytest.mark.parametrize("policy", SYMBOLIC_POLICIES)
def test_every_call_comes_with_its_plan(policy):
    for name in NAMES:
        events = roll_out(policy, name).events
        for turn in {event.turn for event in events if event.kind == "call"}:
            assert next(e.kind for e in events if e.turn == turn) == "thought"


def test_an_index_of_pages_is_no_dead_end_when_its_links_are_read_next():
    query = COMPETENCE.parser.parse(words(NAMES[0]))
    narrator = Narrator(query, Classes(CATALOGUE, lambda url: None), {}, rng_for("index"))
    links = tuple(Link(0, 4, f"https://a.example/{n}", f"Page {n}") for n in range(30))
    home = "https://a.example/"
    window = Window("p", home, "a.example", "All pages", "reference", None, None, None, "Page", links, 0, None, 4)
    index, after = Action("visit", url=home, window=window), Action("visit", url="https://a.example/3")

    assert narrator.reaction((index,), (after,)) in FORMS["found"]["index"]
    assert narrator.reaction((index,), (Action("search", query="x"),)) not in FORMS["found"]["index"]


def test_notes_on_a_question_say_whose_they_are():
    for name in NAMES:
        query = COMPETENCE.parser.parse(words(name))
        for clue in clues_of(query, CATALOGUE):
            assert re.match(r"(their|its|they are|it is) ", phrase_clue(clue, CATALOGUE))


def test_a_broad_query_does_not_end_in_the_middle_of_a_phrase():
    assert (
        _described("Which town is the home of a club that plays in the")
        == "Which town is the home of a club that plays"
    )


def pairs_said(text: str, section: str, key: str) -> set[tuple[str, str]]:
    """(topic, name) of the sentences in a text that were made from one of the ways to say something."""
    found = set()
    for form in FORMS[section][key]:
        pattern = re.escape(form).replace(r"\{topic\}", "(?P<topic>.+?)").replace(r"\{name\}", "(?P<name>.+?)")
        pattern = pattern.replace(r"\{value\}", ".+?")
        found |= {(said["topic"], said["name"]) for said in re.finditer(pattern, text)}
    return found


@pytest.mark.parametrize("policy", SYMBOLIC_POLICIES)
def test_nothing_is_still_needed_that_a_page_has_given(policy):
    for name in NAMES:
        given: set[tuple[str, str]] = set()
        for event in roll_out(policy, name).events:
            if event.kind == "thought":
                assert not given & pairs_said(event.text, "search", "fact_of"), event.text
                given |= pairs_said(event.text, "learned", "asked")


def test_one_fact_bears_on_every_clue_that_it_answers():
    league = "https://a.example/league"
    stated = Match("plays_in", EntityRef(league, "Northern League"))
    query = Query(Node("club", (stated, Edge("plays_in", Node("league", ())))))
    club = Entity("https://a.example/club", "Vale Rangers", "club", ())
    evidence = Evidence("p", club.key, 0, 1, ".", "", "reference")
    fact = Fact(club.key, "plays_in", "Northern League", league, None, evidence, None, None)
    reading = Reading("p", club.key, "reference", (fact,), (), club, ((league, "Northern League"),), {})
    found = findings_on(reading, clues_of(query, CATALOGUE), Classes(CATALOGUE, lambda url: None))

    assert {(f.clue, f.bearing) for f in found} == {(0, "fits"), (1, "link")}
