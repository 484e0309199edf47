"""Which turn evidenced a clue, and when the answer was seen and said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.agents.toolbox import error_to_json, hits_to_json, shown_by_hits, shown_by_window, window_to_json
from datagen.errors import SnapshotError
from datagen.knowledge.formula import Edge, EntityRef, IsA, Match, Node, Query, Within, query_to_dict
from datagen.records.page import Page
from datagen.records.schema import arrow_schema
from datagen.records.trajectory import Event
from datagen.rollouts.evidence import answer_turns, call_clues, clue_sources, clue_turns
from datagen.rollouts.restatements import Restatements
from datagen.web.passages import extract
from datagen.web.tools import Hit, Window

TEXT = "Veltrin Park\n\nVeltrin Park is a stadium.\nOpening date: 1901\nTown: Veltrin\n"
CLUB, STADIUM = "https://a.example/harlan-rovers", "https://a.example/veltrin-park"


def span(page_id: str, url: str, text: str, quote: str, clue: int) -> dict[str, Any]:
    start = text.index(quote)
    place = {"page_id": page_id, "url": url, "start": start, "end": start + len(quote), "quote": quote}
    return {
        "clue": clue,
        "host": "a.example",
        "source_kind": "encyclopedia",
        "published_at": None,
        "sha256": "",
        **place,
    }


CLUB_TEXT = "Harlan Rovers\n\nThe home of the club is Veltrin Park.\nColours: green\n"
LIST_TEXT = "Green clubs\n\nThis is a complete list of all clubs whose colour is green.\nHarlan Rovers\nOld Boys\n"
QUERY = Query(
    Node(
        "club",
        (
            Edge("plays_at", Node("stadium", (Within("opened", "date", 693596.0, 694325.0), IsA("arena")))),
            Match("colours", EntityRef("https://a.example/green", "green")),
        ),
    )
)


def question(**changes: Any) -> dict[str, Any]:
    row = {
        "question": "Which club plays at an arena that opened around 1900 and has the colour green?",
        "answer": "Harlan Rovers",
        "answer_aliases": [],
        "answer_type": "entity",
        "answer_entity": CLUB,
        "certificate": {
            "clues": ["plays_at -> stadium", "opened in 1900-01-01..1901-12-31", "is a arena", "colours = green"],
            "answer_set": [CLUB],
            "exposed_constants": ["1900-01-01..1901-12-31", "green"],
        },
        "evidence": [
            span("pg-club", CLUB, CLUB_TEXT, "The home of the club is Veltrin Park.", 0),
            span("pg-park", STADIUM, TEXT, "Opening date: 1901", 1),
            span(
                "pg-list",
                "https://a.example/green-clubs",
                LIST_TEXT,
                "This is a complete list of all clubs whose colour is green.",
                3,
            ),
        ],
        "hops": [],
        "tree": json.dumps(query_to_dict(QUERY)),
    }
    return row | changes


def page(page_id: str, url: str, text: str) -> Page:
    return Page(
        id=page_id,
        url=url,
        host="a.example",
        source_kind="encyclopedia",
        title=text.split("\n", maxsplit=1)[0],
        text=text,
        links=(),
        published_at=None,
        about_url=url,
        entity_type=None,
    )


def window(whole: Page, start: int = 0, end: int | None = None) -> Window:
    text = whole.text[start:end]
    return Window(
        page_id=whole.id,
        url=whole.url,
        host=whole.host,
        title=whole.title,
        source_kind=whole.source_kind,
        published_at=None,
        about_url=whole.about_url,
        entity_type=None,
        text=text,
        links=(),
        offset=start,
        next_offset=None if end is None or end >= len(whole.text) else end,
        total_chars=len(whole.text),
    )


def visit(turn: int, shown: Window, *, asked: bool = True, documents: bool = True) -> list[Event]:
    call_id = f"c{turn}"
    call = Event(turn, "call", call_id=call_id, tool="visit", arguments=json.dumps({"url": shown.url}))
    found = shown_by_window(shown) if documents else ()
    result = Event(turn, "result", window_to_json(shown), call_id=call_id, tool="visit", documents=found)
    return [call, result] if asked else [result]


def search(turn: int, *hits: tuple[str, str, str]) -> list[Event]:
    found = [Hit(url, title, "a.example", "encyclopedia", None, snippet, 1.0) for url, title, snippet in hits]
    call = Event(turn, "call", call_id=f"c{turn}", tool="search", arguments='{"query": "clubs"}')
    return [call, Event(turn, "result", hits_to_json(found), call_id=f"c{turn}", documents=shown_by_hits(found))]


PARK, CLUB_PAGE = page("pg-park", STADIUM, TEXT), page("pg-club", CLUB, CLUB_TEXT)
LIST_PAGE = page("pg-list", "https://a.example/green-clubs", LIST_TEXT)


def turns(*events: list[Event], row: dict[str, Any] | None = None) -> tuple[int | None, ...]:
    return clue_turns([e for part in events for e in part], clue_sources(row or question()))


def test_a_clue_is_evidenced_at_the_first_visit_that_shows_its_span() -> None:
    everything = turns(visit(0, window(CLUB_PAGE)), visit(1, window(PARK)), visit(2, window(LIST_PAGE)))
    assert everything == (0, 1, 1, 2), "the class clue goes with the first clue about the same thing"
    assert turns(visit(0, window(PARK)), visit(4, window(PARK)))[1] == 0


def test_a_window_that_ends_before_the_span_evidences_nothing() -> None:
    cut = TEXT.index("1901")
    assert turns(visit(0, window(PARK, 0, cut)))[1] is None
    assert turns(visit(0, window(PARK, 0, cut)), visit(1, window(PARK, TEXT.index("Opening"))))[1] == 1


@pytest.mark.parametrize("documents", [True, False])
def test_passages_about_a_goal_count_by_what_they_show(documents: bool) -> None:
    long = page("pg-park", STADIUM, TEXT + "\n".join(f"Line {i} of other things." for i in range(200)))
    assert turns(visit(0, extract(long, "opening date"), documents=documents))[1] == 0
    assert turns(visit(0, extract(long, "line 150", limit=60), documents=documents))[1] is None


def test_a_snippet_counts_where_it_holds_the_quote_in_whole_words() -> None:
    assert turns(search(0, (STADIUM, "Veltrin Park", "Veltrin Park ... Opening  date: 1901 Town")))[1] == 0
    assert turns(search(0, (STADIUM.replace("https", "http"), "", "Opening date: 1901")))[1] == 0
    assert turns(search(0, (STADIUM, "Veltrin Park", "Opening date: 19015")))[1] is None
    assert turns(search(0, (STADIUM, "Veltrin Park", "Veltrin Park is a stadium.")))[1] is None


def test_a_quote_that_names_no_subject_says_nothing_on_another_page() -> None:
    assert turns(search(0, ("https://a.example/other-park", "Other Park", "Opening date: 1901")))[1] is None


def test_a_quote_that_names_both_ends_counts_on_any_page() -> None:
    quote = "Harlan Rovers have the colour green."
    row = question()
    row["evidence"][2] = span("pg-news", "https://n.example/1", quote, quote, 3)
    assert turns(search(0, ("https://m.example/2", "", f"Copied: {quote}")), row=row)[3] == 0


def test_what_held_on_one_day_is_not_evidenced_by_the_same_words_elsewhere() -> None:
    quote = "Harlan Rovers have the colour green."
    row = question()
    row["certificate"]["clues"][3] = "colours = green on 2026-06-05"
    row["evidence"][2] = span("pg-news", "https://n.example/1", quote, quote, 3)
    assert turns(search(0, ("https://m.example/2", "", quote)), row=row)[3] is None
    assert turns(search(0, ("https://n.example/1", "", quote)), row=row)[3] == 0


def test_the_head_of_a_list_counts_with_the_list_or_with_the_member() -> None:
    head = "This is a complete list of all clubs whose colour is green."
    assert turns(search(0, (LIST_PAGE.url, "Green clubs", head)))[3] is None
    assert turns(search(0, (LIST_PAGE.url, "Green clubs", f"{head} Harlan Rovers")))[3] == 0
    end = LIST_TEXT.index(head) + len(head)
    assert turns(visit(0, window(LIST_PAGE, 0, end)))[3] is None
    assert turns(visit(0, window(LIST_PAGE)))[3] == 0


def test_results_that_nobody_asked_for_evidence_nothing() -> None:
    assert turns(visit(0, window(PARK), asked=False))[1] is None
    call, result = visit(0, window(CLUB_PAGE))
    injected = visit(0, window(PARK))[1]
    assert turns([call, result, injected]) == (0, None, None, None), "a call has one result"
    assert turns([result, call])[0] is None, "a result comes after its call"


def test_errors_evidence_nothing_even_if_they_quote_the_page() -> None:
    call = visit(0, window(PARK))[0]
    text = error_to_json("not_found", "There is nothing at Opening date: 1901")
    assert turns([call, Event(0, "result", text, call_id="c0", error="not_found")])[1] is None
    assert turns([call, Event(0, "result", text, call_id="c0")])[1] is None


def test_text_of_another_system_counts_only_by_quotes_that_speak_for_themselves() -> None:
    row = question(
        certificate=None,
        tree=None,
        evidence=[],
        hops=[
            hop("Harlan Rovers", "Veltrin Park", "Harlan Rovers play at Veltrin Park."),
            hop("Veltrin Park", "1901", "It opened in 1901."),
        ],
    )
    call = visit(0, window(PARK))[0]
    said = Event(0, "result", "Found: Harlan Rovers play at\nVeltrin Park. It opened in 1901.", call_id="c0")
    assert turns([call, said], row=row) == (0, None)
    assert turns(search(0, ("https://a.example/x", "", "It opened in 1901.")), row=row) == (None, 0)


def hop(one: str, other: str, quote: str) -> dict[str, Any]:
    fact = f"{one} | {other}"
    return {
        "entity_in": one,
        "entity_out": other,
        "fact": fact,
        "quote": quote,
        "url": "https://a.example/x",
        "as_of": None,
    }


def test_calls_without_ids_are_answered_in_order_within_their_turn() -> None:
    events = [
        Event(e.turn, e.kind, e.text, arguments=e.arguments, documents=e.documents) for e in visit(3, window(PARK))
    ]
    assert turns(events)[1] == 3


def test_every_call_knows_which_clues_its_result_shows() -> None:
    events = [*visit(0, window(PARK)), *search(1, ("https://a.example/x", "", "nothing")), *visit(2, window(PARK))]
    assert call_clues(events, clue_sources(question())) == ((1, 2), (), (1, 2))


# --- other pages that state the same ----------------------------------------------------------------------------------


def fact(subject: str, relation: str, object_: str, page_id: str, quote: str, **more: Any) -> dict[str, Any]:
    start = more.pop("start", 0)
    return dict.fromkeys(arrow_schema("facts").names) | {
        "subject": subject,
        "relation": relation,
        "object": object_,
        "object_key": more.pop("key", None),
        "page_id": page_id,
        "url": f"https://a.example/{page_id}",
        "start": start,
        "end": start + len(quote),
        "quote": quote,
        "source_kind": "news",
        **more,
    }


def opened(subject: str, page_id: str, low: float, high: float, start: int, **more: Any) -> dict[str, Any]:
    literal = {"literal_kind": "date", "literal_text": "1901", "low": low, "high": high, "unit": ""}
    return fact(subject, "opened", "1901", page_id, "Opening date: 1901", start=start, **literal, **more)


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    home = CLUB_TEXT.index("The home")
    facts = [
        fact(
            CLUB,
            "plays_at",
            "Veltrin Park",
            "pg-club",
            "The home of the club is Veltrin Park.",
            key=STADIUM,
            start=home,
        ),
        fact(CLUB, "plays_at", "Veltrin Park", "pg-news", "Harlan Rovers play at Veltrin Park.", key=STADIUM),
        fact(CLUB, "plays_at", "Old Park", "pg-old", "Harlan Rovers played at Old Park.", key="https://a.example/old"),
        opened(STADIUM, "pg-park", 693961, 694325, TEXT.index("Opening")),
        opened(STADIUM, "pg-book", 694000, 694000, 7),
        opened(STADIUM, "pg-blog", 694000, 694000, 7, source_kind="blog"),
        opened(STADIUM, "pg-wrong", 700000, 700000, 7),
        opened("https://a.example/other", "pg-other", 694000, 694000, 7),
    ]
    folder = tmp_path / "knowledge"
    folder.mkdir()
    names = [{"key": STADIUM, "name": "Veltrin Park", "type": "stadium", "aliases": ["The Park"]}]
    pq.write_table(pa.Table.from_pylist(names, arrow_schema("entities")), folder / "entities.parquet")
    pq.write_table(pa.Table.from_pylist(facts, arrow_schema("facts")), folder / "facts-00000.parquet")
    return tmp_path


def test_other_pages_that_state_the_same_fact_count_where_the_facts_are_given(snapshot: Path) -> None:
    row = question()
    sources = clue_sources(row, Restatements.read(snapshot, [row]))
    assert [place.page_id for place in sources[0].places] == ["pg-club", "pg-news"]
    assert [place.page_id for place in sources[1].places] == ["pg-park", "pg-book"]
    book = page("pg-book", "https://a.example/pg-book", "A book\nOpening date: 1901\n")
    assert clue_turns(visit(5, window(book)), sources)[1] == 5
    assert clue_turns(visit(5, window(book)), clue_sources(row))[1] is None


def test_with_the_facts_a_list_of_things_below_the_answer_has_to_name_the_thing(snapshot: Path) -> None:
    head, other = "This is a complete list of all arenas that opened in 1901.", "https://a.example/arenas"
    row = question()
    row["evidence"].append(span("pg-arenas", other, head, head, 1))
    sources = clue_sources(row, Restatements.read(snapshot, [row]))
    assert clue_turns(search(0, (other, "Arenas", f"{head} Old Park")), sources)[1] is None
    assert clue_turns(search(0, (other, "Arenas", f"{head} The Park")), sources)[1] == 0


def test_a_value_is_looked_for_beside_the_names_of_its_thing(snapshot: Path) -> None:
    row = question(answer="1901", answer_type="date", answer_entity=STADIUM)
    assert Restatements.read(snapshot, [row]).answer_names(row) == ("Veltrin Park", "The Park")
    assert Restatements.read(snapshot, [row]).answer_names(question()) == ()


def test_facts_that_are_not_there_are_named_with_the_command_that_reads_them(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="datagen snapshot build"):
        Restatements.read(tmp_path, [])


# --- seen and said ----------------------------------------------------------------------------------------------------


def run(
    said: int | None, seen: int | None, *, words: str = "Harlan Rovers", snippet: str = "Harlan Rovers won"
) -> list[Event]:
    events: list[Event] = []
    for turn in range(1, 7):
        events.append(Event(turn, "thought", f"It may be {words}." if turn == said else "I go on."))
        events += search(turn, ("https://a.example/x", "", snippet if turn == seen else "nothing"))
    return events


FORMS = ("Harlan Rovers", "Rovers of Harlan")


def test_the_vectors_of_answer_hit_time_hold() -> None:
    assert answer_turns(run(said=2, seen=4), FORMS) == (4, 2)
    assert answer_turns(run(said=5, seen=3), FORMS) == (3, 5)
    assert answer_turns(run(said=None, seen=None), FORMS) == (None, None)


@pytest.mark.parametrize(
    ("snippet", "found"),
    [
        ("the HARLAN-ROVERS, they say", True),
        ("Harlán Róvers", True),
        ("the Rovers of\nHarlan", True),
        ("New Harlan Roversmen", False),
        ("MacHarlan Rovers", False),
        ("Harlan United Rovers", False),
    ],
)
def test_the_answer_is_found_word_by_word(snippet: str, found: bool) -> None:
    assert (answer_turns(run(None, 3, snippet=snippet), FORMS)[0] == 3) is found


@pytest.mark.parametrize(
    ("snippet", "form", "found"),
    [
        ("1987年に開場したハーラン球場は", "ハーラン球場", True),
        ("1987年に開場", "1987", True),
        ("21987年に開場", "1987", False),
        ("한나라", "하", False),
        ("Хёрлан Роверс", "Херлан Роверс", True),
    ],
)
def test_scripts_without_spaces_are_searched_as_they_are_written(snippet: str, form: str, found: bool) -> None:
    assert (answer_turns(run(None, 3, snippet=snippet), (form,))[0] == 3) is found


def test_a_title_states_the_answer_and_an_address_does_not() -> None:
    assert answer_turns(search(0, ("https://a.example/1", "Harlan Rovers", "")), FORMS) == (0, None)
    assert answer_turns(search(0, ("https://a.example/harlan rovers", "", "")), FORMS) == (None, None)
    opened = Event(1, "call", call_id="c", tool="visit", arguments='{"url": "https://a.example/harlan/rovers"}')
    assert answer_turns([opened], FORMS) == (None, None)


def test_queries_and_goals_are_words_of_the_model() -> None:
    query = Event(1, "call", call_id="c", tool="search", arguments='{"query": "founding of harlan rovers"}')
    goal = Event(2, "call", call_id="d", tool="visit", arguments='{"url": "https://a/", "goal": "Harlan Rovers"}')
    broken = Event(3, "call", call_id="e", tool="search", arguments='{"query": "Harlan Rovers')
    assert [answer_turns([e], FORMS)[1] for e in (query, goal, broken)] == [1, 2, 3]


def test_a_form_that_the_question_states_is_only_said_by_answering() -> None:
    events = [*run(said=2, seen=4), Event(7, "answer", "Harlan Rovers")]
    assert answer_turns(events, FORMS, "Did Harlan Rovers or the Old Boys win?") == (4, 7)


def test_words_of_the_program_are_not_the_models() -> None:
    assert answer_turns([Event(1, "note", "Harlan Rovers"), Event(2, "result", "Harlan Rovers")], FORMS) == (None, None)


@pytest.mark.parametrize(
    ("snippet", "found"),
    [
        ("It opened on 4 May 1987.", True),
        ("It opened in 1987, they say.", True),
        ("It has 1,987 seats.", True),
        ("It has 21,987 seats.", False),
        ("It costs 1987.5 crowns.", False),
        ("In the season 1986-1987 it was shut.", False),
        ("It was shut 1987\u201388.", False),
        ("In 1987a and b", False),
    ],
)
def test_a_bare_year_is_a_whole_number_and_no_end_of_a_range(snippet: str, found: bool) -> None:
    assert (answer_turns(run(None, 3, snippet=snippet), ("1987",))[0] == 3) is found


def test_a_bare_number_is_said_by_the_answer_or_beside_its_thing() -> None:
    events = [*run(said=2, seen=4, words="1987", snippet="in 1987"), Event(7, "answer", "It is 1987.")]
    assert answer_turns(events, ("1987",)) == (4, 7)
    beside = run(said=2, seen=None, words="Veltrin Park in 1987")
    assert answer_turns(beside, ("1987",), about=("Veltrin Park",)) == (None, 2)


def test_a_bare_number_is_seen_beside_its_thing_where_that_is_known() -> None:
    def seen(title: str, snippet: str) -> int | None:
        return answer_turns(search(0, ("https://a.example/1", title, snippet)), ("1987",), about=("Veltrin Park",))[0]

    assert seen("Veltrin Park", "Opening: 1987") == 0
    assert seen("Stadiums", "Veltrin Park | 1987") == 0
    assert seen("Stadiums", "Other Park | 1987") is None


def test_a_date_or_measure_in_full_is_telling_enough() -> None:
    assert answer_turns(run(2, 4, words="4 May 1987", snippet="on 4 May 1987."), ("4 May 1987", "1987-05-04")) == (4, 2)
    assert answer_turns(run(2, 4, words="2,381 sq km", snippet="2381 sq km"), ("2,381 sq km",)) == (4, 2)
    assert answer_turns(run(2, 4, words="12,381 sq km", snippet="2381.5 sq km"), ("2,381 sq km",)) == (None, None)


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_text_breaks_the_search_for_an_answer(text: str, form: str) -> None:
    events = [
        Event(0, "call", call_id="c", arguments=text),
        Event(0, "result", text, call_id="c"),
        Event(1, "answer", text),
    ]
    seen, said = answer_turns(events, (form,), text)
    assert seen in {None, 0}
    assert said in {None, 0, 1}
    assert clue_turns(events, clue_sources(question())) == (None,) * 4
