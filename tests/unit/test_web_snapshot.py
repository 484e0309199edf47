"""Snapshots: the same bytes for any number of workers, nothing read twice, and two tools over the result."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.errors import PageNotFoundError, SnapshotError
from datagen.records.ids import sha256_hex
from datagen.records.page import Page
from datagen.records.rows import page_to_row, row_to_page
from datagen.web import reading_sources
from datagen.web.snapshot import BuildOptions, Snapshot, build_snapshot
from datagen.web.snapshot_web import SNIPPET_CHARS, SnapshotWeb, lower_in_place, make_snippet
from datagen.web.sources.raw import RawPage, Redirect, SkippedRecord
from datagen.web.tools import WINDOW_CHARS, read_whole

ONE = BuildOptions(workers=1)


class ListSource:
    """A source in memory that counts how often it is read."""

    kind = "list"

    def __init__(self, records, name="list"):
        self.name = name
        self.records = records
        self.reads = 0

    def fingerprint(self):
        return f"list-{sha256_hex(repr(self.records).encode())}"

    def __iter__(self):
        self.reads += 1
        return iter(self.records)


def raw(number, text="", host="a.example", **fields):
    body = text or f"Number {number} is a town of the north with {number * 7} people."
    html = f"<html><body><main><h1>Town {number}</h1><p>{body}</p><p>See <a href='/t/{number + 1}'>next</a>.</p></main>"
    return RawPage(f"https://{host}/t/{number}", html.encode(), **fields)


def built(tmp_path, *sources, options=ONE):
    manifest = build_snapshot(sources, tmp_path / "snap", options)
    return manifest, Snapshot.open(tmp_path / "snap")


def shard_bytes(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "pages").iterdir())}


def test_pages_come_back_in_source_order_and_by_address(tmp_path):
    manifest, snapshot = built(tmp_path, ListSource([raw(i) for i in (5, 3, 9)]))

    assert manifest.pages == len(snapshot) == 3
    assert [page.title for page in snapshot.pages()] == ["Town 5", "Town 3", "Town 9"]
    assert snapshot.page("https://a.example/t/3").links[0].url == "https://a.example/t/4"
    with pytest.raises(PageNotFoundError, match="datagen search"):
        snapshot.page("https://a.example/none")


def test_the_table_the_store_and_the_row_agree(tmp_path):
    _, snapshot = built(tmp_path, ListSource([raw(1, last_modified="Sun, 17 May 2026 10:00:00 GMT")]))
    page = snapshot.page("https://a.example/t/1")

    assert isinstance(page, Page)
    assert row_to_page(page_to_row(page)) == page
    assert page.published_at == "2026-05-17"


def test_any_number_of_workers_writes_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(reading_sources, "SHARD_ROWS", 50)
    records = [raw(i) if i % 10 else SkippedRecord("bad_row", str(i)) for i in range(170)]
    manifests = [
        build_snapshot([ListSource(records)], tmp_path / str(workers), BuildOptions(workers=workers))
        for workers in (1, 3)
    ]

    assert manifests[0] == manifests[1]
    assert shard_bytes(tmp_path / "1") == shard_bytes(tmp_path / "3")
    assert len(manifests[0].shards) == 4
    for query in ("town north people", "number 77", "next"):
        hits = [SnapshotWeb(Snapshot.open(tmp_path / name)).search(query, 9) for name in ("1", "3")]
        assert hits[0] == hits[1]


def test_adding_a_source_reads_only_the_new_one_and_gives_what_one_build_gives(tmp_path):
    first, second = (
        ListSource([raw(i) for i in range(40)], "first"),
        ListSource([raw(i) for i in range(40, 60)], "second"),
    )
    built(tmp_path, first)
    manifest, grown = built(tmp_path, second)
    whole = build_snapshot([first, second], tmp_path / "whole", ONE)

    assert (first.reads, second.reads) == (2, 2)
    assert [source.name for source in manifest.sources] == ["first", "second"]
    assert manifest == whole
    assert shard_bytes(tmp_path / "snap") == shard_bytes(tmp_path / "whole")
    ours, theirs = SnapshotWeb(grown), SnapshotWeb(Snapshot.open(tmp_path / "whole"))
    for query in ("town 41", "people of the north", "next"):
        assert [(h.url, round(h.score, 3)) for h in ours.search(query, 20)] == [
            (h.url, round(h.score, 3)) for h in theirs.search(query, 20)
        ]


def test_building_again_with_the_same_sources_reads_nothing(tmp_path):
    source = ListSource([raw(1)])
    first, _ = built(tmp_path, source)
    again, _ = built(tmp_path, source)

    assert source.reads == 1
    assert first == again


def test_an_interrupted_build_is_finished_by_running_it_again(tmp_path):
    class Dying(ListSource):
        def __iter__(self):
            yield from self.records
            if self.reads == 0:
                self.reads = 1
                raise RuntimeError("power cut")

    kept, dying = ListSource([raw(1)], "kept"), Dying([raw(2)], "dying")
    built(tmp_path, kept)
    with pytest.raises(Exception, match="power cut"):
        built(tmp_path, dying)
    with pytest.raises(SnapshotError, match="datagen snapshot build"):
        Snapshot.open(tmp_path / "snap")
    manifest, _ = built(tmp_path, dying)

    assert manifest.pages == 2
    assert kept.reads == 1


def test_of_equal_pages_the_first_stays_and_of_different_ones_the_newest(tmp_path):
    def dated(number, day, text):
        return replace(raw(number, text), published_at=day)

    same = [raw(1, "Equal text about the town."), raw(1, "Equal text about the town.")]
    other = [dated(2, "2024-01-01", "Old words."), dated(2, "2025-01-01", "New words."), dated(2, None, "No date.")]
    undated = [raw(3, "First words here."), raw(3, "Second words here.")]
    manifest, snapshot = built(tmp_path, ListSource([*same, *other]), ListSource(undated, "late"))

    assert dict(manifest.skipped) == {"duplicate": 1, "superseded": 3}
    assert "New words." in snapshot.page("https://a.example/t/2").text
    assert "First words here." in snapshot.page("https://a.example/t/3").text
    assert manifest.pages == len(list(snapshot.pages())) == 3


def test_a_newer_page_in_an_added_source_replaces_the_old_one_without_reading_its_source(tmp_path):
    old = ListSource([replace(raw(1, "Old words."), published_at="2024-01-01"), raw(2)], "old")
    new = ListSource([replace(raw(1, "New words."), published_at="2025-01-01")], "new")
    built(tmp_path, old)
    manifest, snapshot = built(tmp_path, new)

    assert old.reads == 1
    assert "New words." in snapshot.page("https://a.example/t/1").text
    assert manifest.pages == 2
    assert snapshot.first_damaged_file() is None
    assert [hit.url for hit in SnapshotWeb(snapshot).search("old words")] == ["https://a.example/t/1"]


def test_redirects_are_aliases_and_circles_are_counted(tmp_path):
    hop = [Redirect(f"https://a.example/{a}", f"https://a.example/{b}") for a, b in ("xy", "yz", "pq", "qp", "ss")]
    records = [
        raw(1),
        *hop,
        Redirect("https://a.example/z", "https://a.example/t/1"),
        Redirect("https://a.example/l", "https://b.example/"),
    ]
    manifest, snapshot = built(tmp_path, ListSource(records))

    assert snapshot.page("https://a.example/x").url == "https://a.example/t/1"
    assert SnapshotWeb(snapshot).visit("https://a.example/y").title == "Town 1"
    assert manifest.aliases == 3
    assert dict(manifest.skipped) == {"redirect_cycle": 3, "redirect_dangling": 1}


def test_links_and_subjects_lead_to_the_page_itself_however_they_are_written(tmp_path):
    text = "".join(
        f"<a href='{url}'>{i}</a> " for i, url in enumerate(["/x", "http://a.example/t/1/", "/t/1", "/none"])
    )
    about = (
        '<script type="application/ld+json">{"@type": "NewsArticle", "about": {"@id": "https://a.example/x"}}</script>'
    )
    records = [raw(1), raw(2, about + text), Redirect("https://a.example/x", "https://a.example/t/1")]
    _, snapshot = built(tmp_path, ListSource(records))
    page = snapshot.page("https://a.example/t/2")

    targets = [link.url.removeprefix("https://a.example") for link in page.links[:4]]
    assert targets == ["/t/1", "/t/1", "/t/1", "/none"]
    assert page.about_url == "https://a.example/t/1"
    assert SnapshotWeb(snapshot).visit("http://a.example/t/2").url == "https://a.example/t/2"
    assert SnapshotWeb(snapshot).visit("https://a.example/t/2/").url == "https://a.example/t/2"


def test_a_snapshot_of_another_format_is_refused_with_the_command_to_rebuild(tmp_path):
    built(tmp_path, ListSource([raw(1)]))
    path = tmp_path / "snap" / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"version": 99}))

    with pytest.raises(SnapshotError, match=r"format 99.*datagen snapshot build"):
        Snapshot.open(tmp_path / "snap")


def test_a_folder_of_another_extractor_is_refused(tmp_path):
    built(tmp_path, ListSource([raw(1)]))

    with pytest.raises(SnapshotError, match="do not mix"):
        build_snapshot([ListSource([raw(2)])], tmp_path / "snap", BuildOptions(mode="fast", workers=1))


def test_a_build_without_a_single_page_says_why(tmp_path):
    with pytest.raises(SnapshotError, match="'empty': 1"):
        built(tmp_path, ListSource([RawPage("https://a.example/", b"")]))


def test_every_record_is_accounted_for(tmp_path):
    records = [raw(1), RawPage("https://a.example/e", b""), Redirect("https://a.example/r", "https://a.example/t/1")]
    manifest, _ = built(tmp_path, ListSource([*records, SkippedRecord("bad_row", "line 3")]))
    source = manifest.sources[0]

    assert source.pages + source.redirects + sum(source.skipped.values()) == 4
    assert source.examples["bad_row"] == "line 3"


# -- the two tools ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    long = " ".join(f"Sentence {i} speaks of <a href='/t/{i}'>thing {i}</a> at length." for i in range(1200))
    same = [raw(0, "Twins are here.", host=f"{name}.example") for name in "dbca"]
    folder = tmp_path_factory.mktemp("web")
    build_snapshot(
        [ListSource([raw(1), raw(2), raw(7, long), *same, raw(8, "Le café Suprême reste ouvert.")])], folder, ONE
    )
    return SnapshotWeb(Snapshot.open(folder))


def test_windows_join_to_the_page_and_carry_every_link(web):
    page, visits = read_whole(web, "https://a.example/t/7")
    whole = web.snapshot.page("https://a.example/t/7")

    assert visits > 2
    assert page.text == whole.text
    assert page.links == whole.links


def test_a_window_ends_after_a_word_and_its_links_fit_its_text(web):
    window = web.visit("https://a.example/t/7")

    assert len(window.text) <= WINDOW_CHARS
    assert window.next_offset == len(window.text)
    assert window.text[-1].isspace()
    later = web.visit("https://a.example/t/7", window.next_offset)
    for link in (*window.links, *later.links):
        assert link.anchor
    assert all(later.text[link.start : link.end] == link.anchor for link in later.links)


@pytest.mark.parametrize(
    ("url", "offset"), [("https://a.example/none", 0), ("https://a.example/t/1", 10**6), ("x", 0), ("", 0)]
)
def test_a_page_or_place_that_is_not_there_is_a_typed_error(web, url, offset):
    with pytest.raises(PageNotFoundError):
        web.visit(url, offset)


def test_addresses_are_found_with_fragments_and_capital_hosts(web):
    assert web.visit("HTTPS://A.Example/t/1#top").url == "https://a.example/t/1"


@pytest.mark.parametrize(
    "query", ["", "AND OR NOT", 'title:"x', "(((", "a^b~", "\0\ud800", "*?[]{}", "of the", "x" * 9000]
)
def test_no_query_raises(web, query):
    assert isinstance(web.search(query), list)


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=60))
def test_no_text_raises_as_a_query(web, query):
    assert isinstance(web.search(query), list)


def test_ties_are_ordered_by_address_and_cut_the_same_way(web):
    hits = web.search("twins here", 4)

    assert [hit.host for hit in hits] == ["a.example", "b.example", "c.example", "d.example"]
    assert [hit.url for hit in web.search("twins here", 2)] == [hit.url for hit in hits[:2]]


def test_words_match_by_stem_and_without_accents(web):
    assert web.search("cafes supreme")[0].url == "https://a.example/t/8"
    assert web.search("cafes supreme")[0].snippet.startswith("Town 8 Le café Suprême")


def test_an_address_in_the_query_is_searched_as_one(web):
    assert web.search("https://c.example/t/0", 1)[0].host == "c.example"


def test_snippets_are_short_lines_around_the_words():
    text = "Nothing here. " * 200 + "The zebra drinks\nat the fountain. " + "More of nothing. " * 200
    snippet = make_snippet(text, lower_in_place(text), ["zebra", "fountain"])

    assert "zebra drinks at the fountain" in snippet
    assert len(snippet) <= SNIPPET_CHARS
    assert make_snippet("", "", ["x"]) == ""
    assert make_snippet("short text", "short text", []) == "short text"
