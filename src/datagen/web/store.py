"""Pages by address, for reading at random: a memory-mapped copy of the pages table.

    pages.bin      for each page its metadata (JSON), its text (UTF-8), its links (JSON), one after the other
    rows.npy       where each of these begins: offset, three lengths
    addresses.npy  64-bit hashes of addresses, sorted, aliases included, and the row each leads to

Parquet reads row groups, and a visit wants one row. Here a look-up is a binary search and two slices; nothing is held
per page in Python, and processes that open the same files share them through the page cache.
"""

from __future__ import annotations

import hashlib
import mmap
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from datagen.records.page import Link, Page
from datagen.records.rows import Row

_ROW = np.dtype([("offset", "<u8"), ("meta", "<u4"), ("text", "<u4"), ("links", "<u4")])
_META = (
    "id",
    "url",
    "host",
    "source_kind",
    "title",
    "published_at",
    "about_url",
    "entity_type",
    "sha256",
    "licence",
    "language",
)
_KEPT_ADDRESSES = 131_072
Hashes = npt.NDArray[np.uint64]


def address_hash(url: str) -> int:
    return int.from_bytes(hashlib.blake2b(url.encode(), digest_size=8).digest(), "little")


@dataclass(frozen=True, slots=True)
class Meta:
    """All of a page but its text and links."""

    id: str
    url: str
    host: str
    source_kind: str
    title: str
    published_at: str | None
    about_url: str | None
    entity_type: str | None
    sha256: str
    licence: str | None
    language: str | None


class PageStoreWriter:
    """Appends rows of the pages table in order; `finish` makes them findable."""

    def __init__(self, folder: Path, *, append: bool) -> None:
        self._folder = folder
        self._rows = list[npt.NDArray[Any]]()
        self._lengths = array("I")
        self._hashes = array("Q")
        self._previous = np.load(folder / "rows.npy") if append else np.zeros(0, _ROW)
        self._bin = (folder / "pages.bin").open("ab" if append else "wb")
        self._start = int(self._bin.tell())
        if append:
            self._hashes.frombytes(np.load(folder / "page_hashes.npy").tobytes())

    def add(self, row: Row) -> None:
        meta = orjson.dumps([row[name] for name in _META])
        text = row["text"].encode()
        links = orjson.dumps([[k["start"], k["end"], k["url"]] for k in row["links"]])
        self._bin.write(meta)
        self._bin.write(text)
        self._bin.write(links)
        self._lengths.extend((len(meta), len(text), len(links)))
        self._hashes.append(address_hash(row["url"]))

    @property
    def hashes(self) -> Hashes:
        """Hashes of the pages' addresses, in row order."""
        return np.frombuffer(self._hashes, dtype=np.uint64) if self._hashes else np.zeros(0, np.uint64)

    def finish(self, alias_hashes: Hashes, alias_rows: npt.NDArray[np.uint32]) -> None:
        self._bin.close()
        lengths = np.frombuffer(self._lengths, dtype=np.uint32) if self._lengths else np.zeros(0, np.uint32)
        lengths = lengths.reshape(-1, 3)
        rows = np.zeros(len(lengths), _ROW)
        ends = self._start + np.cumsum(lengths.sum(axis=1, dtype=np.uint64), dtype=np.uint64)
        rows["meta"], rows["text"], rows["links"] = lengths[:, 0], lengths[:, 1], lengths[:, 2]
        rows["offset"] = ends - lengths.sum(axis=1, dtype=np.uint64)
        np.save(self._folder / "rows.npy", np.concatenate([self._previous, rows]))
        np.save(self._folder / "page_hashes.npy", self.hashes)
        hashes = np.concatenate([self.hashes, alias_hashes])
        targets = np.concatenate([np.arange(len(self.hashes), dtype=np.uint32), alias_rows])
        order = np.argsort(hashes, kind="stable")
        np.save(self._folder / "addresses.npy", hashes[order])
        np.save(self._folder / "address_rows.npy", targets[order])


class PageStore:
    """Read access; safe to open in any number of processes."""

    def __init__(self, folder: Path) -> None:
        self._rows = np.load(folder / "rows.npy", mmap_mode="r")
        self._hashes = np.load(folder / "addresses.npy", mmap_mode="r")
        self._targets = np.load(folder / "address_rows.npy", mmap_mode="r")
        self._page_hashes = np.load(folder / "page_hashes.npy", mmap_mode="r")
        self.final_address = lru_cache(maxsize=_KEPT_ADDRESSES)(self._final_address)
        self._file = (folder / "pages.bin").open("rb")
        self._bytes: mmap.mmap | bytes = b""
        if len(self._rows):
            self._bytes = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)

    def __len__(self) -> int:
        return len(self._rows)

    def find(self, url: str) -> int | None:
        """The row of the page at this address, or at one that it stands for.

        As servers do, http stands for https and a missing final slash for one that is there, and the reverse, where
        only the other is a page.
        """
        for variant in (url, *_variants(url)):
            row = self._find_exactly(address_hash(variant))
            if row is not None:
                return row
        return None

    def _find_exactly(self, address: int) -> int | None:
        wanted = np.uint64(address)
        place = int(self._hashes.searchsorted(wanted))
        if place == len(self._hashes) or self._hashes[place] != wanted:
            return None
        return int(self._targets[place])

    def _final_address(self, url: str) -> str:
        """The page's own address for any that leads to it: one page is one thing, however it is linked."""
        row = self.find(url)
        if row is None or int(self._page_hashes[row]) == address_hash(url):
            return url
        return self.meta(row).url

    def meta(self, row: int) -> Meta:
        offset, meta, _, _ = self._rows[row].item()
        return Meta(*orjson.loads(self._bytes[offset : offset + meta]))

    def text(self, row: int) -> str:
        offset, meta, text, _ = self._rows[row].item()
        return self._bytes[offset + meta : offset + meta + text].decode()

    def read(self, row: int) -> tuple[Meta, str, list[tuple[int, int, str]]]:
        """Everything about a page, with links as (start, end, url), each url that of the page it leads to."""
        offset, meta_size, text_size, link_size = self._rows[row].item()
        data = self._bytes[offset : offset + meta_size + text_size + link_size]
        meta = Meta(*orjson.loads(data[:meta_size]))
        final = self.final_address
        if meta.about_url is not None and meta.about_url != meta.url:
            meta = replace(meta, about_url=final(meta.about_url))
        links = [(start, end, final(url)) for start, end, url in orjson.loads(data[meta_size + text_size :])]
        return meta, data[meta_size : meta_size + text_size].decode(), links

    def page(self, row: int) -> Page:
        meta, text, links = self.read(row)
        return Page(
            id=meta.id,
            url=meta.url,
            host=meta.host,
            source_kind=meta.source_kind,
            title=meta.title,
            text=text,
            links=tuple(Link(start, end, url, text[start:end]) for start, end, url in links),
            published_at=meta.published_at,
            about_url=meta.about_url,
            entity_type=meta.entity_type,
            sha256=meta.sha256,
            licence=meta.licence,
            language=meta.language,
        )

    def pages(self, start: int = 0, stop: int | None = None) -> Iterator[Page]:
        for row in range(start, len(self) if stop is None else min(stop, len(self))):
            yield self.page(row)


def _variants(url: str) -> tuple[str, ...]:
    scheme, separator, rest = url.partition("://")
    if not separator:
        return ()
    other = "http" if scheme == "https" else "https"
    if "?" in rest or "/" not in rest.rstrip("/"):
        return (f"{other}://{rest}",)
    flipped = rest[:-1] if rest.endswith("/") else f"{rest}/"
    return f"{other}://{rest}", f"{scheme}://{flipped}", f"{other}://{flipped}"


def resolve_aliases(
    redirects: Iterable[tuple[str, str]], page_hashes: Hashes, max_hops: int = 20
) -> tuple[Hashes, npt.NDArray[np.uint32], dict[str, int]]:
    """Follow redirects to pages, all at once. Returns alias hashes, the rows they lead to, and what led nowhere.

    An address that is both a page and a redirect is a page. What has not arrived after `max_hops` goes round in a circle.
    """
    sources, targets = array("Q"), array("Q")
    for url, target in redirects:
        sources.append(address_hash(url))
        targets.append(address_hash(target))
    names = np.frombuffer(sources, dtype=np.uint64) if sources else np.zeros(0, np.uint64)
    ends = np.frombuffer(targets, dtype=np.uint64) if targets else np.zeros(0, np.uint64)
    names, first = np.unique(names, return_index=True)
    ends = ends[first]
    order = np.argsort(page_hashes, kind="stable")
    sorted_pages = page_hashes[order]
    own = ~_member(names, sorted_pages)[0]
    names, ends = names[own], ends[own]
    dangling = np.zeros(len(names), bool)
    hops = ends.copy()
    for _ in range(max_hops):
        arrived, _ = _member(hops, sorted_pages)
        known, place = _member(hops, names)
        dangling |= ~arrived & ~known
        moving = ~arrived & known
        if not moving.any():
            break
        hops[moving] = ends[place[moving]]
    arrived, place = _member(hops, sorted_pages)
    lost = {"redirect_dangling": int(dangling.sum()), "redirect_cycle": int((~arrived & ~dangling).sum())}
    return names[arrived], order[place[arrived]].astype(np.uint32), {k: n for k, n in lost.items() if n}


def _member(values: Hashes, ordered: Hashes) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.intp]]:
    """Which values occur in a sorted array, and where."""
    if not len(ordered):
        return np.zeros(len(values), bool), np.zeros(len(values), np.intp)
    place = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    return ordered[place] == values, place
