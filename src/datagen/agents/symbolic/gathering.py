"""How a proposer collects facts for its themes: through the tools, and in one of two temperaments.

    broad    for every theme two searches and several hits; follows few links. Many hosts, short chains.
    deep     for every theme one search and few hits; then the entities those pages link to, two links deep. Long chains.

All themes go side by side, wave by wave: searches, what they found, what that links to. Whoever can read several pages
at once then does, and no theme takes the visits of another. Every visited page is credited to the theme whose search, or whose page's link, led to it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from datagen.agents.symbolic.page_memory import PageMemory
from datagen.agents.symbolic.solving import is_list_like
from datagen.knowledge.notes import ENTITY_PREFIX

HITS_SEEN = 12
"""Asked for per search, of which some are visited."""
SHARE = 0.5
"""Of the budget, spent on gathering; describing what was found takes the rest. Every theme may have as many visits."""
RECENT_WORDS = ("2025", "2024", "new", "appointed")


@dataclass(frozen=True, slots=True)
class Temperament:
    """How far and how wide a proposer looks."""

    searches: int
    """Per theme."""
    hits: int
    """Visited per search."""
    links: int
    """Linked entities visited per page."""
    link_depth: int


BROAD = Temperament(searches=2, hits=3, links=1, link_depth=1)
DEEP = Temperament(searches=1, hits=2, links=2, link_depth=2)


Wave = list[tuple[str, str]]
"""Addresses to visit, each with the theme that led to it."""


@dataclass
class Harvest:
    """What was visited, page by page, and for which theme."""

    memory: PageMemory
    temperament: Temperament
    rng: random.Random
    theme_of: dict[str, str] = field(default_factory=dict)


def gather(memory: PageMemory, themes: tuple[str, ...], temperament: Temperament, rng: random.Random) -> Harvest:
    """Search every theme, visit some of what comes up, and follow links from there; all themes side by side."""
    harvest = Harvest(memory, temperament, rng)
    per_theme = int(memory.visits_left * SHARE) // max(1, len(themes))
    room = dict.fromkeys(themes, per_theme)
    wave = _found(harvest, themes)
    for _ in range(temperament.link_depth):
        wave = [(key, theme) for url, theme in _visited(harvest, wave, room) for key in _linked(harvest, url)]
    _visited(harvest, wave, room)
    return harvest


def _found(harvest: Harvest, themes: tuple[str, ...]) -> Wave:
    """What the searches bring: the first one of every theme before the second of any."""
    memory, rng = harvest.memory, harvest.rng
    asked = [
        (theme if turn == 0 else f"{theme} {rng.choice(RECENT_WORDS)}", theme)
        for turn in range(harvest.temperament.searches)
        for theme in themes
    ][: int(memory.searches_left * SHARE)]
    memory.expect_searches([words for words, _ in asked], HITS_SEEN)
    wave: Wave = []
    for words, theme in asked:
        hits = memory.search(words, top_k=HITS_SEEN)
        lists = [h for h in hits if is_list_like(h)][:1]
        chosen = rng.sample(hits, min(harvest.temperament.hits, len(hits)))
        wave += [(hit.url, theme) for hit in dict.fromkeys((*lists, *chosen))]
    return wave


def _visited(harvest: Harvest, wave: Wave, room: dict[str, int]) -> Wave:
    """The part of a wave that is there, after visiting it; a theme without room has to do with what it has."""
    wanted: dict[str, str] = {}
    for url, theme in wave:
        if url not in wanted and (room[theme] > 0 or url in harvest.memory.pages):
            room[theme] -= url not in harvest.memory.pages
            wanted[url] = theme
    harvest.memory.read_all(wanted)
    there = [(url, theme) for url, theme in wanted.items() if harvest.memory.pages[url] is not None]
    for url, theme in there:
        harvest.theme_of.setdefault(url, theme)
    return there


def _linked(harvest: Harvest, url: str) -> list[str]:
    """Entities that the page's own facts name, some of them; links outside facts lead nowhere in particular."""
    reading = harvest.memory.readings[url]
    keys = dict.fromkeys(key for fact in reading.facts for key in (fact.object_key, fact.subject) if key)
    linked = [key for key in keys if not key.startswith(ENTITY_PREFIX) and key not in harvest.memory.pages]
    return harvest.rng.sample(linked, min(harvest.temperament.links, len(linked)))
