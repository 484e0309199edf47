"""A session on the live web: against the served synthetic web, again offline, and as a sealed snapshot."""

from __future__ import annotations

import io
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import orjson
import pytest
from pypdf import PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject
from tests.pipeline.scripted_web import answer, forward, scripted_web

from datagen.clients.cache import ReplyCache
from datagen.clients.fetch import FetchPolicy
from datagen.clients.retrying import Patience
from datagen.clients.websearch import SearchSettings
from datagen.errors import PageNotFoundError, ReplayMissError, RetriesExhaustedError, SnapshotError
from datagen.web.knowledge_pass import build_knowledge
from datagen.web.live import open_live
from datagen.web.recording import Recording
from datagen.web.snapshot import BuildOptions, Snapshot, build_snapshot
from datagen.web.snapshot_web import SnapshotWeb
from datagen.web.sources import open_source
from datagen.web.synthetic.ontology import load_ontology
from datagen.web.synthetic.pages import SyntheticWeb
from datagen.web.synthetic.search_service import running_search
from datagen.web.synthetic.server import running
from datagen.web.tools import WINDOW_CHARS, read_whole

pytestmark = pytest.mark.pipeline

QUERIES = (
    "river that flows through",
    "football club founded",
    "register of all bridges",
    "who coached the club",
    "zzz",
)


def policy(**changes) -> FetchPolicy:
    return replace(FetchPolicy(seconds_per_host=0, timeout_seconds=20, patience=Patience(0.01, 0.02, 0.0)), **changes)


def settings(address: str) -> SearchSettings:
    return SearchSettings("searxng", address, requests_per_minute=1e6)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web") / "snapshot"
    build_snapshot([open_source("synthetic:seed=9,pages=600")], folder, BuildOptions(workers=1))
    return SnapshotWeb(Snapshot.open(folder))


@pytest.fixture(scope="module")
def internet(snapshot):
    """One server that is the search service and every host of the synthetic web."""
    with running(SyntheticWeb(9, 600), search=snapshot) as address:
        yield address


def session(web):
    """What a few readers do: search, visit every hit, follow its first links, ask for what is not there."""

    def read(query: str):
        hits = web.search(query, 5)
        seen: list[object] = [hits]
        for hit in hits:
            window = web.visit(hit.url)
            seen.append(window)
            for link in window.links[:3]:
                try:
                    seen.append(web.visit(link.url))
                except PageNotFoundError as exc:
                    seen.append(str(exc))
        try:
            seen.append(web.visit(f"https://www.lexicora.example/nothing/{len(query)}"))
        except PageNotFoundError as exc:
            seen.append(str(exc))
        return seen

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(read, QUERIES * 3))


def test_a_session_is_the_same_offline_and_as_a_sealed_snapshot(internet, snapshot, tmp_path, monkeypatch):
    rules = policy(resolve={".example": internet.removeprefix("http://")})
    live = open_live(settings(internet), rules, Recording(tmp_path / "run"), cache=tmp_path / "cache")

    seen = session(live)

    assert seen[: len(QUERIES)] == seen[len(QUERIES) : 2 * len(QUERIES)] == seen[2 * len(QUERIES) :]
    hits = [hit for row in seen for hit in row[0]]
    assert len(hits) >= 3 * 15
    assert {hit.source_kind for hit in hits} == {"other"}
    # The live page is the page of the snapshot that was built from the same bytes.
    for url in {hit.url for hit in hits}:
        assert live.visit(url) == snapshot.visit(url)
    assert [hit.url for hit in live.search(QUERIES[0], 5)] == [hit.url for hit in snapshot.search(QUERIES[0], 5)]

    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a socket was opened"))
    recording = Recording(tmp_path / "run")
    offline = open_live(settings(internet), rules, recording, cache=tmp_path / "cache", offline=True)
    assert session(offline) == seen
    with pytest.raises(ReplayMissError):
        offline.search("a search that nobody made")
    with pytest.raises(ReplayMissError):
        offline.visit("https://www.lexicora.example/never/seen")

    manifest = recording.seal()
    sealed = SnapshotWeb(Snapshot.open(tmp_path / "run" / "snapshot"))
    for url in {hit.url for hit in hits}:
        assert sealed.visit(url) == offline.visit(url)
    assert manifest.pages >= len({hit.url for hit in hits})
    assert manifest.skipped["http_status"] >= 1
    assert sealed.search(QUERIES[0], 3)
    assert recording.seal() == manifest


def test_facts_are_read_from_a_sealed_recording_as_from_any_snapshot(tmp_path):
    world = SyntheticWeb(9, 300)
    build_snapshot([open_source("synthetic:seed=9,pages=300")], tmp_path / "built", BuildOptions(workers=1))
    recording = Recording(tmp_path / "run")
    with running(world) as address:
        rules = policy(resolve={".example": address.removeprefix("http://")})
        live = open_live(settings(address), rules, recording)  # nothing is searched for
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(live.visit, world.page_urls()))
    recording.seal()

    folders = (tmp_path / "built", tmp_path / "run" / "snapshot")
    for folder in folders:
        build_knowledge(folder, load_ontology(), workers=1)

    built, sealed = (Snapshot.open(folder) for folder in folders)
    assert {page.url: page for page in sealed.pages()} == {page.url: page for page in built.pages()}
    assert set(sealed.facts()) == set(built.facts())
    assert len(set(sealed.facts())) > 1_000


def test_a_run_is_whole_without_the_shared_cache(internet, tmp_path):
    rules = policy(resolve={".example": internet.removeprefix("http://")})
    first = session(open_live(settings(internet), rules, Recording(tmp_path / "a"), cache=tmp_path / "cache"))

    second = session(open_live(settings(internet), rules, Recording(tmp_path / "b"), cache=tmp_path / "cache"))
    (tmp_path / "cache" / "fetch.sqlite").unlink()
    replayed = session(open_live(settings(internet), rules, Recording(tmp_path / "b"), offline=True))

    assert first == second == replayed


def test_a_snapshot_grows_with_what_is_seen(internet, snapshot, tmp_path):
    rules = policy(resolve={".example": internet.removeprefix("http://")})
    recording = Recording(tmp_path / "run")
    live = open_live(settings(internet), rules, recording)
    urls = [hit.url for hit in snapshot.search("river", 6)]
    for url in urls[:3]:
        live.visit(url)
    few = recording.seal()
    for url in urls:
        live.visit(url)

    many = recording.seal()

    assert (few.pages, many.pages) == (3, 6)
    assert [page.url for page in Snapshot.open(tmp_path / "run" / "snapshot").pages()] != []
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("mine")
    with pytest.raises(SnapshotError):
        recording.seal(tmp_path / "other")


def pdf_of(*texts: str, title: str = "") -> bytes:
    writer = PdfWriter()
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
        }
    )
    for text in texts:
        page = writer.add_blank_page(400, 400)
        stream = DecodedStreamObject()
        stream.set_data(b"BT /F1 12 Tf 20 300 Td (" + text.encode("latin-1") + b") Tj ET")
        page[NameObject("/Contents")] = stream
        page[NameObject("/Resources")] = DictionaryObject(
            {NameObject("/Font"): DictionaryObject({NameObject("/F1"): font})}
        )
    if title:
        writer.add_metadata({"/Title": title})
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


@pytest.fixture
def site(tmp_path):
    """A scripted site with its live web."""
    with scripted_web() as web:
        rules = policy(allow_hosts=(web.netloc,))
        recording = Recording(tmp_path / "run")
        yield web, open_live(settings(web.url), rules, recording), recording


def test_the_text_of_a_pdf_is_read_like_a_page(site, tmp_path):
    web, live, recording = site
    body = pdf_of("The Olma rises in the hills.", "It is 43 km long.", title="On rivers")
    web.routes["/paper"] = answer(body, content_type="application/pdf")

    window = live.visit(f"{web.url}/paper")

    assert "The Olma rises in the hills." in window.text
    assert "It is 43 km long." in window.text
    assert window.title == "On rivers"
    recording.seal()
    assert SnapshotWeb(Snapshot.open(tmp_path / "run" / "snapshot")).visit(f"{web.url}/paper") == window


@pytest.mark.parametrize("body", [b"%PDF-1.7\nnot much more", pdf_of(""), pdf_of("Cut off here.")[:200]])
def test_a_pdf_without_readable_text_is_a_page_that_is_not_there(site, body):
    web, live, recording = site
    web.routes["/paper"] = answer(body, content_type="application/pdf")
    web.routes["/a"] = answer(b"<html><p>Something to read.</p>")
    live.visit(f"{web.url}/a")

    with pytest.raises(PageNotFoundError, match=r"\(pdf\)"):
        live.visit(f"{web.url}/paper")
    assert dict(recording.seal().skipped) == {"extraction_failed": 1}


def test_a_visit_that_fails_says_why_and_offline_the_same(site, tmp_path):
    web, live, _ = site
    web.routes["/robots.txt"] = answer(b"User-agent: *\nDisallow: /private\n", content_type="text/plain")
    web.routes["/image"] = answer(b"\x89PNG\r\n\x1a\n" + b"\x00" * 99, content_type="image/png")
    web.routes["/broken"] = answer(b"", status=500)
    web.routes["/hollow"] = answer(b"<html><script>var a = 1</script></html>")
    offline = open_live(settings(web.url), policy(allow_hosts=(web.netloc,)), Recording(tmp_path / "run"), offline=True)
    cases = {
        f"{web.url}/private/x": "robots",
        f"{web.url}/gone": "not_found",
        f"{web.url}/image": "type",
        f"{web.url}/broken": "server",
        f"{web.url}/hollow": "no_text",
        "http://127.0.0.1/x": "address",
        "http://169.254.169.254/latest/": "address",
        "file:///etc/passwd": "scheme",
        "http://[broken": "url",
        "": "scheme",
    }
    for url, reason in cases.items():
        with pytest.raises(PageNotFoundError, match=rf"\({reason}\)") as caught:
            live.visit(url)
        with pytest.raises(PageNotFoundError) as again:
            offline.visit(url)
        assert str(again.value) == str(caught.value)


def test_a_search_that_failed_fails_offline_in_the_same_words(site, tmp_path):
    web, _, recording = site
    web.routes["/search"] = answer(b"", status=500)
    impatient = replace(settings(web.url), attempts=2, patience=Patience(0.01, 0.02, 0.0))
    live = open_live(impatient, policy(), recording)
    with pytest.raises(RetriesExhaustedError) as caught:
        live.search("words")

    for offline in (False, True):
        again = open_live(impatient, policy(), Recording(tmp_path / "run"), offline=offline)
        with pytest.raises(RetriesExhaustedError) as repeated:
            again.search("words")
        assert str(repeated.value) == str(caught.value)
    assert len(web.asked) == 2


def test_addresses_that_forward_lead_to_one_page(site, tmp_path):
    web, live, recording = site
    web.routes["/old"] = forward("/new", 301)
    web.routes["/refresh"] = answer(b'<html><meta http-equiv="refresh" content="0; url=/new">')
    web.routes["/new"] = answer(b"<html><title>New</title><p>The new address of the page.</p>")
    web.routes["/ring"] = answer(b'<html><meta http-equiv="refresh" content="0; url=/ring2">')
    web.routes["/ring2"] = answer(b'<html><meta http-equiv="refresh" content="0; url=/ring">')

    windows = [live.visit(f"{web.url}/{name}") for name in ("old", "refresh", "new")]

    assert windows[0] == windows[1] == windows[2]
    with pytest.raises(PageNotFoundError, match="redirects"):
        live.visit(f"{web.url}/ring")
    recording.seal()
    sealed = SnapshotWeb(Snapshot.open(tmp_path / "run" / "snapshot"))
    assert [sealed.visit(f"{web.url}/{name}") for name in ("old", "refresh", "new")] == windows


def test_long_pages_are_read_in_windows(site):
    web, live, _ = site
    body = "".join(f"<p>Paragraph {i} of a very long page that goes on.</p>" for i in range(2_000))
    web.routes["/long"] = answer(f"<html><title>Long</title><main>{body}</main>".encode())

    page, visits = read_whole(live, f"{web.url}/long")

    assert visits == -(-len(page.text) // WINDOW_CHARS) or visits > 1
    assert "Paragraph 1999 " in page.text
    with pytest.raises(PageNotFoundError):
        live.visit(f"{web.url}/long", 10_000_000)
    assert web.paths().count("/long") == 1


def test_hits_are_plain_and_only_of_the_web(site):
    web, live, _ = site
    results = [
        {"url": "HTTPS://A.Example/x#y", "title": "<b>T</b>" * 200, "content": "w " * 500, "score": 2},
        {"url": "ftp://a.example/z", "title": "no", "content": ""},
    ]
    web.routes["/search"] = answer(orjson.dumps({"results": results}), content_type="application/json")

    (hit,) = live.search("words")

    assert (hit.url, hit.host, hit.source_kind) == ("https://a.example/x", "a.example", "other")
    assert len(hit.title) <= 200
    assert len(hit.snippet) <= 300
    assert "<" not in hit.title


def test_what_a_run_saw_is_stored_with_time_and_hash(site):
    web, live, recording = site
    web.routes["/a"] = answer(b"<html><p>Something to read.</p>")
    live.visit(f"{web.url}/a")

    (kept,) = recording.answers()

    assert kept["url"] == f"{web.url}/a"
    assert len(kept["sha256"]) == 64
    assert kept["fetched_at"].startswith("20")


def test_the_search_service_alone_answers_like_searxng(snapshot, tmp_path):
    with running_search(snapshot) as address:
        web = open_live(settings(address), policy(), Recording(tmp_path / "run"))
        assert [hit.url for hit in web.search("river", 7)] == [hit.url for hit in snapshot.search("river", 7)]
    assert ReplyCache(tmp_path / "run", "search").stats().entries == 1
