"""With the right pages at hand, the question must be answerable: every try from gold pages among distractors gets the key.

A question that fails here is no good however hard it is to search for: a page does not say what the formula took from it,
or the words ask for something else (spec infoseek_webexplorer §1.6). Gold are the pages behind the clues, or behind the
hops where there is no certificate. Distractors are hard: the best hits of the question and of its clues that are not
evidence, cut to what they have of the question's words. The order is drawn per try, so that a page's place tells nothing.

The check is off with 0 attempts, and costs no tool calls of the cast but those that fetch the pages.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum

from datagen.errors import ConfigError, FetchError, PageNotFoundError
from datagen.knowledge.answer_forms import accepted_forms, contains_words, words_of
from datagen.records.ids import rng_for
from datagen.records.page import LOW_TRUST_KINDS, Page
from datagen.records.question import OracleCheck, Verdict
from datagen.synthesis.draft import Draft
from datagen.verification.excerpts import Span, excerpt
from datagen.verification.gate import GateContext, failed, passed
from datagen.verification.grading import grade
from datagen.verification.shortcut import clue_texts
from datagen.web.passages import chosen_passages
from datagen.web.tools import Web, read_whole

PAGE_CHARS = 4_000
"""Characters of one page that the reader is shown: ten pages fit into a context of 16,000 tokens."""
HITS = 5
"""Hits of each query among which distractors are looked for."""


class OracleReason(StrEnum):
    WRONG = "wrong_from_gold_pages"
    NO_PAGES = "no_gold_pages"


class Oracle:
    name = "oracle"
    cost = 25

    def work(self, draft: Draft, context: GateContext) -> Draft:
        """Read until the first wrong answer, since the draft is lost then anyway."""
        if not context.settings.oracle_attempts:
            return draft
        if context.open_book is None:
            raise ConfigError(
                "gates.oracle_attempts asks for a reader of given pages, and this cast has none; set it to 0, or let "
                "models play in cast.roles."
            )
        desk = _Desk(context.web)
        gold = desk.gold(draft)
        distractors = desk.distractors(draft, context, gold) if gold else []
        answers = list[str | None]()
        right = 0
        for attempt in range(context.settings.oracle_attempts if gold else 0):
            pages = [*gold, *distractors]
            rng_for("oracle", draft.question, attempt).shuffle(pages)
            answers.append(context.open_book.read(draft.question, tuple(pages), attempt))
            found = grade(draft.question, draft.answer, answers[-1], None, context.judge)
            right += found.correct
            if not found.correct:
                break
        spend = dict(draft.spend)
        spend["searches"] = spend.get("searches", 0) + desk.searches
        spend["visits"] = spend.get("visits", 0) + desk.visits
        return replace(draft, oracle=OracleCheck(len(answers), right, len(distractors), tuple(answers)), spend=spend)

    def check(self, draft: Draft, context: GateContext) -> Verdict:
        if not context.settings.oracle_attempts:
            return passed(self.name, "not asked for")
        asked = draft.oracle
        if asked is None or not asked.attempts:
            return failed(self.name, OracleReason.NO_PAGES, "none of the pages behind the clues can be read")
        if asked.right < asked.attempts:
            detail = f"try {len(asked.answers)} says {asked.answers[-1]!r}, the key is {draft.answer.text!r}"
            return failed(self.name, OracleReason.WRONG, detail)
        return passed(self.name, f"{asked.right} of {asked.attempts} right among {asked.distractors} distractors")


class _Desk:
    """Fetches pages for one draft and counts what that takes."""

    def __init__(self, web: Web) -> None:
        self._web = web
        self._pages: dict[str, Page | None] = {}
        self.searches = 0
        self.visits = 0

    def gold(self, draft: Draft) -> list[Page]:
        """The pages behind the clues and the asked value, in that order, cut to the passages that state them."""
        quotes: dict[str, list[str]] = {}
        for url, quote in (*_evidence(draft), *self._asked_value(draft)):
            quotes.setdefault(url, []).append(quote)
        read = [(self._read(url), said) for url, said in quotes.items()]
        return [excerpt(page, _spans(page, said), PAGE_CHARS) for page, said in read if page is not None]

    def _asked_value(self, draft: Draft) -> list[tuple[str, str]]:
        """Where the asked value of the root is stated: its own page, else the best trusted hit; clues need neither."""
        root = draft.certificate.answer_set[0] if draft.certificate else ""
        own = self._read(root) if draft.query.ask is not None else None
        if own is None:
            return []
        title = words_of(own.title)
        names = [name for name in map(words_of, draft.hidden_names) if contains_words(title, name)] or [title]
        asked = str(draft.query.ask).lstrip("~").replace("_", " ")
        for page in (own, *self._trusted(f"{own.title} {asked}")):
            line = _line_that_states(draft, page, names)
            if line is not None:
                return [(page.url, line)]
        return []

    def _trusted(self, words: str) -> Iterator[Page]:
        self.searches += 1
        for hit in self._web.search(words, HITS):
            page = None if hit.source_kind in LOW_TRUST_KINDS else self._read(hit.url)
            if page is not None:
                yield page

    def distractors(self, draft: Draft, context: GateContext, gold: list[Page]) -> list[Page]:
        """The best hits that state no clue: one of each query in turn, so that every clue has its own."""
        taken = {url for url, _ in _evidence(draft)} | {page.url for page in gold}
        found: list[Page] = []
        for url in self._tempting(draft, context):
            if len(found) == context.settings.oracle_distractors:
                break
            if url in taken:
                continue
            taken.add(url)
            page = self._read(url)
            if page is not None:
                found.append(excerpt(page, chosen_passages(page.text, draft.question, PAGE_CHARS), PAGE_CHARS))
        return found

    def _tempting(self, draft: Draft, context: GateContext) -> Iterator[str]:
        if not context.settings.oracle_distractors:
            return
        results = []
        for words in (draft.question, *clue_texts(draft, context)):
            results.append([hit.url for hit in self._web.search(words, HITS)])
            self.searches += 1
        for rank in range(HITS):
            yield from (urls[rank] for urls in results if rank < len(urls))

    def _read(self, url: str) -> Page | None:
        if url not in self._pages:
            self._pages[url] = None
            with contextlib.suppress(PageNotFoundError, FetchError):
                self._pages[url], visits = read_whole(self._web, url)
                self.visits += visits
        return self._pages[url]


def _evidence(draft: Draft) -> Iterator[tuple[str, str]]:
    """(page, quote) of the first page behind every clue, and of every hop."""
    seen: set[int] = set()
    for item in draft.certificate.evidence if draft.certificate else ():
        if item.clue not in seen:
            seen.add(item.clue)
            yield item.url, item.quote
    for hop in draft.hops if draft.certificate is None else ():
        yield hop.url, hop.quote


def _line_that_states(draft: Draft, page: Page, names: list[tuple[str, ...]]) -> str | None:
    """The first line with a form of the answer that is about one of the names, because the line or the title says so."""
    forms = [words_of(form) for form in accepted_forms(draft.answer)]
    about = any(contains_words(words_of(page.title), name) for name in names)
    for line in page.text.splitlines():
        said = words_of(line)
        named = about or any(contains_words(said, name) for name in names)
        if named and any(contains_words(said, form) for form in forms):
            return line
    return None


def _spans(page: Page, quotes: list[str]) -> list[Span]:
    places = [(page.text.find(quote), len(quote)) for quote in quotes]
    return [(start, start + length) for start, length in places if start >= 0]
