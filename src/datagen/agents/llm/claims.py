"""Claims: what a model reads on a page, each with the words it rests on.

    (subject, relation, object, quote)      ("Harlan Rovers", "home ground", "Hill End", "play their home games at Hill End")

The prompt shows one window of one page and nothing of the question in the making, so every page is read, and paid for,
once, however many candidates come by. A quote that is not on the page is pointed out; a claim whose quote still is not
there after the corrections is dropped, and where nothing is left the candidate ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from pydantic import BaseModel, Field

from datagen.agents.llm.fencing import plain
from datagen.agents.llm.open_book import page_section
from datagen.agents.llm.voice import Voice, draw
from datagen.clients.billing import current_bill
from datagen.errors import UnusableReplyError
from datagen.knowledge.borders import goes_on
from datagen.knowledge.grounding import Quotation
from datagen.records.page import Page

MAX_CLAIMS = 200
MAX_QUOTE_CHARS = 600
SHOWN_PROBLEMS = 5
CLAIM_WINDOW = 6_000
"""Characters of a page that are read into claims at once: what they state fits into a reply of a few thousand tokens."""


class ClaimReply(BaseModel):
    """One claim as a model states it."""

    subject: str = Field(max_length=300, description="Name of the thing that the statement is about.")
    relation: str = Field(max_length=200, description="What is said of it, in a few words: 'home ground', 'opened in'.")
    object: str = Field(max_length=300, description="The other thing, or the date or number, as the page writes it.")
    quote: str = Field(max_length=MAX_QUOTE_CHARS, description="The page's own words that say so, copied exactly.")


class ClaimsReply(BaseModel):
    claims: tuple[ClaimReply, ...] = Field(max_length=MAX_CLAIMS)


class ClaimReader:
    """Reads pages through a model."""

    def __init__(self, voice: Voice) -> None:
        self._voice = voice

    def read(self, page: Page) -> tuple[Quotation, ...]:
        """All quoted claims of a page; once per record, however often the record comes back to it."""
        memory = current_bill().memory
        key = ("claims", self._voice.model.name, page.id)
        if key not in memory:
            memory[key] = tuple(claim for start, window in _windows(page) for claim in self._of_window(window, start))
        found: tuple[Quotation, ...] = memory[key]
        return found

    def _of_window(self, window: Page, shift: int) -> Iterator[Quotation]:
        asked = self._voice.ask(
            "claims",
            ClaimsReply,
            seed=draw("claims", self._voice.model.name, window.id, window.text[:64]),
            problems=lambda reply: unquoted(reply, window.text),
            keep_flawed=True,
            page=page_section(window, CLAIM_WINDOW),
        )
        kept = 0
        for claim in asked.value.claims:
            span = find_quote(window.text, claim.quote)
            if span is not None:
                kept += 1
                yield Quotation(
                    claim.subject, claim.relation, claim.object, window.url, span[0] + shift, span[1] + shift
                )
        if asked.problems_left and not kept:
            raise UnusableReplyError(
                f"none of {len(asked.value.claims)} claims that {self._voice.model.name} made of {window.url} has its quote there.",
                "no_quoted_claims",
            )


def unquoted(reply: ClaimsReply, text: str) -> list[str]:
    """Sentences on quotes that are not in the text."""
    missing = [claim.quote for claim in reply.claims if find_quote(text, claim.quote) is None]
    told = [
        f"The page does not contain the quote {quote[:160]!r}; copy it exactly." for quote in missing[:SHOWN_PROBLEMS]
    ]
    more = len(missing) - len(told)
    return [*told, f"{more} more quotes are not on the page either."] if more > 0 else told


def find_quote(text: str, quote: str) -> tuple[int, int] | None:
    """Where a quote stands in a text, whatever the white space between its words.

    It stands there in whole words and numbers: "Opened: 190" is no quote from "Opened: 1901", nor "12" from "12,000".
    """
    for words in (quote.split(), plain(quote).split()):
        if words:
            for found in re.finditer(r"\s+".join(map(re.escape, words)), text):
                if not (goes_on(text, found.start()) or goes_on(text, found.end())):
                    return found.span()
    return None


def _windows(page: Page) -> Iterator[tuple[int, Page]]:
    """The page cut at line ends into pieces that fit a prompt, each with its place; blank ones are left out."""
    start = 0
    while start < len(page.text):
        end = min(start + CLAIM_WINDOW, len(page.text))
        if end < len(page.text):
            end = page.text.rfind("\n", start + 1, end) + 1 or end
        if page.text[start:end].strip():
            yield start, _piece(page, start, end)
        start = end


def _piece(page: Page, start: int, end: int) -> Page:
    links = tuple(
        replace(link, start=link.start - start, end=link.end - start)
        for link in page.links
        if start <= link.start and link.end <= end
    )
    return replace(page, text=page.text[start:end], links=links)
