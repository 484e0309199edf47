"""robots.txt, as RFC 9309 has it: what a site does not want read is not read.

    2xx             its rules hold; the first 500 KiB are read
    4xx             there are no rules
    429, 5xx, none  the site cannot be asked, and everything is refused for now
    redirects       up to five, each checked like any other; more of them mean no rules

Rules are kept for a day in this process. They are asked for through the fetcher's own checks and pace.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from protego import Protego

from datagen.errors import EndpointError, FetchError

MAX_BYTES = 500 * 1024
_KEPT_SITES = 4_096
_KEPT_SECONDS = 86_400.0
_RETRY_SECONDS = 300.0
"""How soon a site that could not be asked is asked again."""
_MOST_PAIRS = 1_000_000
"""Agents times rules of one file; the largest files of known sites have some 100,000. Beyond, reading one costs minutes."""


@dataclass(frozen=True, slots=True)
class RobotsFile:
    """What asking for robots.txt gave: its status after redirects, and its beginning."""

    status: int
    text: str


Ask = Callable[[str], RobotsFile]
"""Fetches `ORIGIN/robots.txt`. Raises `FetchError` where the address may not be asked for, `EndpointError` for 429, 5xx
and no answer."""


@dataclass(slots=True)
class _Site:
    """Rules of one origin. `rules` None and not `unreachable`: everything may be read."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    asked_until: float = float("-inf")
    rules: Protego | None = None
    unreachable: str = ""
    fault: FetchError | None = None
    """The site may not be asked at all."""


class Robots:
    """The rules of all sites that this process has met."""

    def __init__(self, ask: Ask, user_agent: str) -> None:
        self._ask = ask
        self._token = user_agent.split("/", maxsplit=1)[0].split(" ", maxsplit=1)[0]
        """A robots.txt names the product only: `datagen` of `datagen/1.0 (+https://...)`."""
        self._guard = threading.Lock()
        self._sites: OrderedDict[str, _Site] = OrderedDict()

    def check(self, origin: str, url: str) -> float:
        """The pause that the site wants between requests (0 unless it says so). Raises `FetchError` where it forbids."""
        site = self._site(origin)
        with site.lock:
            if time.monotonic() >= site.asked_until:
                self._read(site, origin)
            rules, unreachable, fault = site.rules, site.unreachable, site.fault
        if fault is not None:
            raise FetchError(str(fault), fault.reason)
        if unreachable:
            raise FetchError(f"{origin}/robots.txt could not be read: {unreachable}", "robots_unreachable")
        if rules is None:
            return 0.0
        if not rules.can_fetch(url, self._token):
            raise FetchError(f"{origin}/robots.txt forbids this page", "robots")
        return rules.crawl_delay(self._token) or 0.0

    def _site(self, origin: str) -> _Site:
        with self._guard:
            site = self._sites.setdefault(origin, _Site())
            self._sites.move_to_end(origin)
            while len(self._sites) > _KEPT_SITES:
                self._sites.popitem(last=False)
            return site

    def _read(self, site: _Site, origin: str) -> None:
        site.rules, site.unreachable, site.fault = None, "", None
        site.asked_until = time.monotonic() + _KEPT_SECONDS
        try:
            found = self._ask(f"{origin}/robots.txt")
        except FetchError as exc:
            site.fault = exc
            site.asked_until = time.monotonic() + _RETRY_SECONDS
        except EndpointError as exc:
            site.unreachable = str(exc.__cause__ or exc)
        else:
            if found.status < 300:
                self._parse(site, found.text)
        if site.unreachable:
            site.asked_until = time.monotonic() + _RETRY_SECONDS

    def _parse(self, site: _Site, text: str) -> None:
        lines = [line.lstrip().lower() for line in text.splitlines()]
        agents = sum(line.startswith(("user-agent", "useragent", "user agent")) for line in lines)
        if agents * (len(lines) - agents) > _MOST_PAIRS:
            site.unreachable = "it names too many agents and rules"
        else:
            site.rules = Protego.parse(text)
