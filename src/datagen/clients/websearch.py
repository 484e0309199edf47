"""Web search through a service: SearXNG (self-hosted), Serper, Brave or Tavily, all to one shape of result.

    search = open_search(SearchSettings("searxng", "http://127.0.0.1:8080"), ReplyCache(folder, "search"))
    search.search("rivers that rise in the Olma hills", 5)[0].url

An adapter turns a query into one HTTP request and the JSON of an answer into results; everything else is common: equal
searches are asked once, at a fixed rate, and what throttles or fails is tried again. A key stands in a header of the
request and nowhere else.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

import orjson

from datagen.clients.admission import Limiter, RateLimiter
from datagen.clients.connecting import Lines, fault_of_status
from datagen.clients.fetch import Replies
from datagen.clients.retrying import Patience, with_retries
from datagen.clients.unpacking import ACCEPTED, unpack
from datagen.errors import (
    ConfigError,
    ConnectionLostError,
    CredentialsError,
    EndpointError,
    FetchError,
    InvalidRequestError,
    OverloadedError,
    ReplayMissError,
    RetriesExhaustedError,
    ThrottledError,
)
from datagen.records.ids import content_id

KEY_VERSION = 1
"""Raise it when the same answer of a service is kept otherwise."""
MOST_RESULTS = 20
"""What every service gives for one request."""
MAX_QUERY_CHARS = 400
MAX_QUERY_WORDS = 50
"""The tightest limits among the services (Brave's); longer queries are cut for all alike."""
_MAX_ANSWER_BYTES = 5_000_000
_IN_FLIGHT = 16
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,200}>")
ServiceName = Literal["searxng", "serper", "brave", "tavily"]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """One result. Texts are plain; `published_at` is an ISO date where the service gives one."""

    url: str
    title: str
    snippet: str
    published_at: str | None
    score: float


class WebSearch(Protocol):
    """What the live web needs of a search service."""

    def search(self, query: str, top_k: int) -> list[SearchResult]:
        """Best first. Equal arguments give equal results as long as the replies are kept."""
        ...


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """Which service, and how it is called."""

    service: ServiceName = "searxng"
    base_url: str = ""
    api_key: str = field(default="", repr=False)
    requests_per_minute: float = 60.0
    timeout_seconds: float = 30.0
    attempts: int = 5
    user_agent: str = "datagen"
    patience: Patience = field(default_factory=Patience)


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] | None = None
    json: Any = None


@dataclass(frozen=True, slots=True)
class _Adapter:
    """How one service is asked and understood. `ask` takes key, query, number of results; `read` the JSON of an answer."""

    base_url: str
    needs_key: bool
    ask: Callable[[str, str, int], _Request]
    read: Callable[[dict[str, Any]], list[SearchResult]]


def _ask_searxng(key: str, query: str, top_k: int) -> _Request:  # noqa: ARG001  it gives a page of results, however many
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return _Request("GET", "/search", headers, {"q": query, "format": "json", "pageno": "1"})


def _read_searxng(answer: dict[str, Any]) -> list[SearchResult]:
    found = _results(answer["results"], "url", "content", "publishedDate")
    if not found and answer.get("unresponsive_engines"):
        # It is a search over other engines. "None of them answered" must not be kept as "there is nothing".
        raise OverloadedError("none of the engines behind SearXNG answered")
    return found


def _ask_serper(key: str, query: str, top_k: int) -> _Request:
    return _Request("POST", "/search", {"X-API-KEY": key}, json={"q": query, "num": max(10, top_k)})


def _ask_brave(key: str, query: str, top_k: int) -> _Request:
    params = {"q": query, "count": str(top_k), "text_decorations": "false", "result_filter": "web"}
    return _Request("GET", "/res/v1/web/search", {"X-Subscription-Token": key}, params)


def _ask_tavily(key: str, query: str, top_k: int) -> _Request:
    body = {"query": query, "max_results": top_k, "search_depth": "basic"}
    return _Request("POST", "/search", {"Authorization": f"Bearer {key}"}, json=body)


def _results(rows: Any, url: str, snippet: str, date: str) -> list[SearchResult]:
    """Rows of an answer under the service's own names. A service without scores gives them by rank."""
    if not isinstance(rows, list):
        raise TypeError("the results are no list")
    found: dict[str, SearchResult] = {}
    for rank, row in enumerate(rows, 1):
        address = row.get(url)
        if not isinstance(address, str) or urlsplit(address).scheme not in {"http", "https"} or address in found:
            continue
        score = row.get("score")
        found[address] = SearchResult(
            url=address,
            title=plain_text(row.get("title")),
            snippet=plain_text(row.get(snippet)),
            published_at=_iso_date(row.get(date)),
            score=float(score) if isinstance(score, int | float) else 1.0 / rank,
        )
    return list(found.values())


ADAPTERS: dict[str, _Adapter] = {
    "searxng": _Adapter("", False, _ask_searxng, _read_searxng),
    "serper": _Adapter(
        "https://google.serper.dev",
        True,
        _ask_serper,
        lambda answer: _results(answer.get("organic", []), "link", "snippet", "date"),
    ),
    "brave": _Adapter(
        "https://api.search.brave.com",
        True,
        _ask_brave,
        # Without a single hit there is no "web" at all.
        lambda answer: _results((answer.get("web") or {}).get("results", []), "url", "description", "page_age"),
    ),
    "tavily": _Adapter(
        "https://api.tavily.com",
        True,
        _ask_tavily,
        lambda answer: _results(answer["results"], "url", "content", "published_date"),
    ),
}


def open_search(
    settings: SearchSettings, cache: Replies, *, offline: bool = False, failures: Replies | None = None
) -> SearchClient:
    """Check the settings and connect nothing yet. Raises `ConfigError`.

    `failures` keeps for a run that a search failed as often as it may, so that its replay fails in the same place.
    """
    adapter = ADAPTERS[settings.service]
    base_url = (settings.base_url or adapter.base_url).rstrip("/")
    parts = urlsplit(base_url)
    if not base_url:
        raise ConfigError(f"{settings.service} is self-hosted: name its address in web.live.base_url.")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or "@" in parts.netloc:
        raise ConfigError(
            "web.live.base_url must be http(s)://host without user name or query; put a key into the environment and "
            "name its variable in web.live.api_key_env."
        )
    if adapter.needs_key and not settings.api_key and not offline:
        raise ConfigError(
            f"{settings.service} needs a key: put it into a variable and name that in web.live.api_key_env."
        )
    return SearchClient(settings, adapter, base_url, cache, offline=offline, failures=failures)


class SearchClient:
    """Implements `WebSearch` for any number of threads."""

    def __init__(
        self,
        settings: SearchSettings,
        adapter: _Adapter,
        base_url: str,
        cache: Replies,
        *,
        offline: bool,
        failures: Replies | None,
    ) -> None:
        self._settings = settings
        self._adapter = adapter
        self._base_url = base_url
        self._cache = cache
        self._failures = failures
        self._offline = offline
        self._lines = Lines(None)
        self._rate = RateLimiter(settings.requests_per_minute)
        self._door = Limiter(_IN_FLIGHT, name=f"the search service at {base_url}")

    def search(self, query: str, top_k: int) -> list[SearchResult]:
        query = trimmed(query)
        top_k = min(max(top_k, 1), MOST_RESULTS)
        if not query:
            return []
        key = self.key(query, top_k)
        with self._cache.single_flight(key):
            answer = self._kept(key)
            if answer is None:
                if self._offline:
                    raise ReplayMissError(
                        f"the search {query!r} was not made before, and nothing is searched offline; run without it once."
                    )
                answer = self._answered(key, query, top_k)
        if "failed" in answer:
            raise RetriesExhaustedError(answer["failed"])
        return [SearchResult(**result) for result in answer["results"]]

    def _kept(self, key: str) -> dict[str, Any] | None:
        answer = self._cache.get(key)
        if answer is None and self._failures is not None:
            answer = self._failures.get(f"{key}-failed")
        return answer

    def _answered(self, key: str, query: str, top_k: int) -> dict[str, Any]:
        """Ask, and keep what comes; of what another process kept before, the first one counts."""
        store, name = self._cache, key
        answer: dict[str, Any] = {"kind": "search", "query": query}
        try:
            answer["results"] = [asdict(result) for result in self._asked(query, top_k)[:top_k]]
        except RetriesExhaustedError as exc:
            if self._failures is None:
                raise
            answer["failed"] = str(exc)
            store, name = self._failures, f"{key}-failed"
        store.put(name, answer, model=self._settings.service, role="search")
        return store.get(name) or answer

    def key(self, query: str, top_k: int) -> str:
        """Identity of a search; the service's key is no part of it."""
        fields = {
            "version": KEY_VERSION,
            "service": self._settings.service,
            "base_url": self._base_url,
            "query": query,
            "top_k": top_k,
        }
        return content_id("search1", fields)

    def close(self) -> None:
        self._lines.close()

    def _asked(self, query: str, top_k: int) -> list[SearchResult]:
        return with_retries(
            lambda _: self._try(query, top_k),
            attempts=self._settings.attempts,
            what=f"a search at {self._base_url}",
            patience=self._settings.patience,
        )

    def _try(self, query: str, top_k: int) -> list[SearchResult]:
        with self._door.slot():
            self._rate.wait()
            try:
                found = self._called(query, top_k)
            except ThrottledError as fault:
                self._door.throttled(fault.retry_after)
                self._door.check()  # it may have asked for hours
                self._rate.throttled(fault.retry_after)
                raise
            except EndpointError as fault:
                if fault.retryable:
                    self._door.failed()
                    self._door.check()  # no waiting for the next try at a service that is down
                raise
            self._door.succeeded()
            return found

    def _called(self, query: str, top_k: int) -> list[SearchResult]:
        asked = self._adapter.ask(self._settings.api_key, query, top_k)
        headers = {
            **asked.headers,
            "Accept": "application/json",
            "Accept-Encoding": ACCEPTED,
            "User-Agent": self._settings.user_agent,
        }
        try:
            return self._understood(self._received(asked, headers))
        except FetchError as exc:
            raise InvalidRequestError(f"the answer of {self._base_url} cannot be read: {exc}") from exc

    def _received(self, asked: _Request, headers: Mapping[str, str]) -> bytes:
        body = bytearray()
        with (
            self._lines.one() as line,
            line.request(
                asked.method,
                f"{self._base_url}{asked.path}",
                headers=headers,
                seconds=self._settings.timeout_seconds,
                max_bytes=_MAX_ANSWER_BYTES,
                json=asked.json,
                params=asked.params,
            ) as answer,
        ):
            self._refuse(answer.status_code, answer.headers)
            for piece in unpack(answer.iter_raw(), answer.headers.get("content-encoding", ""), _MAX_ANSWER_BYTES):
                body += piece
        return bytes(body)

    def _refuse(self, status: int, headers: Mapping[str, str]) -> None:
        who = f"the search service at {self._base_url}"
        fault = fault_of_status(status, headers, who)
        if fault is not None:
            raise fault
        if status in {401, 402, 403, 407, 432, 433}:
            hint = (
                "allow the format json in its settings.yml"
                if self._settings.service == "searxng"
                else "check the key and what its plan allows"
            )
            raise CredentialsError(f"{who} refuses to answer (status {status}); {hint}.")
        if status != 200:
            raise InvalidRequestError(f"{who} does not understand the search (status {status}).")

    def _understood(self, body: bytes) -> list[SearchResult]:
        try:
            return self._adapter.read(orjson.loads(body))
        except orjson.JSONDecodeError as exc:
            raise ConnectionLostError(f"the answer of {self._base_url} is no JSON: {exc}") from exc
        except (KeyError, TypeError, AttributeError, ValueError) as exc:
            raise InvalidRequestError(
                f"the answer of {self._base_url} is not one of {self._settings.service}: {exc}; check web.live.service."
            ) from exc


def trimmed(query: str) -> str:
    """A query within the limits of every service, on one line."""
    words = " ".join(query.split()[:MAX_QUERY_WORDS])
    return (
        words
        if len(words) <= MAX_QUERY_CHARS
        else words[:MAX_QUERY_CHARS].rpartition(" ")[0] or words[:MAX_QUERY_CHARS]
    )


def plain_text(value: object) -> str:
    """Text without the markup with which services emphasise words."""
    if not isinstance(value, str):
        return ""
    return " ".join(html.unescape(_TAG.sub("", value)).split())


def _iso_date(value: object) -> str | None:
    """The date of "2024-05-01T10:00:00"; services also say "3 days ago", which depends on when they were asked."""
    match = _DATE.match(value) if isinstance(value, str) else None
    return match.group() if match else None
