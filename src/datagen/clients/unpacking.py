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
    """gzip, with any number of members, or deflate, with or without the frame of zlib."""

    def __init__(self, wire: Reader, *, gzip: bool) -> None:
        self._wire = wire
        self._gzip = gzip
        self._head = b"" if gzip else _up_to(wire, 2)
        self._member = zlib.decompressobj(_GZIP if gzip else _frame(self._head))
        self._begun = False

    def read(self, size: int = -1, /) -> bytes:
        while True:
            data = self._member.unconsumed_tail or self._next_input()
            if not data:
                if self._begun and not self._member.eof:
                    raise ConnectionLostError("the body ends inside its compressed data")
                return b""
            self._begun = True
            output = self._member.decompress(data, max(size, 1))
            if output:
                return output

    def _next_input(self) -> bytes:
        if self._head:
            head, self._head = self._head, b""
            return head
        if not self._member.eof:
            return self._wire.read(_STEP)
        data = self._member.unused_data or self._wire.read(_STEP)
        if not data.strip(b"\x00") or not self._gzip:
            return b""  # zeros pad gzip files, and deflate has one member
        self._member = zlib.decompressobj(_GZIP)
        self._begun = False
        return data


_GZIP = zlib.MAX_WBITS | 16


def _up_to(wire: Reader, size: int) -> bytes:
    head = b""
    while len(head) < size and (more := wire.read(size - len(head))):
        head += more
    return head


def _frame(head: bytes) -> int:
    """Servers send deflate as zlib, as the standard says, or bare."""
    framed = len(head) == 2 and head[0] & 0x0F == zlib.DEFLATED and int.from_bytes(head, "big") % 31 == 0
    return zlib.MAX_WBITS if framed else -zlib.MAX_WBITS


_KNOWN = frozenset({"br", "compress", "dcb", "dcz"})
_READERS: dict[str, Callable[[Wire], Reader]] = {
    "": lambda wire: wire,
    "identity": lambda wire: wire,
    "gzip": lambda wire: _Inflated(wire, gzip=True),
    "x-gzip": lambda wire: _Inflated(wire, gzip=True),
    "deflate": lambda wire: _Inflated(wire, gzip=False),
    "zstd": lambda wire: zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).stream_reader(
        cast("IO[bytes]", wire), read_size=_STEP, read_across_frames=True
    ),
}


def unpack(chunks: Iterator[bytes], coding: str, limit: int) -> Iterator[bytes]:
    """The body in pieces, at most `limit` bytes in all. Raises `FetchError` (encoding, too_large, bomb)."""
    coding = coding.strip().lower()
    if coding not in _READERS:
        known = coding if coding in _KNOWN else "of another kind"
        raise FetchError(f"its content encoding is {known}, which is not read", "encoding")
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
