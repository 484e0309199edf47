"""A real corpus that nobody described: 255 country profiles, read with relations induced from their labels."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

import pytest

from datagen.knowledge.entities import Resolved, resolve
from datagen.knowledge.induction import induce_catalogue
from datagen.knowledge.reading import Reader
from datagen.records.fact import Fact
from datagen.records.page import Page
from datagen.web.extraction import extract
from datagen.web.sources import open_source
from datagen.web.sources.raw import RawPage

SHARED = Path(os.environ.get("DATAGEN_SHARED", Path(__file__).resolve().parents[2].parent / "shared"))
CORPUS = SHARED / "corpora" / "factbook.warc.gz"
pytestmark = [pytest.mark.pipeline, pytest.mark.skipif(not CORPUS.exists(), reason="the shared corpus is not here")]
HOST = "https://factbook.example/countries"


@pytest.fixture(scope="module")
def pages() -> list[Page]:
    found = [extract(raw, "fast") for raw in open_source(str(CORPUS)) if isinstance(raw, RawPage)]
    return [page for page in found if isinstance(page, Page)]


@pytest.fixture(scope="module")
def known(pages: list[Page]) -> tuple[Resolved, dict[str, dict[str, list[Fact]]]]:
    catalogue = induce_catalogue(pages)
    reader = Reader(catalogue)
    resolved = resolve([reader.read(page) for page in pages], catalogue)
    facts: dict[str, dict[str, list[Fact]]] = defaultdict(lambda: defaultdict(list))
    for fact in resolved.facts:
        facts[fact.relation][fact.subject.removeprefix(f"{HOST}/").strip("/")].append(fact)
    return resolved, facts


def test_at_least_sixty_relations_are_stated_for_a_hundred_countries_each(known) -> None:
    _, facts = known
    assert sum(len(subjects) >= 100 for subjects in facts.values()) >= 60


def test_values_are_what_the_profiles_say(known) -> None:
    _, facts = known
    area = facts["area_total"]["algeria"][0]
    assert area.literal is not None
    assert (area.literal.low, area.literal.unit) == (2_381_740, "sq km")
    assert facts["capital_name"]["estonia"][0].object == "Tallinn"
    borders = {f.object for f in facts["land_boundaries_border_countries"]["estonia"]}
    assert borders == {"Latvia", "Russia"}
    growth = facts["population_growth_rate"]["estonia"][0]
    assert growth.literal is not None
    assert growth.literal.low <= -0.47 <= growth.literal.high < 0


def test_evidence_is_the_row_as_it_stands_on_the_page(known, pages: list[Page]) -> None:
    by_id = {page.id: page for page in pages}
    for fact in known[0].facts:
        evidence = fact.evidence
        assert by_id[evidence.page_id].text[evidence.start : evidence.end] == evidence.quote


def test_the_index_page_is_no_entity_and_borders_are_mutual(known) -> None:
    resolved, facts = known
    assert all(entity.type == "country" for entity in resolved.entities)
    borders = facts["land_boundaries_border_countries"]
    pairs = {(a, (f.object_key or "").removeprefix(f"{HOST}/").strip("/")) for a, fs in borders.items() for f in fs}
    one_sided = [(a, b) for a, b in pairs if (b, a) not in pairs]
    assert len(one_sided) <= 0.1 * len(pairs), "the corpus itself leaves out some borders of small territories"
