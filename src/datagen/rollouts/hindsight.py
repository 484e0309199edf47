"""Demonstrations by somebody who knows the proof: how the answer can be found, shown with the two tools.

    question   "Which region contains the town of which Aga Brun is a native?"
    turn 0     thought "place of birth ; region"        search {"query": "Aga Brun"}
    turn 1     visit the article about Aga Brun         "... She was born at Velmo. ..."
    turn 2     thought "Velmo ; region"                 search {"query": "Velmo"}
    turn 3     visit the article about Velmo            "... Velmo lies in Upper Trisk. ..."
    turn 4     answer "Upper Trisk"

A thought says what was found and what is still to be looked up, so that one turn follows from the one before and from the
page just read, at any length. What is shown is honest: every name that is searched for stands in the question or on a page
read before, and a page that does not show its value where a reader looks ends the demonstration instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from datagen.agents.toolbox import hits_to_json, shown_by_hits, shown_by_window, window_to_json
from datagen.knowledge.catalogue import Catalogue
from datagen.knowledge.formula import EntityRef
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


class Demonstrator:
    """Shows the way along chains."""

    def __init__(self, web: Web, catalogue: Catalogue, settings: HindsightSettings | None = None) -> None:
        self._web = web
        self._catalogue = catalogue
        self._settings = settings or HindsightSettings()

    def demonstrate(self, chain: Chain) -> Transcript | None:
        """A whole attempt; None where a search does not find a page, or a page does not show its value early enough."""
        events: list[Event] = []
        plan = [self._catalogue.relations[link.relation].label.lower() for link in chain.links]
        found: list[str] = []
        for step, link in enumerate(chain.links):
            turn = 2 * step
            events.append(Event(turn, "thought", PLAN.join((*found, *plan[step:]))))
            looked_up = self._look_up(link, turn)
            if looked_up is None:
                return None
            events += looked_up
            found = [link.value.name if isinstance(link.value, EntityRef) else link.value.text]
        events.append(Event(2 * len(chain.links), "answer", found[0]))
        return Transcript(tuple(events), found[0], "answered")

    def _look_up(self, link: Link, turn: int) -> list[Event] | None:
        """A search for the subject and a visit to the article about it."""
        hits = self._web.search(link.subject.name, self._settings.hits)
        article = next((hit for hit in hits if hit.url == link.subject.key), None)
        if article is None or article.title != link.subject.name:
            return None
        window = self._web.visit(article.url)
        value = link.value.name if isinstance(link.value, EntityRef) else link.value.text
        if value not in window.text[: self._settings.shown_chars]:
            return None
        query = {"query": link.subject.name, "top_k": self._settings.hits}
        return [
            *_called(turn, "search", query, hits_to_json(hits), shown_by_hits(hits)),
            *_called(turn + 1, "visit", {"url": article.url}, window_to_json(window), shown_by_window(window)),
        ]


def _called(turn: int, tool: str, arguments: object, result: str, documents: tuple[Shown, ...]) -> tuple[Event, Event]:
    call_id = f"c{turn}"
    call = Event(turn, "call", call_id=call_id, tool=tool, arguments=orjson.dumps(arguments).decode())
    return call, Event(turn, "result", result, call_id=call_id, tool=tool, documents=documents)
