"""Everything a run sees of the live web, kept in its directory: it can be read again without the network.

    RUN/web/search.sqlite    searches and their results
    RUN/web/fetch.sqlite     every address asked for: its page, where it forwards to, or why there is none; time and hash
    RUN/web/snapshot/        the pages as an ordinary snapshot, once `seal` was called

What another run paid for is taken from the shared cache and written here as well, so the directory is whole by itself.
The first answer of a run for an address or a search stays the run's answer.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, cast

from datagen import storage
from datagen.clients.cache import ReplyCache
from datagen.clients.fetch import Fetched, Replies, fetched_of
from datagen.clients.sniffing import PDF, PLAIN
from datagen.errors import FetchError, SnapshotError
from datagen.records.ids import content_id
from datagen.web.build import BuildOptions, build_snapshot
from datagen.web.manifest import SnapshotManifest, load_manifest
from datagen.web.pdf import PdfText, read_pdf
from datagen.web.prose import Mode
from datagen.web.sources.raw import RawPage, Redirect, SkippedRecord, SkipReason, SourceRecord, host_of

SNAPSHOT_NAME = "snapshot"
PDF_VERSION = 1
"""Raise it when the same file gives other text."""
Store = Literal["search", "fetch"]


class RunReplies:
    """A store of the run before the shared one: looks like a `ReplyCache`, and copies what it finds."""

    def __init__(self, own: ReplyCache, shared: Replies | None) -> None:
        self._own = own
        self._shared = shared

    def get(self, key: str) -> dict[str, Any] | None:
        value = self._own.get(key)
        if value is None and self._shared is not None:
            value = self._shared.get(key)
            if value is not None:
                self._own.put(key, value, model=_label(value), role=value.get("kind", ""))
                value = self._own.get(key)
        return value

    def put(self, key: str, value: dict[str, Any], *, model: str = "", role: str = "") -> None:
        if self._shared is not None:
            self._shared.put(key, value, model=model, role=role)
            value = self._shared.get(key) or value
        self._own.put(key, value, model=model, role=role)

    def single_flight(self, key: str) -> Any:
        return self._own.single_flight(key)


class Recording:
    """What one run has seen. Any number of processes may write to one directory."""

    def __init__(self, folder: Path, *, mode: Mode = "trafilatura") -> None:
        self.folder = folder
        self._mode: Mode = mode
        self._stores = {name: ReplyCache(folder, name) for name in ("search", "fetch")}

    def replies(self, store: Store, shared: Replies | None = None) -> RunReplies:
        """Where a client keeps its answers; without `shared`, the run alone remembers."""
        return RunReplies(self._stores[store], shared)

    def failures(self, store: Store) -> Replies:
        """What failed for now, for this run: a page that did not answer stays so for all who ask in it."""
        return cast("Replies", self._stores[store])

    def pdf_text(self, sha256: str, body: bytes) -> PdfText:
        """Text of a PDF, read once: a time limit must not decide twice."""
        store = self._stores["fetch"]
        key = content_id("pdf1", {"version": PDF_VERSION, "sha256": sha256})
        with store.single_flight(key):
            kept = store.get(key)
            if kept is None:
                store.put(key, _read_or_refuse(body), role="pdf")
                kept = store.get(key)
        assert kept is not None
        if "refusal" in kept:
            raise FetchError(kept["message"], kept["refusal"])
        return PdfText(kept["text"], kept["title"], kept["pages"])

    def raw_page(self, page: Fetched) -> RawPage:
        """A page as extraction takes it. Raises `FetchError` for a PDF that cannot be read."""
        if page.content_type == PDF:
            read = self.pdf_text(page.sha256, page.body)
            return RawPage(page.final_url, read.text.encode(), PLAIN, "utf-8", page.fetched_at[:10], title=read.title)
        return RawPage(
            url=page.final_url,
            payload=page.body,
            content_type=page.content_type,
            charset=page.charset,
            fetched_at=page.fetched_at[:10],
            last_modified=page.last_modified,
        )

    def answers(self) -> Iterator[dict[str, Any]]:
        """Every address that was asked for, in the order of keys."""
        store = self._stores["fetch"]
        for key in store.keys():  # noqa: SIM118  it is no dict
            answer = store.get(key)
            if answer is not None and answer["kind"] == "fetch":
                yield answer

    def seal(self, target: Path | None = None) -> SnapshotManifest:
        """Build the snapshot of the pages seen so far, unless it is there. Refused where a folder of another kind lies."""
        target = target or self.folder / SNAPSHOT_NAME
        source = RecordedSource(self)
        try:
            held = load_manifest(target)
        except SnapshotError:
            if target.exists() and any(target.iterdir()):
                raise
        else:
            if [report.fingerprint for report in held.sources] == [source.fingerprint()]:
                return held
        partial = target.with_name(f".tmp-{target.name}")
        shutil.rmtree(partial, ignore_errors=True)
        manifest = build_snapshot([source], partial, BuildOptions(mode=self._mode, workers=1))
        if target.exists():
            shutil.rmtree(target)
        storage.local_path(partial).replace(target)
        return manifest

    def close(self) -> None:
        for store in self._stores.values():
            store.close()


class RecordedSource:
    """A recording as a source of pages: implements `datagen.web.sources.raw.Source`."""

    kind = "recording"
    name = "recording"

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for answer in self._recording.answers():
            what = answer.get("sha256") or answer.get("location") or answer.get("refusal")
            digest.update(f"{answer['url']}\0{what}\n".encode())
        return f"recording-{digest.hexdigest()}"

    def __iter__(self) -> Iterator[SourceRecord]:
        for answer in self._recording.answers():
            yield self._record(answer)

    def _record(self, answer: dict[str, Any]) -> SourceRecord:
        url = answer["url"]
        if "location" in answer:
            return Redirect(url, answer["location"])
        if "refusal" in answer:
            return SkippedRecord(_SKIPS.get(answer["refusal"], "http_status"), f"{answer['refusal']} {url}")
        try:
            return self._recording.raw_page(fetched_of(answer, url))
        except FetchError as exc:
            return SkippedRecord("extraction_failed", f"{exc} {url}")


_SKIPS: dict[str, SkipReason] = {
    "too_large": "too_large",
    "bomb": "too_large",
    "type": "not_html",
    "encoding": "not_html",
    "empty": "empty",
    "redirects": "redirect_dangling",
}
"""Refusals in the words of manifests; those not named here are answers without a page."""


def _read_or_refuse(body: bytes) -> dict[str, Any]:
    try:
        read = read_pdf(body)
    except FetchError as exc:
        return {"kind": "pdf", "refusal": exc.reason, "message": str(exc)}
    return {"kind": "pdf", "text": read.text, "title": read.title, "pages": read.pages}


def _label(value: dict[str, Any]) -> str:
    return host_of(value["url"]) if "url" in value else ""
