"""Bodies under Content-Encoding, unpacked no further than a limit.

Both ends are bounded: what comes over the wire, and what comes out. The output is bounded before it exists, since a
kilobyte of zstd can stand for a gigabyte. A body that grows beyond a plausible ratio is called a bomb even below the
limit. Codings in a chain (`gzip, gzip`) are refused: no page needs them.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import IO, Protocol, cast

import zstandard

from datagen.errors import ConnectionLostError, FetchError

ACCEPTED = "gzip, deflate, zstd"
MAX_RATIO = 200
"""HTML shrinks to a fifth, generated tables to a fortieth; a page of nothing but blanks reaches a thousandth."""
_PLAUSIBLE_BYTES = 1_000_000
"""Below this size any ratio will do."""
_STEP = 65_536
_ZSTD_WINDOW = 1 << 23
"""The largest window that the zstd coding of HTTP allows."""


class Reader(Protocol):
    """Gives at most `size` bytes; none at the end."""

    def read(self, size: int = -1, /) -> bytes: ...


class Wire:
    """The bytes of a body as they come, for pulling. Counts them."""

    def __init__(self, chunks: Iterator[bytes], limit: int) -> None:
        self._chunks = chunks
        self._limit = limit
        self._rest = memoryview(b"")
        self.count = 0

    def read(self, size: int = -1, /) -> bytes:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self.count += len(chunk)
            if self.count > self._limit:
                raise FetchError(f"the page is larger than {self._limit:,} bytes", "too_large")
            self._rest = memoryview(chunk)
        taken = self._rest if size < 0 else self._rest[:size]
        self._rest = self._rest[len(taken) :]
        return bytes(taken)


class _Inflated:
    """gzip (any number of members) or deflate (with or without its zlib frame)."""

    def __init__(self, wire: Reader, bits: tuple[int, ...]) -> None:
        self._wire = wire
        self._bits = bits
        self._member = zlib.decompressobj(bits[0])
        self._begun = False

    def read(self, size: int = -1, /) -> bytes:
        while True:
            data = self._member.unconsumed_tail or self._next_input()
            if not data:
                if self._begun and not self._member.eof:
                    raise ConnectionLostError("the body ends inside its compressed data")
                return b""
            output = self._decompressed(data, max(size, 1))
            self._begun = True
            if output:
                return output

    def _next_input(self) -> bytes:
        if not self._member.eof:
            return self._wire.read(_STEP)
        data = self._member.unused_data or self._wire.read(_STEP)
        if not data.strip(b"\x00") or self._bits[0] != _GZIP:
            return b""  # zeros pad gzip files, and deflate has one member
        self._member = zlib.decompressobj(_GZIP)
        self._begun = False
        return data

    def _decompressed(self, data: bytes, size: int) -> bytes:
        try:
            return self._member.decompress(data, size)
        except zlib.error:
            if self._begun or len(self._bits) == 1:
                raise
            self._member = zlib.decompressobj(self._bits[1])
            return self._member.decompress(data, size)


_GZIP = zlib.MAX_WBITS | 16
_READERS: dict[str, Callable[[Wire], Reader]] = {
    "": lambda wire: wire,
    "identity": lambda wire: wire,
    "gzip": lambda wire: _Inflated(wire, (_GZIP,)),
    "x-gzip": lambda wire: _Inflated(wire, (_GZIP,)),
    "deflate": lambda wire: _Inflated(wire, (zlib.MAX_WBITS, -zlib.MAX_WBITS)),
    "zstd": lambda wire: zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).stream_reader(
        cast("IO[bytes]", wire), read_size=_STEP, read_across_frames=True
    ),
}


def unpack(chunks: Iterator[bytes], coding: str, limit: int) -> Iterator[bytes]:
    """The body in pieces, at most `limit` bytes in all. Raises `FetchError` (encoding, too_large, bomb)."""
    coding = coding.strip().lower()
    if coding not in _READERS:
        raise FetchError(f"the content encoding {coding[:40]!r} is not read", "encoding")
    wire = Wire(chunks, limit)
    reader = _READERS[coding](wire)
    count = 0
    while True:
        try:
            piece = reader.read(_STEP)
        except (zlib.error, zstandard.ZstdError) as exc:
            raise FetchError(f"the body is no {coding}: {exc}", "encoding") from exc
        if not piece:
            return
        count += len(piece)
        if count > _PLAUSIBLE_BYTES and count > MAX_RATIO * wire.count:
            raise FetchError(f"{wire.count:,} bytes unpack to more than {count:,}", "bomb")
        if count > limit:
            raise FetchError(f"the page is larger than {limit:,} bytes", "too_large")
        yield piece
