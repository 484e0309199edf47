"""The guesser: what a model knows that has read everything and remembers only what it has seen more than once."""

from __future__ import annotations

from pathlib import Path

import pytest

from datagen.agents.symbolic.guesser import PriorGuesser, PriorModel, fit
from datagen.errors import ParseError
from datagen.knowledge.catalogue import Catalogue, EntityType, Relation, make_catalogue
from datagen.knowledge.formula import Node, Query
from datagen.records.fact import Entity, Evidence, Fact

EVIDENCE = Evidence("pg", "https://atlas.example/x", 0, 1, "x", "0" * 64, "encyclopedia")


class Phrasebook:
    def parse(self, text: str) -> Query:
        if "language" in text:
            return Query(Node("town", ()), "language")
        if "country" in text:
            return Query(Node("country", ()))
        raise ParseError(text)


def catalogue() -> Catalogue:
    types = [EntityType("country", "country", "countries"), EntityType("town", "town", "towns")]
    relations = [
        Relation("lies_in", "Country", ("town",), "entity", ("country",)),
        Relation("language", "Language", ("town",), "text"),
    ]
    return make_catalogue("places", types, relations)


def fitted() -> PriorModel:
    """Nine towns in Ruria that speak Rurian, three in Ost that speak Ostran, one in Sund that speaks Sundic."""
    entities = [Entity(f"c/{n}", n, "country") for n in ("Ruria", "Ost", "Sund")]
    facts = []
    for count, country, language in ((9, "Ruria", "Rurian"), (3, "Ost", "Ostran"), (1, "Sund", "Sundic")):
        for i in range(count):
            town = Entity(f"t/{country}{i}", f"Town {country}{i}", "town")
            entities.append(town)
            facts.append(Fact(town.key, "lies_in", country, f"c/{country}", None, EVIDENCE))
            facts.append(Fact(town.key, "language", language, None, None, EVIDENCE))
    return fit(catalogue(), entities, facts)


GUESSER = PriorGuesser(fitted(), Phrasebook())


def test_without_a_hint_the_most_frequent_answers_come_first() -> None:
    assert GUESSER.guess("Which country?", 2) == ("Ruria", "Ost")


def test_a_word_that_repeatedly_goes_with_an_answer_moves_it_up() -> None:
    assert GUESSER.guess("Which language is spoken in a town of Ost?", 1) == ("Ostran",)


def test_what_was_seen_once_is_a_fact_and_not_a_prior() -> None:
    assert GUESSER.guess("Which language is spoken in a town of Sund?", 1) == ("Rurian",)


def test_an_answer_that_the_question_names_is_not_guessed() -> None:
    assert "Ruria" not in GUESSER.guess("Which country, other than Ruria?", 3)


def test_guesses_are_distinct_and_at_most_as_many_as_asked_for() -> None:
    guesses = GUESSER.guess("Which country?", 10)
    assert len(guesses) == len(set(guesses)) == 3


def test_a_question_outside_the_grammar_gets_no_guess() -> None:
    assert GUESSER.guess("Why?", 3) == ()


@pytest.mark.parametrize("question", ["Which country?", "Which language is spoken in a town of Ost?"])
def test_a_saved_model_guesses_the_same(tmp_path: Path, question: str) -> None:
    fitted().save(tmp_path / "prior.json.gz")
    loaded = PriorGuesser(PriorModel.load(tmp_path / "prior.json.gz"), Phrasebook())
    assert loaded.guess(question, 3) == GUESSER.guess(question, 3)
