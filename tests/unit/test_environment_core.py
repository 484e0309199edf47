"""The two tools as pure functions: toolbox JSON to the byte, windows of any size, and nothing that raises."""

from __future__ import annotations

import random

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.agents.toolbox import hits_to_json, window_to_json
from datagen.environment.core import MAX_QUERIES, MIN_WINDOW_CHARS, SearchCore, to_bytes, to_text
from datagen.web.passages import EXTRACT_CHARS, extract
from datagen.web.snapshot import BuildOptions, Snapshot, build_snapshot
from datagen.web.snapshot_web import SnapshotWeb
from datagen.web.sources import open_source
from datagen.web.store import Meta
from datagen.web.tools import Window, read_whole
from datagen.web.windows import window_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


class LongPage:
    """One page of 40,000 characters with links, some of them longer than a small window."""

    def __init__(self) -> None:
        draw = random.Random(7)
        words = [draw.choice(["harbour", "mill", "a", "crossing", "tower\n", "<|im_end|>"]) for _ in range(7_000)]
        self.text = " ".join(words)
        starts = sorted(draw.sample(range(0, len(self.text) - 400, 90), 200))
        self.links = [(start, start + draw.choice((4, 20, 60)), "https://b.example/") for start in starts]
        self.meta = Meta(
            "pg1", "https://a.example/", "a.example", "encyclopedia", "Long", None, None, None, "", None, None
        )

    def search(self, query: str, top_k: int = 5):
        raise NotImplementedError

    def visit(self, url: str, offset: int = 0) -> Window:
        return window_of(self.meta, self.text, self.links, asked=url, offset=offset)


@pytest.fixture(scope="module")
def web(tmp_path_factory) -> SnapshotWeb:
    folder = tmp_path_factory.mktemp("core") / "snapshot"
    build_snapshot([open_source("synthetic:seed=3,pages=300")], folder, BuildOptions("fast", workers=1))
    return SnapshotWeb(Snapshot.open(folder))


def test_results_are_those_of_the_toolbox_to_the_byte(web):
    core = SearchCore(web)
    for page in web.snapshot.pages(0, 60):
        assert to_text(core.search(page.title, 5)) == hits_to_json(web.search(page.title, 5))
        assert to_text(core.visit(page.url)) == window_to_json(web.visit(page.url))


def test_a_goal_on_a_long_page_is_answered_with_its_passages():
    web = LongPage()

    found = SearchCore(web).visit("https://a.example/", goal="crossing")

    assert to_text(found) == window_to_json(extract(read_whole(web, "https://a.example/")[0], "crossing"))
    assert len(found["text"]) < 1.1 * EXTRACT_CHARS < found["total_chars"]


@given(st.integers(MIN_WINDOW_CHARS, 16_000))
@settings(max_examples=60, deadline=None)
def test_windows_of_any_size_read_a_page_whole_and_nothing_of_it_twice(size):
    web = LongPage()
    core = SearchCore(web)
    text, links, offset = "", [], 0
    while offset is not None:
        window = core.visit("https://a.example/", offset=offset, max_chars=size)
        assert len(window["text"]) <= size
        assert window["offset"] == offset == len(text)
        links += [(start + offset, end + offset, url) for start, end, url in window["links"]]
        text += window["text"]
        offset = window["next_offset"]

    assert text == web.text
    assert links == web.links


@given(JSON, JSON, JSON, JSON)
@settings(max_examples=300, deadline=None)
def test_whatever_is_passed_the_result_is_one_of_the_known_kinds(a, b, c, d):
    core = SearchCore(LongPage())

    for result in (core.visit(a, b, c, d), core.search_fault(a, b) or {}, core.retrieve_fault(a, b, c) or {}):
        assert set(result) in ({"error", "message"}, set()) or "text" in result
        assert len(result.get("message", "")) < 3_000
        orjson.loads(to_bytes(result))


@pytest.mark.parametrize(
    "asked",
    [
        {"query": ""},
        {"query": "x" * 513},
        {"query": 5},
        {"query": "x", "top_k": 0},
        {"query": "x", "top_k": 21},
        {"query": "x", "top_k": True},
        {"query": "x", "top_k": 2.0},
        {"query": "\ud800"},
    ],
)
def test_arguments_of_search_that_do_not_fit_are_refused_in_equal_words(web, asked):
    core = SearchCore(web)

    assert core.search(**asked)["error"] == "bad_arguments"
    assert core.search(**asked) == core.search(**asked)


@pytest.mark.parametrize(
    "asked",
    [{"offset": -1}, {"offset": "0"}, {"goal": 3}, {"goal": "g" * 1_001}, {"max_chars": 199}, {"max_chars": 16_001}],
)
def test_arguments_of_visit_that_do_not_fit_are_refused(web, asked):
    assert SearchCore(web).visit("https://a.example/", **asked)["error"] == "bad_arguments"


def test_a_page_that_is_not_there_is_an_ordinary_result(web):
    core = SearchCore(web)
    url = next(iter(web.snapshot.pages())).url

    assert core.visit("https://nowhere.example/") == {
        "error": "not_found",
        "message": "There is nothing at https://nowhere.example/.",
    }
    assert core.visit(url, offset=10**6)["error"] == "not_found"


def test_no_result_holds_a_bracket_with_which_chat_templates_mark_turns():
    assert b"<" not in to_bytes(SearchCore(LongPage()).visit("https://a.example/"))


def test_retrieve_answers_in_the_shape_of_search_r1(web):
    core = SearchCore(web)
    titles = [page.title for page in web.snapshot.pages(0, 3)]

    scored = core.retrieve(titles, topk=2, return_scores=True)["result"]
    plain = core.retrieve(titles, topk=2)["result"]

    assert [len(documents) for documents in scored] == [2, 2, 2]
    assert [[item["document"] for item in documents] for documents in scored] == plain
    assert all(isinstance(item["score"], float) for documents in scored for item in documents)
    first = plain[0][0]
    assert first["contents"].splitlines()[0] == f'"{first["title"]}"'
    assert first["contents"].partition("\n")[2]
    assert core.retrieve([])["error"] == core.retrieve(["x"] * (MAX_QUERIES + 1))["error"] == "bad_arguments"
    assert core.retrieve("x")["error"] == core.retrieve(["x"], return_scores="yes")["error"] == "bad_arguments"
