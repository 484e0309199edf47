"""A mind that labels tool calls by their words alone.

It works otherwise than the rules of `rollouts.labels`: no evidence, no spans. Two queries are the same where their words
overlap by fuzzy comparison; what a page is good for shows in the words of the question that its text repeats. A page that
repeats no new ones, where others did, is a check; a second check of the same words is one too many.
"""

from __future__ import annotations

import re
from typing import Any

import orjson
from rapidfuzz import fuzz

from datagen.agents.llm.fencing import Section, sections
from datagen.practice.minds.background import Background
from datagen.practice.minds.task import body, json_reply, task_text
from datagen.practice.wire import WireReply, WireRequest

SAME_QUERY = 88.0
"""Token-set ratio from which two queries ask for the same."""
_WORD = re.compile(r"\w{4,}")
_ADDRESS = re.compile(r"<(\S+)>")


def label_steps(background: Background, request: WireRequest) -> WireReply:
    """One label for each call of a transcript."""
    question = body(request, "question")
    told = set(_WORD.findall(question.casefold()))
    reader = _Reader(told)
    calls = list(sections(task_text(request), "call"))
    labels = [{"call": int(c.attributes["number"]), **reader.label(c)} for c in calls]
    if background.slips(request, question) and labels:
        labels[-1]["label"] = "REDUNDANTSEARCH" if "SEARCH" in labels[-1]["label"] else "REDUNDANTQUERY"
    return json_reply({"labels": labels})


class _Reader:
    """What the calls so far were about."""

    def __init__(self, told: set[str]) -> None:
        self._told = told
        self._queries: list[str] = []
        self._pages: set[str] = set()
        self._words: set[str] = set()
        self._checked: set[frozenset[str]] = set()

    def label(self, call: Section) -> dict[str, Any]:
        given, _, brought = call.body.partition("\n-> ")
        arguments = _parsed(given)
        failed = brought.startswith(("error", "no result", "no pages"))
        if call.attributes["tool"] == "search":
            return self._search(str(arguments.get("query", "")), failed=failed)
        return self._visit(str(arguments.get("url", "")), brought, failed=failed)

    def _search(self, query: str, *, failed: bool) -> dict[str, Any]:
        same = any(fuzz.token_set_ratio(query.casefold(), q) >= SAME_QUERY for q in self._queries)
        self._queries.append(query.casefold())
        if failed or same:
            return {"reason": "asked before" if same else "brought nothing", "label": "REDUNDANTSEARCH"}
        return {"reason": "new words", "label": "UNIQUESEARCH"}

    def _visit(self, url: str, brought: str, *, failed: bool) -> dict[str, Any]:
        page = next(iter(_ADDRESS.findall(brought)), url)
        about = self._told & set(_WORD.findall(brought.casefold()))
        new = about - self._words
        known = page in self._pages
        self._pages.add(page)
        self._words |= about
        if failed or (known and not new):
            return {"reason": "nothing new from it", "label": "REDUNDANTQUERY"}
        if new or not about:
            return {"reason": "says something new" if new else "first look", "label": "EXPLORATION"}
        again = frozenset(about) in self._checked
        self._checked.add(frozenset(about))
        label = "REDUNDANTQUERY" if again else "VERIFICATION"
        return {"reason": "says what others said", "label": label}


def _parsed(text: str) -> dict[str, Any]:
    try:
        raw = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return raw if isinstance(raw, dict) else {}
