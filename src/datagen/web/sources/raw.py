"""What a source yields, before anything is read out of it.

A source is an iterable of three kinds of record. A page is bytes with an address; a redirect is an address that stands
for another; a skip is a record that could not be used, with its reason, so that a damaged archive is counted rather
than raised:

    for record in open_source("pages.warc.gz"):
        RawPage("https://a.example/1", b"<html>...", content_type="text/html", ...)
        Redirect("https://a.example/old", "https://a.example/1")
        SkippedRecord("broken_record", "bytes 1204 on: Invalid WARC header")

Iteration streams: at most one record is in memory. `fingerprint` is the identity of the content, so a snapshot knows
which sources it already holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, Protocol, get_args
from urllib.parse import urljoin, urlsplit, urlunsplit

MAX_PAGE_BYTES = 10_000_000
"""Pages above this are skipped as `too_large`. The largest article of the English Wikipedia is under 3 MB of HTML."""

SkipReason = Literal[
    "bad_row",
    "bad_url",
    "binary",
    "broken_record",
    "duplicate",
    "empty",
    "extraction_failed",
    "http_status",
    "no_text",
    "not_html",
    "redirect_cycle",
    "redirect_dangling",
    "superseded",
    "too_large",
    "truncated",
]
"""Why a record is not in the snapshot. Values are written to manifests: append only, never rename."""
SKIP_REASONS: tuple[SkipReason, ...] = get_args(SkipReason)


@dataclass(frozen=True, slots=True)
class RawPage:
    """One page as it was fetched. `content_type` carries no parameters; `charset` is what the transport declared."""

    url: str
    payload: bytes
    content_type: str = "text/html"
    charset: str | None = None
    fetched_at: str | None = None
    last_modified: str | None = None
    title: str | None = None
    """A title that the source knows besides the page's own (JSONL, Parquet)."""
    published_at: str | None = None

    @property
    def is_text(self) -> bool:
        return self.content_type == "text/plain"


@dataclass(frozen=True, slots=True)
class Redirect:
    """`url` stands for `target`, which is absolute."""

    url: str
    target: str


@dataclass(frozen=True, slots=True)
class SkippedRecord:
    """A record that is not in the snapshot, and why."""

    reason: SkipReason
    detail: str


SourceRecord = RawPage | Redirect | SkippedRecord


class Source(Protocol):
    """A corpus that can be read from start to end, any number of times, always in the same order."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...

    def fingerprint(self) -> str:
        """Identity of the content: equal fingerprints give equal records."""
        ...

    def __iter__(self) -> Iterator[SourceRecord]: ...


def clean_url(url: str, base: str | None = None) -> str | None:
    """An absolute http(s) address without fragment, host in lower case; None for what is not one.

    >>> clean_url("../b#top", "https://A.example/x/y")
    'https://a.example/b'
    """
    return _clean(url.strip(), base)


@lru_cache(maxsize=65_536)
def _clean(url: str, base: str | None) -> str | None:
    try:
        parts = urlsplit(urljoin(base, url) if base else url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or not host or any(c.isspace() for c in host):
        return None
    default = {"http": 80, "https": 443}[parts.scheme]
    netloc = host if port in {None, default} else f"{host}:{port}"
    return urlunsplit((parts.scheme, netloc, parts.path.replace(" ", "%20") or "/", parts.query, ""))


def host_of(url: str) -> str:
    return urlsplit(url).hostname or ""


def mime_of(content_type: str | None) -> tuple[str, str | None]:
    """`text/html; charset=utf-8` -> `("text/html", "utf-8")`; nothing said means HTML, which is what pages are."""
    if not content_type:
        return "text/html", None
    mime, _, parameters = content_type.partition(";")
    charset = None
    for parameter in parameters.split(";"):
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "charset":
            charset = value.strip().strip("\"'").lower() or None
    return mime.strip().lower() or "text/html", charset


PAGE_TYPES = frozenset({"text/html", "application/xhtml+xml", "text/plain"})


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes; the whole file, because an archive edited in its middle is another archive."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
