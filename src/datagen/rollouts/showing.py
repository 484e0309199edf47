"""What the results of an attempt put before the model: pieces of text, each with the page that it stands on.

    search result   one piece per hit: address, and title and snippet as its text
    visit result    one piece: address, page id, the stretches of the page that were shown, and the text
    anything else   one piece without an address (a log that was read from another system's text)

Only results that the model asked for are read: each call has one result, the first that names it and comes after it. A
result that answers no call was put there by somebody else, and showed the model nothing that it found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from datagen.records.trajectory import Event

Stretch = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text that a result showed."""

    url: str | None
    page_id: str | None
    title: str
    text: str
    """The snippet, or the text of the window or of its passages."""
    stretches: tuple[Stretch, ...] = ()
    """Where the text stands on the page; empty for a snippet."""
    whole: bool = False
    """Whether the text is one window of the page, with nothing left out of its middle."""


@dataclass(frozen=True, slots=True)
class AskedResult:
    """A result and the call that it answers, counted among the calls of the attempt from 0."""

    call: int
    turn: int
    event: Event


def asked_results(events: Iterable[Event]) -> Iterator[AskedResult]:
    """The results that answer a call, in the order of the log."""
    open_calls: dict[tuple[str, int | str], list[int]] = {}
    count = 0
    for event in events:
        if event.kind == "call":
            open_calls.setdefault(_address(event), []).append(count)
            count += 1
        elif event.kind == "result":
            waiting = open_calls.get(_address(event))
            if waiting:
                yield AskedResult(waiting.pop(0), event.turn, event)


def _address(event: Event) -> tuple[str, int | str]:
    """What ties a result to its call: the id, or the turn where a log has no ids."""
    return ("id", event.call_id) if event.call_id is not None else ("turn", event.turn)


def pieces_of(result: Event) -> list[Piece]:
    """What a result shows; nothing for an error."""
    if result.error is not None:
        return []
    raw = _read(result.text)
    if raw is None:
        return [Piece(None, None, "", result.text)] if result.text.strip() else []
    if "error" in raw:
        return []
    if isinstance(raw.get("results"), list):
        return [_hit(hit) for hit in raw["results"] if isinstance(hit, dict)]
    return [_window(result, raw)] if isinstance(raw.get("text"), str) else []


def _read(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        raw = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return raw if isinstance(raw, dict) else None


def _hit(raw: dict[str, Any]) -> Piece:
    return Piece(_string(raw, "url"), None, _string(raw, "title") or "", _string(raw, "snippet") or "")


def _window(result: Event, raw: dict[str, Any]) -> Piece:
    text, url = raw["text"], _string(raw, "url")
    placed = [d for d in result.documents if d.start is not None and d.end is not None]
    stretches = tuple((d.start or 0, d.end or 0) for d in placed)
    offset, total = raw.get("offset"), raw.get("total_chars")
    whole = False
    if isinstance(offset, int) and isinstance(total, int):
        # An extract says offset 0 and no continuation, but is shorter than its page.
        whole = offset + len(text) == (total if raw.get("next_offset") is None else raw["next_offset"])
        if whole and not stretches:
            stretches = ((offset, offset + len(text)),)
    return Piece(url, _string(raw, "page_id"), _string(raw, "title") or "", text, stretches, whole)


def _string(raw: dict[str, Any], name: str) -> str | None:
    value = raw.get(name)
    return value if isinstance(value, str) else None


@lru_cache(maxsize=65_536)
def same_address(url: str) -> str:
    """One form for the addresses of one page: http and https, a final slash and a fragment make no difference.

    >>> same_address("http://A.example/x/#top") == same_address("https://a.example/x")
    True
    """
    rest = url.partition("#")[0].partition("://")[2] or url
    host, slash, path = rest.partition("/")
    return f"{host.lower()}{slash}{path}".rstrip("/")


def squeezed(text: str) -> str:
    """The text with every run of white space as one blank."""
    return " ".join(text.split())
