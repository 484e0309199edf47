"""The live web behind the two tools, for reading and for replaying.

    recording = Recording(run_folder / "web")
    web = open_live(search_settings, fetch_policy, recording, cache=cache_folder)
    web.search("rivers that rise in the Olma hills")
    web.visit("https://www.lexicora.example/rivers/x-101")

Equal arguments give equal results within a run, as on a snapshot, because every answer is kept and asked for once. For
the same reason a hit says nothing that the search service did not say: its kind of source is "other" until it is visited.
Pages are extracted and cut by the code that reads archives and snapshots, so a sealed recording reads the same.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

from datagen.clients.cache import ReplyCache
from datagen.clients.fetch import Fetched, Fetcher, FetchPolicy
from datagen.clients.websearch import SearchSettings, WebSearch, open_search
from datagen.errors import FetchError, PageNotFoundError
from datagen.records.page import Page
from datagen.web.extraction import extract
from datagen.web.prose import Mode
from datagen.web.recording import Recording
from datagen.web.sources.raw import RawPage, Redirect, clean_url, host_of
from datagen.web.tools import Hit, Window
from datagen.web.windows import window_of

MAX_SNIPPET_CHARS = 300
MAX_TITLE_CHARS = 200
_FORWARDS = 3
"""Pages that only send a reader on, one after the other."""
_KEPT_PAGES = 512


class LiveWeb:
    """Implements `datagen.web.tools.Web` for any number of threads."""

    def __init__(
        self, search: WebSearch, fetcher: Fetcher, recording: Recording, *, mode: Mode = "trafilatura"
    ) -> None:
        self._search = search
        self._fetcher = fetcher
        self._mode: Mode = mode
        self.recording = recording
        self._guard = threading.Lock()
        self._pages: OrderedDict[str, Page] = OrderedDict()

    def search(self, query: str, top_k: int = 5) -> list[Hit]:
        hits = []
        for result in self._search.search(query, top_k):
            url = clean_url(result.url)
            if url is not None:
                hits.append(
                    Hit(
                        url=url,
                        title=result.title[:MAX_TITLE_CHARS],
                        host=host_of(url),
                        source_kind="other",
                        published_at=result.published_at,
                        snippet=result.snippet[:MAX_SNIPPET_CHARS],
                        score=result.score,
                    )
                )
        return hits

    def visit(self, url: str, offset: int = 0) -> Window:
        page = self._page(url)
        links = [(link.start, link.end, link.url) for link in page.links]
        return window_of(page, page.text, links, asked=url, offset=offset)

    def _page(self, url: str) -> Page:
        with self._guard:
            page = self._pages.get(url)
            if page is not None:
                self._pages.move_to_end(url)
                return page
        page = self._read(url)
        with self._guard:
            self._pages[url] = page
            while len(self._pages) > _KEPT_PAGES:
                self._pages.popitem(last=False)
        return page

    def _read(self, url: str) -> Page:
        address = url
        for _ in range(_FORWARDS + 1):
            try:
                outcome = extract(self._raw(self._fetcher.fetch(address)), self._mode)
            except FetchError as exc:
                raise PageNotFoundError(f"{url} cannot be visited ({exc.reason}): {exc}.") from exc
            if isinstance(outcome, Page):
                return outcome
            if not isinstance(outcome, Redirect):
                raise PageNotFoundError(f"{url} cannot be visited ({outcome.reason}): it holds no text to read.")
            address = outcome.target
        raise PageNotFoundError(f"{url} cannot be visited (redirects): its pages only forward to each other.")

    def _raw(self, fetched: Fetched) -> RawPage:
        return self.recording.raw_page(fetched)


def open_live(
    settings: SearchSettings,
    policy: FetchPolicy,
    recording: Recording,
    *,
    cache: Path | None = None,
    mode: Mode = "trafilatura",
    offline: bool = False,
) -> LiveWeb:
    """The live web of a run. `cache` is the folder that runs share; offline, nothing but the recording is read."""
    shared = None if cache is None or offline else cache
    searches = recording.replies("search", ReplyCache(shared, "search") if shared else None)
    fetches = recording.replies("fetch", ReplyCache(shared, "fetch") if shared else None)
    fetcher = Fetcher(
        policy,
        fetches,
        offline=offline,
        failures=recording.failures("fetch"),
        turns=shared / "turns" if shared else None,
    )
    search = open_search(settings, searches, offline=offline, failures=recording.failures("search"))
    return LiveWeb(search, fetcher, recording, mode=mode)
