"""Archives of fetched pages: WARC (plain, gzip) and ZIM.

Damage is local. A record that cannot be parsed is one counted skip, and reading goes on at the next record start found
in the bytes; an archive cut off in its middle gives every record before the cut and one `truncated` skip.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from fastwarc.warc import ArchiveIterator, WarcRecordType

from datagen.errors import SourceError, boundary
from datagen.web.sources.raw import (
    MAX_PAGE_BYTES,
    PAGE_TYPES,
    RawPage,
    Redirect,
    SkippedRecord,
    SkipReason,
    SourceRecord,
    clean_url,
    file_digest,
    mime_of,
)

_GZIP_START = b"\x1f\x8b\x08"
_PLAIN_START = b"\r\nWARC/1."
_BLOCK = 1 << 20
_OTHER_TYPES = (
    WarcRecordType.warcinfo | WarcRecordType.request | WarcRecordType.metadata | WarcRecordType.revisit
) | WarcRecordType.continuation
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class WarcSource:
    """Response, resource and conversion records of a WARC file, in file order."""

    kind = "warc"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name

    def fingerprint(self) -> str:
        return f"warc-{file_digest(self.path)}"

    def __iter__(self) -> Iterator[SourceRecord]:
        with self.path.open("rb") as stream:
            compressed = stream.read(3) == _GZIP_START
            offset: int | None = 0
            last, damaged, cut = 0, False, False
            while offset is not None:
                stream.seek(offset)
                last = offset
                try:
                    # Every type is asked for, because a record that was cut off in its head has none.
                    for record in ArchiveIterator(
                        _Unclosed(stream), record_types=WarcRecordType.any_type, auto_decode="all"
                    ):
                        last, damaged = record.stream_pos, False
                        if record.record_type & _OTHER_TYPES:
                            continue
                        outcome = _read_record(record)
                        yield outcome
                        cut = isinstance(outcome, SkippedRecord) and outcome.reason == "truncated"
                    break
                except OSError as exc:
                    if not damaged:  # one gap, however many restarts it takes to get past it
                        yield SkippedRecord("broken_record", f"{self.name}, after byte {last}: {exc}")
                    damaged = True
                    offset = _next_start(stream, last + 1, compressed=compressed)
            if compressed and not damaged and not cut and _ends_inside_member(stream, last):
                yield SkippedRecord("truncated", f"{self.name} ends inside a record after byte {last}")


class _Unclosed:
    """Lets the archive reader drop its stream without closing ours, which is sought again after damage."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(size)

    def tell(self) -> int:
        return self._stream.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def close(self) -> None:
        """Nothing: the stream is ours."""


def _next_start(stream: BinaryIO, offset: int, *, compressed: bool) -> int | None:
    """Position of the next thing that looks like a record; a false match only costs another restart."""
    wanted, skip = (_GZIP_START, 0) if compressed else (_PLAIN_START, 2)
    stream.seek(offset)
    tail = b""
    position = offset
    while block := stream.read(_BLOCK):
        found = (tail + block).find(wanted)
        if found >= 0:
            return position - len(tail) + found + skip
        position += len(block)
        tail = (tail + block)[-(len(wanted) - 1) :]
    return None


def _ends_inside_member(stream: BinaryIO, offset: int) -> bool:
    """Whether the file stops before a gzip member is complete; too few bytes of one look like a clean end."""
    stream.seek(offset)
    member = zlib.decompressobj(wbits=31)
    begun = False
    while block := stream.read(_BLOCK):
        while block:
            begun = True
            try:
                member.decompress(block)
            except zlib.error:
                return False
            block = member.unused_data
            if member.eof:
                member, begun = zlib.decompressobj(wbits=31), False
    return begun


def _read_record(record: Any) -> SourceRecord:
    address = record.headers.get("WARC-Target-URI")
    declared = record.headers.get("Content-Length")
    if address is None or declared is None:
        return SkippedRecord("truncated", f"a record without address or length at byte {record.stream_pos}")
    url = clean_url(address.strip("<>"))
    if url is None:
        return SkippedRecord("bad_url", address[:200])
    http = record.http_headers
    if http is not None and http.status_code in _REDIRECTS:
        target = clean_url(http.get("Location") or "", url)
        return Redirect(url, target) if target else SkippedRecord("bad_url", f"{url} redirects to nothing")
    if http is not None and http.status_code != 200:
        return SkippedRecord("http_status", f"{http.status_code} {url}")
    mime, charset = mime_of((http or record.headers).get("Content-Type"))
    if record.content_length > MAX_PAGE_BYTES:
        reason: SkipReason = "too_large" if mime in PAGE_TYPES else "not_html"
        return SkippedRecord(reason, f"{record.content_length} bytes of {mime} {url}")
    return _read_payload(record, url, mime, charset)


def _read_payload(record: Any, url: str, mime: str, charset: str | None) -> SourceRecord:
    http = record.http_headers
    encoded = http is not None and bool(http.get("Content-Encoding") or http.get("Transfer-Encoding"))
    length = record.content_length
    payload = record.reader.read(MAX_PAGE_BYTES + 1)
    if len(payload) > MAX_PAGE_BYTES:
        return SkippedRecord("too_large", f"more than {MAX_PAGE_BYTES} bytes {url}")
    if not encoded and len(payload) < length:
        return SkippedRecord("truncated", f"{len(payload)} of {length} bytes {url}")
    if mime not in PAGE_TYPES:
        return SkippedRecord("not_html", f"{mime} {url}")
    date = record.record_date
    return RawPage(
        url=url,
        payload=payload,
        content_type=mime,
        charset=charset,
        fetched_at=date.date().isoformat() if date else None,
        last_modified=http.get("Last-Modified") if http else None,
    )


class ZimSource:
    """HTML entries of a ZIM file by entry number. Addresses are `http://NAME.zim/PATH`, since ZIM keeps only paths."""

    kind = "zim"

    def __init__(self, path: Path) -> None:
        try:
            from libzim.reader import Archive
        except ImportError as exc:
            raise ImportError('reading ZIM files needs libzim: pip install "datagen[zim]"') from exc
        with boundary(SourceError, f"{path} cannot be read as ZIM"):
            self._archive = Archive(path)
        self.path = path
        self.name = path.name
        self._base = f"http://{path.stem.lower().replace('_', '-')}.zim/"

    def fingerprint(self) -> str:
        return f"zim-{file_digest(self.path)}"

    def __iter__(self) -> Iterator[SourceRecord]:
        for number in range(self._archive.all_entry_count):
            record = self._read_entry(number)
            if record is not None:
                yield record

    def _read_entry(self, number: int) -> SourceRecord | None:
        try:
            entry = self._archive._get_entry_by_id(number)  # noqa: SLF001  the only listing that libzim offers
            url = clean_url(entry.path.lstrip("/"), self._base)
            if url is None:
                return SkippedRecord("bad_url", entry.path[:200])
            if entry.is_redirect:
                target = clean_url(entry.get_redirect_entry().path.lstrip("/"), self._base)
                return Redirect(url, target) if target else SkippedRecord("bad_url", f"{url} redirects to nothing")
            item = entry.get_item()
            mime, charset = mime_of(item.mimetype)
            if mime not in PAGE_TYPES:
                return (
                    None  # pictures, styles and search indexes are most of a ZIM, and none of them claims to be a page
                )
            if item.size > MAX_PAGE_BYTES:
                return SkippedRecord("too_large", f"{item.size} bytes {url}")
            return RawPage(url, bytes(item.content), mime, charset, title=item.title or None)
        except (RuntimeError, KeyError, UnicodeError) as exc:
            return SkippedRecord("broken_record", f"{self.name}, entry {number}: {exc}")
