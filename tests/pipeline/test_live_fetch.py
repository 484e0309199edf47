"""Fetching from a server that does everything servers should not, on real sockets."""

from __future__ import annotations

import gzip
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import zstandard
from tests.pipeline.scripted_web import ScriptedServer, answer, forward, in_turn, scripted_web

from datagen.clients.cache import ReplyCache
from datagen.clients.fetch import Fetcher, FetchPolicy
from datagen.clients.retrying import Patience
from datagen.errors import FetchError, ReplayMissError

pytestmark = pytest.mark.pipeline

PAGE = b"<!DOCTYPE html><title>A page</title><p>Words of a page.</p>"
POLICY = FetchPolicy(timeout_seconds=5, seconds_per_host=0, attempts=3, patience=Patience(0.01, 0.02, 0.0))


@pytest.fixture
def web():
    with scripted_web() as server:
        yield server


@pytest.fixture
def fetcher(web, tmp_path):
    return make_fetcher(web, tmp_path)


def make_fetcher(web: ScriptedServer, tmp_path, **changes) -> Fetcher:
    return Fetcher(replace(POLICY, allow_hosts=(web.netloc,), **changes), ReplyCache(tmp_path, "fetch"))


def refusal(fetcher: Fetcher, url: str) -> str:
    with pytest.raises(FetchError) as caught:
        fetcher.fetch(url)
    return caught.value.reason


def test_a_page_comes_with_its_time_its_hash_and_what_it_is(web, fetcher):
    web.routes["/a"] = answer(PAGE, content_type="text/html; charset=utf-8", last_modified="yesterday")

    page = fetcher.fetch(f"{web.url}/a#part")

    assert page.url == page.final_url == f"{web.url}/a"
    assert (page.body, page.status, page.content_type, page.charset) == (PAGE, 200, "text/html", "utf-8")
    assert (page.redirects, page.last_modified) == ((), "yesterday")
    assert len(page.sha256) == 64
    assert page.fetched_at.endswith("+00:00")
    assert web.headers[-1]["User-Agent"] == "datagen"
    assert "Cookie" not in web.headers[-1]


def test_a_page_is_asked_for_once_by_all_threads_and_later_runs(web, tmp_path):
    web.routes["/a"] = answer(PAGE)
    fetcher = make_fetcher(web, tmp_path)

    with ThreadPoolExecutor(32) as pool:
        pages = list(pool.map(lambda _: fetcher.fetch(f"{web.url}/a"), range(64)))

    assert len(set(pages)) == 1
    assert make_fetcher(web, tmp_path).fetch(f"{web.url}/a") == pages[0]
    assert web.paths() == ["/robots.txt", "/a"]


def test_offline_nothing_is_asked_and_a_miss_is_said(web, tmp_path):
    web.routes["/a"] = answer(PAGE)
    page = make_fetcher(web, tmp_path).fetch(f"{web.url}/a")
    refusal(make_fetcher(web, tmp_path), f"{web.url}/gone")
    policy = replace(POLICY, allow_hosts=(web.netloc,), resolver=lambda host, port: pytest.fail("a name was looked up"))
    before = len(web.asked)

    offline = Fetcher(policy, ReplyCache(tmp_path, "fetch"), offline=True)

    assert offline.fetch(f"{web.url}/a") == page
    assert refusal(offline, f"{web.url}/gone") == "not_found"
    with pytest.raises(ReplayMissError):
        offline.fetch(f"{web.url}/b")
    with pytest.raises(ReplayMissError):
        offline.fetch("https://www.elsewhere.example/")
    assert len(web.asked) == before


def test_a_local_server_is_refused_unless_it_is_named(web, tmp_path):
    web.routes["/a"] = answer(PAGE)

    assert refusal(Fetcher(POLICY, ReplyCache(tmp_path, "fetch")), f"{web.url}/a") == "port"
    assert refusal(Fetcher(POLICY, ReplyCache(tmp_path, "fetch")), "http://127.0.0.1/a") == "address"
    assert refusal(Fetcher(POLICY, ReplyCache(tmp_path, "fetch")), "http://localhost/a") == "address"
    assert web.asked == []


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("http://127.0.0.1/admin", "address"),
        ("http://localhost/admin", "address"),
        ("http://[::1]/", "address"),
        ("http://169.254.169.254/latest/meta-data/", "address"),
        ("http://[::ffff:10.0.0.1]/", "address"),
        ("http://inside.example/", "address"),
        ("http://2130706433/", "host"),
        ("http://0x7f.1/", "host"),
        ("file:///etc/passwd", "scheme"),
        ("gopher://127.0.0.1:70/", "scheme"),
        ("http://user@127.0.0.1/", "userinfo"),
        ("https://www.example:22/", "port"),
        ("//127.0.0.1:1/", "port"),
        ("http://a.example\\@127.0.0.1/", "url"),
    ],
)
def test_a_redirect_into_the_private_network_is_refused(web, tmp_path, target, reason):
    web.routes["/r"] = forward(target)
    fetcher = make_fetcher(web, tmp_path, resolver=lambda host, port: ["10.11.12.13"])

    assert refusal(fetcher, f"{web.url}/r") == reason
    assert web.paths() == ["/robots.txt", "/r"]


def test_a_robots_file_that_forwards_into_the_private_network_is_not_followed(web, tmp_path):
    web.routes["/robots.txt"] = forward("http://169.254.169.254/robots.txt")

    assert refusal(make_fetcher(web, tmp_path), f"{web.url}/a") == "address"
    assert web.paths() == ["/robots.txt"]


def test_redirects_are_followed_each_address_being_kept_for_itself(web, fetcher):
    web.routes["/a"] = forward("b", 301)
    web.routes["/b"] = forward(f"{web.url}/c", 308)
    web.routes["/c"] = answer(PAGE)

    page = fetcher.fetch(f"{web.url}/a")

    assert (page.url, page.final_url) == (f"{web.url}/a", f"{web.url}/c")
    assert page.redirects == (f"{web.url}/a", f"{web.url}/b")
    assert fetcher.fetch(f"{web.url}/c").body == PAGE
    assert fetcher.fetch(f"{web.url}/b").redirects == (f"{web.url}/b",)
    assert web.paths() == ["/robots.txt", "/a", "/b", "/c"]


def test_circles_and_endless_redirects_end(web, fetcher):
    web.routes["/a"], web.routes["/b"] = forward("/b"), forward("/a")
    web.routes["/n"] = lambda handler: forward(f"/n?{handler.path.partition('?')[2]}x")(handler)
    web.routes["/nowhere"] = answer(b"", status=302)

    assert refusal(fetcher, f"{web.url}/a") == "redirects"
    assert refusal(fetcher, f"{web.url}/n") == "redirects"
    assert web.paths().count("/n?xxxxx") == 1
    assert "/n?xxxxxx" not in web.paths()
    assert refusal(fetcher, f"{web.url}/nowhere") == "redirects"


def drip(handler, *, head: bool) -> None:
    """A byte now and then, for much longer than anybody waits."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n" + (b"" if head else b"\r\n"))
    for _ in range(600):
        time.sleep(0.05)
        handler.wfile.write(b"X-Slow: 1\r\n" if head else b"<")


@pytest.mark.parametrize("head", [True, False])
def test_a_server_that_drips_is_left(web, tmp_path, head):
    web.routes["/slow"] = lambda handler: drip(handler, head=head)
    fetcher = make_fetcher(web, tmp_path, timeout_seconds=0.4, attempts=1)

    assert refusal(fetcher, f"{web.url}/slow") == "timeout"


def test_a_head_without_end_is_refused(web, tmp_path):
    def endless(handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            handler.wfile.write(b"X-More: " + b"y" * 8_000 + b"\r\n")

    web.routes["/head"] = endless

    assert refusal(make_fetcher(web, tmp_path, attempts=1), f"{web.url}/head") in {"connection", "too_large"}


def test_a_body_without_end_is_refused(web, tmp_path):
    def endless(handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n")
        while True:
            handler.wfile.write(b"<p>more</p>" * 1_000)

    web.routes["/body"] = endless

    assert refusal(make_fetcher(web, tmp_path, max_bytes=300_000), f"{web.url}/body") == "too_large"


def test_a_page_that_says_it_is_too_large_is_not_read(web, tmp_path):
    web.routes["/big"] = answer(b"", content_length="900000")

    assert refusal(make_fetcher(web, tmp_path, max_bytes=300_000), f"{web.url}/big") == "too_large"


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_a_bomb_is_refused(web, fetcher, coding):
    zeros = b"<html>" + b" " * 50_000_000
    bomb = gzip.compress(zeros) if coding == "gzip" else zstandard.compress(zeros)
    web.routes["/bomb"] = answer(bomb, content_encoding=coding)

    assert refusal(fetcher, f"{web.url}/bomb") in {"bomb", "too_large"}


def test_a_packed_page_is_unpacked(web, fetcher):
    web.routes["/gz"] = answer(gzip.compress(PAGE), content_encoding="gzip")
    web.routes["/br"] = answer(b"\x0b\x02\x80words\x03", content_encoding="br")

    assert fetcher.fetch(f"{web.url}/gz").body == PAGE
    assert refusal(fetcher, f"{web.url}/br") == "encoding"


@pytest.mark.parametrize(
    ("body", "content_type", "reason"),
    [
        (b"\x89PNG\r\n\x1a\n" + b"\x00" * 2_000, "text/html", "type"),
        (b'{"a": 1}', "application/json", "type"),
        (b"", "text/html", "empty"),
        (b"  \n ", "text/html", "empty"),
    ],
)
def test_what_is_no_page_is_refused_by_its_bytes(web, fetcher, body, content_type, reason):
    web.routes["/x"] = answer(body, content_type=content_type)

    assert refusal(fetcher, f"{web.url}/x") == reason


@pytest.mark.parametrize(
    ("status", "reason"),
    [(404, "not_found"), (410, "not_found"), (403, "forbidden"), (451, "forbidden"), (418, "status"), (204, "status")],
)
def test_a_refusal_of_the_server_is_kept_and_not_asked_for_again(web, fetcher, status, reason):
    web.routes["/x"] = answer(b"", status=status)

    assert refusal(fetcher, f"{web.url}/x") == reason
    assert refusal(fetcher, f"{web.url}/x") == reason
    assert web.paths() == ["/robots.txt", "/x"]


def test_a_passing_fault_is_tried_again_and_never_kept(web, fetcher):
    web.routes["/x"] = in_turn(answer(b"", status=503), answer(b"", status=500), answer(PAGE))
    web.routes["/y"] = in_turn(*[answer(b"", status=502)] * 3, answer(PAGE))
    web.routes["/z"] = in_turn(answer(PAGE, content_length="9000", connection="close"), answer(PAGE))

    assert fetcher.fetch(f"{web.url}/x").body == PAGE
    assert refusal(fetcher, f"{web.url}/y") == "server"
    assert fetcher.fetch(f"{web.url}/y").body == PAGE
    assert fetcher.fetch(f"{web.url}/z").body == PAGE


def test_a_fault_that_stays_is_kept_for_the_run_that_saw_it(web, tmp_path):
    web.routes["/y"] = in_turn(*[answer(b"", status=502)] * 3, answer(PAGE))
    shared, run = ReplyCache(tmp_path / "shared", "fetch"), ReplyCache(tmp_path / "run", "fetch")
    policy = replace(POLICY, allow_hosts=(web.netloc,))

    assert refusal(Fetcher(policy, shared, failures=run), f"{web.url}/y") == "server"
    assert refusal(Fetcher(policy, shared, failures=run), f"{web.url}/y") == "server"
    assert refusal(Fetcher(policy, shared, failures=run, offline=True), f"{web.url}/y") == "server"
    assert Fetcher(policy, shared).fetch(f"{web.url}/y").body == PAGE


def test_a_host_that_asks_to_wait_is_waited_for_but_not_for_hours(web, fetcher):
    web.routes["/x"] = in_turn(answer(b"", status=429, retry_after="1"), answer(PAGE))
    web.routes["/y"] = answer(b"", status=503, retry_after="7200")
    started = time.monotonic()

    assert fetcher.fetch(f"{web.url}/x").body == PAGE
    assert time.monotonic() - started >= 1.0
    assert refusal(fetcher, f"{web.url}/y") == "throttled"


def test_what_robots_forbids_is_not_asked_for(web, fetcher):
    rules = b"User-agent: *\nDisallow: /private\nUser-agent: otherbot\nDisallow: /\n"
    web.routes["/robots.txt"] = answer(rules, content_type="text/plain")
    web.routes["/open"] = answer(PAGE)
    web.routes["/hop"] = forward("/private/b")

    assert refusal(fetcher, f"{web.url}/private/a") == "robots"
    assert refusal(fetcher, f"{web.url}/hop") == "robots"
    assert fetcher.fetch(f"{web.url}/open").body == PAGE
    assert web.paths() == ["/robots.txt", "/hop", "/open"]


def test_robots_may_speak_to_this_program_by_name(web, tmp_path):
    web.routes["/robots.txt"] = answer(b"User-agent: datagen\nDisallow: /\n", content_type="text/plain")
    fetcher = make_fetcher(web, tmp_path, user_agent="datagen/1.0 (+https://about.example)")

    assert refusal(fetcher, f"{web.url}/a") == "robots"


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_site_whose_robots_file_fails_is_not_read_for_now(web, fetcher, status):
    web.routes["/robots.txt"] = answer(b"", status=status)
    web.routes["/a"] = answer(PAGE)

    assert refusal(fetcher, f"{web.url}/a") == "robots_unreachable"
    assert set(web.paths()) == {"/robots.txt"}


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_site_without_a_robots_file_may_be_read(web, fetcher, status):
    web.routes["/robots.txt"] = answer(b"User-agent: *\nDisallow: /", status=status)
    web.routes["/a"] = answer(PAGE)

    assert fetcher.fetch(f"{web.url}/a").body == PAGE


def test_robots_files_are_followed_cut_and_bounded(web, tmp_path):
    long = b"User-agent: *\nDisallow: /private\n" + b"# filler\n" * 100_000 + b"Disallow: /open\n"
    web.routes["/robots.txt"] = forward("/rules")
    web.routes["/rules"] = answer(long, content_type="text/plain")
    web.routes["/open"] = answer(PAGE)

    fetcher = make_fetcher(web, tmp_path)
    assert refusal(fetcher, f"{web.url}/private") == "robots"
    assert fetcher.fetch(f"{web.url}/open").body == PAGE

    many = b"".join(b"User-agent: a%d\n" % i for i in range(10_000)) + b"Disallow: /x\n" * 10_000
    web.routes["/rules"] = answer(many, content_type="text/plain")
    assert refusal(make_fetcher(web, tmp_path), f"{web.url}/other") == "robots_unreachable"


def test_a_delay_that_robots_ask_for_is_kept_and_an_absurd_one_is_refused(web, tmp_path):
    web.routes["/robots.txt"] = answer(b"User-agent: *\nCrawl-delay: 0.3\n", content_type="text/plain")
    web.routes["/a"] = web.routes["/b"] = web.routes["/c"] = answer(PAGE)
    fetcher = make_fetcher(web, tmp_path)
    fetcher.fetch(f"{web.url}/a")
    started = time.monotonic()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(fetcher.fetch, [f"{web.url}/b", f"{web.url}/c"]))
    assert time.monotonic() - started >= 0.59

    web.routes["/robots.txt"] = answer(b"User-agent: *\nCrawl-delay: 4000\n", content_type="text/plain")
    assert refusal(make_fetcher(web, tmp_path), f"{web.url}/d") == "robots"


def test_a_host_gets_one_request_at_a_time(web, tmp_path):
    working: list[int] = []
    seen: list[int] = []

    def page(handler) -> None:
        # Counted until the answer is written: a client that has it may ask again before the server's thread has ended.
        working.append(1)
        time.sleep(0.02)
        seen.append(len(working))
        working.pop()
        answer(PAGE)(handler)

    for number in range(12):
        web.routes[f"/{number}"] = page
    fetchers = [
        Fetcher(
            replace(POLICY, allow_hosts=(web.netloc,), seconds_per_host=0.001),
            ReplyCache(tmp_path, "fetch"),
            turns=tmp_path / "turns",
        )
        for _ in range(2)
    ]

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda number: fetchers[number % 2].fetch(f"{web.url}/{number}"), range(12)))

    assert seen == [1] * 12


def test_hosts_are_asked_side_by_side(web, tmp_path):
    both = threading.Barrier(2, timeout=10)

    def page(handler) -> None:
        both.wait()
        answer(PAGE)(handler)

    web.routes["/a"] = page
    fetcher = make_fetcher(web, tmp_path, resolve={".test": web.netloc}, obey_robots=False)

    with ThreadPoolExecutor(2) as pool:
        pages = list(pool.map(fetcher.fetch, ["https://one.test/a", "https://two.test/a"]))

    assert [page.final_url for page in pages] == ["https://one.test/a", "https://two.test/a"]
    assert sorted(host for host, _ in web.asked) == ["one.test", "two.test"]
