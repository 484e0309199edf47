"""How a proposer collects facts for its themes: through the tools, and in one of two temperaments.

    broad    for every theme two searches and several hits; follows few links. Many hosts, short chains.
    deep     for every theme one search and few hits; then the entities those pages link to, two links deep. Long chains.

Every visited page is credited to the theme whose search, or whose page's link, led to it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from datagen.agents.symbolic.page_memory import PageMemory
from datagen.agents.symbolic.solving import is_list_like
from datagen.knowledge.notes import ENTITY_PREFIX

HITS_SEEN = 12
"""Asked for per search, of which some are visited."""
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


@dataclass
class Harvest:
    """What was visited, page by page, and for which theme."""

    memory: PageMemory
    temperament: Temperament
    rng: random.Random
    theme_of: dict[str, str] = field(default_factory=dict)

    def visit(self, url: str, theme: str) -> bool:
        page = self.memory.read(url)
        if page is not None:
            self.theme_of.setdefault(url, theme)
        return page is not None


def gather(memory: PageMemory, themes: tuple[str, ...], temperament: Temperament, rng: random.Random) -> Harvest:
    """Search every theme, visit some of what comes up, and follow links from there."""
    harvest = Harvest(memory, temperament, rng)
    memory.expect_searches(themes, HITS_SEEN)
    for theme in themes:
        for turn in range(temperament.searches):
            words = theme if turn == 0 else f"{theme} {rng.choice(RECENT_WORDS)}"
            hits = memory.search(words, top_k=HITS_SEEN)
            lists = [h for h in hits if is_list_like(h)][:1]
            chosen = rng.sample(hits, min(temperament.hits, len(hits)))
            picked = list(dict.fromkeys((*lists, *chosen)))
            memory.expect(hit.url for hit in picked)
            for hit in picked:
                if harvest.visit(hit.url, theme):
                    _follow(harvest, hit.url, theme, temperament.link_depth)
    return harvest


def _follow(harvest: Harvest, url: str, theme: str, levels: int) -> None:
    """Visit entities that the page's own facts name; links outside facts lead nowhere in particular."""
    reading = harvest.memory.readings.get(url)
    if reading is None or not levels:
        return
    keys = dict.fromkeys(key for fact in reading.facts for key in (fact.object_key, fact.subject) if key)
    linked = [key for key in keys if not key.startswith(ENTITY_PREFIX) and key not in harvest.memory.pages]
    chosen = harvest.rng.sample(linked, min(harvest.temperament.links, len(linked)))
    harvest.memory.expect(chosen)
    for key in chosen:
        if harvest.visit(key, theme):
            _follow(harvest, key, theme, levels - 1)
