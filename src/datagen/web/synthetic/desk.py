"""The desk at which all pages are written: what a writer of pages needs, in one object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Any

from datagen.web.synthetic.addresses import Addresses
from datagen.web.synthetic.draws import Ring
from datagen.web.synthetic.layout import Ref
from datagen.web.synthetic.ontology import read_data
from datagen.web.synthetic.phrasing import Phrasing, article
from datagen.web.synthetic.statements import Statements
from datagen.web.synthetic.values import WORLD_TODAY
from datagen.web.synthetic.world import World

TODAY = WORLD_TODAY.toordinal()
_FRESH = date(2026, 1, 10).toordinal()
_RECENT = date(2025, 2, 1).toordinal()
_OLD = date(2022, 3, 1).toordinal()


@dataclass(frozen=True)
class Style:
    """Headings by relation, and colour by section."""

    topic_of: Mapping[str, int]
    headings: tuple[tuple[str, ...], ...]
    colour: Mapping[str, tuple[str, ...]]


@lru_cache(maxsize=1)
def read_style() -> Style:
    raw = read_data("style")
    topic_of = {relation: n for n, topic in enumerate(raw["topic"]) for relation in topic["relations"]}
    headings = tuple(tuple(topic["headings"]) for topic in raw["topic"])
    return Style(topic_of, headings, {k: tuple(v) for k, v in raw["colour"].items()})


@dataclass(frozen=True)
class Desk:
    """World, addresses, statements and words; shared by all families of pages."""

    addresses: Addresses
    statements: Statements
    phrasing: Phrasing
    style: Style = field(default_factory=read_style)

    @property
    def world(self) -> World:
        return self.addresses.world

    def about(self, ref: Ref) -> dict[str, Any]:
        """The JSON-LD node of an entity."""
        kind = self.world.ontology.kinds[ref.type]
        home = self.addresses.home(ref)
        node = {"@type": kind.schema, "name": self.phrasing.name(ref), "additionalType": kind.words.singular}
        return {**node, "@id": home} if home else node

    def edited(self, ref: Ref, page: str) -> int:
        """The day on which a page about an entity was last edited: mostly this year, sometimes years ago, and never
        before the latest thing that happened to the entity.
        """
        draws = self.world.draws
        bits = draws.bits(f"edited/{page}/{ref.type}", ref.index)
        share, bits = bits % 100, bits >> 8
        low, high = (_FRESH, TODAY) if share < 68 else (_RECENT, _FRESH) if share < 88 else (_OLD, _RECENT)
        day = low + bits % (high - low)
        event = self.statements.last_event(ref)
        return day if day > event else min(TODAY, event + 2 + bits % 25)

    def colour(self, section: str, address: str, index: int, most: int) -> list[str]:
        """Up to `most` sentences that state nothing."""
        draws = self.world.draws
        choice = self.style.colour[section]
        bits = draws.bits(f"colour/{address}", index)
        # The square of an even draw: most pages are short, a few are long.
        count = (bits % 1000) ** 2 * (most + 1) // 1_000_000
        ring = Ring(len(choice), bits >> 10)
        return [choice[ring.forward(n)] for n in range(min(count, len(choice)))]

    def opening(self, ref: Ref) -> str:
        """`Pukpi Park is a stadium in Komunavela.`"""
        world = self.world
        kind = world.ontology.kinds[ref.type].words
        country = Ref("country", world.layout.country(ref))
        if ref.type == "country":
            return f"{world.name(ref)} is {article(kind.singular)}."
        link = "in" if {"place", "structure", "organisation", "event"} & set(kind.parents) else "from"
        return f"<b>{world.name(ref)}</b> is {article(kind.singular)} {link} {self.phrasing.mention(country)}."
