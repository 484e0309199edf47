"""Pages: made alone or together they are the same, they link only to pages, and whoever is trusted is right."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from urllib.parse import urlsplit

import pytest

from datagen.errors import ConfigError, PageNotFoundError
from datagen.knowledge.literals import contains
from datagen.knowledge.reading import Reader
from datagen.records.page import LOW_TRUST_KINDS, Page
from datagen.web.extraction import extract
from datagen.web.synthetic import SyntheticSource, SyntheticWeb, entity_types, load_ontology, truth_facts
from datagen.web.synthetic.addresses import ENCYCLOPEDIA, Coverage

SEED, PAGES = 21, 1200


@pytest.fixture(scope="module")
def web():
    return SyntheticWeb(SEED, PAGES)


@pytest.fixture(scope="module")
def raw_pages():
    return list(SyntheticSource(SEED, PAGES))


@pytest.fixture(scope="module")
def readings(raw_pages):
    """(page, reading) of every page, through the same extraction and reading as any other source."""
    reader = Reader(load_ontology())
    pages = [extract(raw, "fast") for raw in raw_pages]
    assert [page for page in pages if not isinstance(page, Page)] == []
    return [(page, reader.read(page)) for page in pages]


@pytest.fixture(scope="module")
def truth(web):
    by_subject = defaultdict(list)
    for fact in truth_facts(web.addresses):
        by_subject[fact.subject, fact.relation].append(fact)
    return by_subject


def test_a_web_has_exactly_as_many_pages_as_asked_for_each_at_its_own_address(raw_pages):
    assert len(raw_pages) == PAGES
    assert len({raw.url for raw in raw_pages}) == PAGES


def test_a_page_made_alone_in_any_order_equals_the_page_made_with_all_others(raw_pages):
    alone = SyntheticWeb(SEED, PAGES)
    for raw in reversed(raw_pages[::7]):
        assert alone.render(raw.url)[0] == raw.payload


def test_parts_of_a_source_are_the_whole(raw_pages):
    parts = [list(SyntheticSource(SEED, PAGES, first=first, step=3)) for first in range(3)]

    assert sorted((raw.url, raw.payload) for part in parts for raw in part) == sorted(
        (raw.url, raw.payload) for raw in raw_pages
    )


def test_every_link_leads_to_a_page_of_the_web(raw_pages):
    known = {raw.url for raw in raw_pages}
    for raw in raw_pages:
        for target in re.findall(r'href="([^"]+)"', raw.payload.decode()):
            assert target in known, f"{raw.url} links to {target}"


def test_there_are_many_kinds_of_pages_on_many_hosts(readings):
    kinds = Counter(page.source_kind for page, _ in readings)
    hosts = {page.host for page, _ in readings}

    assert len(kinds) >= 8
    assert len(hosts) >= 12
    assert set(kinds) >= {"encyclopedia", "official", "registry", "news", "list", "table", "profile", "review", "forum", "blog", "mirror"}  # fmt: skip


def test_every_page_states_its_day(readings):
    assert [page.url for page, _ in readings if page.published_at is None] == []


def test_pages_of_an_entity_say_whom_they_are_about_and_what_it_is(readings, web):
    types = dict(entity_types(web.addresses))
    words = {kind.id: kind.words.singular for kind in web.world.ontology.kinds.values()}
    for page, reading in readings:
        subject_kinds = {"encyclopedia", "official", "profile", "review", "news", "mirror"}
        if page.source_kind in subject_kinds and page.about_url and "/wiki/" not in page.url:
            assert page.entity_type == words[types[page.about_url]]
        if reading.entity is not None and reading.is_profile:
            assert types[reading.entity.key] == reading.entity.type


def test_what_trusted_pages_state_is_true_as_of_their_day(readings, truth):
    relations = load_ontology().relations
    checked = 0
    for page, reading in readings:
        if page.source_kind in LOW_TRUST_KINDS:
            continue
        for fact in reading.facts:
            true = truth[fact.subject, fact.relation]
            if fact.literal is not None:
                good = any(contains(fact.literal, t.literal) for t in true)
            elif relations[fact.relation].changes:
                same = (t for t in true if t.object_key == fact.object_key)
                good = any(t.holds_on(fact.valid_from) and t.holds_on(fact.as_of) for t in same)
            else:
                good = any(t.object_key == fact.object_key for t in true)
            assert good, f"{page.url} says {fact.evidence.quote!r}, but truth has {true}"
            checked += 1
    assert checked > 3000


def test_lists_that_say_they_are_complete_are(readings, truth, web):
    types = dict(entity_types(web.addresses))
    incoming = defaultdict(set)
    for (subject, relation), facts in truth.items():
        for fact in facts:
            incoming[relation, fact.object_key].add((subject, fact))
    sides = Counter()
    for page, reading in readings:
        for closure in reading.closures:
            sides[closure.side] += 1
            if closure.side == "members":
                true = {key for key, type_id in types.items() if type_id == closure.entity_type}
            elif closure.side == "objects":
                true = {fact.object_key for fact in truth[closure.anchor_key, closure.relation]}
            else:
                found = incoming[closure.relation, closure.anchor_key]
                true = {s for s, f in found if types[s] == closure.entity_type and f.holds_on(closure.as_of)}
            assert set(closure.members) == true, page.url
    assert set(sides) == {"subjects", "objects", "members"}
    assert sum(sides.values()) > 150


def test_low_trust_pages_contradict_truth_and_close_nothing(readings, truth):
    wrong = 0
    for page, reading in readings:
        if page.source_kind in LOW_TRUST_KINDS:
            assert reading.closures == ()
            for fact in reading.facts:
                true = truth[fact.subject, fact.relation]
                keys = {t.object_key for t in true}
                wrong += (
                    fact.object_key not in keys
                    if fact.object_key
                    else not any(contains(fact.literal, t.literal) for t in true)
                )
    assert wrong > 20


def test_some_facts_stand_on_no_trusted_page_and_some_only_in_prose(readings, truth):
    stated = {
        (fact.subject, fact.relation)
        for page, reading in readings
        if page.source_kind not in LOW_TRUST_KINDS
        for fact in reading.facts
    }
    in_rows = {
        (fact.subject, fact.relation)
        for _, reading in readings
        for fact in reading.facts
        if not fact.evidence.quote.endswith(".")
    }

    assert 0.03 < 1 - len(stated & set(truth)) / len(truth) < 0.3
    assert stated - in_rows


def test_every_relation_is_stated_somewhere(readings):
    stated = {fact.relation for _, reading in readings for fact in reading.facts}

    assert len(set(load_ontology().relations) - stated) <= 3


def test_some_pages_try_to_instruct_their_reader(raw_pages):
    commands = [
        raw
        for raw in raw_pages
        if b"ignore all previous instructions" in raw.payload or b"SYSTEM: you must" in raw.payload
    ]

    assert commands
    assert all(urlsplit(raw.url).netloc.startswith(("forum.", "notes.", "journal.", "diary.")) for raw in commands)


def test_mirrors_are_older_near_copies_of_articles(readings):
    by_url = {page.url: page for page, _ in readings}
    pairs = [
        (page, by_url[page.url.replace("lexicora.pagemirror.example", "www.lexicora.example")])
        for page, _ in readings
        if page.source_kind == "mirror"
    ]
    assert len(pairs) > 10
    for mirror, original in pairs:
        assert mirror.published_at < original.published_at
        assert mirror.title == original.title


def test_same_name_entities_have_a_page_that_tells_them_apart(web, readings):
    pages = [page for page, _ in readings if "/wiki/" in page.url]
    assert len(pages) == sum(web.world.pairs(t) for t in web.world.layout.sizes)
    for page in pages:
        assert len({link.url for link in page.links}) == 2
        assert len({link.anchor for link in page.links}) == 1


def test_old_addresses_redirect_and_unknown_ones_are_refused(web, raw_pages):
    article = next(raw.url for raw in raw_pages if raw.url.startswith("https://www.lexicora.example/towns/"))
    number = article.rsplit("-", 1)[1]

    assert web.redirect(f"https://www.lexicora.example/towns/an-old-name-{number}") == article
    assert web.redirect(article.replace("www.", "")) == article
    assert web.redirect(article) is None
    assert web.redirect("https://www.lexicora.example/towns/nowhere-99999999") is None
    for url in (
        "https://nowhere.example/",
        "https://www.lexicora.example/towns/x",
        "ftp://x",
        "",
        "https://forum.askround.example/threads/0-x",
    ):
        with pytest.raises(PageNotFoundError):
            web.render(url)


def test_a_web_too_small_to_ask_about_is_refused():
    with pytest.raises(ConfigError, match="at least 300 pages"):
        SyntheticWeb(1, 299)


def test_a_thin_encyclopedia_leaves_entities_to_pages_of_their_own():
    def homes(coverage: Coverage | None) -> Counter[str | None]:
        addresses = SyntheticWeb(SEED, PAGES, coverage).addresses
        kept = (addresses.home(ref) for ref in addresses.world.entities())
        return Counter(url and urlsplit(url).hostname == ENCYCLOPEDIA for url in kept)

    full, thin = homes(None), homes(Coverage(articles=0.4, sites=0.7))

    assert full[True] > 0.85 * full.total()
    assert thin.total() == full.total()
    assert thin[True] == pytest.approx(0.4 * thin.total(), rel=0.15)
    assert thin[False] == pytest.approx(0.6 * 0.7 * thin.total(), rel=0.15)


def test_a_coverage_for_which_there_is_no_room_is_refused():
    with pytest.raises(ConfigError, match=r"400 pages has no room for \d+ pages of entities: lower articles and sites"):
        SyntheticWeb(1, 400, Coverage(articles=1.0, sites=1.0))


@pytest.mark.parametrize("pages", [300, 301, 555, 5000])
def test_any_size_has_every_page(pages):
    web = SyntheticWeb(2, pages)
    numbers = range(0, pages, max(1, pages // 200))
    urls = [web.page_url(number) for number in numbers]

    assert len(set(urls)) == len(urls)
    assert all(web.render(url)[0] for url in urls)
