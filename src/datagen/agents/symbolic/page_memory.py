"""One attempt's way to the web: budgets, exact counts, and what was seen.

A `PageMemory` is fresh for every attempt, so a verifier knows nothing that its own searches did not bring up. Reading a
page is a pure function of the page, so a `Competence` may keep readings between attempts; visits are counted all the
same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from datagen.agents.budget import Budget
from datagen.agents.symbolic.notebook import Notebook
from datagen.errors import PageNotFoundError
from datagen.knowledge.catalogue import Catalogue
from datagen.knowledge.formula import Query
from datagen.knowledge.reading import CachedReader, Reader, Reading
from datagen.records.page import LOW_TRUST_KINDS, Page
from datagen.web.tools import Hit, Web, read_whole

SPARE_HITS = 4
"""Asked for beyond what is wanted, for some will be of low trust."""
RUMOUR_HITS = 15


class BudgetSpentError(Exception):
    """The attempt has no search or visit left; never leaves the solver."""


@runtime_checkable
class Expectant(Protocol):
    """A web that is better asked for several pages at once."""

    def expect(self, urls: Sequence[str]) -> None:
        """These will most likely be visited next, to their ends, in this order."""
        ...

    def expect_searches(self, queries: Sequence[str], top_k: int) -> None:
        """These will most likely be searched for next, in this order."""
        ...


class ParsesQuestions(Protocol):
    """What a cast needs of the language: words to meaning, names without keys."""

    def parse(self, text: str) -> Query: ...


@dataclass(frozen=True, slots=True)
class Competence:
    """What a symbolic agent knows before it starts: the words of the catalogue, and how to read; no facts."""

    catalogue: Catalogue
    parser: ParsesQuestions
    reader: CachedReader
    type_in_url: Callable[[str], str | None]
    """What the folder names of an address tell about its entity."""

    @classmethod
    def of(cls, catalogue: Catalogue, parser: ParsesQuestions, readings: int = 4096) -> Competence:
        """`readings` pages are kept read between attempts; one takes a few kilobytes."""
        reader = Reader(catalogue)
        return cls(catalogue, parser, CachedReader(reader, readings), reader.types.find_in_url)


class PageMemory:
    """The tools with a budget, and a notebook of what the visited pages say."""

    def __init__(self, web: Web, competence: Competence, budget: Budget) -> None:
        self._web = web
        self._competence = competence
        self._budget = budget
        self.notebook = Notebook(competence.catalogue, competence.type_in_url)
        self.searches = 0
        self.visits = 0
        self.pages: dict[str, Page | None] = {}
        """Visited addresses in order; None where the web has no such page."""
        self.readings: dict[str, Reading] = {}
        self._answers: dict[str, list[Hit]] = {}

    def search(self, query: str, top_k: int = 8) -> list[Hit]:
        """Hits worth a visit: pages of low trust prove nothing. The same words are asked once per attempt."""
        hits = self._ask(query, top_k + SPARE_HITS)
        return [h for h in hits if h.source_kind not in LOW_TRUST_KINDS][:top_k]

    def rumours(self, name: str, limit: int) -> list[Hit]:
        """Pages of low trust about a name: they prove nothing, but they keep what they say possible."""
        wanted = name.casefold()
        hits = self._ask(name, RUMOUR_HITS)
        return [h for h in hits if h.source_kind in LOW_TRUST_KINDS and wanted in h.title.casefold()][:limit]

    def _ask(self, query: str, top_k: int) -> list[Hit]:
        query = " ".join(query.split())
        if query not in self._answers:
            if self.searches >= self._budget.searches:
                raise BudgetSpentError
            self.searches += 1
            self._answers[query] = self._web.search(query, top_k)
        return self._answers[query]

    def read_all(self, urls: Iterable[str]) -> None:
        """Read pages one after the other."""
        new = list(dict.fromkeys(urls))
        self.expect(new)
        for url in new:
            self.read(url)

    def expect(self, urls: Iterable[str]) -> None:
        """Say which pages will be read next, to a web that cares."""
        if isinstance(self._web, Expectant):
            new = [url for url in urls if url not in self.pages]
            self._web.expect(new[: max(0, self.visits_left)])

    def expect_searches(self, queries: Iterable[str], top_k: int = 8) -> None:
        """Say what will be searched for next, to a web that cares."""
        if isinstance(self._web, Expectant):
            plain = (" ".join(query.split()) for query in queries)
            new = [query for query in dict.fromkeys(plain) if query not in self._answers]
            self._web.expect_searches(new[: max(0, self.searches_left)], top_k + SPARE_HITS)

    def read(self, url: str) -> Page | None:
        """Visit a page once and note what it says; None for an address that is not there."""
        if url not in self.pages:
            if self.visits >= self._budget.visits:
                raise BudgetSpentError
            try:
                page, visits = read_whole(self._web, url)
            except PageNotFoundError:
                page, visits = None, 1
            self.visits += visits
            self.pages[url] = page
            if page is not None:
                reading = self.readings[url] = self._competence.reader.read(page)
                self.notebook.add(page, reading)
        return self.pages[url]

    @property
    def searches_left(self) -> int:
        return self._budget.searches - self.searches

    @property
    def visits_left(self) -> int:
        return self._budget.visits - self.visits

    @property
    def visited(self) -> tuple[str, ...]:
        return tuple(url for url, page in self.pages.items() if page is not None)

    def mentions_together(self, first: str, second: str) -> bool:
        """Whether some visited page has both wordings: then a missing statement was a failure to read, not to find."""
        a, b = first.casefold(), second.casefold()
        return any(
            page is not None and a in (text := page.text.casefold()) and b in text for page in self.pages.values()
        )
