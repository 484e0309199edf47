"""Demonstrations by somebody who knows the proof: how the answer can be found, shown with the two tools.

    question   "Which region contains the town of which Aga Brun is a native?"
    turn 0     thought "place of birth ; region"        search {"query": "Aga Brun"}
    turn 1     visit a page about Aga Brun             "... She was born at Velmo. ..."
    turn 2     thought "Velmo ; region"                 search {"query": "Velmo"}
    turn 3     visit a page about Velmo                "... Velmo lies in Upper Trisk. ..."
    turn 4     answer "Upper Trisk"

A thought says what was found and what is still to be looked up, so that one turn follows from the one before and from the
page just read, at any length. What is shown is honest: every name that is searched for stands in the question or on a page
read before, and a page that does not show its value where a reader looks ends the demonstration instead.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import orjson

from datagen.agents.toolbox import hits_to_json, shown_by_hits, shown_by_window, window_to_json
from datagen.knowledge.formula import EntityRef
from datagen.knowledge.graph import FactGraph
from datagen.records.ids import rng_for
from datagen.records.page import LOW_TRUST_KINDS
from datagen.records.trajectory import Event, Shown, Transcript
from datagen.synthesis.chains import Chain, Link
from datagen.web.tools import Web

POLICY = "hindsight"
PLAN = " ; "
"""Between the parts of a thought."""


@dataclass(frozen=True, slots=True)
class HindsightSettings:
    """How demonstrations read."""

    hits: int = 5
    """Results of a search."""
    shown_chars: int = 700
    """A value has to stand within so many characters of its page: readers with little room see no more of it."""
    elsewhere: float = 0.0
    """Share of visits in which any page about the thing may be read that states the value, not its article alone."""


class Demonstrator:
    """Shows the way along chains."""

    def __init__(self, web: Web, graph: FactGraph, settings: HindsightSettings | None = None) -> None:
        self._web = web
        self._graph = graph
        self._catalogue = graph.catalogue
        self._settings = settings or HindsightSettings()

    def demonstrate(self, chain: Chain) -> Transcript | None:
        """A whole attempt; None where a search does not find a page, or a page does not show its value early enough."""
        events: list[Event] = []
        plan = [self._catalogue.relations[link.relation].label.lower() for link in chain.links]
        words = [word for link in chain.links for word in (link.subject.key, link.relation)]
        found: list[str] = []
        for step, link in enumerate(chain.links):
            turn = 2 * step
            events.append(Event(turn, "thought", PLAN.join((*found, *plan[step:]))))
            looked_up = self._look_up(link, turn, rng_for("demonstration", *words, step))
            if looked_up is None:
                return None
            events += looked_up
            found = [link.value.name if isinstance(link.value, EntityRef) else link.value.text]
        events.append(Event(2 * len(chain.links), "answer", found[0]))
        return Transcript(tuple(events), found[0], "answered")

    def _look_up(self, link: Link, turn: int, rng: random.Random) -> list[Event] | None:
        """A search for the subject and a visit to a page about it that states the value."""
        hits = self._web.search(link.subject.name, self._settings.hits)
        stating = self._stating(link)
        pages = [hit.url for hit in hits if hit.title == link.subject.name and hit.url in stating]
        chosen = rng.choice(pages) if pages and rng.random() < self._settings.elsewhere else link.subject.key
        if chosen not in pages:
            return None
        window = self._web.visit(chosen)
        value = link.value.name if isinstance(link.value, EntityRef) else link.value.text
        if value not in window.text[: self._settings.shown_chars]:
            return None
        query = {"query": link.subject.name, "top_k": self._settings.hits}
        return [
            *_called(turn, "search", query, hits_to_json(hits), shown_by_hits(hits)),
            *_called(turn + 1, "visit", {"url": chosen}, window_to_json(window), shown_by_window(window)),
        ]

    def _stating(self, link: Link) -> set[str]:
        """Addresses of pages that can be relied on and state the link."""
        facts = self._graph.facts(self._graph.id(link.subject.key), link.relation)
        return {fact.evidence.url for fact in facts if fact.evidence.source_kind not in LOW_TRUST_KINDS}


def _called(turn: int, tool: str, arguments: object, result: str, documents: tuple[Shown, ...]) -> tuple[Event, Event]:
    call_id = f"c{turn}"
    call = Event(turn, "call", call_id=call_id, tool=tool, arguments=orjson.dumps(arguments).decode())
    return call, Event(turn, "result", result, call_id=call_id, tool=tool, documents=documents)
