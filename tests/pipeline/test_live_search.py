"""Search services: what is sent, what is understood, and what becomes of their faults."""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.pipeline.scripted_web import answer, in_turn, scripted_web

from datagen.clients.cache import ReplyCache
from datagen.clients.retrying import Patience
from datagen.clients.websearch import SearchSettings, open_search, plain_text, trimmed
from datagen.errors import (
    ConfigError,
    CredentialsError,
    EndpointDownError,
    InvalidRequestError,
    ReplayMissError,
    RetriesExhaustedError,
)

pytestmark = pytest.mark.pipeline

KEY = "planted-key-7f3a9c"
SEARXNG = {
    "query": "rivers",
    "results": [
        {"url": "https://a.example/1", "title": "One", "content": "The <b>first</b> &amp; best", "score": 3.5, "publishedDate": "2024-05-01T10:00:00"},
        {"url": "https://a.example/1", "title": "One again", "content": "", "score": 1.0},
        {"url": "javascript:alert(1)", "title": "Bad", "content": ""},
        {"url": "https://a.example/2", "title": "Two", "content": None, "score": 1.25, "publishedDate": None},
    ],
    "unresponsive_engines": [],
}  # fmt: skip
SERPER = {
    "searchParameters": {"q": "rivers", "type": "search"},
    "organic": [
        {"title": "One", "link": "https://a.example/1", "snippet": "The first", "date": "3 days ago", "position": 1},
        {"title": "Two", "link": "https://a.example/2", "snippet": "The second", "position": 2},
    ],
}
BRAVE = {
    "type": "search",
    "web": {
        "type": "search",
        "results": [
            {"title": "One", "url": "https://a.example/1", "description": "The <strong>first</strong>", "page_age": "2024-05-01T00:00:00"},
            {"title": "Two", "url": "https://a.example/2", "description": "The second", "age": "2 weeks ago"},
        ],
    },
}  # fmt: skip
TAVILY = {
    "query": "rivers",
    "results": [
        {"title": "One", "url": "https://a.example/1", "content": "The first", "score": 0.9, "raw_content": None},
        {"title": "Two", "url": "https://a.example/2", "content": "The second", "score": 0.5},
    ],
    "response_time": 0.4,
}
PATHS = {"searxng": "/search", "serper": "/search", "brave": "/res/v1/web/search", "tavily": "/search"}
ANSWERS = {"searxng": SEARXNG, "serper": SERPER, "brave": BRAVE, "tavily": TAVILY}


@pytest.fixture
def server():
    with scripted_web() as web:
        yield web


def client(server, tmp_path, service="searxng", *, key=KEY, offline=False, attempts=3):
    settings = SearchSettings(
        service, server.url, key, requests_per_minute=1e6, attempts=attempts, patience=Patience(0.01, 0.02, 0.0)
    )
    return open_search(settings, ReplyCache(tmp_path, "search"), offline=offline)


def as_json(value: object, **changes):
    return answer(json.dumps(value).encode(), content_type="application/json", **changes)


@pytest.mark.parametrize("service", PATHS)
def test_every_service_is_asked_in_its_way_and_understood(server, tmp_path, service):
    server.routes[PATHS[service]] = as_json(ANSWERS[service])

    found = client(server, tmp_path, service).search("rivers", 5)

    assert [result.url for result in found] == ["https://a.example/1", "https://a.example/2"]
    assert [result.title for result in found] == ["One", "Two"]
    assert found[0].snippet.startswith("The first")
    assert "<" not in found[0].snippet
    assert found[0].score > found[1].score
    dated = {"searxng", "brave"}
    assert found[0].published_at == ("2024-05-01" if service in dated else None)
    headers, path = {name.lower(): value for name, value in server.headers[0].items()}, server.paths()[0]
    if service == "searxng":
        assert path == "/search?q=rivers&format=json&pageno=1"
    elif service == "serper":
        assert json.loads(server.bodies[0]) == {"q": "rivers", "num": 10}
        assert headers["x-api-key"] == KEY
    elif service == "brave":
        assert path == "/res/v1/web/search?q=rivers&count=5&text_decorations=false&result_filter=web"
        assert headers["x-subscription-token"] == KEY
    else:
        assert json.loads(server.bodies[0]) == {"query": "rivers", "max_results": 5, "search_depth": "basic"}
        assert headers["authorization"] == f"Bearer {KEY}"


def test_an_answer_without_hits_is_an_empty_list(server, tmp_path):
    server.routes["/res/v1/web/search"] = as_json({"type": "search", "query": {}})
    server.routes["/search"] = as_json({"results": []})

    assert client(server, tmp_path, "brave").search("rivers", 5) == []
    assert client(server, tmp_path, "searxng").search("rivers", 5) == []


def test_a_search_is_made_once_by_all_threads_and_later_runs_and_offline(server, tmp_path):
    server.routes["/search"] = as_json(SEARXNG)
    search = client(server, tmp_path)

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: search.search("  rivers ", 5), range(40)))

    assert all(results == found[0] for results in found)
    assert client(server, tmp_path).search("rivers", 5) == found[0]
    offline = client(server, tmp_path, offline=True, key="")
    assert offline.search("rivers", 5) == found[0]
    with pytest.raises(ReplayMissError):
        offline.search("rivers", 6)
    assert len(server.asked) == 1


def test_faults_that_pass_are_tried_again_and_not_kept(server, tmp_path):
    faults = [
        answer(b"", status=429),
        answer(b"", status=429, retry_after="0"),
        answer(b"", status=500),
        answer(b"", status=503),
        answer(b'{"results": [', content_type="application/json"),
        answer(b"{}", content_length="900", connection="close"),
        as_json({"results": [], "unresponsive_engines": [["google", "timeout"]]}),
    ]
    server.routes["/search"] = in_turn(*faults, as_json(SEARXNG))

    assert len(client(server, tmp_path, attempts=8).search("rivers", 5)) == 2

    server.routes["/search"] = in_turn(*[answer(b"", status=500)] * 3, as_json(SEARXNG))
    with pytest.raises(RetriesExhaustedError):
        client(server, tmp_path).search("lakes", 5)
    assert len(client(server, tmp_path).search("lakes", 5)) == 2


@pytest.mark.parametrize("status", [401, 402, 403, 432, 433])
def test_a_refused_key_ends_the_run_with_a_sentence_that_does_not_hold_it(server, tmp_path, status, caplog):
    caplog.set_level(logging.DEBUG)
    server.routes["/search"] = answer(KEY.encode(), status=status)

    with pytest.raises(CredentialsError) as caught:
        client(server, tmp_path, "tavily").search("rivers", 5)

    assert "check the key" in str(caught.value)
    assert KEY not in str(caught.value) + repr(caught.value) + caplog.text
    assert len(server.asked) == 1


def test_the_key_is_in_no_file_and_no_representation(server, tmp_path):
    server.routes["/search"] = as_json(TAVILY)
    search = client(server, tmp_path, "tavily")
    search.search("rivers", 5)

    assert KEY not in repr(search._settings)
    assert all(KEY.encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_service_of_another_kind_is_noticed(server, tmp_path):
    server.routes["/search"] = as_json({"organic": []})

    with pytest.raises(InvalidRequestError, match=r"web\.live\.service"):
        client(server, tmp_path, "searxng").search("rivers", 5)
    server.routes["/search"] = answer(b"", status=422)
    with pytest.raises(InvalidRequestError):
        client(server, tmp_path, "tavily").search("rivers", 5)
    server.routes["/search"] = answer(b"", status=302, location="http://127.0.0.1/")
    with pytest.raises(InvalidRequestError):
        client(server, tmp_path, "serper").search("rivers", 5)


def test_a_service_that_is_down_ends_the_run(server, tmp_path):
    server.routes["/search"] = answer(b"", status=500)
    search = client(server, tmp_path, attempts=1)

    def ask(number: int) -> str:
        try:
            search.search(f"rivers {number}", 5)
        except (RetriesExhaustedError, EndpointDownError) as exc:
            return type(exc).__name__
        return "answered"

    assert "EndpointDownError" in [ask(number) for number in range(200)]


@pytest.mark.parametrize(
    "base_url", ["", "ftp://a.example", f"https://me:{KEY}@a.example", f"https://a.example/?key={KEY}"]
)
def test_a_wrong_address_is_refused_before_anything_is_asked(tmp_path, base_url):
    with pytest.raises(ConfigError) as caught:
        open_search(SearchSettings("searxng", base_url), ReplyCache(tmp_path, "search"))

    assert KEY not in str(caught.value)


def test_a_service_that_needs_a_key_says_so(tmp_path):
    with pytest.raises(ConfigError, match="api_key_env"):
        open_search(SearchSettings("brave"), ReplyCache(tmp_path, "search"))


def test_queries_are_cut_to_what_services_take():
    assert trimmed("  a \n b  ") == "a b"
    assert len(trimmed("word " * 200).split()) == 50
    assert len(trimmed("x" * 1_000)) == 400


def test_snippets_lose_their_markup_and_nothing_else():
    assert plain_text("1 < 2 and <em>3</em> > 2 &lt;tag&gt;") == "1 < 2 and 3 > 2 <tag>"
    assert plain_text(None) == ""
