"""The open-book reader: a model that answers from pages it is given, with no tools.

If it fails with the right pages before it, the question is broken or unreadable, however well it hides. Links are told
below each page, since they say which of two namesakes a page means.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, Field

from datagen.agents.llm.fencing import section
from datagen.agents.llm.solver import given
from datagen.agents.llm.voice import Voice, draw
from datagen.agents.toolbox import MAX_ANSWER_CHARS
from datagen.records.page import Link, Page
from datagen.web.tools import WINDOW_CHARS

MAX_REASONING_CHARS = 6_000


class OpenBookAnswer(BaseModel):
    reasoning: str = Field(max_length=MAX_REASONING_CHARS, description="Which page says what, step by step, briefly.")
    answer: str = Field(max_length=MAX_ANSWER_CHARS, description="The answer alone; empty if the pages do not give it.")


class LlmOpenBookReader:
    """`page_chars` of every page are shown, with the links that lie in them."""

    def __init__(self, voice: Voice, *, page_chars: int = WINDOW_CHARS) -> None:
        self.name = voice.model.name
        self._voice = voice
        self._page_chars = page_chars

    def read(self, question: str, pages: tuple[Page, ...], attempt: int) -> str | None:
        shown = [page_section(page, self._page_chars) for page in pages]
        seed = draw("open_book", question, attempt, *(page.id for page in pages))
        asked = self._voice.ask("open_book", OpenBookAnswer, seed=seed, question=question, pages=shown)
        return given(asked.value.answer)


def page_section(page: Page, limit: int) -> str:
    """A page as a fenced piece of a prompt, and its links as another."""
    text = section(
        "page",
        page.text[:limit],
        url=page.url,
        title=page.title,
        source_kind=page.source_kind,
        published_at=page.published_at,
        about_url=page.about_url,
        entity_type=page.entity_type,
    )
    lines = "\n".join(_link_lines(link for link in page.links if link.end <= limit))
    return f"{text}\n{section('links', lines, url=page.url)}" if lines else text


def _link_lines(links: Iterable[Link]) -> Iterable[str]:
    return (f"{' '.join(link.anchor.split())} -> {link.url}" for link in links)
