"""Programs that think aloud: real calls with real results, thoughts that name only what was seen, answers of the solvers."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.practice_league import CATALOGUE, league_web, words
from tests.unit.test_agents_symbolic import QUESTIONS

from datagen.agents.budget import Budget, Limits
from datagen.agents.desk import Desk
from datagen.agents.symbolic.bottomup import BottomUpSolver
from datagen.agents.symbolic.findings import Finding, clues_of
from datagen.agents.symbolic.logbook import VISITS_PER_TURN, Action, events_of_turn, turns_of
from datagen.agents.symbolic.page_memory import Competence
from datagen.agents.symbolic.policies import SYMBOLIC_POLICIES
from datagen.agents.symbolic.telling import Teller
from datagen.agents.symbolic.topdown import TopDownSolver
from datagen.agents.symbolic.wordbank import Wordbank, fill, listed, topic_of, with_article
from datagen.clients.chat import ToolCall
from datagen.language.parse import Parser
from datagen.records.fact import Evidence, Fact
from datagen.records.ids import rng_for

COMPETENCE = Competence.of(CATALOGUE, Parser(CATALOGUE))
NAMES = sorted(QUESTIONS)
_PROPER = re.compile(r"(?<![.!?:“] )(?<!^)\b[A-Z][a-z]+(?: [A-Z][a-z]+)*")


def roll_out(policy: str, name: str, attempt: int = 0, limits: Limits | None = None):
    made = SYMBOLIC_POLICIES[policy](COMPETENCE)
    return made.roll_out(words(name), league_web(), attempt=attempt, limits=limits or Limits())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("policy", SYMBOLIC_POLICIES)
def test_every_result_is_what_the_web_gives_for_its_call(policy, name):
    script = roll_out(policy, name)
    desk = Desk(league_web(), Budget(), "answer")
    calls = {event.call_id: event for event in script.events if event.kind == "call"}
    results = [event for event in script.events if event.kind == "result"]

    assert len(calls) == len(results)
    for result in results:
        call = calls[result.call_id]
        told = desk.answer(ToolCall(call.call_id, call.tool, call.arguments))
        assert (told.text, told.error, told.documents) == (result.text, result.error, result.documents)
        assert call.turn == result.turn


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("policy", SYMBOLIC_POLICIES)
def test_thoughts_name_nothing_that_was_not_seen_before(policy, name):
    seen = words(name)
    for event in roll_out(policy, name).events:
        if event.kind == "thought":
            unknown = [n for n in _PROPER.findall(event.text) if n.casefold() not in seen.casefold()]
            assert unknown == [], (event.text, unknown)
        seen += " " + event.text


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("policy", "solver"), [("topdown", TopDownSolver), ("bottomup", BottomUpSolver)])
def test_a_watched_solver_answers_as_it_does_alone(policy, solver, name):
    alone = solver(COMPETENCE).solve(words(name), league_web())
    script = roll_out(policy, name)

    assert (script.answer, script.answer_key) == (alone.answer, alone.answer_key)
    assert (script.termination == "answered") == (alone.answer is not None)


@pytest.mark.parametrize("policy", SYMBOLIC_POLICIES)
def test_equal_arguments_give_equal_transcripts_and_attempts_differ(policy):
    first, again = (roll_out(policy, NAMES[0], 3) for _ in range(2))
    others = {roll_out(policy, NAMES[0], attempt).events for attempt in range(6)}

    assert first == again
    assert len(others) == 6


def test_no_thought_speaks_of_how_the_program_keeps_its_notes():
    for policy in SYMBOLIC_POLICIES:
        for name in NAMES:
            for event in roll_out(policy, name).events:
                if event.kind == "thought":
                    assert not re.search(r"entity:|_|\{|\}|https?:|\bNone\b(?! of)", event.text), event.text


def test_thoughts_do_not_repeat_themselves_within_an_attempt():
    for policy in SYMBOLIC_POLICIES:
        for name in NAMES:
            thoughts = [e.text for e in roll_out(policy, name).events if e.kind == "thought"]
            assert len(set(thoughts)) >= len(thoughts) - 1


def test_turns_have_one_search_or_a_handful_of_visits():
    for name in NAMES:
        script = roll_out("bottomup", name)
        for turn in {event.turn for event in script.events}:
            calls = [e.tool for e in script.events if e.turn == turn and e.kind == "call"]
            assert calls in ([], ["search"]) or (set(calls) == {"visit"} and len(calls) <= VISITS_PER_TURN)


def test_a_limit_of_turns_ends_an_attempt_without_an_answer():
    whole = roll_out("bottomup", NAMES[0])
    last = max(event.turn for event in whole.events)
    script = roll_out("bottomup", NAMES[0], limits=Limits(turns=last))

    assert (script.termination, script.answer) == ("turns", None)
    assert max(event.turn for event in script.events) < last


def test_a_spent_budget_ends_an_attempt_and_says_so():
    script = roll_out("bottomup", NAMES[0], limits=Limits(Budget(1, 1)))

    assert (script.termination, script.answer) == ("budget", None)
    assert sum(event.kind == "call" for event in script.events) <= 2


def test_a_question_that_cannot_be_read_is_given_up():
    made = SYMBOLIC_POLICIES["topdown"](COMPETENCE)
    script = made.roll_out("What about it?", league_web(), attempt=0, limits=Limits())

    assert [event.kind for event in script.events] == ["thought"]
    assert (script.answer, script.termination) == (None, "gave_up")
    assert script.detail


def test_haste_never_looks_longer_than_care():
    for name in NAMES:
        hasty, careful = (roll_out(policy, name) for policy in ("hasty", "topdown"))
        if hasty.answer is not None:
            assert len(hasty.events) <= len(careful.events) + 2


def test_haste_answers_nothing_that_the_question_itself_names():
    for name in NAMES:
        script = roll_out("hasty", name)
        assert script.answer is None or script.answer.casefold() not in words(name).casefold()


def test_a_hundred_visits_announced_at_once_are_spread_over_turns():
    turns = turns_of([Action("visit", url=f"https://a.example/{n}", batch=0) for n in range(100)])
    events = [event for number, turn in enumerate(turns) for event in events_of_turn(number, turn)]

    assert [len(turn) for turn in turns] == [VISITS_PER_TURN] * (100 // VISITS_PER_TURN)
    assert len({event.call_id for event in events if event.kind == "call"}) == 100


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("policy", SYMBOLIC_POLICIES)
def test_the_last_thought_says_why_it_ends(policy, name):
    script = roll_out(policy, name)
    last = [event for event in script.events if event.kind == "thought"][-1]

    if script.termination == "answered":
        assert script.events[-1].kind == "answer"
        assert last.turn == script.events[-1].turn
    else:
        assert script.events[-1] == last


actions = st.lists(
    st.one_of(
        st.builds(Action, tool=st.just("search"), query=st.text(max_size=4)),
        st.builds(
            Action,
            tool=st.just("visit"),
            url=st.sampled_from("abcdef"),
            offset=st.sampled_from([0, 0, 0, 5]),
            batch=st.integers(-1, 3),
        ),
    ),
    max_size=30,
)


@given(actions)
def test_turns_hold_every_action_once_and_searches_in_order(made):
    turns = turns_of(made)
    flat = [action for turn in turns for action in turn]

    assert sorted(map(id, flat)) == sorted(map(id, made))
    assert [a for a in flat if a.tool == "search"] == [a for a in made if a.tool == "search"]
    assert all(turn for turn in turns)
    assert all(len({a.url for a in turn}) == len(turn) for turn in turns if turn[0].tool == "visit")


def statements(bearings: Sequence[tuple[str, str, str]], pages: int = 1) -> list[Finding]:
    """Statements (bearing, subject, value) on the first clue of a question."""
    clues = clues_of(COMPETENCE.parser.parse(words(NAMES[0])), CATALOGUE)
    clue = next(c for c in clues if c.relation is not None)
    return [
        Finding(
            bearing,
            clue.number,
            f"https://a.example/{subject}",
            subject,
            value,
            Fact(
                f"https://a.example/{subject}",
                clue.relation.id,
                value,
                None,
                None,
                Evidence("p", f"https://a.example/page-{place % pages}", 0, 1, ".", "", "reference"),
                None,
                None,
            ),
        )
        for place, (bearing, subject, value) in enumerate(bearings)
    ]


def teller_of(findings: Sequence[Finding]) -> Teller:
    rng = rng_for("telling")
    return Teller(COMPETENCE.parser.parse(words(NAMES[0])), findings, CATALOGUE, Wordbank(rng), rng)


def told(*bearings: tuple[str, str, str], pages: int = 1) -> str:
    """What is said of statements on the first clue of a question."""
    found = statements(bearings, pages)
    return " ".join(teller_of(found).tell(found))


def test_lists_are_told_as_lists_and_the_rest_one_by_one():
    assert "Ada" in told(("fits", "Ada", "X"))
    shared = told(("fits", "Ada", "X"), ("fits", "Bea", "X"))
    assert "Ada" in shared
    assert "Bea" in shared
    names = ("Ada", "Bea", "Cleo", "Dora", "Emma")
    only = told(*(("fits" if name == "Cleo" else "differs", name, name) for name in names))
    assert "Cleo" in only
    assert "Ada" not in only
    none = told(*(("differs", name, name) for name in names))
    assert "5" in none
    assert not any(name in none for name in names)
    apart = told(*(("fits", name, name) for name in names), pages=5)
    assert "rows" not in apart
    assert "Ada" in apart
    assert told() == ""


def test_words_fit_into_their_sentences():
    assert fill("{fact}, which fits.", {"fact": "the club opened"}) == "The club opened, which fits."
    assert fill("I see that {fact}.", {"fact": "the club opened"}) == "I see that the club opened."
    assert fill("No. {fact}.", {"fact": "the club opened"}) == "No. The club opened."
    assert listed(["Ada"]) == "Ada"
    assert listed(["Ada", "Bea", "Cleo"]) == "Ada, Bea and Cleo"
    assert listed(["Ada", "Bea", "Cleo", "Dora"]) == "Ada, Bea, Cleo and 1 more"
    assert [with_article(noun) for noun in ("university", "opera", "novel")] == ["a university", "an opera", "a novel"]
    assert [topic_of(label) for label in ("Founded", "Alma mater", "Born", "Named after", "Crossed by")] == [
        "founding date",
        "alma mater",
        "date of birth",
        "named after",
        "“Crossed by” entry",
    ]
