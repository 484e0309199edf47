"""Pages of the live web: asked for once, politely, and never further than what is written here.

    fetcher = Fetcher(FetchPolicy(user_agent="datagen (+https://...)"), ReplyCache(folder, "fetch"))
    fetcher.fetch("https://www.lexicora.example/rivers/x-101").body

An address is followed hop by hop, and each hop is checked for itself (`addresses`, `robots`), asked for in its turn
(`pacing`), and kept for itself: an address that forwards is one entry, the page it leads to another, so one address has
one body however it is reached. Refusals that will stay (forbidden, not found, too large, not a page) are kept too.

What another try may mend (connection lost, 5xx, 429) is tried again a few times, then it is a `FetchError` like any other;
it is kept where the caller keeps what a run saw (`failures`), not for other runs. Where one host after the other cannot
be reached, it is not the hosts: `EndpointDownError` ends the run, which can be resumed.

`reason` of a FetchError: url scheme userinfo host port address dns · robots robots_unreachable · not_found forbidden
status throttled · redirects · type too_large bomb encoding empty · connection timeout server
"""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import httpx

from datagen.clients.addresses import AddressRules, Resolver, Target, parse_target, system_resolver
from datagen.clients.connecting import Lines, SlowError, fault_of_status
from datagen.clients.outage import Outage
from datagen.clients.pacing import Pace
from datagen.clients.retrying import Patience, with_retries
from datagen.clients.robots import MAX_BYTES as ROBOTS_BYTES
from datagen.clients.robots import Robots, RobotsFile
from datagen.clients.sniffing import HEAD_BYTES, charset_of, media_type
from datagen.clients.unpacking import ACCEPTED, unpack
from datagen.errors import (
    ConnectionLostError,
    EndpointError,
    FetchError,
    OverloadedError,
    ReplayMissError,
    RetriesExhaustedError,
    ThrottledError,
)
from datagen.records.ids import content_id, sha256_hex

KEY_VERSION = 1
"""Raise it when the same answer of a server is kept otherwise."""
ROBOTS_HOPS = 5
LONGEST_PAUSE = 60.0
"""A site that wants its visitors slower than this, or asks to come back later than this, is not waited for."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TRANSIENT = frozenset({"dns", "robots_unreachable", "throttled", "connection", "timeout", "server"})


@dataclass(frozen=True, slots=True)
class FetchPolicy:
    """How pages are asked for."""

    user_agent: str = "datagen"
    timeout_seconds: float = 30.0
    """For one page in all, its redirects included; waiting for its turn is not counted."""
    max_bytes: int = 8_000_000
    max_redirects: int = 5
    seconds_per_host: float = 1.0
    obey_robots: bool = True
    attempts: int = 3
    allow_hosts: tuple[str, ...] = ()
    resolve: dict[str, str] = field(default_factory=dict)
    resolver: Resolver = system_resolver
    patience: Patience = field(default_factory=Patience)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A page as it came. `content_type` is what the bytes are: HTML, XHTML, plain text or PDF."""

    url: str
    final_url: str
    status: int
    content_type: str
    charset: str | None
    body: bytes
    fetched_at: str
    sha256: str
    redirects: tuple[str, ...] = ()
    """Addresses passed on the way, the first one included, the last one not."""
    last_modified: str | None = None


class Replies(Protocol):
    """Where answers are kept: a `ReplyCache`, or something that looks like one."""

    def get(self, key: str) -> dict[str, Any] | None: ...
    def put(self, key: str, value: dict[str, Any], *, model: str = "", role: str = "") -> None: ...
    def single_flight(self, key: str) -> Any: ...


class Fetcher:
    """Fetches from any number of threads."""

    def __init__(
        self,
        policy: FetchPolicy,
        cache: Replies,
        *,
        offline: bool = False,
        failures: Replies | None = None,
        turns: Path | None = None,
    ) -> None:
        """`turns` is a folder through which processes take turns at hosts."""
        self.policy = policy
        self._cache = cache
        self._failures = failures
        self._offline = offline
        self._rules = AddressRules.of(policy.allow_hosts, policy.resolve, policy.resolver)
        self._lines = Lines(self._rules)
        self._pace = Pace(turns)
        self._robots = Robots(self._ask_robots, policy.user_agent)
        self._outage = Outage()

    def fetch(self, url: str) -> Fetched:
        """The page at an address. Raises `FetchError`; offline, `ReplayMissError` for what was never asked for."""
        target = parse_target(url)
        clock = _Clock(self.policy.timeout_seconds)
        passed: list[str] = []
        while True:
            answer = self._hop(target, clock)
            if "location" not in answer:
                return fetched_of(answer, passed[0] if passed else target.url, tuple(passed))
            passed.append(target.url)
            target = parse_target(answer["location"])
            if target.url in passed:
                raise FetchError(f"{passed[0]} forwards in a circle", "redirects")
            if len(passed) > self.policy.max_redirects:
                raise FetchError(f"{passed[0]} forwards more than {self.policy.max_redirects} times", "redirects")

    def close(self) -> None:
        self._lines.close()

    # -- one address ---------------------------------------------------------------------------------------------------

    def _hop(self, target: Target, clock: _Clock) -> dict[str, Any]:
        """What is known of an address, asked for where nothing is. Raises what was kept as a refusal."""
        key = self.key(target)
        with self._cache.single_flight(key):
            answer = self._kept(key)
            if answer is None:
                if self._offline:
                    raise ReplayMissError(
                        f"{target.url} was not fetched before, and nothing is fetched offline; run without it once."
                    )
                answer = self._asked(target, clock)
                self._outage.note(target.host, answer.get("refusal"))
                store, name = self._place(key, answer)
                if store is not None:
                    store.put(name, answer, model=target.host, role="fetch")
                    # Another process may have been first; both go on with what is kept.
                    answer = store.get(name) or answer
        if "refusal" in answer:
            raise FetchError(answer["message"], answer["refusal"])
        return answer

    def key(self, target: Target) -> str:
        """Identity of what is asked and of everything in the policy that shapes the answer to it."""
        policy = self.policy
        return content_id(
            "fetch1",
            {
                "version": KEY_VERSION,
                "url": target.url,
                "user_agent": policy.user_agent,
                "max_bytes": policy.max_bytes,
                "obey_robots": policy.obey_robots,
                "allowed": self._rules.allows(target.host, target.port),
                "stand_in": self._rules.stand_in(target.host),
            },
        )

    def _kept(self, key: str) -> dict[str, Any] | None:
        answer = self._cache.get(key)
        if answer is None and self._failures is not None:
            answer = self._failures.get(f"{key}-failed")
        return answer

    def _place(self, key: str, answer: dict[str, Any]) -> tuple[Replies | None, str]:
        """Where an answer is kept: what may be otherwise tomorrow, for the run alone."""
        if answer.get("refusal") in _TRANSIENT:
            return self._failures, f"{key}-failed"
        return self._cache, key

    def _asked(self, target: Target, clock: _Clock) -> dict[str, Any]:
        try:
            return with_retries(
                lambda number: self._try(target, clock.again() if number else clock),
                attempts=self.policy.attempts,
                what=target.url,
                patience=self.policy.patience,
            )
        except FetchError as exc:
            return {**_stamp(target), "refusal": exc.reason, "message": str(exc)}
        except EndpointError as exc:
            cause = exc.__cause__ if isinstance(exc, RetriesExhaustedError) else exc
            return {**_stamp(target), "refusal": _reason(cause), "message": str(cause)}

    def _try(self, target: Target, clock: _Clock) -> dict[str, Any]:
        self._rules.check_port(target)
        pause = self.policy.seconds_per_host
        if self.policy.obey_robots:
            wanted = self._robots.check(target.origin, target.url)
            if not wanted <= LONGEST_PAUSE:
                raise FetchError(f"{target.origin}/robots.txt wants {wanted:g} seconds between requests", "robots")
            pause = max(pause, wanted)
        with self._pace.turn(target.host, pause), clock:
            return self._transfer(target, clock)

    def _transfer(self, target: Target, clock: _Clock) -> dict[str, Any]:
        with self._lines.one() as line, self._request(line, target, clock, self.policy.max_bytes) as answer:
            self._complain(answer, target)
            if answer.status_code in _REDIRECTS:
                return {**_stamp(target), "status": answer.status_code, "location": _location(answer, target)}
            if answer.status_code not in {200, 203}:
                raise FetchError(f"{target.url} answers with status {answer.status_code}", _refusal(answer.status_code))
            return {**_stamp(target), **self._read(answer)}

    def _request(self, line: Any, target: Target, clock: _Clock, max_bytes: int) -> Any:
        scheme = "http" if self._rules.stand_in(target.host) else target.scheme
        headers = {
            "User-Agent": self.policy.user_agent,
            "Accept": "text/html, application/xhtml+xml, application/pdf, text/plain;q=0.8",
            "Accept-Encoding": ACCEPTED,
            "Host": target.netloc,
        }
        url = f"{scheme}://{target.netloc}{target.path}"
        return line.request("GET", url, headers=headers, seconds=clock.left(), max_bytes=max_bytes)

    def _complain(self, answer: httpx.Response, target: Target) -> None:
        fault = fault_of_status(answer.status_code, answer.headers, target.host)
        if isinstance(fault, ThrottledError) and fault.retry_after is not None:
            if not fault.retry_after <= LONGEST_PAUSE:
                raise FetchError(f"{target.host} asks to come back in {fault.retry_after:,.0f} seconds", "throttled")
            self._pace.wait_asked_for(target.host, fault.retry_after)
        if fault is not None:
            raise fault

    def _read(self, answer: httpx.Response) -> dict[str, Any]:
        """The body, refused as early as its first bytes show that it is no page."""
        declared = answer.headers.get("content-type")
        limit = self.policy.max_bytes
        length = answer.headers.get("content-length", "")
        if length.isdigit() and int(length) > limit:
            raise FetchError(f"the page is larger than {limit:,} bytes", "too_large")
        body = bytearray()
        kind = None
        for piece in unpack(answer.iter_raw(), answer.headers.get("content-encoding", ""), limit):
            body += piece
            if kind is None and len(body) >= HEAD_BYTES:
                kind = media_type(declared, bytes(body[:HEAD_BYTES]))
        if not body.strip():
            raise FetchError("the page is empty", "empty")
        kind = kind or media_type(declared, bytes(body[:HEAD_BYTES]))
        return {
            "status": answer.status_code,
            "content_type": kind,
            "charset": charset_of(declared),
            "last_modified": answer.headers.get("last-modified"),
            "sha256": sha256_hex(bytes(body)),
            **_packed(bytes(body)),
        }

    # -- robots.txt ----------------------------------------------------------------------------------------------------

    def _ask_robots(self, url: str) -> RobotsFile:
        return with_retries(
            lambda _: self._follow_robots(parse_target(url)),
            attempts=self.policy.attempts,
            what=url,
            patience=self.policy.patience,
        )

    def _follow_robots(self, target: Target) -> RobotsFile:
        clock = _Clock(self.policy.timeout_seconds)
        for _ in range(ROBOTS_HOPS + 1):
            self._rules.check_port(target)
            with (
                self._pace.turn(target.host, self.policy.seconds_per_host),
                clock,
                self._lines.one() as line,
                self._request(line, target, clock, ROBOTS_BYTES) as answer,
            ):
                self._complain(answer, target)
                if answer.status_code not in _REDIRECTS:
                    return RobotsFile(answer.status_code, _beginning(answer) if answer.status_code < 300 else "")
                target = parse_target(_location(answer, target))
        return RobotsFile(404, "")


class _Clock:
    """The time that asking for one page has taken, without the time it waited for its turns."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._spent = 0.0
        self._since: float | None = None

    def again(self) -> _Clock:
        """From the start, for another try."""
        self._spent = 0.0
        return self

    def __enter__(self) -> None:
        self._since = time.monotonic()

    def __exit__(self, *exception: object) -> None:
        assert self._since is not None
        self._spent += time.monotonic() - self._since
        self._since = None

    def left(self) -> float:
        if self._spent >= self._seconds:
            raise SlowError(f"no whole answer came within {self._seconds:g} seconds")
        return self._seconds - self._spent


def _stamp(target: Target) -> dict[str, Any]:
    return {"kind": "fetch", "url": target.url, "fetched_at": datetime.now(UTC).isoformat(timespec="seconds")}


def _location(answer: httpx.Response, target: Target) -> str:
    location = answer.headers.get("location")
    if not location:
        raise FetchError(f"{target.url} forwards to nothing", "redirects")
    return parse_target(location, target.url).url


def _refusal(status: int) -> str:
    if status in {404, 410}:
        return "not_found"
    return "forbidden" if status in {401, 402, 403, 407, 451} else "status"


def _reason(fault: BaseException | None) -> str:
    if isinstance(fault, ThrottledError):
        return "throttled"
    if isinstance(fault, SlowError):
        return "timeout"
    return "server" if isinstance(fault, OverloadedError) else "connection"


def _beginning(answer: httpx.Response) -> str:
    """As much of a robots.txt as is read; a longer one is cut at a line."""
    text = bytearray()
    try:
        for piece in unpack(answer.iter_raw(), answer.headers.get("content-encoding", ""), 2 * ROBOTS_BYTES):
            text += piece
            if len(text) > ROBOTS_BYTES:
                del text[text.rfind(b"\n", 0, ROBOTS_BYTES) + 1 :]
                break
    except FetchError as exc:
        raise ConnectionLostError(str(exc)) from exc
    return text.decode("utf-8", "replace").removeprefix("\ufeff")


def _packed(body: bytes) -> dict[str, str]:
    """Bytes in JSON: as text where they are UTF-8, which compresses, else in base64."""
    try:
        return {"text": body.decode("utf-8")}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode("ascii")}


def fetched_of(answer: dict[str, Any], url: str, redirects: tuple[str, ...] = ()) -> Fetched:
    """A kept page, as the address `url` leads to it."""
    body = answer["text"].encode() if "text" in answer else base64.b64decode(answer["base64"])
    return Fetched(
        url=url,
        final_url=answer["url"],
        status=answer["status"],
        content_type=answer["content_type"],
        charset=answer["charset"],
        body=body,
        fetched_at=answer["fetched_at"],
        sha256=answer["sha256"],
        redirects=redirects,
        last_modified=answer["last_modified"],
    )
