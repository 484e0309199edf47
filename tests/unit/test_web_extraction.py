"""Pages out of bytes: prose, rows, links, metadata, and what is skipped."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.records.page import Page
from datagen.web.extraction import extract
from datagen.web.linked import LinkedText, LinkedTextBuilder
from datagen.web.metadata import iso_date, type_from_address
from datagen.web.rows import Record, Row, drop_repeats
from datagen.web.sources.raw import MAX_PAGE_BYTES, RawPage, Redirect, SkippedRecord

URL = "https://enc.example/clubs/harlan-rovers"
FRENCH = "<p>La vieille forêt a été préservée grâce à l'école du village, où l'été commence tôt et finit très tard.</p>"
PROSE = "<p>Harlan Rovers is a football club from <a href='/t/ostmere'>Ostmere</a>, in the north.</p>"


def read(body, *, head="", url=URL, mode="trafilatura"):
    html = f"<!doctype html><html lang='en'><head>{head}</head><body><main>{body}</main></body></html>"
    page = extract(RawPage(url, html.encode()), mode)
    assert isinstance(page, Page), page
    for link in page.links:
        assert link.anchor == page.text[link.start : link.end]
    return page


def rows(page):
    return page.text.partition("\n\n")[2].splitlines()


def prose(page):
    return page.text.partition("\n\n")[0]


@pytest.mark.parametrize("mode", ["trafilatura", "fast"])
def test_prose_comes_first_then_one_blank_line_then_rows(mode):
    page = read(f"<h1>Harlan Rovers</h1><table><tr><th>Founded</th><td>1901</td></tr></table>{PROSE}", mode=mode)

    assert "is a football club from Ostmere, in the north." in prose(page)
    assert rows(page) == ["Founded: 1901"]
    assert page.text.count("\n\n") == 1
    assert "https://enc.example/t/ostmere" in [link.url for link in page.links]


@pytest.mark.parametrize("mode", ["trafilatura", "fast"])
def test_words_before_a_link_in_a_box_are_kept(mode):
    page = read(f'<h1>A</h1><div class="note">For the other one, see <a href="/b">B</a>.</div>{PROSE}', mode=mode)

    assert "For the other one, see B." in prose(page).splitlines()


def test_a_page_without_rows_has_no_blank_line():
    assert "\n\n" not in read(f"<h1>A</h1>{PROSE}<p>More.</p>").text


def test_key_value_tables_become_rows_with_links_and_joined_lists():
    page = read(
        "<h1>Harlan Rovers</h1><table><caption>Football club</caption>"
        "<tr><th>Ground</th><td><a href='/s/hill'>Hill End</a></td></tr>"
        "<tr><th>Official languages (complete)</th><td><ul><li>Velt</li><li>Ostran</li></ul></td></tr>"
        "<tr><th>Colours</th><td>red<br>white</td></tr></table>" + PROSE
    )

    assert rows(page) == ["Ground: Hill End", "Official languages (complete): Velt; Ostran", "Colours: red; white"]
    assert page.entity_type == "Football club"
    assert [(link.anchor, link.url) for link in page.links][-1] == ("Hill End", "https://enc.example/s/hill")


def test_tables_with_a_header_row_become_records_about_the_first_naming_column():
    page = read(
        "<h1>Clubs</h1><p>This is a complete list of all clubs.</p><table><caption>There are no others.</caption>"
        "<tr><th>#</th><th>Club</th><th>Founded</th></tr>"
        "<tr><td>1</td><td><a href='/clubs/a'>A</a></td><td>1901</td></tr>"
        "<tr><td>2</td><td><a href='/clubs/b'>A</a></td><td>1901</td></tr></table>"
    )

    assert rows(page) == ["A | Founded: 1901", "A | Founded: 1901"]
    assert [link.url for link in page.links] == ["https://enc.example/clubs/a", "https://enc.example/clubs/b"]
    assert "This is a complete list of all clubs." in prose(page)


def test_cells_that_span_rows_stand_in_each_of_them():
    page = read(
        "<h1>Clubs</h1><table><tr><th>Club</th><th>City</th></tr>"
        "<tr><td>A</td><td rowspan=2>Ostmere</td></tr><tr><td>B</td></tr></table>" + PROSE
    )

    assert rows(page) == ["A | City: Ostmere", "B | City: Ostmere"]


def test_headed_paragraphs_become_sectioned_rows_and_sentences_stay_prose():
    page = read(
        "<h1>Veld</h1><h2>Geography</h2><h3>Area</h3><p><strong>total :</strong> 5 sq km</p><p><b>land:</b> 4 sq km</p>"
        "<h3>Coastline</h3><p>998 km</p><h3>Birth rate</h3><p>19.6 births/1,000 population (2025 est.)</p>"
        "<h3>Exports</h3><p><b>Exports 2023:</b> $5</p><p>note: in current dollars</p>"
        "<h3>History</h3><p>The country was settled in 1200.</p>"
    )

    assert rows(page) == [
        "Area - total: 5 sq km",
        "Area - land: 4 sq km",
        "Coastline: 998 km",
        "Birth rate: 19.6 births/1,000 population (2025 est.)",
        "Exports 2023: $5",
        "Exports - note: in current dollars",
    ]
    assert prose(page).splitlines()[-2:] == ["History", "The country was settled in 1200."]
    assert "Coastline" not in prose(page)


def test_a_wiki_page_is_read_like_any_other():
    page = read(
        "<h1>Harlan</h1><table class='infobox'><tr><th colspan=2>Harlan</th></tr><tr><td colspan=2>Town</td></tr>"
        "<tr><td colspan=2><img src=x> Harlan from the east</td></tr><tr><th>Population</th><td>512<sup class=reference>"
        "[1]</sup></td></tr><tr><th colspan=2>Area</th></tr><tr><th>\u2022 Total</th><td>5 km2</td></tr></table>"
        f"{PROSE}<div class='mw-heading'><h2>Twin towns</h2><span>[edit]</span></div><ul><li>Vale</li><li>Horn</li></ul>"
        "<div class='mw-heading'><h2>History</h2><span>[edit]</span></div><p>The town was founded in 1200.</p>"
    )

    assert rows(page) == ["Population: 512", "Area - Total: 5 km2", "Twin towns: Vale; Horn"]
    assert page.entity_type == "Town"
    assert prose(page).endswith("The town was founded in 1200.")
    assert "Twin towns" not in prose(page)


def test_a_page_inside_one_form_is_read():
    assert rows(read(f"<form><h1>A</h1><dl><dt>Born</dt><dd>1970</dd></dl>{PROSE}</form>")) == ["Born: 1970"]


def test_definition_lists_and_headed_lists_become_rows():
    page = read(
        f"<h1>Ada</h1>{PROSE}<dl><dt>Born</dt><dd>1970</dd><dt>Clubs:</dt><dd><a href='/a'>A</a></dd><dd>B</dd></dl>"
        "<h2>Languages</h2><ul><li>Velt</li><li>Ostran</li></ul><h2>See also</h2><ul><li><a href='/b'>B</a></li></ul>"
    )

    assert rows(page) == ["Born: 1970", "Clubs: A; B", "Languages: Velt; Ostran"]


def test_list_pages_give_one_record_per_item_linked_or_not():
    page = read(
        "<h1>Clubs of the north</h1><p>The list below names all clubs.</p>"
        "<ul><li><a href='/clubs/a'>A Town</a></li><li><a href='/clubs/b'>B Town</a> (Ostmere)</li><li>C Town</li></ul>",
        head="<title>List of clubs</title>",
        url="https://enc.example/lists/clubs",
    )

    assert rows(page) == ["A Town", "B Town | Note: (Ostmere)", "C Town"]
    assert page.source_kind == "list"


def test_json_ld_of_an_entity_becomes_rows_and_of_an_article_becomes_metadata():
    person = read(
        f"<h1>Ada Brook</h1>{PROSE}",
        head="""<script type="application/ld+json">{"@graph": [{"@type": "WebPage", "mainEntity": {"@id": "https://o.example/ada"}},
        {"@type": "Person", "@id": "https://o.example/ada", "name": "Ada Brook", "birthDate": "1970-02-03",
         "birthPlace": {"name": "Ostmere", "@id": "https://o.example/ostmere"}, "award": ["X", "Y"]}]}</script>""",
    )
    news = read(
        f"<h1>Coach named</h1>{PROSE}",
        head="""<script type="application/ld+json">{"@type": "NewsArticle", "datePublished": "2025-03-04T08:00:00Z",
        "license": "https://l.example/by", "about": {"@id": "https://enc.example/clubs/harlan-rovers"}}</script>""",
        url="https://news.example/2025/coach",
    )

    assert rows(person) == ["Birth date: 1970-02-03", "Birth place: Ostmere", "Award: X; Y"]
    assert (person.about_url, person.entity_type) == ("https://o.example/ada", "Person")
    assert (news.source_kind, news.published_at, news.licence) == ("news", "2025-03-04", "https://l.example/by")
    assert news.about_url == "https://enc.example/clubs/harlan-rovers"
    assert rows(news) == []


def test_json_ld_lists_name_entities_and_the_publisher_is_none_of_them():
    page = read(
        "<h1>Clubs</h1><p>Some clubs of the north.</p>",
        head="""<script type="application/ld+json">{"@graph": [{"@type": "CollectionPage", "mainEntity": {"@type": "ItemList",
        "itemListElement": [{"@type": "ListItem", "position": 1, "item": {"@id": "https://a.example/1", "name": "A"}},
                            {"@type": "ListItem", "item": "https://a.example/2", "name": "B"}]}},
        {"@type": "Organization", "@id": "https://p.example/", "name": "Publisher", "logo": "x", "sameAs": "y"}]}</script>""",
    )

    assert rows(page) == ["A", "B"]
    assert [link.url for link in page.links] == ["https://a.example/1", "https://a.example/2"]
    assert page.source_kind == "list"


def test_json_ld_that_is_broken_or_strange_says_nothing():
    for block in ("{", "[]", '"x"', '{"@graph": 3}', '{"@type": ["Person", null], "name": 3}', '[[[{"@type": 5}]]]'):
        page = read(f"<h1>A</h1>{PROSE}", head=f'<script type="application/ld+json">{block}</script>')

        assert rows(page) == []


def test_a_date_in_the_text_is_not_the_date_of_the_page():
    assert read(f"<h1>A</h1>{PROSE}<p>She is coach since 3 March 2025.</p>").published_at is None


def test_the_transport_dates_a_page_only_where_the_page_does_not():
    html = b"<h1>A</h1><p>Some text that stands here.</p>"
    stated = b'<meta name="date" content="2024-05-06">' + html
    modified = "Sun, 17 May 2026 10:00:00 GMT"

    assert extract(RawPage(URL, html, last_modified=modified)).published_at == "2026-05-17"
    assert extract(RawPage(URL, stated, last_modified=modified)).published_at == "2024-05-06"


def test_mirrors_forums_and_blogs_are_told_by_public_markers():
    assert read(PROSE, head="<link rel=canonical href='https://other.example/x'>").source_kind == "mirror"
    assert read(PROSE, url="https://forum.example/t/1").source_kind == "forum"
    assert read(PROSE, head="<meta name=generator content='WordPress 6'>").source_kind == "blog"
    assert read(PROSE, url="https://x.example/a").source_kind == "other"


@pytest.mark.parametrize(
    ("payload", "charset", "expected"),
    [
        (FRENCH.encode("latin-1"), "utf-8", "été préservée"),
        (FRENCH.encode("latin-1"), None, "été préservée"),
        ("<p>Café à Zürich, the old one.</p>".encode(), "iso-8859-1", "Café à Zürich"),
        ("<p>Café à Zürich, the old one.</p>".encode("utf-16"), None, "Café à Zürich"),
        ("<meta charset=windows-1251><p>Привет, как дела сегодня</p>".encode("cp1251"), None, "Привет"),
        ("<p>Café à Zürich, the old one.</p>".encode(), "no-such-charset", "Café à Zürich"),
    ],
)
def test_a_wrong_charset_does_not_spoil_the_text(payload, charset, expected):
    page = extract(RawPage(URL, payload, charset=charset))

    assert expected in page.text


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "empty"),
        (b" \n\t ", "empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "binary"),
        (bytes(range(256)) * 20, "binary"),
        (b"<p>x</p>" * (MAX_PAGE_BYTES // 8 + 1), "too_large"),
        (b"<html><body><script>x()</script></body></html>", "no_text"),
    ],
)
def test_what_is_no_page_is_skipped_with_its_reason(payload, reason):
    outcome = extract(RawPage(URL, payload))

    assert isinstance(outcome, SkippedRecord)
    assert outcome.reason == reason


def test_a_page_that_only_forwards_is_a_redirect():
    raw = RawPage(URL, b'<meta http-equiv="Refresh" content="0; url=/clubs/new"><p>moved</p>')

    assert extract(raw) == Redirect(URL, "https://enc.example/clubs/new")


@pytest.mark.parametrize("mode", ["trafilatura", "fast"])
def test_markup_nested_without_end_is_read_or_counted_but_never_raises(mode):
    raw = RawPage(URL, b"<div>" * 20_000 + b"<p>deep text in here</p>" + b"<b><a href=/x>" * 5_000)

    assert isinstance(extract(raw, mode), Page | SkippedRecord)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400))
def test_no_bytes_make_extraction_raise(data):
    assert isinstance(extract(RawPage(URL, b"<html><table><tr><th>" + data)), Page | SkippedRecord | Redirect)


def test_plain_text_keeps_its_lines_and_first_line_as_title():
    page = extract(RawPage(URL, b"Title here\n\n\nBody  text.\n", "text/plain", published_at="2026-01-02"))

    assert page.text == "Title here\nBody text."
    assert (page.title, page.published_at) == ("Title here", "2026-01-02")


def test_equal_bytes_give_equal_pages_and_other_bytes_other_ids():
    first, again = (extract(RawPage(URL, b"<h1>A</h1><p>text of it</p>")) for _ in range(2))
    other = extract(RawPage(URL, b"<h1>A</h1><p>text of it!</p>"))

    assert first == again
    assert first.id != other.id


@given(st.lists(st.tuples(st.text("ab \n\t", max_size=6), st.booleans()), max_size=12))
def test_links_always_cover_their_anchor(parts):
    builder = LinkedTextBuilder()
    for text, linked in parts:
        if linked:
            builder.open_link("https://a.example/")
        builder.write(text)
        if linked:
            builder.close_link()
    built = builder.build()

    for start, end, _ in built.links:
        anchor = built.text[start:end]
        assert anchor
        assert anchor == anchor.strip()
    assert built.text == " ".join(built.text.split())


@given(st.text("ab ", max_size=20), st.integers(0, 20), st.integers(0, 20))
def test_cutting_keeps_only_links_inside(text, start, end):
    whole = LinkedText(text, tuple((i, i + 1, "u") for i, c in enumerate(text) if c == "b"))
    part = whole.cut(min(start, len(text)), min(end, len(text)))

    assert all(part.text[a:b] == "b" for a, b, _ in part.links)


def test_repeats_are_dropped_but_namesakes_are_kept():
    linked = [Record(LinkedText("A", ((0, 1, url),))) for url in ("https://x/1", "https://x/2")]
    rows = [Row("Ground", LinkedText("Hill", ((0, 4, "u"),))), Row("ground", LinkedText("Hill"))]

    assert [line for line, _ in drop_repeats([*linked, *linked, *rows])] == [*linked, rows[0]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-02-30", None),
        ("2026-01", None),
        ("January 4, 2026", "2026-01-04"),
        ("x", None),
        ("20260104", "2026-01-04"),
    ],
)
def test_dates_are_days_or_nothing(text, expected):
    assert iso_date(text) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/countries/algeria/", "country"), ("/countries/", None), ("/news/x", None), ("/a/b/glass/c", None)],
)
def test_folders_named_by_plurals_say_the_type(path, expected):
    assert type_from_address(f"https://a.example{path}") == expected
