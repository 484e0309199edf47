"""Bad input, from file to snapshot: each gives a counted skip or a refusal with the next command, and no good page less."""

from __future__ import annotations

import io
import json

import pytest
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from datagen.errors import ConfigError, SnapshotError, SourceError
from datagen.web.snapshot import BuildOptions, Snapshot, build_snapshot
from datagen.web.snapshot_web import SnapshotWeb
from datagen.web.sources import open_source

pytestmark = pytest.mark.pipeline
HTML = ("Content-Type", "text/html; charset=utf-8")
GOOD = {f"https://a.example/good/{i}": f"<h1>Good {i}</h1><p>This is page {i} of the good ones.</p>" for i in range(6)}


def record(url, body, *headers, status="200 OK"):
    return url, status, list(headers) or [HTML], body


def write_warc(path, records):
    """An archive with the given records; returns where each begins."""
    offsets = []
    with path.open("wb") as out:
        writer = WARCWriter(out, gzip=True)
        for url, status, headers, body in records:
            offsets.append(out.tell())
            http = StatusAndHeaders(status, headers, protocol="HTTP/1.1")
            writer.write_record(writer.create_warc_record(url, "response", payload=io.BytesIO(body), http_headers=http))
    return offsets


def good_records():
    return [record(url, body.encode()) for url, body in GOOD.items()]


def build(tmp_path, path):
    """Counts and addresses of the snapshot of one file, after checking that search finds every good page."""
    manifest = build_snapshot([open_source(str(path))], tmp_path / "snap", BuildOptions(workers=1))
    snapshot = Snapshot.open(tmp_path / "snap")
    found = {page.url for page in snapshot.pages()}
    web = SnapshotWeb(snapshot)
    for number, url in enumerate(GOOD):
        if url in found:
            assert web.search(f"good {number}", 1)[0].url == url
    return dict(manifest.skipped), found


def test_truncated_gzip_keeps_every_page_before_the_cut(tmp_path):
    path = tmp_path / "x.warc.gz"
    offsets = write_warc(path, good_records())
    path.write_bytes(path.read_bytes()[: offsets[4] + 150])

    skipped, found = build(tmp_path, path)

    assert found == set(list(GOOD)[:4])
    assert sum(skipped.values()) == 1


def test_broken_warc_records_cost_only_themselves(tmp_path):
    path = tmp_path / "x.warc.gz"
    offsets = write_warc(path, good_records())
    data = bytearray(path.read_bytes())
    data[offsets[1] + 40 : offsets[1] + 70] = b"\xff" * 30
    data[offsets[4] + 40 : offsets[4] + 70] = b"\xff" * 30
    path.write_bytes(bytes(data))

    skipped, found = build(tmp_path, path)

    assert found == {url for i, url in enumerate(GOOD) if i not in {1, 4}}
    assert skipped == {"broken_record": 2}


def test_a_wrong_charset_is_read_as_what_it_is(tmp_path):
    path = tmp_path / "x.warc.gz"
    body = "<h1>Forêt</h1><p>La vieille forêt a été préservée grâce à l'école du village, où tout commence tôt.</p>"
    write_warc(path, [*good_records(), record("https://a.example/fr", body.encode("latin-1"))])

    skipped, _ = build(tmp_path, path)
    page = Snapshot.open(tmp_path / "snap").page("https://a.example/fr")

    assert skipped == {}
    assert "été préservée grâce à l'école" in page.text


def test_a_page_of_50_mb_is_counted_and_not_held(tmp_path):
    path = tmp_path / "x.warc.gz"
    write_warc(path, [record("https://a.example/big", b"<p>" + b"big " * 12_500_000), *good_records()])

    skipped, found = build(tmp_path, path)

    assert skipped == {"too_large": 1}
    assert found == set(GOOD)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(2000), "binary"),
        (b"%PDF-1.7 ...", "binary"),
        (b"", "empty"),
        (b"\n  \n", "empty"),
        (b"<html><body></body></html>", "no_text"),
    ],
)
def test_a_binary_with_an_html_type_and_an_empty_page_are_counted(tmp_path, body, reason):
    path = tmp_path / "x.warc.gz"
    write_warc(path, [record("https://a.example/odd", body), *good_records()])

    skipped, found = build(tmp_path, path)

    assert skipped == {reason: 1}
    assert found == set(GOOD)


def test_a_duplicate_address_keeps_the_newest_content(tmp_path):
    path = tmp_path / "x.warc.gz"
    bodies = {
        day: f'<meta name="date" content="{day}"><h1>D</h1><p>Written on {day}.</p>'.encode()
        for day in ("2024-01-01", "2026-01-01", "2025-01-01")
    }
    write_warc(path, [*good_records(), *(record("https://a.example/d", body) for body in bodies.values())])

    skipped, found = build(tmp_path, path)

    assert skipped == {"superseded": 2}
    assert found == {*GOOD, "https://a.example/d"}
    assert "Written on 2026-01-01." in Snapshot.open(tmp_path / "snap").page("https://a.example/d").text


def test_cyclic_redirects_are_counted_and_chains_are_followed(tmp_path):
    path = tmp_path / "x.warc.gz"
    chain = {"c1": "/c2", "c2": "/c1", "r1": "/r2", "r2": "/good/0", "lost": "/nowhere"}
    hops = [
        record(f"https://a.example/{name}", b"", HTML, ("Location", target), status="302 Found")
        for name, target in chain.items()
    ]
    write_warc(path, [*hops, *good_records()])

    skipped, found = build(tmp_path, path)

    assert skipped == {"redirect_cycle": 2, "redirect_dangling": 1}
    assert found == set(GOOD)
    assert Snapshot.open(tmp_path / "snap").page("https://a.example/r1").url == "https://a.example/good/0"


def test_bad_rows_of_jsonl_are_counted(tmp_path):
    path = tmp_path / "x.jsonl"
    rows = [json.dumps({"url": url, "html": body}) for url, body in GOOD.items()]
    path.write_text("\n".join([rows[0], '{"url": 3}', *rows[1:3], "{", "", *rows[3:]]) + "\n")

    skipped, found = build(tmp_path, path)

    assert skipped == {"bad_row": 2}
    assert found == set(GOOD)


def test_an_unknown_kind_a_missing_file_and_another_version_are_refused_with_the_next_step(tmp_path):
    with pytest.raises(ConfigError, match=r"unknown source kind 'gopher'.*known kinds"):
        open_source("gopher:hole")
    with pytest.raises(SourceError, match="does not exist; list the folder with"):
        open_source(str(tmp_path / "missing.warc.gz"))
    with pytest.raises(SnapshotError, match="datagen snapshot build"):
        Snapshot.open(tmp_path)
    path = tmp_path / "x.warc.gz"
    write_warc(path, good_records())
    build(tmp_path, path)
    manifest = tmp_path / "snap" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"version": 0}))
    with pytest.raises(SnapshotError, match=r"format 0.*datagen snapshot build"):
        Snapshot.open(tmp_path / "snap")
    with pytest.raises(SnapshotError, match="format 0"):
        build(tmp_path, path)
