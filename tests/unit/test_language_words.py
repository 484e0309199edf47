"""The words themselves: prepositions, articles, who is meant by "it", and what the parser says when it is lost."""

from __future__ import annotations

import pickle
import random

import pytest

from datagen.errors import ParseError
from datagen.knowledge.catalogue import EntityType, Relation, make_catalogue
from datagen.knowledge.dates import day_number
from datagen.knowledge.formula import Clue, Edge, EntityRef, IsA, Match, Node, Query, Within
from datagen.language.names import name_words, read_name
from datagen.language.parse import Parser, same_meaning
from datagen.language.verbalise import Verbaliser
from datagen.language.wording import article
from datagen.records.fact import Literal

CATALOGUE = make_catalogue(
    "football",
    [
        EntityType("club", "football club", "football clubs"),
        EntityType("stadium", "stadium", "stadiums"),
        EntityType("arena", "arena", "arenas", ("stadium",)),
        EntityType("architect", "architect", "architects", (), who=True),
        EntityType("town", "town", "towns"),
    ],
    [
        Relation("founded", "Founded", ("club",), "date", clue=("that was founded in {o}",), ask=("In which year was {s} founded?",)),
        Relation("founded_in", "Founded in", ("club",), "entity", ("town",), clue=("that was founded in {o}",)),
        Relation("plays_at", "Ground", ("club",), "entity", ("stadium",), changes=True, clue=("whose home ground is {o}",), inverse=("at which {s} plays",)),
        Relation("opened", "Opened", ("stadium",), "date", clue=("whose opening date is {o}",)),
        Relation("used", "In use since", ("stadium",), "date", clue=("that has been in use since {o}",)),
        Relation("seats", "Capacity", ("stadium",), "number", clue=("that has {o} seats",), ask=("What is {s}'s capacity?",)),
        Relation("designer", "Architect", ("stadium",), "entity", ("architect",), clue=("that was designed by {o}",), inverse=("who designed {s}",)),
        Relation("town", "Town", ("stadium",), "entity", ("town",), clue=("that stands in the town of {o}",)),
        Relation("twin", "Twin", ("town",), "entity", ("town",), clue=("that is twinned with {o}",)),
        Relation("born", "Born", ("architect",), "date", clue=("who was born in {o}",)),
    ],
)  # fmt: skip
PARSER = Parser(CATALOGUE)


def write(root: Node, ask: str | None = None, seed: int = 0) -> str:
    text = Verbaliser(CATALOGUE).write(Query(root, ask), random.Random(seed))
    assert same_meaning(PARSER.parse(text), Query(root, ask))
    return text


def writes(*clues: Clue, about: str, times: int = 30) -> list[str]:
    return [write(Node(about, clues), seed=seed) for seed in range(times)]


def span(relation: str, first: tuple[int, int, int], last: tuple[int, int, int]) -> Within:
    return Within(relation, "date", float(day_number(*first)), float(day_number(*last)))


DAY, YEAR = ((1925, 3, 3), (1925, 3, 3)), ((1925, 1, 1), (1925, 12, 31))
THIRTIES, BETWEEN = ((1930, 1, 1), (1933, 12, 31)), ((1850, 1, 1), (1870, 12, 31))


@pytest.mark.parametrize(
    ("relation", "about", "days", "words"),
    [
        ("founded", "club", DAY, "founded on 3 March 1925"),
        ("founded", "club", YEAR, "founded in 1925"),
        ("founded", "club", THIRTIES, "founded in the early 1930s"),
        ("founded", "club", BETWEEN, "founded between 1850 and 1870"),
        ("opened", "stadium", DAY, "opening date is 3 March 1925"),
        ("opened", "stadium", THIRTIES, "opening date is in the early 1930s"),
        ("opened", "stadium", BETWEEN, "opening date is between 1850 and 1870"),
        ("used", "stadium", YEAR, "since 1925"),
        ("used", "stadium", THIRTIES, "since the early 1930s"),
        ("used", "stadium", BETWEEN, "since some time between 1850 and 1870"),
    ],
)
def test_the_preposition_fits_the_date(relation: str, about: str, days: tuple, words: str):
    for text in writes(span(relation, *days), about=about, times=5):
        assert words in text


def test_one_phrase_for_a_place_and_a_date_is_told_apart_by_what_follows():
    place, year = Match("founded_in", EntityRef("", "Veltrin")), span("founded", *YEAR)
    assert "founded in Veltrin" in writes(place, about="club")[0]
    assert PARSER.parse("Which football club was founded in Veltrin?").root.clues == (place,)
    assert PARSER.parse("Which football club was founded in 1925?").root.clues == (year,)


def test_quantities_fit_their_noun():
    texts = writes(Within("seats", "number", 10_000.0, 99_999.0), about="stadium", times=5)
    assert all("a five-digit number of seats" in t for t in texts)
    texts = writes(Within("seats", "number", 4_000.0, 6_000.0), about="stadium", times=5)
    assert all("between 4,000 and 6,000 seats" in t for t in texts)


def test_a_description_does_not_repeat_the_noun_of_the_phrase():
    described = Edge("town", Node("town", (Match("twin", EntityRef("", "Veltrin")),)))
    assert all(
        "stands in a town that is twinned with Veltrin" in t for t in writes(described, about="stadium", times=5)
    )
    assert "the town of Veltrin" in writes(Match("town", EntityRef("", "Veltrin")), about="stadium")[0]


def test_dates_of_changing_facts_are_said():
    given = Match("plays_at", EntityRef("", "Elm Park"), as_of="2025-03-03")
    assert all("Elm Park as of 3 March 2025" in t for t in writes(given, about="club", times=5))
    child = Node("stadium", (span("opened", *YEAR), Match("designer", EntityRef("", "Ada Voss"))))
    texts = writes(Edge("plays_at", child, as_of="2025-03-03"), span("founded", *DAY), about="club")
    assert any("As of 3 March 2025, " in t for t in texts)


def test_two_things_of_one_class_are_counted():
    far = Node("town", (Match("twin", EntityRef("", "Veltrin")), Match("twin", EntityRef("", "Ostby"))))
    near = Node("town", (Edge("twin", far), Match("twin", EntityRef("", "Hamm"))))
    texts = writes(Edge("twin", near), Match("twin", EntityRef("", "Lind")), about="town")
    assert all("a second town" in t and "a third town" in t for t in texts)
    texts = writes(Edge("twin", Node("town", far.clues)), about="town")
    assert all("another town" in t for t in texts)


def test_people_are_who_and_things_are_that():
    text = write(Node("stadium", (Edge("designer", Node("architect", (span("born", *YEAR),))),)))
    assert "an architect who was born in 1925" in text


def test_a_narrower_class_is_a_clue():
    assert "is an arena" in write(Node("stadium", (IsA("arena"), Within("seats", "number", 0.0, 999.0))))


def test_asked_values_use_the_question_form():
    texts = [write(Node("club", (Match("founded_in", EntityRef("", "Veltrin")),)), "founded", s) for s in range(20)]
    assert "In which year was the football club founded that was founded in Veltrin?" in texts
    root = Node("stadium", (Match("designer", EntityRef("", "Ada Voss")), Match("town", EntityRef("", "Hamm"))))
    assert all("What is this stadium's capacity?" in write(root, "seats", s) for s in range(5))


def test_text_holds_nothing_of_the_keys():
    clue = Match("designer", EntityRef("https://wiki.example/architects/42", "Ada Voss"))
    assert all("example" not in text and "42" not in text for text in writes(clue, about="stadium"))


def test_an_untyped_vertex_and_one_without_clues_can_be_said():
    assert "thing" in write(Node(None, (Edge("designer", Node(None, ())),)))
    assert "football club" in write(Node("club", ()))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Bank of the North", "Bank of the North"),
        ("O'Brien Park", "O'Brien Park"),
        ("J. R. R. Marlow", "J. R. R. Marlow"),
        ("Łódź United", "Łódź United"),
        ("Washington, D.C.", '"Washington, D.C."'),
        ("Vitamin C", '"Vitamin C"'),
        ("March 1901", '"March 1901"'),
        ('The "Old" Mill', '"The ""Old"" Mill"'),
        ("東京", '"東京"'),
    ],
)
def test_names_stand_bare_where_their_end_can_be_seen(name: str, words: str):
    assert name_words(name) == words
    assert read_name(words) == name


@pytest.mark.parametrize(
    ("word", "expected"),
    [("architect", "an"), ("university", "a"), ("hour", "an"), ("unit", "a"), ("town", "a"), ("FIFA club", "a"),
     ("MP", "an"), ("uninhabited island", "an"), ("European country", "a"), ("opera", "an"), ("one-act play", "a")],
)  # fmt: skip
def test_articles_follow_the_sound(word: str, expected: str):
    assert article(word) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "ends too early"),
        ("Which football club was founded in", "ends too early.*Expected.*a date"),
        ("Which football club barked at 1925?", "cannot be read at character 20, after 'Which football club"),
        ("Which football club was founded in 1925? The town is twinned with Hamm.", '"town" is said of 0 things'),
        ("Which football club was founded in 31 February 1925?", "no date of the calendar"),
        ("Which football club was founded by Ada Voss?", "cannot be read"),
        ("Hello, who are you?", "cannot be read at character 0"),
        ("There is a town that is twinned with Hamm. Name this stadium.", "does not begin with"),
    ],
)
def test_a_text_outside_the_grammar_is_explained(text: str, message: str):
    with pytest.raises(ParseError, match=message):
        PARSER.parse(text)


def test_an_ambiguous_phrase_is_never_written():
    twice = make_catalogue(
        "twice",
        [EntityType("club", "club", "clubs")],
        [Relation(i, "Rank", ("club",), "text", clue=("that is called {o}",)) for i in ("one", "two")],
    )
    query = Query(Node("club", (Match("two", Literal("text", "first")),)))
    assert '"two" is given as "first"' in Verbaliser(twice).write(query, random.Random(0))
    with pytest.raises(ParseError, match="means one or two"):
        Parser(twice).parse('Which club is called "first"?')


def test_parser_and_writer_travel_to_other_processes():
    query = Query(Node("stadium", (Match("designer", EntityRef("", "Ada Voss")),)))
    verbaliser, parser = pickle.loads(pickle.dumps((Verbaliser(CATALOGUE), PARSER)))
    assert same_meaning(parser.parse(verbaliser.write(query, random.Random(0))), query)


def test_a_long_class_word_is_said_once_where_everything_is_of_that_class():
    catalogue = make_catalogue(
        "places",
        [EntityType("place", "town or village", "towns and villages")],
        [
            Relation("near", "Near", ("place",), "entity", ("place",), single=False, clue=("that borders {o}",)),
            Relation("area", "Area", ("place",), "number", unit="sq km", clue=("whose area is {o}",)),
        ],
    )
    root = Node("place", (Edge("near", Node("place", (Within("area", "number", 10, 20, "sq km"),))),))
    for seed in range(20):
        text = Verbaliser(catalogue).write(Query(root), random.Random(seed))
        assert same_meaning(Parser(catalogue).parse(text), Query(root))
        assert "another one" in text
        assert "another town" not in text


@pytest.mark.parametrize("name", ["United Arab Emirates", "Netherlands", "Veltrin Islands"])
def test_a_name_that_lists_shorten_gets_its_article_back(name: str):
    assert name_words(name) == f"the {name}"
    assert read_name(f"the {name}") == name
