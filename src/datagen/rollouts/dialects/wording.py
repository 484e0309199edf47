"""Results as words, for dialects that do not hand JSON to the model.

    1. Clubs of Veltrin
    URL: https://atlas.example/clubs
    Harlan Rovers play in ...
    ---
    2. ...

    Page: Clubs of Veltrin
    URL: https://atlas.example/clubs
    Evidence:
    [Harlan Rovers](https://atlas.example/harlan) play in ...

    [not_found] There is nothing at https://...

A text that is not the JSON of a tool stays as it is, so words that were read from a text are written again as they were.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from datagen.records.trajectory import Event
from datagen.rollouts.dialects.guarding import whole

_ERROR = re.compile(r"\[([a-z]+(?:_[a-z]+)*)\] ")
_HITS_BETWEEN = "\n---\n"


def shaped(text: str) -> Mapping[str, Any] | None:
    """The JSON of a tool's result; None for any other text."""
    if not text.startswith("{"):
        return None
    try:
        raw = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if isinstance(raw.get("results"), list) or isinstance(raw.get("error"), str) or isinstance(raw.get("text"), str):
        known: Mapping[str, Any] = raw
        return known
    return None


def in_words(result: Event, goal: str = "") -> str:
    """What a result says."""
    raw = shaped(result.text)
    if raw is None:
        words = whole(result.text).strip()
        known = result.error is None or error_of(words) is not None
        return words if known else f"[{whole(result.error or '')}] {words}".strip()
    if isinstance(raw.get("error"), str):
        words = error_in_words(raw)
    elif isinstance(raw.get("results"), list):
        words = hits_in_words(raw["results"])
    else:
        words = window_in_words(raw, goal)
    notice = raw.get("notice")
    return f"{words}\n\nNotice: {notice}".strip() if isinstance(notice, str) else words.strip()


def error_of(words: str) -> str | None:
    """The code of an error that was put into words."""
    found = _ERROR.match(words)
    return found.group(1) if found else None


def error_in_words(raw: Mapping[str, Any]) -> str:
    code = raw["error"] if _ERROR.match(f"[{raw['error']}] ") else "error"
    return f"[{code}] {_said(raw, 'message') or 'The call failed.'}"


def hits_in_words(hits: list[Any]) -> str:
    blocks = [_hit(number, hit) for number, hit in enumerate(hits, 1) if isinstance(hit, dict)]
    return _HITS_BETWEEN.join(blocks) or "Nothing was found."


def _hit(number: int, hit: Mapping[str, Any]) -> str:
    day = _said(hit, "published_at")
    lines = [f"{number}. {_said(hit, 'title')}".rstrip(), f"URL: {_said(hit, 'url')}".rstrip()]
    lines += [f"Published: {day}"] if day else []
    return "\n".join([*lines, _said(hit, "snippet")]).rstrip()


def window_in_words(raw: Mapping[str, Any], goal: str = "") -> str:
    """A page, or what it says about the goal, with its links in place."""
    lines = [f"Page: {_said(raw, 'title')}".rstrip(), f"URL: {_said(raw, 'url')}".rstrip()]
    day = _said(raw, "published_at")
    lines += [f"Published: {day}"] if day else []
    lines += [f"Goal: {goal}"] if goal else []
    lines += ["Evidence:", linked_text(raw)]
    if isinstance(raw.get("next_offset"), int):
        lines.append(f"The page goes on at offset {raw['next_offset']} of {raw.get('total_chars')}.")
    return "\n".join(lines)


def linked_text(raw: Mapping[str, Any]) -> str:
    """The text with the address behind the words of every link."""
    text, links = raw["text"], raw.get("links")
    if not links or not isinstance(links, list):
        return str(text)
    parts, position = [], 0
    for link in links:
        if not (isinstance(link, list) and len(link) == 3 and isinstance(link[0], int) and isinstance(link[1], int)):
            continue
        start, end, url = link
        if position <= start < end <= len(text):
            parts += [text[position:start], f"[{text[start:end]}]({url})"]
            position = end
    return "".join([*parts, text[position:]])


def _said(raw: Mapping[str, Any], name: str) -> str:
    value = raw.get(name)
    return value if isinstance(value, str) else ""
