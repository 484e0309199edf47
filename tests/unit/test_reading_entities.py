from __future__ import annotations

from datagen.knowledge.catalogue import EntityType, Relation, make_catalogue
from datagen.knowledge.entities import Resolved, resolve
from datagen.knowledge.reading import Reader
from datagen.records.page import Link, Page

CATALOGUE = make_catalogue(
    "small",
    [
        EntityType("town", "town", "towns", ("place",)),
        EntityType("place", "place", "places"),
        EntityType("river", "river", "rivers", ("place",)),
        EntityType("club", "club", "clubs"),
    ],
    [
        Relation("based_in", "Town", ("club",), "entity", ("town",), clue=("based in {o}",)),
        Relation("near", "Near", ("club",), "entity", ("place",), single=False),
        Relation("founded", "Founded", ("club",), "date"),
    ],
)
READER = Reader(CATALOGUE)


def page(url: str, title: str, text: str, **fields: object) -> Page:
    links = []
    while "[" in text:
        start, end = text.index("["), text.index("]")
        anchor, target = text[start + 1 : end].split("@")
        links.append(Link(start, start + len(anchor), target, anchor))
        text = text[:start] + anchor + text[end + 1 :]
    given = {"source_kind": "encyclopedia", "entity_type": None, "published_at": "2025-01-01"} | fields
    return Page(id=url, url=url, host="h", title=title, text=text, links=tuple(links), **given)  # type: ignore[arg-type]


def resolved(*pages: Page) -> Resolved:
    return resolve([READER.read(p) for p in pages], CATALOGUE)


CLUB = "https://a.example/clubs/rovers"


def test_an_unlinked_name_means_the_one_entity_of_that_name_and_type() -> None:
    result = resolved(
        page("https://a.example/towns/harlan", "Harlan", "A town."),
        page("https://a.example/rivers/harlan", "Harlan (river)", "A river."),
        page(CLUB, "Rovers", "x\n\nTown: Harlan"),
    )
    assert [f.object_key for f in result.facts] == ["https://a.example/towns/harlan"]


def test_a_name_that_fits_two_entities_is_dropped_and_counted() -> None:
    result = resolved(
        page("https://a.example/towns/harlan-1", "Harlan", "A town."),
        page("https://a.example/towns/harlan-2", "Harlan", "Another town."),
        page(CLUB, "Rovers", "x\n\nTown: Harlan\nFounded: 1901"),
    )
    assert [f.relation for f in result.facts] == ["founded"]
    assert result.dropped == {"object_ambiguous": 1}


def test_a_list_with_an_ambiguous_member_is_not_closed() -> None:
    sentence = "This is a complete list of all towns.\n\nHarlan\n[Ost@https://a.example/towns/ost]"
    listing = page("https://l.example/1", "Towns", sentence, source_kind="list")
    harlans = [page(f"https://a.example/towns/harlan-{i}", "Harlan", "A town.") for i in (1, 2)]
    assert resolved(listing, *harlans).closures == ()
    assert resolved(listing, harlans[0]).closures[0].members == (
        "https://a.example/towns/harlan-1",
        "https://a.example/towns/ost",
    )


def test_an_entity_without_a_page_has_one_key_under_its_narrowest_type() -> None:
    result = resolved(page(CLUB, "Rovers", "x\n\nTown: Nowhere\nNear: Nowhere"))
    assert {f.object_key for f in result.facts} == {"entity:town/Nowhere"}
    assert [(e.key, e.name, e.type) for e in result.entities if e.key.startswith("entity:")] == [
        ("entity:town/Nowhere", "Nowhere", "town")
    ]


def test_a_page_about_another_address_is_folded_into_it() -> None:
    site = "https://rovers.example/"
    result = resolved(
        page(CLUB, "Rovers", "x\n\nTown: [Ost@https://a.example/towns/ost]"),
        page(site, "Rovers official", "x\n\nFounded: 1901", source_kind="official", about_url=CLUB, entity_type="club"),
    )
    assert {f.subject for f in result.facts} == {CLUB}
    assert next(e for e in result.entities if e.key == CLUB).name == "Rovers"


def test_a_fact_whose_object_turns_out_to_be_of_another_type_is_dropped() -> None:
    result = resolved(
        page("https://a.example/x/9", "Fleet", "A river.", entity_type="river"),
        page(CLUB, "Rovers", "x\n\nTown: [Fleet@https://a.example/x/9]"),
    )
    assert (result.facts, result.dropped) == ((), {"object_type": 1})


def test_the_entities_table_knows_linked_entities_that_have_no_page() -> None:
    result = resolved(page(CLUB, "Rovers", "x\n\nTown: [Ost@https://z.example/q1]"))
    assert [(e.key, e.name, e.type) for e in result.entities] == [
        (CLUB, "Rovers", "club"),
        ("https://z.example/q1", "Ost", "town"),
    ]


def test_a_list_page_is_no_entity_whatever_kind_it_has() -> None:
    text = "This is a complete list of all clubs based in [Ost@https://a.example/towns/ost].\n\n[Rovers@https://a.example/clubs/rovers]"
    url = "https://r.example/lists/clubs/towns/ost"
    result = resolved(page(url, "Clubs based in Ost", text, source_kind="registry", about_url=url, entity_type="town"))
    assert url not in {e.key for e in result.entities}
    assert result.closures[0].members == (CLUB,)


def test_an_anchor_that_is_no_name_is_no_alias() -> None:
    site = page(
        "https://rovers.example/",
        "Rovers",
        "More at [www.a.example@https://a.example/clubs/rovers].\n\nFounded: 1901",
        source_kind="official",
        about_url=CLUB,
        entity_type="club",
    )
    assert [(e.name, e.aliases) for e in resolved(site).entities] == [("Rovers", ())]


def test_where_pages_link_to_entities_a_bare_name_is_no_entity_with_a_page() -> None:
    towns = [
        page("https://a.example/towns/harlan", "Harlan", "Near [Ost@https://a.example/towns/ost]."),
        page("https://a.example/towns/ost", "Ost", "Near [Harlan@https://a.example/towns/harlan]."),
    ]
    result = resolved(*towns, page(CLUB, "Rovers", "x\n\nTown: Harlan"))
    assert [f.object_key for f in result.facts] == ["entity:town/Harlan"]
    assert "entity:town/Harlan" in {e.key for e in result.entities}
