"""Visits with a goal: passages of long pages, short pages whole, quotes with their places in the page."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tests.unit.practice_league import CATALOGUE, as_wire, calls, words
from tests.unit.test_agents_symbolic import MemoryWeb, football_pages
from tests.unit.test_practice_minds import BACKGROUND, KINDS, MIND, attempt

from datagen.agents.budget import Budget
from datagen.agents.desk import Desk
from datagen.agents.llm.quoting import place_of, words_at
from datagen.practice.minds.background import Background
from datagen.practice.minds.goals import goal_of_question, goal_of_themes
from datagen.practice.minds.solving import solve
from datagen.records.page import Page
from datagen.web.passages import EXTRACT_CHARS
from datagen.web.tools import Window
from datagen.web.windows import window_of

FILLER = "".join(
    f"Chapter {n} tells of weather, of rain and of a long winter in the hills of the north.\n" for n in range(99)
)
LONG = Page(
    "p1", "https://a.example/ruritania", "a.example", "reference", "Ruritania",
    f"Ruritania lies in the east.\n{FILLER}Land boundaries: Veltrin\n\nExports - partners: Naiko\n{FILLER}Capital: Zenda\n",
)  # fmt: skip
SHORT = Page(
    "p2", "https://a.example/naiko", "a.example", "reference", "Naiko", "Naiko is an island.\nCapital: Ostra\n"
)


class WindowedWeb(MemoryWeb):
    """Cuts pages into windows as snapshots do."""

    def visit(self, url: str, offset: int = 0) -> Window:
        page = self.pages[url]
        return window_of(page, page.text, [(k.start, k.end, k.url) for k in page.links], asked=url, offset=offset)


def visited(web: MemoryWeb, **arguments: object):
    desk = Desk(web, Budget(1, 5), "answer")
    call = calls(("visit", arguments)).tool_calls[0]
    return desk, json.loads(desk.answer(call).text)


def test_a_long_page_is_answered_with_the_passages_about_the_goal():
    desk, said = visited(WindowedWeb([LONG]), url=LONG.url, goal="land boundaries; export partners")

    assert said["text"] == "Ruritania lies in the east.\nLand boundaries: Veltrin\nExports - partners: Naiko"
    assert (said["offset"], said["next_offset"], said["total_chars"]) == (0, None, len(LONG.text))
    assert (desk.visits, desk.urls) == (1, (LONG.url,))
    assert len(said["text"]) <= EXTRACT_CHARS


@pytest.mark.parametrize("arguments", [{}, {"goal": " "}, {"goal": "capital", "offset": 5}])
def test_without_a_goal_or_from_an_offset_a_window_comes_as_ever(arguments):
    _, said = visited(WindowedWeb([LONG]), url=LONG.url, **arguments)
    offset = arguments.get("offset", 0)

    assert LONG.text[offset:].startswith(said["text"])
    assert len(said["text"]) > EXTRACT_CHARS


def test_a_short_page_comes_whole_whatever_the_goal():
    _, said = visited(WindowedWeb([SHORT]), url=SHORT.url, goal="volcanoes")

    assert said["text"] == SHORT.text


def test_a_quote_from_passages_has_its_place_in_the_page():
    desk, _ = visited(WindowedWeb([LONG]), url=LONG.url, goal="capital; land boundaries; export partners")
    quote = "Land boundaries: Veltrin Exports - partners: Naiko"

    for said, words_there in (("Capital: Zenda", "Capital: Zenda"), (quote, quote.replace(" Exports", "\n\nExports"))):
        place = place_of(desk.windows[0], said)
        assert place is not None
        assert LONG.text[slice(*place)] == words_at(desk.windows[0], *place) == words_there


@pytest.mark.parametrize("quote", ["rain and of a long winter", "Exports - partners: Naiko Capital: Zenda"])
def test_what_was_not_shown_or_stands_apart_in_the_page_is_no_quote(quote):
    desk, said = visited(WindowedWeb([LONG]), url=LONG.url, goal="capital; export partners")

    assert "Capital: Zenda" in said["text"]
    assert place_of(desk.windows[0], quote) is None


def test_a_quote_from_a_window_has_its_place_in_the_page():
    desk, _ = visited(WindowedWeb([LONG]), url=LONG.url, offset=5)
    place = place_of(desk.windows[0], "lies in the east")

    assert place is not None
    assert LONG.text[slice(*place)] == words_at(desk.windows[0], *place) == "lies in the east"


def long_league() -> MemoryWeb:
    """The league's pages, each with a long story behind what it says; lists stay as they are."""
    tail = "\n" + FILLER
    return MemoryWeb([p if p.source_kind == "list" else replace(p, text=p.text + tail) for p in football_pages()])


@pytest.mark.parametrize("road", KINDS)
@pytest.mark.parametrize("name", ["founding", "club by ground", "two clubs", "nobody"])
def test_minds_find_on_long_pages_what_they_find_on_short_ones(name, road):
    found, table = attempt(words(name), road, long_league())
    goals = [call for m in table.requests[-1].messages for call in m.tool_calls if "goal" in call.arguments]

    assert found.answer == attempt(words(name), road)[0].answer
    assert goals
    assert max(len(m.content) for m in table.requests[-1].messages if m.role == "tool") < 9_000


def test_replies_with_goals_are_the_same_with_no_sessions_kept():
    _, table = attempt(words("founding"), web=long_league())
    forgetful = Background.of(CATALOGUE, sessions=0)

    assert [solve(forgetful, as_wire(r)) for r in table.requests] == [MIND.answer(as_wire(r)) for r in table.requests]


def test_a_goal_has_the_names_and_the_relations_of_the_question():
    goal = goal_of_question(BACKGROUND, words("founding"))

    assert ";" in goal
    assert goal_of_question(BACKGROUND, "How are you?") == ""
    assert goal_of_themes(CATALOGUE, ("cup finals; 2025",)).startswith("cup finals 2025; ")
