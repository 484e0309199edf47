"""The tools as data: what a model may call, what comes back, and the way from one to the other.

A call is a name and a JSON text. The name is looked up among the tools on offer, the text is validated against the
arguments that the tool has, and nothing of it is ever evaluated. A result is one JSON object:

    search  {"results": [{"url", "title", "host", "source_kind", "published_at", "snippet", "score"}, ...]}
    visit   {"page_id", "url", "host", "title", "source_kind", "published_at", "about_url", "entity_type", "offset",
             "next_offset", "total_chars", "text", "links": [[start, end, url], ...]}
    error   {"error": "not_found", "message": "There is no page at ..."}

JSON is the fence: page text only ever stands inside a string of it. `<` is written as an escape there, for chat
templates mark their turns with words such as `<|im_end|>`, and some servers would take those for their own.
`hits_from_json` and `window_from_json` read results back exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from datagen.clients.chat import Tool
from datagen.records.page import Link
from datagen.records.trajectory import Shown
from datagen.web.passages import Extract
from datagen.web.tools import Hit, Window

CALLS_PER_TURN = 128
"""Calls of one turn that are made, at most; somebody who goes through a long list reads many pages at once."""
MAX_QUERY_CHARS = 512
MAX_TOP_K = 20
MAX_URL_CHARS = 2_048
MAX_GOAL_CHARS = 1_000
MAX_ANSWER_CHARS = 400
MAX_SOURCES = 100

MISTAKES = frozenset({"unknown_tool", "bad_arguments", "too_many_calls"})
"""Errors of the caller rather than of the web: they cost a correction."""
BUDGET_SPENT = "budget_spent"


class Arguments(BaseModel):
    """Arguments of a tool: what is not named is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SearchArguments(Arguments):
    query: str = Field(min_length=1, max_length=MAX_QUERY_CHARS, description="Words to look for; no query syntax.")
    top_k: int = Field(default=8, ge=1, le=MAX_TOP_K, description="How many results.")


class VisitArguments(Arguments):
    url: str = Field(min_length=1, max_length=MAX_URL_CHARS, description="Address of a page, as a result or a link.")
    offset: int = Field(default=0, ge=0, description="Where to go on reading: `next_offset` of the window before.")
    goal: str = Field(
        default="",
        max_length=MAX_GOAL_CHARS,
        description="What you look for on the page, in words it may use; several things with semicolons in between.",
    )


def tool_of(name: str, description: str, arguments: type[BaseModel]) -> Tool:
    """A tool as the protocol describes it; the schema is that of the arguments, without titles."""
    return Tool(name, description, _untitled(arguments.model_json_schema()))


def _untitled(schema: Any) -> Any:
    """Titles repeat the names of fields and cost tokens in every call."""
    if isinstance(schema, list):
        return [_untitled(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {k: _untitled(v) for k, v in schema.items() if not (k == "title" and isinstance(v, str))}


SEARCH = tool_of("search", "Search the web. Returns the best pages with a snippet of each.", SearchArguments)
VISIT = tool_of(
    "visit",
    "Read a page. With a `goal`, a long page is answered with its passages about the goal; a short one comes whole. "
    "Without one, a window of the text at a time. Returns the text, its links as [start, end, address] of words "
    "in the text, and `next_offset`.",
    VisitArguments,
)


def parse_arguments(text: str, arguments: type[BaseModel]) -> tuple[Any, str]:
    """The validated arguments and an empty string, or None and a sentence for the model on what is wrong."""
    try:
        raw = orjson.loads(text or "{}")
    except orjson.JSONDecodeError as exc:
        return None, f"The arguments are not JSON: {exc}."
    if not isinstance(raw, dict):
        return None, "The arguments must be one JSON object."
    try:
        return arguments.model_validate(raw), ""
    except ValidationError as exc:
        return None, said(exc)


def said(error: ValidationError) -> str:
    """What is wrong with a model's JSON, in a sentence per field, without the values it gave."""
    parts = (f"{'.'.join(map(str, e['loc'])) or 'the object'}: {e['msg']}" for e in error.errors()[:6])
    return f"The arguments do not fit: {'; '.join(parts)}."


def hits_to_json(hits: Sequence[Hit]) -> str:
    return _dumps(hits_as_dict(hits))


def window_to_json(window: Window) -> str:
    return _dumps(window_as_dict(window))


def hits_as_dict(hits: Sequence[Hit]) -> dict[str, Any]:
    return {"results": [{name: getattr(hit, name) for name in _HIT_FIELDS} for hit in hits]}


def window_as_dict(window: Window) -> dict[str, Any]:
    raw = {name: getattr(window, name) for name in _WINDOW_FIELDS}
    raw["text"] = window.text
    raw["links"] = [[link.start, link.end, link.url] for link in window.links]
    return raw


_HIT_FIELDS = ("url", "title", "host", "source_kind", "published_at", "snippet", "score")
_WINDOW_FIELDS = (
    "page_id",
    "url",
    "host",
    "title",
    "source_kind",
    "published_at",
    "about_url",
    "entity_type",
    "offset",
    "next_offset",
    "total_chars",
)


def error_to_json(code: str, message: str) -> str:
    return _dumps({"error": code, "message": message})


def with_notice(result: str, notice: str) -> str:
    """A result with a word of the program to the model. It rides on the result, for some chat templates refuse a user turn
    right after a tool's.
    """
    return _dumps(orjson.loads(result) | {"notice": notice})


def shown_by_hits(hits: Sequence[Hit]) -> tuple[Shown, ...]:
    """What a search result shows: the pages, by their addresses."""
    return tuple(Shown(hit.url) for hit in hits)


def shown_by_window(window: Window) -> tuple[Shown, ...]:
    """The stretches of the page that a visit shows: one for a window, one for each passage of an extract."""
    if isinstance(window, Extract):
        return tuple(Shown(window.url, window.page_id, start, end) for start, end in window.spans)
    return (Shown(window.url, window.page_id, window.offset, window.offset + len(window.text)),)


def _dumps(raw: Mapping[str, Any]) -> str:
    return orjson.dumps(raw).decode().replace("<", "\\u003c")


def hits_from_json(raw: Mapping[str, Any]) -> list[Hit]:
    """The hits of a search result."""
    return [Hit(**hit) for hit in raw["results"]]


def window_from_json(raw: Mapping[str, Any]) -> Window:
    """The window of a visit's result."""
    fields = {name: raw[name] for name in _WINDOW_FIELDS}
    text = raw["text"]
    links = tuple(Link(start, end, url, text[start:end]) for start, end, url in raw["links"])
    return Window(**fields, text=text, links=links)
