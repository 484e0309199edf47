"""The environment without its protocols: the two tools over a web as plain data, and short errors that never vary.

    core = SearchCore(SnapshotWeb(Snapshot.open("out/factbook")))
    core.search("largest country in Africa", top_k=3)     {"results": [{"url", "title", ..., "snippet", "score"}, ...]}
    core.visit("https://...", offset=0, max_chars=4000)   {"page_id", ..., "next_offset": 3987, "text", "links"}
    core.visit("https://nowhere.example/")                {"error": "not_found", "message": "There is nothing at ..."}

State lives in the arguments: equal calls give equal results, in any process and any order. What a policy may bring about
(a page that is not there, arguments that do not fit, a spent budget) is an ordinary result with a code, because policies
learn from it; nothing that they pass can raise. Results are those of `datagen.agents.toolbox`, to the byte, so attempts
made here and attempts made by this package's own agents read alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from datagen.agents.toolbox import (
    MAX_GOAL_CHARS,
    MAX_QUERY_CHARS,
    MAX_TOP_K,
    MAX_URL_CHARS,
    hits_as_dict,
    window_as_dict,
)
from datagen.errors import FetchError, PageNotFoundError
from datagen.web.passages import EXTRACT_CHARS, chosen_passages, extract
from datagen.web.tools import WINDOW_CHARS, Hit, Web, Window, read_whole
from datagen.web.windows import narrowed

Json = dict[str, Any]
BAD_ARGUMENTS = "bad_arguments"
NOT_FOUND = "not_found"
NOT_FETCHED = "not_fetched"
MIN_WINDOW_CHARS = 200
MAX_QUERIES = 512
"""Queries of one /retrieve: trainers send a batch of rollouts at once."""
MAX_OFFSET = 2**31


@dataclass(frozen=True, slots=True)
class CoreSettings:
    """What a deployment may choose; clients see it in the descriptions of the tools."""

    top_k: int = 8
    """Results of a search that does not say how many."""
    max_chars: int = WINDOW_CHARS
    """Longest window of a visit; a visit may ask for less."""
    passage_chars: int = 800
    """Text of a document in a /retrieve result: what the page says of the query, at most about so much."""
    retrieve_top_k: int = 3


def is_error(result: Mapping[str, Any]) -> bool:
    return "error" in result


def error(code: str, message: str) -> Json:
    return {"error": code, "message": message}


def to_bytes(result: Mapping[str, Any]) -> bytes:
    """A result as JSON. Each `<` is written as an escape: chat templates mark their turns with words that begin so."""
    return orjson.dumps(result).replace(b"<", b"\\u003c")


def to_text(result: Mapping[str, Any]) -> str:
    """A result as the text of a tool message."""
    return to_bytes(result).decode()


class SearchCore:
    """Pure functions over one web. Methods take what a client sent, of whatever type, and always return a result."""

    def __init__(self, web: Web, settings: CoreSettings | None = None) -> None:
        self.web = web
        self.settings = settings or CoreSettings()

    def search(self, query: object, top_k: object = None) -> Json:
        """The best pages, as `toolbox.hits_to_json` writes them."""
        wrong = self.search_fault(query, top_k)
        if wrong:
            return wrong
        return hits_as_dict(self.web.search(query, top_k or self.settings.top_k))  # type: ignore[arg-type]

    def search_fault(self, query: object, top_k: object = None) -> Json | None:
        """What is wrong with the arguments of `search`; who counts calls asks first, for such calls cost nothing."""
        return _text_fault("query", query, MAX_QUERY_CHARS) or _whole_fault("top_k", top_k, 1, MAX_TOP_K)

    def visit(self, url: object, offset: object = 0, goal: object = "", max_chars: object = None) -> Json:
        """A window of a page, or with a goal what a long page says of it, as `toolbox.window_to_json` writes it."""
        wrong = self.visit_fault(url, offset, goal, max_chars)
        if wrong:
            return wrong
        start, limit = offset or 0, max_chars or self.settings.max_chars
        try:
            return window_as_dict(self._window(url, start, goal or "", limit))  # type: ignore[arg-type]
        except PageNotFoundError:
            return error(NOT_FOUND, f"There is nothing at {url}{f' from {start} on' if start else ''}.")
        except FetchError as exc:
            return error(NOT_FETCHED, f"The page could not be fetched: {exc.reason or 'no reply'}.")

    def visit_fault(self, url: object, offset: object = 0, goal: object = "", max_chars: object = None) -> Json | None:
        """What is wrong with the arguments of `visit`."""
        return (
            _text_fault("url", url, MAX_URL_CHARS)
            or _whole_fault("offset", offset, 0, MAX_OFFSET)
            or (_text_fault("goal", goal, MAX_GOAL_CHARS) if goal not in ("", None) else None)
            or _whole_fault("max_chars", max_chars, MIN_WINDOW_CHARS, self.settings.max_chars)
        )

    def retrieve(self, queries: object, topk: object = None, return_scores: object = False) -> Json:
        """Search-R1's retriever: for each query a list of documents, with their scores where asked for."""
        wrong = self.retrieve_fault(queries, topk, return_scores)
        if wrong:
            return wrong
        assert isinstance(queries, list)
        return {"result": [self.documents(query, topk, return_scores) for query in queries]}

    def retrieve_fault(self, queries: object, topk: object, return_scores: object) -> Json | None:
        """What is wrong with the arguments of `retrieve`; a server checks once and answers query by query."""
        if not isinstance(queries, list) or not 1 <= len(queries) <= MAX_QUERIES:
            return error(BAD_ARGUMENTS, f"queries must be a list of 1 to {MAX_QUERIES} texts.")
        if not (return_scores is None or isinstance(return_scores, bool)):
            return error(BAD_ARGUMENTS, "return_scores must be true or false.")
        faults = (_text_fault("every query", query, MAX_QUERY_CHARS) for query in queries)
        return next((fault for fault in faults if fault), None) or _whole_fault("topk", topk, 1, MAX_TOP_K)

    def documents(self, query: str, topk: object, return_scores: object) -> list[Json]:
        """The documents of one query. `contents` is the title in quotes, a line feed, and the text, as Search-R1 has it."""
        count = self.settings.retrieve_top_k if topk is None else int(topk)  # type: ignore[call-overload]
        hits = self.web.search(query, count)
        found = [self._document(hit, query) for hit in hits]
        if not return_scores:
            return found
        return [{"document": document, "score": hit.score} for document, hit in zip(found, hits, strict=True)]

    def _document(self, hit: Hit, query: str) -> Json:
        text = self.web.visit(hit.url).text
        said = text
        if len(text) > self.settings.passage_chars:
            said = "\n".join(text[a:b] for a, b in chosen_passages(text, query, self.settings.passage_chars))
        said = said.removeprefix(f"{hit.title}\n")
        return {"id": hit.url, "title": hit.title, "url": hit.url, "contents": f'"{hit.title}"\n{said}'}

    def _window(self, url: str, offset: int, goal: str, limit: int) -> Window:
        window = self.web.visit(url, offset)
        passages = min(limit, EXTRACT_CHARS)
        if not goal.strip() or offset or window.total_chars <= passages:
            return narrowed(window, limit)
        return extract(read_whole(self.web, url)[0], goal, passages)


def unknown_fields(raw: Mapping[str, Any], known: Sequence[str] | frozenset[str]) -> Json | None:
    """What a client named that the call does not have."""
    extra = sorted(raw.keys() - known)
    if not extra:
        return None
    return error(BAD_ARGUMENTS, f"There is no argument {extra[0][:40]}. The arguments are {', '.join(sorted(known))}.")


def _text_fault(name: str, value: object, longest: int) -> Json | None:
    if not isinstance(value, str) or not value or len(value) > longest:
        return error(BAD_ARGUMENTS, f"{name} must be text of 1 to {longest:,} characters.")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return error(BAD_ARGUMENTS, f"{name} holds characters that are no Unicode text.")
    return None


def _whole_fault(name: str, value: object, least: int, most: int) -> Json | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        return error(BAD_ARGUMENTS, f"{name} must be a whole number from {least:,} to {most:,}.")
    return None
