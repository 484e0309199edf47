"""Addresses: which entities have which pages, and where.

    https://www.lexicora.example/football-clubs/dynamo-qualinta-114          the encyclopedia's article
    https://dynamo-qualinta-114.example/football-clubs/about                 the club's own site
    https://www.lexicora.example/football-clubs/dynamo-qualinta-114          its key: the first page that it has

The number in an address is the entity's, scrambled, so an address can be read back without a table. The words before it
are for people: an address with other words is redirected.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from datagen.web.synthetic.draws import Ring
from datagen.web.synthetic.layout import Ref
from datagen.web.synthetic.names import slug
from datagen.web.synthetic.world import World

ENCYCLOPEDIA = "www.lexicora.example"
SITE_HOSTS = {
    "profile": "people.vitarium.example",
    "reference": "handbook.terranor.example",
    "registry": "register.civica.example",
    "review": "reviews.foliant.example",
}
"""Where the second page of an entity lives, by kind; official sites have hosts of their own."""
OFFICIAL_DOMAIN = "example"
_FIRST_NUMBER = 101
_CACHE = 50_000
_SLUGGED = re.compile(r"(?:([a-z0-9-]+)-)?(\d+)")


class Coverage(NamedTuple):
    """Shares of entities that have an article and a second page of their own."""

    articles: float
    sites: float


class Addresses:
    """The pages of entities: whether they exist, their addresses, and the way back."""

    def __init__(self, world: World, coverage: Coverage) -> None:
        self.world = world
        kinds = world.ontology.kinds
        self.type_of_folder = {kind.folder: kind.id for kind in kinds.values()}
        self.folder_of = {kind.id: kind.folder for kind in kinds.values()}
        self._site_kind = {kind.id: kind.site for kind in kinds.values()}
        self._site_rings = {t: Ring(n, world.draws.bits(f"sites/{t}")) for t, n in world.layout.sizes.items()}
        self._numbers = {t: Ring(n, world.draws.bits(f"numbers/{t}")) for t, n in world.layout.sizes.items()}
        sizes = world.layout.sizes.items()
        self._articles = {t: max(round(n * coverage.articles), 2 * world.pairs(t), 1) for t, n in sizes}
        self._sites = {t: round(n * coverage.sites) for t, n in sizes}
        self.home = lru_cache(maxsize=_CACHE)(self._home)
        self.label = lru_cache(maxsize=_CACHE)(self._label)

    # -- who has a page ----------------------------------------------------------------------------------------------

    def article_count(self, type_id: str) -> int:
        return self._articles[type_id]

    def site_count(self, type_id: str) -> int:
        return self._sites[type_id]

    def article_ref(self, type_id: str, number: int) -> Ref:
        """The entity of the article with this number, 0..article_count-1."""
        return Ref(type_id, self.world.page_ring(type_id).inverse(number))

    def site_ref(self, type_id: str, number: int) -> Ref:
        return Ref(type_id, self._site_rings[type_id].inverse(number))

    def has_article(self, ref: Ref) -> bool:
        return self.world.page_ring(ref.type).forward(ref.index) < self.article_count(ref.type)

    def has_site(self, ref: Ref) -> bool:
        return self._site_rings[ref.type].forward(ref.index) < self.site_count(ref.type)

    def site_kind(self, ref: Ref) -> str:
        return self._site_kind[ref.type]

    # -- where -------------------------------------------------------------------------------------------------------

    def _label(self, ref: Ref) -> str:
        """The last part of an address: `dynamo-qualinta-114`."""
        return f"{slug(self.world.name(ref))}-{_FIRST_NUMBER + self._numbers[ref.type].forward(ref.index)}"

    def article(self, ref: Ref) -> str:
        return f"https://{ENCYCLOPEDIA}/{self.folder_of[ref.type]}/{self.label(ref)}"

    def site(self, ref: Ref) -> str:
        kind = self._site_kind[ref.type]
        folder = self.folder_of[ref.type]
        if kind == "official":
            return f"https://{self.label(ref)}.{OFFICIAL_DOMAIN}/{folder}/about"
        return f"https://{SITE_HOSTS[kind]}/{folder}/{self.label(ref)}"

    def _home(self, ref: Ref) -> str | None:
        """The page that is the entity's key; None for an entity that has none."""
        if self.has_article(ref):
            return self.article(ref)
        return self.site(ref) if self.has_site(ref) else None

    def key(self, ref: Ref) -> str:
        return self.home(ref) or f"entity:{ref.type}/{self.world.name(ref)}"

    # -- back --------------------------------------------------------------------------------------------------------

    def find(self, folder: str, label: str) -> Ref | None:
        """The entity with this number in this folder, whatever the words say."""
        type_id = self.type_of_folder.get(folder)
        match = _SLUGGED.fullmatch(label)
        if type_id is None or match is None:
            return None
        number = int(match[2]) - _FIRST_NUMBER
        if not 0 <= number < self.world.layout.sizes[type_id]:
            return None
        return Ref(type_id, self._numbers[type_id].inverse(number))
