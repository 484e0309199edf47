"""All pages of a synthetic web, numbered, so that page k of n can be made alone.

    web = SyntheticWeb(seed=7, pages=1000)
    web.page_url(412)                    'https://www.lexicora.example/rivers/river-vileva-101'
    web.render(web.page_url(412))        (b"<!DOCTYPE html>...", "text/html; charset=utf-8")

The plan is a table of *families* with a number of slots each; slots add up to exactly the number of pages asked for. A
family may have nothing to say in a slot (a list that would be empty): then the slot holds a forum thread, so that no
count depends on content and nothing has to be scanned.

Kinds of pages and how they are marked: see `datagen.web.synthetic.html`. Who may be wrong: `pages_talk`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urlsplit

from datagen.errors import ConfigError, PageNotFoundError
from datagen.web.synthetic.addresses import ENCYCLOPEDIA, OFFICIAL_DOMAIN, SITE_HOSTS, Addresses, Coverage
from datagen.web.synthetic.desk import Desk
from datagen.web.synthetic.html import Document
from datagen.web.synthetic.layout import Ref
from datagen.web.synthetic.pages_entity import EntityPages
from datagen.web.synthetic.pages_lists import HOSTS as LIST_HOSTS
from datagen.web.synthetic.pages_lists import ListPages, ListSpec
from datagen.web.synthetic.pages_news import PAPERS, NewsPages, NewsSpec
from datagen.web.synthetic.pages_talk import BLOGS, FORUM, MIRROR, TalkPages
from datagen.web.synthetic.phrasing import Phrasing
from datagen.web.synthetic.statements import Statements
from datagen.web.synthetic.world import World

MIN_PAGES = 300
"""Below this a world has too few entities of each type to ask about."""
HTML = "text/html; charset=utf-8"
_ENTITIES_PER_PAGE = 0.42
_COVERAGE = Coverage(articles=0.92, sites=0.26)
_FULLEST = Coverage(articles=0.62, sites=0.16)
"""Shares of the pages that articles and second pages may take: small worlds have some of everything, so their entities
are more than their pages."""
_LIST_SHARE = 0.62
"""Share of the pages beside those of single entities. Lists close candidate sets, which makes questions provable."""
_NEWS_SHARE = 0.28
_MIRROR_SHARE = 0.06
_BLOG_SHARE = 0.025


@dataclass(frozen=True, slots=True)
class Family:
    """Slots of one sort: `make` returns the address and a way to write the page, or None for a slot with nothing."""

    name: str
    slots: int
    make: Callable[[int], tuple[str, Callable[[], Document]] | None]


class SyntheticWeb:
    """The pages of a world."""

    def __init__(self, seed: int, pages: int, coverage: Coverage | None = None) -> None:
        """`coverage`: what shares of the entities have an article and a page of their own; what fits the size where None."""
        if pages < MIN_PAGES:
            raise ConfigError(
                f"A synthetic web needs at least {MIN_PAGES} pages, not {pages}: set pages = {MIN_PAGES}."
            )
        self.seed, self.pages = seed, pages
        self.world = World(seed, round(pages * _ENTITIES_PER_PAGE))
        entities = sum(self.world.layout.sizes.values())
        fitting = Coverage(*(min(c, f * pages / entities) for c, f in zip(_COVERAGE, _FULLEST, strict=True)))
        self.addresses = Addresses(self.world, coverage or fitting)
        statements = Statements(self.addresses)
        self.desk = Desk(self.addresses, statements, Phrasing(statements))
        self.entities = EntityPages(self.desk)
        self.talk = TalkPages(self.desk, self.entities)
        self._fixed = tuple(self._entity_families())
        asked = sum(family.slots for family in self._fixed)
        if coverage and asked > pages:
            raise ConfigError(
                f"A synthetic web of {pages} pages has no room for {asked} pages of entities: lower articles and sites "
                f"({coverage.articles:.0%} and {coverage.sites:.0%} of {entities} entities)."
            )
        rest = max(0, pages - asked)
        self.lists = ListPages(self.desk, round(rest * _LIST_SHARE))
        self.news = NewsPages(self.desk, round(rest * _NEWS_SHARE))

    # -- the plan ------------------------------------------------------------------------------------------------------

    @cached_property
    def families(self) -> tuple[Family, ...]:
        """In this order until the pages are used up; threads fill what is left."""
        found = [*self._fixed, *self._other_families()]
        plan, left = [], self.pages
        for family in found:
            slots = min(family.slots, left)
            left -= slots
            if slots:
                plan.append(Family(family.name, slots, family.make))
        return (*plan, Family("threads", left, lambda _n: None))

    @cached_property
    def _ends(self) -> list[int]:
        ends, total = [], 0
        for family in self.families:
            total += family.slots
            ends.append(total)
        return ends

    def _entity_families(self) -> Iterator[Family]:
        for type_id in self.world.layout.sizes:
            yield Family(f"articles/{type_id}", self.addresses.article_count(type_id), self._article_maker(type_id))
        for type_id in self.world.layout.sizes:
            yield Family(f"sites/{type_id}", self.addresses.site_count(type_id), self._site_maker(type_id))
        for type_id in self.world.layout.sizes:
            yield Family(f"shared names/{type_id}", self.world.pairs(type_id), self._pair_maker(type_id))
        for type_id in self.world.layout.sizes:
            count = round(self.addresses.article_count(type_id) * _MIRROR_SHARE)
            yield Family(f"mirrors/{type_id}", count, self._mirror_maker(type_id))
        talk = self.talk
        yield Family("blogs", round(self.pages * _BLOG_SHARE), lambda n: (talk.blog_url(n), lambda: talk.blog(n)))

    def _article_maker(self, type_id: str) -> Callable[[int], tuple[str, Callable[[], Document]] | None]:
        def make(number: int) -> tuple[str, Callable[[], Document]]:
            ref = self.addresses.article_ref(type_id, number)
            return self.addresses.article(ref), lambda: self.entities.article(ref)

        return make

    def _site_maker(self, type_id: str) -> Callable[[int], tuple[str, Callable[[], Document]] | None]:
        def make(number: int) -> tuple[str, Callable[[], Document]]:
            ref = self.addresses.site_ref(type_id, number)
            return self.addresses.site(ref), lambda: self.entities.site(ref)

        return make

    def _other_families(self) -> Iterator[Family]:
        lists, news = self.lists, self.news
        small = lists.small_types
        yield Family(
            "members", len(small), lambda n: (lists.members_url(small[n]), lambda: lists.members_page(small[n]))
        )
        for spec in lists.specs:
            yield Family(f"lists/{spec.relation.id}/{spec.subject_type}", spec.pages, self._list_maker(spec))
        for story in news.specs:
            yield Family(f"news/{story.name}", story.pages, self._news_maker(story))

    def _pair_maker(self, type_id: str) -> Callable[[int], tuple[str, Callable[[], Document]] | None]:
        def make(number: int) -> tuple[str, Callable[[], Document]]:
            url = self.talk.disambiguation_url(type_id, number)
            return url, lambda: self.talk.disambiguation(type_id, number)

        return make

    def _list_maker(self, spec: ListSpec) -> Callable[[int], tuple[str, Callable[[], Document]] | None]:
        def make(number: int) -> tuple[str, Callable[[], Document]] | None:
            target = self.lists.target(spec, number)
            if target is None or not self.lists.exists(spec, number):
                return None
            return self.lists.url(spec, target), lambda: self.lists.page(spec, target)

        return make

    def _news_maker(self, spec: NewsSpec) -> Callable[[int], tuple[str, Callable[[], Document]] | None]:
        def make(number: int) -> tuple[str, Callable[[], Document]] | None:
            if not self.news.exists(spec, number):
                return None
            ref = self.news.subject(spec, number)
            return self.news.url(spec, ref), lambda: self.news.page(spec, ref)

        return make

    def _mirror_maker(self, type_id: str) -> Callable[[int], tuple[str, Callable[[], Document]] | None]:
        def make(number: int) -> tuple[str, Callable[[], Document]]:
            ref = self.addresses.article_ref(type_id, number)
            return self.talk.mirror_url(ref), lambda: self.talk.mirror(ref)

        return make

    # -- pages by number -----------------------------------------------------------------------------------------------

    def _slot(self, number: int) -> tuple[str, Callable[[], Document]]:
        if not 0 <= number < self.pages:
            raise PageNotFoundError(f"This web has pages 0 to {self.pages - 1}, not {number}.")
        position = bisect_right(self._ends, number)
        family = self.families[position]
        first = self._ends[position] - family.slots
        made = family.make(number - first)
        return made or (self.talk.forum_url(number), lambda: self.talk.forum(number))

    def page_url(self, number: int) -> str:
        """The address of page `number`, 0..pages-1."""
        return self._slot(number)[0]

    def page_urls(self) -> Iterator[str]:
        return (self.page_url(number) for number in range(self.pages))

    def render_page(self, number: int) -> tuple[str, bytes]:
        """Address and bytes of page `number`."""
        url, write = self._slot(number)
        return url, write().render()

    # -- pages by address ----------------------------------------------------------------------------------------------

    def render(self, url: str) -> tuple[bytes, str]:
        """Bytes and content type of the page at an address; raises `PageNotFoundError`."""
        document = self._find(url)
        if document is None or document.url != url:
            raise PageNotFoundError(f"The synthetic web has no page at {url}. All its addresses: datagen world render.")
        return document.render(), HTML

    def redirect(self, url: str) -> str | None:
        """Where an address that is almost right leads: other words before the number, the host without `www`."""
        bare = ENCYCLOPEDIA.removeprefix("www.")
        document = self._find(url.replace(f"//{bare}/", f"//{ENCYCLOPEDIA}/", 1))
        return document.url if document is not None and document.url != url else None

    def _find(self, url: str) -> Document | None:
        """The page that an address means, whatever the words in it say."""
        parts = urlsplit(url)
        path = [part for part in parts.path.split("/") if part]
        host = parts.netloc
        if host in {ENCYCLOPEDIA, MIRROR} or host in SITE_HOSTS.values() or host in LIST_HOSTS.values():
            return self._find_entry(host, path)
        if host == FORUM or host in BLOGS:
            return self._find_post(host, path)
        if any(host == paper for paper, _ in PAPERS.values()):
            story = self.news.find(path)
            return self.news.page(*story) if story else None
        if len(path) == 2 and path[1] == "about" and host.endswith(f".{OFFICIAL_DOMAIN}"):
            ref = self.addresses.find(path[0], host.removesuffix(f".{OFFICIAL_DOMAIN}"))
            good = ref is not None and self.addresses.site_kind(ref) == "official" and self.addresses.has_site(ref)
            return self.entities.site(ref) if ref is not None and good else None
        return None

    def _find_entry(self, host: str, path: list[str]) -> Document | None:
        if path[:1] == ["lists"]:
            found = self.lists.find(path[1:])
            return self.lists.page(*found) if found else None
        if len(path) != 2:
            return None
        folder, label = path
        if folder == "all":
            type_id = self.addresses.type_of_folder.get(label)
            return self.lists.members_page(type_id) if type_id in self.lists.small_types and type_id else None
        if folder == "wiki":
            return self._find_shared_name(label)
        ref = self.addresses.find(folder, label)
        if ref is None:
            return None
        if host == ENCYCLOPEDIA:
            return self.entities.article(ref) if self.addresses.has_article(ref) else None
        if host == MIRROR:
            return self.talk.mirror(ref) if self._is_mirrored(ref) else None
        site = SITE_HOSTS.get(self.addresses.site_kind(ref)) == host and self.addresses.has_site(ref)
        return self.entities.site(ref) if site else None

    def _is_mirrored(self, ref: Ref) -> bool:
        number = self.world.page_ring(ref.type).forward(ref.index)
        return number < round(self.addresses.article_count(ref.type) * _MIRROR_SHARE)

    def _find_shared_name(self, label: str) -> Document | None:
        rest, _, number = label.rpartition("-")
        for folder, type_id in self.addresses.type_of_folder.items():
            if rest.endswith(f"-{folder}") and number.isdigit() and int(number) < self.world.pairs(type_id):
                return self.talk.disambiguation(type_id, int(number))
        return None

    def _find_post(self, host: str, path: list[str]) -> Document | None:
        number = path[1].partition("-")[0] if len(path) == 2 else ""
        if not number.isdigit():
            return None
        if host == FORUM:
            slot = int(number)
            known = slot < self.pages and urlsplit(self.page_url(slot)).netloc == FORUM
            return self.talk.forum(slot) if known else None
        slots = next((f.slots for f in self.families if f.name == "blogs"), 0)
        known = int(number) < slots and BLOGS[int(number) % len(BLOGS)] == host
        return self.talk.blog(int(number)) if known else None
