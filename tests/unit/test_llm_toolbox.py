"""Tools as data: what goes over as JSON comes back unchanged, and nothing but valid arguments comes in."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.agents.toolbox import (
    SEARCH,
    VISIT,
    SearchArguments,
    VisitArguments,
    error_to_json,
    hits_from_json,
    hits_to_json,
    parse_arguments,
    window_from_json,
    window_to_json,
    with_notice,
)
from datagen.records.page import Link
from datagen.web.tools import Hit, Window

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
MAYBE = st.none() | TEXT
HITS = st.builds(Hit, TEXT, TEXT, TEXT, TEXT, MAYBE, TEXT, st.floats(allow_nan=False, allow_infinity=False))
NUMBER = st.integers(0, 10**9)
PLACES = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), TEXT), max_size=3)


def with_links(window: Window, places: list[tuple[int, int, str]]) -> Window:
    """The words of a link are words of the text."""
    return replace(window, links=tuple(Link(start, end, url, window.text[start:end]) for start, end, url in places))


WINDOWS = st.builds(
    with_links,
    st.builds(
        Window, TEXT, TEXT, TEXT, TEXT, TEXT, MAYBE, MAYBE, MAYBE, TEXT, st.just(()), NUMBER, st.none() | NUMBER, NUMBER
    ),
    PLACES,
)  # fmt: skip


@given(st.lists(HITS, max_size=4))
def test_hits_come_back_from_json_as_they_were(hits):
    assert hits_from_json(json.loads(hits_to_json(hits))) == hits


@given(WINDOWS)
def test_a_window_comes_back_from_json_as_it_was(window):
    text = with_notice(window_to_json(window), "hurry up")

    assert window_from_json(json.loads(text)) == window
    assert json.loads(text)["notice"] == "hurry up"


@given(WINDOWS, st.lists(HITS, max_size=2), TEXT)
def test_no_result_holds_a_character_that_could_open_a_mark_of_a_chat_template(window, hits, message):
    assert "<" not in window_to_json(window) + hits_to_json(hits) + error_to_json("not_found", message)


def test_a_result_has_the_documented_fields():
    window = Window("p", "u", "h", "t", "news", None, None, None, "text", (Link(0, 4, "v", "text"),), 0, 4, 9)

    assert list(json.loads(window_to_json(window))) == [
        "page_id", "url", "host", "title", "source_kind", "published_at", "about_url", "entity_type", "offset",
        "next_offset", "total_chars", "text", "links",
    ]  # fmt: skip
    hit = json.loads(hits_to_json([Hit("u", "t", "h", "k", None, "s", 1.5)]))["results"][0]
    assert list(hit) == ["url", "title", "host", "source_kind", "published_at", "snippet", "score"]


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ('{"query": "x", "top_k": 21}', "top_k"),
        ('{"query": ""}', "query"),
        ('{"query": "%s"}' % ("x" * 513), "query"),
        ('{"query": "x", "shell": "rm"}', "shell"),
        ('{"query": {"$gt": ""}}', "query"),
        ("{}", "query"),
        ('["x"]', "object"),
        ('{"query": "x"', "JSON"),
        ("__import__('os').system('true')", "JSON"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_with_a_sentence(arguments, wrong):
    value, problem = parse_arguments(arguments, SearchArguments)

    assert value is None
    assert wrong in problem
    assert problem.endswith(".")


def test_arguments_that_fit_are_taken_with_their_defaults():
    assert parse_arguments('{"query": "x"}', SearchArguments) == (SearchArguments(query="x", top_k=8), "")
    assert parse_arguments('{"url": "https://a/", "offset": 5}', VisitArguments)[0].offset == 5


@pytest.mark.parametrize("tool", [SEARCH, VISIT])
def test_a_tool_is_described_by_a_closed_schema_without_titles(tool):
    assert tool.parameters["type"] == "object"
    assert tool.parameters["additionalProperties"] is False
    assert "title" not in json.dumps(tool.parameters)
    assert all(field["description"] for field in tool.parameters["properties"].values())
