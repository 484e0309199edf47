"""Real pages: 255 country profiles. Skipped where the archive is not at hand (DATAGEN_SHARED, or ../shared)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from datagen.web.knowledge_pass import build_knowledge
from datagen.web.snapshot import BuildOptions, Snapshot, build_snapshot
from datagen.web.snapshot_web import SnapshotWeb
from datagen.web.sources import open_source
from datagen.web.tools import read_whole

SHARED = Path(os.environ.get("DATAGEN_SHARED", Path(__file__).parents[3] / "shared"))
ARCHIVE = SHARED / "corpora" / "factbook.warc.gz"
pytestmark = [pytest.mark.pipeline, pytest.mark.skipif(not ARCHIVE.exists(), reason=f"{ARCHIVE} is not here")]
COUNTRIES = "https://factbook.example/countries/"


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    folder = tmp_path_factory.mktemp("factbook")
    build_snapshot([open_source(str(ARCHIVE))], folder, BuildOptions(workers=2))
    build_knowledge(folder, None, workers=2)
    return Snapshot.open(folder)


def test_every_page_is_there_and_every_profile_is_of_a_country(snapshot):
    pages = list(snapshot.pages())

    assert (len(pages), dict(snapshot.manifest.skipped)) == (255, {})
    assert all(page.entity_type == "country" for page in pages if page.url != COUNTRIES)
    assert all(page.about_url == page.url for page in pages if page.url != COUNTRIES)
    assert {page.published_at for page in pages} == {"2026-05-17"}


@pytest.mark.parametrize(
    ("country", "line"),
    [
        ("algeria", "Area - total: 2,381,740 sq km"),
        ("algeria", "Coastline: 998 km"),
        ("algeria", "Land use - agricultural land - arable land: 3.2% (2023 est.)"),
        ("algeria", "Real GDP (purchasing power parity) 2024: $722.912 billion (2024 est.)"),
        ("algeria", "Birth rate: 19.62 births/1,000 population (2025 est.)"),
        ("hong-kong", "Area - comparative: six times the size of Washington, D.C."),
        ("france", "Capital - name: Paris"),
        ("british-indian-ocean-territory", "Population - total: no permanent inhabitants"),
    ],
)
def test_facts_stand_as_clean_labelled_lines(snapshot, country, line):
    assert line in snapshot.page(f"{COUNTRIES}{country}/").text.splitlines()


def test_links_inside_rows_lead_to_the_neighbours(snapshot):
    page = snapshot.page(f"{COUNTRIES}algeria/")
    row = "Land boundaries - border countries: "
    start = page.text.index(row)
    end = page.text.index("\n", start)

    neighbours = {link.anchor: link.url for link in page.links if start <= link.start and link.end <= end}
    assert list(neighbours) == ["Libya", "Mali", "Mauritania", "Morocco", "Niger", "Tunisia"]
    assert neighbours["Mali"] == f"{COUNTRIES}mali/"


def test_background_stays_prose_and_no_label_is_left_in_it(snapshot):
    for page in snapshot.pages():
        prose, _, rows = page.text.partition("\n\n")
        assert "Capital\n" not in prose
        assert rows or page.url == COUNTRIES
        if page.url != COUNTRIES:
            assert all(": " in line for line in rows.splitlines()), page.url


def test_the_index_page_is_a_list_of_all_profiles(snapshot):
    page = snapshot.page(COUNTRIES)

    assert page.source_kind == "list"
    assert page.about_url is None
    assert len(page.text.partition("\n\n")[2].splitlines()) == 254
    assert {link.url for link in page.links} == {other.url for other in snapshot.pages()} - {COUNTRIES}


def test_the_tools_read_what_the_table_holds(snapshot):
    web = SnapshotWeb(snapshot)
    page, _ = read_whole(web, f"{COUNTRIES}france/")

    assert page.text == snapshot.page(page.url).text
    assert web.search("capital of Algeria", 1)[0].url == f"{COUNTRIES}algeria/"


def test_knowledge_is_induced_from_the_labels(snapshot):
    area = [fact for fact in snapshot.facts() if fact.relation == "area_total"]

    assert len(area) > 240
    assert {entity.type for entity in snapshot.entities()} == {"country"}
