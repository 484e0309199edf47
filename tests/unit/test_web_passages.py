"""Passages about a goal: verbatim, in page order, within the limit, with their links."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from datagen.records.page import Link, Page
from datagen.web.passages import chosen_passages, extract

TEXT = (
    "Ruritania is a country in the east.\n\n"
    "Land boundaries - border countries: Veltrin 120 km; Komura 88 km\n"
    "Exports - partners: Veltrin 40%, Naiko 12%\n"
    "Climate: mild\n"
)


def page(text: str = TEXT, links: tuple[Link, ...] = ()) -> Page:
    return Page("page-1", "https://a.example/ruritania", "a.example", "reference", "Ruritania", text, links)


def test_a_goal_brings_the_first_passage_and_the_lines_that_speak_of_it():
    window = extract(page(), "export partners")

    assert window.text == "Ruritania is a country in the east.\nExports - partners: Veltrin 40%, Naiko 12%"
    assert (window.next_offset, window.total_chars) == (None, len(TEXT))


def test_links_inside_a_passage_move_with_it_and_others_stay_away():
    start = TEXT.index("Veltrin 40%")
    first = TEXT.index("Veltrin 120")
    links = (
        Link(first, first + 7, "https://a.example/v", "Veltrin"),
        Link(start, start + 7, "https://a.example/v", "Veltrin"),
    )

    window = extract(page(links=links), "exports")

    assert [window.text[link.start : link.end] for link in window.links] == ["Veltrin"]


def test_a_goal_that_nothing_speaks_of_leaves_the_first_passage():
    assert extract(page(), "volcano").text == "Ruritania is a country in the east."


@given(st.lists(st.text("ab .\n", max_size=60), max_size=12), st.text("ab ", max_size=10), st.integers(1, 200))
def test_passages_are_in_order_do_not_overlap_and_keep_the_limit(lines, goal, limit):
    text = "\n".join(lines)

    spans = chosen_passages(text, goal, limit)

    assert all(a < b for a, b in spans)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
    assert sum(b - a for a, b in spans[1:]) <= limit
