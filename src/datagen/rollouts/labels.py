"""What each tool call was worth, by rules: the labels of Fathom's step-level reward without a judge.

    search   words nearly those of an earlier query, or results nearly those of an earlier search     REDUNDANTSEARCH
             otherwise                                                                                UNIQUESEARCH
    visit    a new page that states a claim which no other has stated, or no claim of the question    EXPLORATION
             a new page that only states claims which other pages have stated, B_v times for a claim  VERIFICATION
             more of that                                                                             REDUNDANTQUERY
             the same page with the same goal and place                                               REDUNDANTQUERY
             the same page with another goal, or further on                                           as `same_url` says

Spec fathom §3.1; a claim is a clue of the question, and a result states it where `rollouts.evidence` finds it there. A
snippet states it too, for the page it is from: to open that very page is a first look and no check by another source. Calls
that failed count as redundant, for they cost a step and brought nothing; `ignore_errors` leaves them without a label.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from typing import Literal as OneOf

from datagen.records.trajectory import Event, StepLabel, StepName
from datagen.rollouts.evidence import ClueSource, call_clues
from datagen.rollouts.showing import same_address

_WORD = re.compile(r"\w+")
_IDLE = frozenset(
    {"a", "an", "and", "at", "by", "for", "from", "in", "is", "of", "on", "or", "the", "to", "was", "with"}
)


@dataclass(frozen=True, slots=True)
class LabelSettings:
    """Where the rules draw their lines."""

    verifications: int = 1
    """B_v: further pages that count as a check of one claim."""
    query_overlap: float = 0.8
    """Jaccard overlap of the words of two queries from which they are the same query."""
    result_overlap: float = 0.8
    """Jaccard overlap of the pages of two searches from which the second brought nothing new."""
    same_url: OneOf["exploration", "redundant"] = "exploration"
    """A page that was read before, with another goal or further on."""
    ignore_errors: bool = False
    """Leave failed calls without a label, so that they do not count as steps."""


DEFAULT = LabelSettings()


def label_calls(
    events: Sequence[Event], sources: Sequence[ClueSource], settings: LabelSettings = DEFAULT
) -> tuple[StepLabel, ...]:
    """One label for each call of an attempt, in order."""
    results = {event.call_id: event for event in events if event.kind == "result"}
    calls = [event for event in events if event.kind == "call"]
    claims = call_clues(events, sources)
    rules = _Rules(settings, {source.clue: source for source in sources})
    labels = []
    for number, call in enumerate(calls):
        name, reason = rules.label(call, results.get(call.call_id), claims[number])
        labels.append(StepLabel(number, call.turn, name, claims[number], reason))
    return tuple(labels)


Named = tuple[StepName | None, str]


@dataclass(slots=True)
class _Rules:
    """What the calls so far have brought."""

    settings: LabelSettings
    sources: Mapping[int, ClueSource]
    queries: list[frozenset[str]] = field(default_factory=list)
    found: list[frozenset[str]] = field(default_factory=list)
    read: dict[str, set[tuple[str, int]]] = field(default_factory=dict)
    """Page -> goals and places at which it was read."""
    stated: dict[int, set[str]] = field(default_factory=dict)
    """Claim -> pages that stated it."""
    checked: dict[int, int] = field(default_factory=dict)
    """Claim -> pages that stated it again."""

    def label(self, call: Event, result: Event | None, claims: tuple[int, ...]) -> Named:
        if call.tool not in ("search", "visit"):
            return None, "other_tool"
        given = _arguments(call)
        if given is None or result is None or result.error is not None:
            return self._failed(call.tool, result)
        return self._search(given, result, claims) if call.tool == "search" else self._visit(given, result, claims)

    def _failed(self, tool: str, result: Event | None) -> Named:
        reason = "no_result" if result is None else result.error or "bad_arguments"
        if self.settings.ignore_errors:
            return None, reason
        return ("REDUNDANTSEARCH" if tool == "search" else "REDUNDANTQUERY"), reason

    def _search(self, given: dict[str, Any], result: Event, claims: tuple[int, ...]) -> Named:
        words = query_words(str(given.get("query", "")))
        pages = frozenset(shown.url for shown in result.documents)
        same_words = any(overlap(words, earlier) >= self.settings.query_overlap for earlier in self.queries)
        same_pages = any(pages and overlap(pages, earlier) >= self.settings.result_overlap for earlier in self.found)
        self.queries.append(words)
        self.found.append(pages)
        for claim in claims:
            self.stated.setdefault(claim, set()).update(self._stating(claim, pages))
        if same_words:
            return "REDUNDANTSEARCH", "same_query"
        return ("REDUNDANTSEARCH", "same_results") if same_pages else ("UNIQUESEARCH", "new_query")

    def _visit(self, given: dict[str, Any], result: Event, claims: tuple[int, ...]) -> Named:
        asked = str(given.get("url", ""))
        page = result.documents[0].url if result.documents else asked
        way = (" ".join(sorted(query_words(str(given.get("goal") or "")))), _whole(given.get("offset")))
        before = self.read.setdefault(page, set())
        known, again = bool(before), way in before
        before.add(way)
        here = same_address(page)
        fresh = [claim for claim in claims if not self.stated.get(claim, set()) - {here}]
        for claim in claims:
            self.stated.setdefault(claim, set()).add(here)
        if again:
            return "REDUNDANTQUERY", "read_before"
        if known:
            policy = self.settings.same_url
            return ("EXPLORATION", "more_of_page") if policy == "exploration" else ("REDUNDANTQUERY", "more_of_page")
        if fresh or not claims:
            return "EXPLORATION", "new_claim" if fresh else "new_page"
        return self._check(claims)

    def _stating(self, claim: int, pages: frozenset[str]) -> set[str]:
        """Those of the pages found that are known to state the claim; all of them where none is known to."""
        found = {same_address(page) for page in pages}
        source = self.sources[claim]
        about = [self.sources[number] for number in source.implied_by] if not source.places else [source]
        return found & {same_address(place.url) for one in about for place in one.places} or found

    def _check(self, claims: tuple[int, ...]) -> Named:
        """A new page that only says what others have said."""
        due = [claim for claim in claims if self.checked.get(claim, 0) < self.settings.verifications]
        for claim in claims:
            self.checked[claim] = self.checked.get(claim, 0) + 1
        return ("VERIFICATION", "claim_checked") if due else ("REDUNDANTQUERY", "claim_checked_before")


def query_words(text: str) -> frozenset[str]:
    """The words of a query that tell something."""
    words = frozenset(_WORD.findall(text.casefold()))
    return words - _IDLE or words


def overlap(one: frozenset[str], other: frozenset[str]) -> float:
    """Jaccard overlap; two empty sets are the same."""
    union = len(one | other)
    return len(one & other) / union if union else 1.0


def _arguments(call: Event) -> dict[str, Any] | None:
    try:
        given = json.loads(call.arguments or "")
    except (json.JSONDecodeError, RecursionError):
        return None
    return given if isinstance(given, dict) else None


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0
