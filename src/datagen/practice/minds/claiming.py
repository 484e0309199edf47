"""A mind that reads a page into claims: the reader of the symbolic cast over the text in the prompt.

Subjects and objects go by the names that the page uses for them; quotes are cut from the text.
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import unquote

from datagen.agents.llm.claims import MAX_CLAIMS, MAX_QUOTE_CHARS
from datagen.knowledge.reading import Reading
from datagen.practice.minds.background import Background
from datagen.practice.minds.reading_pages import pages_of
from datagen.practice.minds.task import json_reply, task_text
from datagen.practice.wire import WireReply, WireRequest
from datagen.records.fact import Fact
from datagen.records.page import Page


def claim(background: Background, request: WireRequest) -> WireReply:
    """Everything that the page states, in the order of its text."""
    found = next(iter(pages_of(task_text(request))), None)
    if found is None:
        raise LookupError("the request shows no page")
    page = replace(found, host=found.url.partition("://")[2].partition("/")[0])
    reading = background.competence.reader.read(page)
    facts = sorted(reading.facts, key=lambda fact: (fact.evidence.start, fact.relation, fact.object))
    claims = [_claim(background, page, reading, fact) for fact in facts if len(fact.evidence.quote) <= MAX_QUOTE_CHARS]
    return json_reply({"claims": claims[:MAX_CLAIMS]})


def _claim(background: Background, page: Page, reading: Reading, fact: Fact) -> dict[str, str]:
    return {
        "subject": name_of(fact.subject, page, reading),
        "relation": background.catalogue.relations[fact.relation].label,
        "object": fact.object[:300],
        "quote": fact.evidence.quote,
    }


def name_of(key: str, page: Page, reading: Reading) -> str:
    """What the page calls an entity."""
    if reading.entity is not None and reading.entity.key == key:
        return reading.entity.name[:300]
    for url, anchor in reading.mentions:
        if url == key:
            return anchor[:300]
    return unquote(key.rstrip("/").rpartition("/")[2] or page.title)[:300]
