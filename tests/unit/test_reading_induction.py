from __future__ import annotations

from pathlib import Path

import pytest

from datagen.errors import ConfigError
from datagen.knowledge.catalogue import Catalogue, catalogue_from_dict
from datagen.knowledge.entities import resolve
from datagen.knowledge.induction import InductionOptions, induce_catalogue
from datagen.knowledge.label_words import load_labels, noun_for, plural_of
from datagen.knowledge.reading import Reader, Reading
from datagen.records.page import Link, Page

SHIPS = ("Aldin", "Brava", "Corro", "Delphe", "Estrin", "Fenna")


def ship(index: int, extra: str = "") -> Page:
    name, sister = SHIPS[index], SHIPS[(index + 1) % len(SHIPS)]
    rows = [
        f"Length: {100 + index}.5 m",
        f"Launched: {index + 3} March 19{10 + index}",
        f"Home port: Port {name}",
        f"Crew: {20 + index} ({2019 + index} est.)",
        f"Sister ship: {sister}",
        f"Remarks: The ship was often seen near the coast. It had {index} masts and a long story.",
        f"Earnings 2023: ${index + 1} million",
        f"Earnings 2024: ${index + 2} million",
    ]
    text = "A ship.\n\n" + "\n".join(rows) + extra
    start = text.index("Sister ship: ") + len("Sister ship: ")
    link = Link(start, start + len(sister), f"https://s.example/ships/{sister.lower()}", sister)
    url = f"https://s.example/ships/{name.lower()}"
    return Page(
        id=url, url=url, host="s.example", source_kind="reference", title=name, text=text, links=(link,),
        entity_type="ship", published_at="2026-05-17",
    )  # fmt: skip


PAGES = [ship(i) for i in range(len(SHIPS))]
CATALOGUE = induce_catalogue(PAGES)


def by_label(catalogue: Catalogue) -> dict[str, tuple[str, str, bool]]:
    return {r.label: (r.object_kind, r.unit, r.single) for r in catalogue.relations.values()}


def test_labels_become_relations_by_what_most_of_their_values_are() -> None:
    assert by_label(CATALOGUE) == {
        "Crew": ("number", "", True),
        "Earnings 2024": ("number", "$", True),
        "Home port": ("text", "", True),
        "Launched": ("date", "", True),
        "Length": ("number", "m", True),
        "Sister ship": ("entity", "", True),
    }


def test_the_words_of_a_label_follow_its_shape() -> None:
    words = {r.label: r.clue[0] for r in CATALOGUE.relations.values()}
    assert words["Length"] == "whose length is {o}"
    assert words["Home port"] == "whose home port is given as {o}"
    assert words["Earnings 2024"] == "whose 2024 earnings was {o}"
    assert noun_for("Literacy - female") == "female literacy"
    assert noun_for("Capital - name") == "capital"
    assert noun_for("GDP per head") == "GDP per head"
    assert (plural_of("company"), plural_of("church"), plural_of("key")) == ("companies", "churches", "keys")


def test_a_figure_stamped_with_a_year_is_the_latest_reported_one() -> None:
    crew = CATALOGUE.relations["crew"]
    assert crew.clue[0] == "whose latest reported crew is {o}"
    assert crew.ask == ("What is the latest reported crew of {s}?",)
    fact = next(f for f in Reader(CATALOGUE).read(PAGES[0]).facts if f.relation == "crew")
    assert fact.literal is not None
    assert (fact.literal.low, fact.literal.text, fact.as_of) == (20, "20", None)
    assert fact.evidence.quote == "Crew: 20 (2019 est.)"


def test_of_a_series_by_years_the_latest_is_kept() -> None:
    assert "earnings_2023" not in CATALOGUE.relations


def test_sentences_make_no_relation() -> None:
    assert "Remarks" not in by_label(CATALOGUE)


def test_a_value_that_does_not_read_as_its_labels_kind_is_no_fact() -> None:
    odd = ship(0, "").text.replace("Length: 100.5 m", "Length: unknown, perhaps long")
    page = Page(id="odd", url="https://s.example/ships/aldin", host="s", source_kind="reference", title="Aldin", text=odd, entity_type="ship")  # fmt: skip
    reading = Reader(CATALOGUE).read(page)
    assert "length" not in {f.relation for f in reading.facts}
    assert reading.skipped["untyped_value"] >= 1


def test_the_order_of_pages_does_not_matter_and_the_catalogue_survives_saving() -> None:
    assert induce_catalogue(reversed(PAGES)).digest == CATALOGUE.digest
    assert catalogue_from_dict(CATALOGUE.to_dict()).digest == CATALOGUE.digest


def test_a_rare_label_makes_no_relation() -> None:
    pages = [*PAGES[:5], ship(5, "\nTonnage: 900 t")]
    assert "Tonnage" not in by_label(induce_catalogue(pages))
    assert by_label(induce_catalogue(PAGES, InductionOptions(min_pages=7))) == {}


C = "https://c.example/countries"
COUNTRIES = {
    "Avia": "Land boundaries - total: 30 km\nLand boundaries - border countries: [Borra] 10 km; [Corda] 20 km",
    "Borra": "Land boundaries - total: 10 km\nLand boundaries - border countries: [Avia] 10 km",
    "Corda": "Land boundaries - total: 20 km\nLand boundaries - border countries: [Avia] 20 km",
    "Insula": "Land boundaries - total: 0 km",
    "Dorra": "Land boundaries - total: 5 km\nLand boundaries - border countries: [Avia] 2 km; Elsewhere 3 km",
}


def country(name: str, rows: str) -> Page:
    text, links = "A land.\n\n" + rows, []
    while "[" in text:
        start, end = text.index("["), text.index("]") - 1
        anchor = text[start + 1 : end + 1]
        text = text[:start] + anchor + text[end + 2 :]
        links.append(Link(start, end, f"https://c.example/countries/{anchor.lower()}", anchor))
    url = f"https://c.example/countries/{name.lower()}"
    return Page(
        id=url, url=url, host="c", source_kind="reference", title=name, text=text, links=tuple(links), entity_type="country"
    )  # fmt: skip


def borders(complete: tuple[str, ...] = ()) -> dict[str, Reading]:
    pages = [country(name, rows) for name, rows in COUNTRIES.items()]
    catalogue = induce_catalogue(pages, InductionOptions(min_distinct=2))
    relation = catalogue.relations["land_boundaries_border_countries"]
    assert relation.clue[0] == "that shares a land border with {o}"
    assert not relation.single
    reader = Reader(catalogue, complete)
    return {page.title: reader.read(page) for page in pages}


def test_measures_behind_linked_names_are_no_part_of_them() -> None:
    facts = [f.object for f in borders()["Avia"].facts if f.relation == "land_boundaries_border_countries"]
    assert facts == ["Borra", "Corda"]


def test_a_zero_total_states_that_there_are_no_objects() -> None:
    readings = borders()
    assert [(c.side, c.members) for c in readings["Insula"].closures] == [("objects", ())]
    assert readings["Avia"].closures == ()


def test_rows_of_a_relation_declared_complete_close_their_list() -> None:
    readings = borders(("land_boundaries_border_countries",))
    assert [len(c.members) for c in readings["Avia"].closures] == [2]
    closure = readings["Dorra"].closures[0]
    assert closure.members == (f"{C}/avia", "entity:country/Elsewhere")


def test_a_bare_name_counts_only_if_an_entity_bears_it() -> None:
    pages = [country(name, rows) for name, rows in COUNTRIES.items()]
    catalogue = induce_catalogue(pages, InductionOptions(min_distinct=2))
    reader = Reader(catalogue, ("land_boundaries_border_countries",))

    lost = resolve([reader.read(page) for page in pages], catalogue)
    assert lost.dropped == {"closure_member_unknown": 1, "object_unknown": 1}

    pages.append(country("Elséwhere", "Country name - conventional long form: Republic of Elséwhere"))
    found = resolve([reader.read(page) for page in pages], catalogue)
    assert found.dropped == {}
    assert (f"{C}/dorra", f"{C}/elséwhere") in {(f.subject, f.object_key) for f in found.facts}


def test_other_names_of_the_subject_become_aliases() -> None:
    rows = (
        "Country name - conventional long form: Free State of Avia\nCountry name - abbreviation: FSA or AV (informal)"
    )
    pages = [country("Avia", rows)]
    entity = Reader(induce_catalogue(pages)).read(pages[0]).entity
    assert entity is not None
    assert (entity.name, entity.aliases) == ("Avia", ("Free State of Avia", "FSA", "AV"))


def test_a_comma_after_a_measure_separates_items() -> None:
    rows = {"Avia": "Land boundaries - border countries: [Borra] 10 km, [Corda] 20 km; [Dorra] 1 km"}
    pages = [country(name, text) for name, text in (COUNTRIES | rows).items()]
    facts = Reader(induce_catalogue(pages, InductionOptions(min_distinct=2))).read(pages[0]).facts
    assert [f.object for f in facts] == ["Borra", "Corda", "Dorra"]


def test_a_label_file_with_an_unknown_field_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.toml"
    path.write_text("[[label]]\npattern = 'x'\nverb = 'y'\n")
    with pytest.raises(ConfigError, match="only the fields"):
        load_labels(path)
    with pytest.raises(ConfigError, match="Restore data/labels"):
        load_labels(tmp_path / "missing.toml")


def test_a_figure_that_all_subjects_have_of_one_year_is_asked_for_with_the_year() -> None:
    pages = [ship(i, f"\nCargo: {300 + i} tons ({2011 if i == 5 else 2024} est.)") for i in range(len(SHIPS))]
    catalogue = induce_catalogue(pages, InductionOptions(min_same_year=0.8))
    cargo = catalogue.relations["cargo"]
    assert cargo.clue == ("whose cargo in 2024 was {o}", "whose cargo was {o} in 2024")
    assert cargo.ask[0] == "What was the cargo of {s} in 2024?"
    stated = [[f for f in Reader(catalogue).read(page).facts if f.relation == "cargo"] for page in pages]
    assert [len(facts) for facts in stated] == [1, 1, 1, 1, 1, 0]


def test_a_label_file_keeps_values_of_one_sort_and_knows_other_names(tmp_path: Path) -> None:
    labels = tmp_path / "labels.toml"
    labels.write_text(
        '[[called]]\nname = "Old Brava"\nis = "Brava"\n'
        "[[label]]\npattern = 'freed'\nkind = \"date\"\nkeep = '\\(from '\nclue = [\"that was freed in {o}\"]\n"
    )
    pages = [ship(i, f"\nFreed: {i + 1} May 1950 ({'from' if i else 'by'} the navy)") for i in range(len(SHIPS))]
    catalogue = induce_catalogue(pages, labels=labels)
    assert catalogue.properties["called:Old Brava"] == "Brava"
    stated = [[f for f in Reader(catalogue).read(page).facts if f.relation == "freed"] for page in pages]
    assert [len(facts) for facts in stated] == [0, 1, 1, 1, 1, 1]
