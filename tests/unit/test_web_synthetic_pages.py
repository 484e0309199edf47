"""The synthetic web goes through the same extraction as any site, and nothing that its pages say is lost."""

from __future__ import annotations

from collections import Counter

import pytest
from selectolax.lexbor import LexborHTMLParser

from datagen.records.page import SOURCE_KINDS, Page
from datagen.web.extraction import extract
from datagen.web.inline import plain
from datagen.web.sources import RawPage, open_source

PAGES = 300


@pytest.fixture(scope="module")
def pairs():
    raws = [record for record in open_source(f"synthetic:seed=3,pages={PAGES}") if isinstance(record, RawPage)]
    return [(raw, extract(raw)) for raw in raws]


def main_of(raw):
    return LexborHTMLParser(raw.payload.decode()).css_first("main")


def test_every_page_is_read(pairs):
    assert all(isinstance(page, Page) for _, page in pairs)
    assert len(pairs) == PAGES


def test_every_kind_of_publication_is_recognised_by_its_markup(pairs):
    kinds = Counter(page.source_kind for _, page in pairs)

    assert set(kinds) == set(SOURCE_KINDS) - {"other"}


def test_every_paragraph_is_kept(pairs):
    for raw, page in pairs:
        flat = " ".join(page.text.split())
        for paragraph in main_of(raw).css("p"):
            assert plain(paragraph) in flat, page.url


def test_every_link_is_kept_with_its_words(pairs):
    for raw, page in pairs:
        kept = {(link.anchor, link.url) for link in page.links}
        wanted = {(plain(link), link.attributes["href"]) for link in main_of(raw).css("a[href]")}
        assert wanted <= kept, page.url
        assert all(page.text[link.start : link.end] == link.anchor for link in page.links)


def test_pages_of_entities_name_them_and_lists_do_not(pairs):
    for _, page in pairs:
        if page.source_kind in {"encyclopedia", "official", "profile", "reference", "review", "news", "forum", "blog"}:
            assert page.about_url, page.url
            assert page.entity_type, page.url
        if page.source_kind in {"list", "table"}:
            assert page.about_url is None


def test_pages_carry_their_own_day(pairs):
    assert all(page.published_at for _, page in pairs)
