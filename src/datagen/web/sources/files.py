"""Pages in ordinary files: a folder of HTML, JSON lines, Parquet.

html     folder/clubs/rovers.html   address: its canonical link, else http://folder.localhost/clubs/rovers.html
jsonl    {"url": "https://...", "html": "<html>..."}   or   {"url": ..., "text": ..., "title": ..., "date": ...}
parquet  the same columns
"""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import orjson
import pyarrow.parquet as pq

from datagen.errors import SourceError, boundary
from datagen.web.sources.raw import (
    MAX_PAGE_BYTES,
    RawPage,
    SkippedRecord,
    SourceRecord,
    clean_url,
    file_digest,
)

_HTML_SUFFIXES = frozenset({".html", ".htm", ".xhtml"})
_TEXT_SUFFIXES = frozenset({".txt", ".md"})
_CANONICAL = re.compile(rb"<link\b[^>]*\brel\s*=\s*[\"']?canonical\b[^>]*>", re.IGNORECASE)
_HREF = re.compile(rb"\bhref\s*=\s*[\"']?([^\"'\s>]+)", re.IGNORECASE)
_PARQUET_BATCH = 64
_OPTIONAL_COLUMNS = ("title", "date", "published_at", "content_type")


class HtmlFolderSource:
    """Every HTML and text file below a folder, in order of relative path."""

    kind = "html"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        label = re.sub(r"[^a-z0-9]+", "-", path.resolve().name.lower()).strip("-") or "folder"
        self._base = f"http://{label}.localhost/"

    def _files(self) -> list[Path]:
        wanted = _HTML_SUFFIXES | _TEXT_SUFFIXES
        return sorted(p for p in self.path.rglob("*") if p.suffix.lower() in wanted and p.is_file())

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for path in self._files():
            digest.update(f"{path.relative_to(self.path).as_posix()}\0{file_digest(path)}\n".encode())
        return f"html-{digest.hexdigest()}"

    def __iter__(self) -> Iterator[SourceRecord]:
        for path in self._files():
            size = path.stat().st_size
            relative = path.relative_to(self.path).as_posix()
            if size > MAX_PAGE_BYTES:
                yield SkippedRecord("too_large", f"{size} bytes {relative}")
                continue
            payload = path.read_bytes()
            url = _canonical(payload, self._base + relative) or self._address(relative)
            mime = "text/plain" if path.suffix.lower() in _TEXT_SUFFIXES else "text/html"
            yield RawPage(url, payload, mime) if url else SkippedRecord("bad_url", relative)

    def _address(self, relative: str) -> str | None:
        """`a/index.html` is served as `a/`, as every web server does, so that relative links between files hold."""
        head, _, name = relative.rpartition("/")
        if name.lower() in {"index.html", "index.htm"}:
            relative = f"{head}/" if head else ""
        return clean_url(relative, self._base)


def _canonical(payload: bytes, base: str) -> str | None:
    link = _CANONICAL.search(payload, 0, 65_536)
    href = _HREF.search(link.group()) if link else None
    return clean_url(href.group(1).decode("utf-8", "replace"), base) if href else None


class JsonlSource:
    """One JSON object per line, plain or gzip."""

    kind = "jsonl"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name

    def fingerprint(self) -> str:
        return f"jsonl-{file_digest(self.path)}"

    def __iter__(self) -> Iterator[SourceRecord]:
        opener = gzip.open if self.path.suffix == ".gz" else open
        with cast("BinaryIO", opener(self.path, "rb")) as stream:
            number = 0
            try:
                # A line's length is bounded, or one without a break would be read into memory whole.
                while line := stream.readline(2 * MAX_PAGE_BYTES):
                    number += 1
                    if line.strip():
                        yield self._read_line(line, number)
            except (EOFError, OSError, zlib.error) as exc:
                yield SkippedRecord("truncated", f"{self.name}, after line {number}: {exc}")

    def _read_line(self, line: bytes, number: int) -> SourceRecord:
        if len(line) >= 2 * MAX_PAGE_BYTES:
            return SkippedRecord("too_large", f"{self.name}, line {number}")
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as exc:
            return SkippedRecord("bad_row", f"{self.name}, line {number}: {exc}")
        if not isinstance(row, dict):
            return SkippedRecord("bad_row", f"{self.name}, line {number}: not an object")
        return _page_of_row(row, f"{self.name}, line {number}")


class ParquetSource:
    """Rows of a Parquet file, or of every Parquet file in a folder by name."""

    kind = "parquet"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self._files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
        for file in self._files:
            with boundary(SourceError, f"{file} cannot be read as Parquet"):
                columns = set(pq.read_schema(file).names)
            if "url" not in columns or not columns & {"html", "text"}:
                raise SourceError(f"{file} needs a column url and a column html or text; it has {sorted(columns)}.")

    def fingerprint(self) -> str:
        digest = hashlib.sha256("\n".join(file_digest(file) for file in self._files).encode())
        return f"parquet-{digest.hexdigest()}"

    def __iter__(self) -> Iterator[SourceRecord]:
        for file in self._files:
            columns = set(pq.read_schema(file).names) & {"url", "html", "text", *_OPTIONAL_COLUMNS}
            number = 0
            with pq.ParquetFile(file) as table:
                for batch in table.iter_batches(batch_size=_PARQUET_BATCH, columns=sorted(columns)):
                    for row in batch.to_pylist():
                        number += 1
                        yield _page_of_row(row, f"{file.name}, row {number}")


def _page_of_row(row: Mapping[str, Any], where: str) -> SourceRecord:
    address, html, text = row.get("url"), row.get("html"), row.get("text")
    body = html if html is not None else text
    if not isinstance(address, str) or not isinstance(body, str | bytes):
        return SkippedRecord("bad_row", f"{where}: needs url, and html or text")
    url = clean_url(address)
    if url is None:
        return SkippedRecord("bad_url", f"{where}: {address[:200]}")
    payload = body if isinstance(body, bytes) else body.encode("utf-8", "replace")
    if len(payload) > MAX_PAGE_BYTES:
        return SkippedRecord("too_large", f"{len(payload)} bytes {url}")
    date = row.get("published_at") or row.get("date")
    return RawPage(
        url=url,
        payload=payload,
        content_type="text/html" if html is not None else "text/plain",
        charset=None if isinstance(body, bytes) else "utf-8",
        title=row["title"] if isinstance(row.get("title"), str) else None,
        published_at=str(date) if date else None,
    )
