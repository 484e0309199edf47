"""Whatever formula a catalogue can state, its words read back to it."""

from __future__ import annotations

import random
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.errors import WordingError
from datagen.knowledge.catalogue import Catalogue, EntityType, Relation, make_catalogue
from datagen.knowledge.dates import day_number, iso
from datagen.knowledge.formula import Clue, Edge, EntityRef, IsA, Match, Node, Query, Within, walk_nodes
from datagen.knowledge.literals import date_interval, number_literal, text_literal
from datagen.language.parse import Parser, same_meaning, unresolved
from datagen.language.vague import bands
from datagen.language.verbalise import Verbaliser
from datagen.records.fact import Literal
from datagen.web.synthetic.ontology import load_ontology

NAMES = (
    "Veltrin", "Ada Voss", "Bank of the North", "Łódź United", "The Hague", "Washington, D.C.", "O'Brien Park",
    "Apollo 11", "King James's", "St. Mary", "J. R. R. Marlow", "March 1901", "東京", "al-Rashid", "Vitamin C",
    "Smith & Sons", 'The "Old" Mill', "Foo and Bar", "Foo Jr.", "that town", "It", "as of 3 March 2025", "1860 Munich",
    "ends with a stop.", "Who is it?", "", " spaced  out ", "line\nbreak",
)  # fmt: skip
TEXTS = ("green and white", 'say "hi"', "a, b. c?", "4,000", "in 1901", '"', "")


@cache
def difficult() -> Catalogue:
    """Forms and words chosen to run into each other."""
    types = [
        EntityType("inn", "bed and breakfast", "beds and breakfasts"),
        EntityType("second", "second club", "second clubs"),
        EntityType("club", "club", "clubs", ("team",)),
        EntityType("team", "club", "clubs"),
        EntityType("thing", "thing", "things"),
        EntityType("language", "C++ (language)", "C++ (languages)"),
        EntityType("member", "member", "members", (), who=True),
        EntityType("hour", "hour", "hours"),
        EntityType("nameless", "", ""),
    ]
    both = ("inn", "second", "club")
    relations = [
        Relation("in_1", "Same", both, "entity", ("club",), clue=("that is in {o}",), inverse=("that {s} is in",)),
        Relation("in_2", "Same", both, "entity", ("club",), clue=("that is in {o}",), inverse=("that {s} is in",)),
        Relation("when", 'An "odd" / label', ("club", "team"), "date", clue=("that is in {o}", "that is {o} old", "no slot", "{o} leads"), ask=("When was {s}?", "no slot?")),
        Relation("weight", "Weight", ("club", "thing"), "number", unit="kg (dry) / m²", clue=("that is {o}", "with {o} of weight"), ask=("What is the name of {s}'s weight?",)),
        Relation("barrels", "Oil", ("thing", "language"), "number", unit="million bbl", clue=("that is {o}",)),
        Relation("says", "Motto", ("member", "language"), "text", clue=("that says {o}",), changes=True, ask=("Which club is {s} in?",)),
        Relation("joined", "Joined", ("member",), "entity", ("club",), single=False, changes=True, clue=("who is a member of {o}", "who is a member in {o} and the rest"), inverse=("that, as of {s}, x",)),
        Relation("about", "About", ("hour", "nameless"), "entity", (), clue=("where the {o}", "that FIFA calls {o}", "that the club of {o} owns", "whose {o} is")),
        Relation("kind", "Kind", ("hour", "club"), "text", clue=("whose kind is {o}", "known as {o}")),
        Relation("built", "Built", ("hour",), "date", clue=("that was built in {o} in stone",), ask=("In which year was {s} built in stone?",)),
        Relation("spouse", "Spouse", ("member",), "entity", ("member",), clue=("to whom {o} is married",), inverse=("to whom {s} is married",)),
        Relation("mute", "Mute", ("member", "hour"), "entity", ("member",)),
    ]  # fmt: skip
    return make_catalogue("difficult", types, relations)


@cache
def curated() -> Catalogue:
    return load_ontology()


class Draw:
    """A random well-formed query over a catalogue."""

    def __init__(self, catalogue: Catalogue, seed: int, names: tuple[str, ...] = NAMES) -> None:
        self.catalogue, self.rng, self.names = catalogue, random.Random(seed), names
        self.room = self.rng.randint(2, 12)

    def query(self) -> Query:
        rng, depth = self.rng, self.rng.randint(1, 5)
        root = self.node(rng.choice([t for t in self.catalogue.types if self.sides(t)]), depth)
        asked = [
            r
            for r in self.catalogue.relations.values()
            if r.object_kind != "entity" and self.fits(root.type, r.subject_types)
        ]
        if not asked or rng.random() < 0.6:
            return Query(root)
        relation = rng.choice(asked)
        return Query(root, relation.id, "2025-03-03" if relation.changes else None)

    def fits(self, type_id: str | None, wanted: tuple[str, ...]) -> bool:
        return type_id is None or not wanted or any(self.catalogue.is_a(type_id, w) for w in wanted)

    def sides(self, type_id: str | None) -> list[tuple[Relation, bool]]:
        relations = list(self.catalogue.relations.values())
        ahead = [(r, False) for r in relations if self.fits(type_id, r.subject_types)]
        return ahead + [(r, True) for r in relations if r.object_types and self.fits(type_id, r.object_types)]

    def node(self, type_id: str | None, depth: int) -> Node:
        rng = self.rng
        type_id = None if rng.random() < 0.03 else type_id
        sides = self.sides(type_id)
        self.room -= 1
        clues: list[Clue] = []
        for relation, inverse in rng.sample(sides, min(len(sides), rng.randint(1, 4))):
            if self.room > 0 or not clues:
                clues.append(self.clue(relation, inverse, depth))
        narrower = [t for t in self.catalogue.types.values() if type_id in t.parents]
        if narrower and rng.random() < 0.2:
            clues.append(IsA(rng.choice(narrower).id))
        return Node(type_id, tuple(clues))

    def clue(self, relation: Relation, inverse: bool, depth: int) -> Clue:
        rng = self.rng
        as_of = iso(day_number(2024, 1, 1) + rng.randrange(700)) if relation.changes else None
        if relation.object_kind != "entity":
            self.room -= 1
            return self.literal_clue(relation, as_of)
        types = relation.subject_types if inverse else relation.object_types
        if depth > 1 and self.room > 0 and rng.random() < 0.6:
            return Edge(relation.id, self.node(rng.choice(types) if types else None, depth - 1), inverse, as_of)
        self.room -= 1
        return Match(relation.id, EntityRef(f"key:{rng.randrange(99)}", rng.choice(self.names)), inverse, as_of)

    def literal_clue(self, relation: Relation, as_of: str | None) -> Clue:
        rng = self.rng
        literal: Literal = text_literal("")
        if relation.object_kind == "date":
            low = day_number(rng.randint(900, 2020), 1, 1)
            literal = rng.choice([date_interval(low, low), date_interval(low, low + 364)])
        elif relation.object_kind == "number":
            literal = number_literal(rng.choice([float(rng.randrange(99_999)), rng.randrange(999) / 10]), relation.unit)
        else:
            return Match(relation.id, Literal("text", rng.choice(TEXTS)), as_of=as_of)
        band = rng.choice(bands(literal))
        if rng.random() < 0.3:
            return Match(relation.id, literal, as_of=as_of)
        return Within(relation.id, literal.kind, band.low, band.high, literal.unit, as_of)


def check(catalogue: Catalogue, query: Query, seed: int) -> str:
    text = Verbaliser(catalogue).write(query, random.Random(seed))
    parsed = Parser(catalogue).parse(text)
    assert same_meaning(parsed, query), text
    assert "key:" not in text
    return text


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32))
def test_questions_over_the_curated_catalogue_read_back(seed: int):
    check(curated(), Draw(curated(), seed).query(), seed)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32))
def test_questions_over_a_difficult_catalogue_read_back(seed: int):
    check(difficult(), Draw(difficult(), seed).query(), seed)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.tuples(st.text(max_size=30), st.text("Aa bc.'-12&,\"ofthe", max_size=20)))
def test_any_name_survives(seed: int, names: tuple[str, str]):
    check(curated(), Draw(curated(), seed, names).query(), seed)


def test_the_same_draw_writes_the_same_question():
    query = Draw(curated(), 5).query()
    assert check(curated(), query, 1) == check(curated(), query, 1)


def test_draws_vary_the_words():
    query = Draw(curated(), 4).query()
    assert len({check(curated(), query, seed) for seed in range(20)}) > 5


def test_every_relation_of_the_curated_catalogue_has_words_of_its_own():
    catalogue = curated()
    verbaliser = Verbaliser(catalogue)
    for relation in catalogue.relations.values():
        value: Match | Within
        if relation.object_kind == "entity":
            value = Match(relation.id, EntityRef("", "Veltrin"))
        elif relation.object_kind == "text":
            value = Match(relation.id, Literal("text", "green"))
        else:
            value = Within(relation.id, relation.object_kind, 720_000.0, 730_000.0, relation.unit)
        for subject in relation.subject_types:
            assert "is given as" not in verbaliser.write(Query(Node(subject, (value,))), random.Random(1))
        for sought in relation.object_types:
            inverse = Query(Node(sought, (Match(relation.id, EntityRef("", "Veltrin"), inverse=True),)))
            assert "is given as" not in verbaliser.write(inverse, random.Random(1))


def test_deep_trees_become_several_sentences():
    queries = [Draw(curated(), seed, ("Veltrin", "Ada Voss")).query() for seed in range(200)]
    deep = [q for q in queries if len(list(walk_nodes(q.root))) >= 5]
    texts = [check(curated(), q, 3) for q in deep]
    assert texts
    assert all(text.count(". ") >= 2 for text in texts)


def test_the_order_of_clues_and_the_keys_do_not_change_the_meaning():
    a = Match("founded_by", EntityRef("https://a.example/1", "Ada Voss"))
    b = Within("founded", "date", 700_000, 700_364)
    assert same_meaning(Query(Node("company", (a, b))), Query(Node("company", (b, a))))
    stripped = unresolved(Query(Node("company", (a,)))).root.clues[0]
    assert isinstance(stripped, Match)
    assert stripped.value == EntityRef("", "Ada Voss")
    assert not same_meaning(Query(Node("company", (a,))), Query(Node("company", (b,))))


def test_an_exact_date_says_the_same_as_its_interval():
    literal = date_interval(700_000, 700_000)
    within = Within("founded", "date", 700_000.0, 700_000.0)
    assert same_meaning(Query(Node("company", (Match("founded", literal),))), Query(Node("company", (within,))))


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (Query(Node("dragon", ())), "no type 'dragon'"),
        (Query(Node("town", (Match("breathes", EntityRef("", "Fire")),))), "no relation 'breathes'"),
        (Query(Node("town", (IsA("dragon"),))), "no type 'dragon'"),
        (Query(Node("town", ()), "breathes"), "no relation 'breathes'"),
        (Query(Node("company", (Within("founded", "date", 9.0, 3.0),))), "no words for the days"),
        (Query(Node("company", (Match("founded_by", EntityRef("", "A B"), as_of="soon"),))), "is no day"),
    ],
)
def test_what_cannot_be_said_is_refused_with_a_reason(query: Query, message: str):
    with pytest.raises(WordingError, match=message):
        Verbaliser(curated()).write(query, random.Random(0))
