"""Sources: what each kind yields, and what damage costs."""

from __future__ import annotations

import gzip
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from datagen.errors import ConfigError, SourceError
from datagen.web.sources import RawPage, Redirect, SkippedRecord, open_source
from datagen.web.sources.raw import MAX_PAGE_BYTES, clean_url, mime_of

HTML = [("Content-Type", "text/html; charset=utf-8")]


def warc(records, *, compressed=True):
    """Bytes of an archive and the offset of each record."""
    out = io.BytesIO()
    writer = WARCWriter(out, gzip=compressed)
    offsets = []
    for url, status, headers, body in records:
        offsets.append(out.tell())
        http = StatusAndHeaders(status, headers, protocol="HTTP/1.1")
        writer.write_record(writer.create_warc_record(url, "response", payload=io.BytesIO(body), http_headers=http))
    return out.getvalue(), offsets


def pages_of(count):
    return [(f"https://a.example/{i}", "200 OK", HTML, b"<p>page %d</p>" % i * 20) for i in range(count)]


def read(tmp_path, data, name="x.warc.gz"):
    path = tmp_path / name
    path.write_bytes(data)
    return list(open_source(str(path)))


def urls(records):
    return [record.url for record in records if isinstance(record, RawPage)]


def reasons(records):
    return [record.reason for record in records if isinstance(record, SkippedRecord)]


@pytest.mark.parametrize("compressed", [True, False])
def test_an_archive_gives_its_pages_in_order(tmp_path, compressed):
    data, _ = warc(pages_of(3), compressed=compressed)

    records = read(tmp_path, data, "x.warc.gz" if compressed else "x.warc")

    assert urls(records) == [f"https://a.example/{i}" for i in range(3)]
    assert records[0].charset == "utf-8"
    assert records[0].content_type == "text/html"


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("cut", [20, 200, 300])
def test_a_truncated_archive_gives_every_page_before_the_cut_and_one_skip(tmp_path, compressed, cut):
    data, offsets = warc(pages_of(5), compressed=compressed)

    records = read(tmp_path, data[: offsets[3] + cut], "x.warc.gz" if compressed else "x.warc")

    assert urls(records) == [f"https://a.example/{i}" for i in range(3)]
    assert len(reasons(records)) == 1
    assert set(reasons(records)) <= {"truncated", "broken_record"}


@pytest.mark.parametrize("compressed", [True, False])
def test_garbage_between_records_costs_no_page(tmp_path, compressed):
    data, offsets = warc(pages_of(5), compressed=compressed)

    records = read(tmp_path, data[: offsets[2]] + b"garbage\r\n" + data[offsets[2] :], "x.warc")

    assert urls(records) == [f"https://a.example/{i}" for i in range(5)]
    assert reasons(records) == ["broken_record"]


def test_a_damaged_gzip_member_costs_one_page(tmp_path):
    data, offsets = warc(pages_of(5))
    damaged = bytearray(data)
    damaged[offsets[2] + 60 : offsets[2] + 90] = b"\x00" * 30

    records = read(tmp_path, bytes(damaged))

    assert urls(records) == [f"https://a.example/{i}" for i in (0, 1, 3, 4)]
    assert reasons(records) == ["broken_record"]


def test_redirects_errors_and_pictures_are_told_apart(tmp_path):
    data, _ = warc(
        [
            ("https://a.example/old", "301 Moved", [*HTML, ("Location", "/new")], b""),
            ("https://a.example/gone", "404 Not Found", HTML, b"<p>gone</p>"),
            ("https://a.example/cat", "200 OK", [("Content-Type", "image/png")], b"\x89PNG"),
            ("https://a.example/new", "200 OK", HTML, b"<p>new</p>"),
        ]
    )

    records = read(tmp_path, data)

    assert records[0] == Redirect("https://a.example/old", "https://a.example/new")
    assert reasons(records) == ["http_status", "not_html"]
    assert urls(records) == ["https://a.example/new"]


def test_a_compressed_body_is_unpacked_and_a_huge_one_is_skipped_unread(tmp_path):
    small = gzip.compress(b"<p>hello</p>")
    bomb = gzip.compress(b"x" * (MAX_PAGE_BYTES + 10))
    encoded = [*HTML, ("Content-Encoding", "gzip")]
    data, _ = warc(
        [
            ("https://a.example/1", "200 OK", encoded, small),
            ("https://a.example/2", "200 OK", encoded, bomb),
            ("https://a.example/3", "200 OK", HTML, b"y" * (MAX_PAGE_BYTES + 1)),
        ]
    )

    records = read(tmp_path, data)

    assert records[0].payload == b"<p>hello</p>"
    assert reasons(records) == ["too_large", "too_large"]


def test_a_folder_takes_addresses_from_canonical_links_else_from_paths(tmp_path):
    folder = tmp_path / "My Site"
    (folder / "clubs").mkdir(parents=True)
    (folder / "index.html").write_text("<p>home</p>")
    (folder / "clubs" / "a.html").write_text('<link rel="canonical" href="https://a.example/clubs/a"><p>a</p>')
    (folder / "notes.txt").write_text("plain")
    (folder / "style.css").write_text("p {}")

    records = list(open_source(str(folder)))

    assert urls(records) == [
        "https://a.example/clubs/a",
        "http://my-site.localhost/",
        "http://my-site.localhost/notes.txt",
    ]
    assert [record.is_text for record in records] == [False, False, True]


def test_bad_lines_of_jsonl_are_counted_and_good_ones_kept(tmp_path):
    lines = [
        json.dumps({"url": "https://a.example/1", "html": "<p>1</p>", "title": "One"}),
        "{not json",
        '["a list"]',
        json.dumps({"html": "<p>no address</p>"}),
        json.dumps({"url": "ftp://a.example/1", "text": "x"}),
        json.dumps({"url": "https://a.example/2", "text": "two", "date": "2026-01-04"}),
    ]

    records = read(tmp_path, "\n".join(lines).encode(), "rows.jsonl")

    assert urls(records) == ["https://a.example/1", "https://a.example/2"]
    assert reasons(records) == ["bad_row", "bad_row", "bad_row", "bad_url"]
    assert records[-1].is_text
    assert records[-1].published_at == "2026-01-04"


def test_a_truncated_jsonl_gz_gives_the_lines_before_the_cut(tmp_path):
    lines = b"".join(
        json.dumps({"url": f"https://a.example/{i}", "text": "x" * i}).encode() + b"\n" for i in range(999)
    )

    records = read(tmp_path, gzip.compress(lines)[:-40], "rows.jsonl.gz")

    assert len(urls(records)) > 100
    assert reasons(records) == ["truncated"]


def test_parquet_needs_url_and_html_or_text(tmp_path):
    good, bad = tmp_path / "good.parquet", tmp_path / "bad.parquet"
    pq.write_table(pa.table({"url": ["https://a.example/1", None], "text": ["one", "two"]}), good)
    pq.write_table(pa.table({"address": ["x"]}), bad)

    records = list(open_source(str(good)))

    assert urls(records) == ["https://a.example/1"]
    assert reasons(records) == ["bad_row"]
    with pytest.raises(SourceError, match="needs a column url"):
        open_source(str(bad))


def test_zim_entries_become_pages_and_redirects(tmp_path):
    writer = pytest.importorskip("libzim.writer")

    class Entry(writer.Item):
        def __init__(self, path, title, body, mime="text/html"):
            super().__init__()
            self.path, self.title, self.body, self.mime = path, title, body, mime

        def get_path(self):
            return self.path

        def get_title(self):
            return self.title

        def get_mimetype(self):
            return self.mime

        def get_contentprovider(self):
            return writer.StringProvider(self.body)

        def get_hints(self):
            return {}

    path = tmp_path / "wiki.zim"
    with writer.Creator(path) as creator:
        creator.set_mainpath("a")
        creator.add_item(Entry("a", "A", "<h1>A</h1>"))
        creator.add_item(Entry("s.css", "s", "p {}", "text/css"))
        creator.add_redirection("b", "B", "a", {})

    records = list(open_source(str(path)))

    assert "http://wiki.zim/a" in urls(records)
    assert Redirect("http://wiki.zim/b", "http://wiki.zim/a") in records
    assert not any("css" in url for url in urls(records))


def test_an_unknown_kind_is_refused_with_the_list_of_kinds(tmp_path):
    with pytest.raises(ConfigError, match="known kinds: warc, zim, html, jsonl, parquet, synthetic"):
        open_source("ftp:somewhere")
    strange = tmp_path / "x.doc"
    strange.write_text("?")
    with pytest.raises(ConfigError, match="put one in front"):
        open_source(str(strange))


def test_a_missing_file_is_refused_with_the_next_command(tmp_path):
    with pytest.raises(SourceError, match="does not exist; list the folder with: ls"):
        open_source(str(tmp_path / "none.warc.gz"))


def test_the_synthetic_web_is_a_source_and_knows_its_options():
    with pytest.raises(ConfigError, match="unknown option 'sed=7'"):
        open_source("synthetic:sed=7")
    with pytest.raises(ConfigError, match="come together"):
        open_source("synthetic:articles=60")


def test_a_synthetic_web_says_how_much_of_its_world_has_pages():
    plain, thin = (
        open_source("synthetic:seed=3,pages=600"),
        open_source("synthetic:seed=3,pages=600,articles=30,sites=70"),
    )

    assert (plain.name, thin.name) == ("synthetic-3-600", "synthetic-3-600-30-70")
    assert plain.fingerprint() != thin.fingerprint()


def test_fingerprints_follow_content_not_names(tmp_path):
    data, _ = warc(pages_of(1))
    for name in ("a.warc.gz", "b.warc.gz"):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "c.warc.gz").write_bytes(data + data)

    a, b, c = (open_source(str(tmp_path / f"{name}.warc.gz")).fingerprint() for name in "abc")

    assert a == b != c


@pytest.mark.parametrize(
    ("url", "base", "expected"),
    [
        ("HTTPS://A.Example:443/x#frag", None, "https://a.example/x"),
        ("//b.example", "https://a.example/x", "https://b.example/"),
        ("mailto:me@a.example", None, None),
        ("http://[broken", None, None),
        ("/x y", "http://a.example", "http://a.example/x%20y"),
        ("javascript:alert(1)", "https://a.example/", None),
    ],
)
def test_addresses_are_cleaned_or_refused_but_never_raise(url, base, expected):
    assert expected == clean_url(url, base)


def test_content_types_may_be_missing_or_odd():
    assert mime_of(None) == ("text/html", None)
    assert mime_of('Text/HTML; charset="UTF-8"; x') == ("text/html", "utf-8")
