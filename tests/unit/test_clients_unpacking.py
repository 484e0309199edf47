"""Bodies: their packing, their limits, and what they are."""

from __future__ import annotations

import gzip
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from datagen.clients.connecting import retry_after
from datagen.clients.sniffing import charset_of, media_type
from datagen.clients.unpacking import unpack
from datagen.errors import ConnectionLostError, FetchError


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACKERS = {
    "": lambda data: data,
    "identity": lambda data: data,
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "Deflate ": deflated,
    "zstd": zstandard.compress,
}


def unpacked(data: bytes, coding: str, limit: int = 10_000_000, step: int = 7_000) -> bytes:
    chunks = (data[start : start + step] for start in range(0, len(data), step))
    return b"".join(unpack(chunks, coding, limit))


@pytest.mark.parametrize("coding", PACKERS)
@given(data=st.binary(max_size=3_000), step=st.integers(1, 500))
def test_a_body_comes_back_whole_from_any_packing_in_any_pieces(coding, data, step):
    assert unpacked(PACKERS[coding](data), coding, step=step) == data


def test_several_gzip_members_are_one_body_and_padding_is_ignored():
    assert unpacked(gzip.compress(b"one ") + gzip.compress(b"two") + b"\x00" * 40, "gzip", step=5) == b"one two"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd"])
def test_a_bomb_is_recognised_long_before_it_is_unpacked(coding):
    bomb = PACKERS[coding](b"\x00" * 300_000_000)
    assert len(bomb) < 400_000
    given: list[int] = []

    with pytest.raises(FetchError) as caught:
        given.extend(len(piece) for piece in unpack(iter([bomb]), coding, 1_000_000_000))

    assert caught.value.reason == "bomb"
    assert sum(given) < 100_000_000


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd"])
def test_no_piece_is_larger_than_a_step(coding):
    packed = PACKERS[coding](b"a" * 900_000)

    assert max(len(piece) for piece in unpack(iter([packed]), coding, 1_000_000)) <= 65_536


@pytest.mark.parametrize("coding", PACKERS)
def test_a_body_above_its_limit_is_refused(coding):
    import random

    data = random.Random(7).randbytes(50_000)

    with pytest.raises(FetchError) as caught:
        unpacked(PACKERS[coding](data), coding, limit=40_000)

    assert caught.value.reason == "too_large"


@pytest.mark.parametrize("coding", ["br", "gzip, gzip", "compress", "aes128gcm"])
def test_an_unknown_packing_is_refused(coding):
    with pytest.raises(FetchError) as caught:
        unpacked(b"data", coding)

    assert caught.value.reason == "encoding"


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_what_is_not_packed_as_it_says_is_refused(coding):
    with pytest.raises(FetchError) as caught:
        unpacked(b"this is no archive at all", coding)

    assert caught.value.reason == "encoding"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_body_that_ends_in_its_middle_is_a_lost_connection(coding):
    with pytest.raises(ConnectionLostError):
        unpacked(PACKERS[coding](bytes(range(256)) * 50)[:-20], coding)


@pytest.mark.parametrize(
    ("declared", "head", "kind"),
    [
        ("text/html; charset=utf-8", b"<!DOCTYPE html><title>x", "text/html"),
        ("text/html", b"just words", "text/html"),
        ("application/xhtml+xml", b'<?xml version="1.0"?><html>', "application/xhtml+xml"),
        ("application/octet-stream", b"\n <!-- note --> <html>", "text/html"),
        (None, b"<html>", "text/html"),
        (None, b"plain words", "text/plain"),
        ("text/plain", b"<html> shown as text", "text/plain"),
        ("text/html", b"%PDF-1.7\n%", "application/pdf"),
        ("application/pdf", b"junk before\n%PDF-1.4", "application/pdf"),
        ("text/html", "\ufeffwide".encode("utf-16"), "text/html"),
    ],
)
def test_the_bytes_say_what_a_page_is(declared, head, kind):
    assert media_type(declared, head) == kind


@pytest.mark.parametrize(
    ("declared", "head"),
    [
        ("text/html", b"\x89PNG\r\n\x1a\n"),
        ("text/html", b"PK\x03\x04zip"),
        ("text/plain", b"\x00\x01\x02\x03" * 20),
        ("application/json", b'{"a": 1}'),
        ("text/css", b"body {}"),
        ("application/javascript", b"var a = 1"),
        ("application/rss+xml", b'<?xml version="1.0"?><rss>'),
        ("image/svg+xml", b"<svg>"),
    ],
)
def test_what_is_no_page_is_refused(declared, head):
    with pytest.raises(FetchError) as caught:
        media_type(declared, head)

    assert caught.value.reason == "type"


def test_the_charset_is_read_from_the_header():
    assert charset_of('text/html; charset="ISO-8859-1"') == "iso-8859-1"
    assert charset_of("text/html") is None
    assert charset_of(None) is None


def test_retry_after_is_seconds_or_a_date():
    assert retry_after("7") == 7.0
    assert retry_after("-3") == 0.0
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert retry_after("Wed, 21 Oct 2099 07:28:00 GMT") > 1_000_000
    assert retry_after("soon") is None
    assert retry_after(None) is None
