"""Results that are longer than a model is to read, made shorter as JSON.

    {"url": ..., "offset": 0, "next_offset": null, "total_chars": 9000, "text": "Aga Brun is ...", "links": [...]}
    {"url": ..., "offset": 0, "next_offset": 1420, "total_chars": 9000, "text": "Aga Brun is ...", "links": [...],
     "notice": "Cut to fit: ..."}

What is cut are the values of text fields, from their ends; the JSON stays JSON, and its `notice` says that something is
missing. A window of a page then names the place where its shown text ends as the one to go on from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from datagen.agents.toolbox import error_to_json
from datagen.rollouts.dialects.calls import loaded

NOTICE = "Cut to fit: a text here is only the beginning of what there is."
FEWER = "Cut to fit: there is more than is shown here."
_PROSE = frozenset({"text", "snippet", "message"})
"""Fields that may be of any length; titles and addresses are cut last, by leaving out what they belong to."""


def bounded(text: str, limit: int, count: Callable[[str], int]) -> str:
    """A result of at most `limit` tokens, counted by `count`; as it is where it already fits.

    Text that is no JSON object, and JSON that is too long without its text fields and lists, becomes an error that says so.
    """
    if count(text) <= limit:
        return text
    raw = loaded(text)
    if raw is None:
        return error_to_json("too_long", "The result is too long to be shown.")
    longest = _longest(raw)
    if (cut := _largest(longest, lambda chars: _cut(raw, chars), limit, count)) is not None:
        return cut
    entries = max((len(value) for value in raw.values() if isinstance(value, list)), default=0)
    if (fewer := _largest(entries, lambda kept: _with_fewer(raw, kept), limit, count)) is not None:
        return fewer
    return error_to_json("too_long", "The result is too long to be shown.")


def _largest(most: int, made: Callable[[int], str], limit: int, count: Callable[[str], int]) -> str | None:
    """What is made of the largest number below `most` that fits; None where not even 0 does."""
    fitting = made(0)
    if count(fitting) > limit:
        return None
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        candidate = made(middle)
        if count(candidate) <= limit:
            low, fitting = middle, candidate
        else:
            high = middle
    return fitting


def _longest(value: Any, name: str = "") -> int:
    """Characters of the longest text field."""
    if isinstance(value, Mapping):
        return max((_longest(inner, key) for key, inner in value.items()), default=0)
    if isinstance(value, list):
        return max(map(_longest, value), default=0)
    return len(value) if isinstance(value, str) and name in _PROSE else 0


def _cut(raw: Mapping[str, Any], chars: int) -> str:
    made = _shortened(raw, chars)
    text, shown = raw.get("text"), made.get("text")
    if isinstance(text, str) and isinstance(shown, str):
        links = raw.get("links")
        if isinstance(links, list):
            made["links"] = [link for link in links if isinstance(link, list) and link[1] <= len(shown)]
        if len(shown) < len(text) and _is_window(raw, text):
            made["next_offset"] = raw["offset"] + len(shown)
    return _dumped(made | {"notice": _noticed(made, NOTICE)})


def _shortened(value: Any, chars: int, name: str = "") -> Any:
    if isinstance(value, Mapping):
        return {key: _shortened(inner, chars, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [_shortened(inner, chars) for inner in value]
    return value[:chars] if isinstance(value, str) and name in _PROSE else value


def _is_window(raw: Mapping[str, Any], text: str) -> bool:
    """Whether the text is a stretch of a page as it stands there, rather than passages of it."""
    offset, after, whole = raw.get("offset"), raw.get("next_offset"), raw.get("total_chars")
    return isinstance(offset, int) and offset + len(text) == (whole if after is None else after)


def _with_fewer(raw: Mapping[str, Any], kept: int) -> str:
    """No prose, and of every list its first entries."""
    made = {key: value[:kept] if isinstance(value, list) else value for key, value in _shortened(raw, 0).items()}
    return _dumped(made | {"notice": _noticed(made, FEWER)})


def _noticed(made: Mapping[str, Any], sentence: str) -> str:
    before = made.get("notice")
    return f"{sentence} {before}".strip() if isinstance(before, str) else sentence


def _dumped(raw: Mapping[str, Any]) -> str:
    return orjson.dumps(raw).decode().replace("<", "\\u003c")
