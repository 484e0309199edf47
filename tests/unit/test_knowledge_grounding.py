"""From quoted words to the fact that they state, and to none where they do not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.practice_league import CATALOGUE
from tests.unit.test_agents_symbolic import COMPETENCE, football_pages, url_of

from datagen.knowledge.graph import FactGraph
from datagen.knowledge.grounding import Grounder, Quotation

PAGES = football_pages()
READINGS = [COMPETENCE.reader.read(p) for p in PAGES]
FACTS = [fact for reading in READINGS for fact in reading.facts]
GRAPH = FactGraph.build(
    CATALOGUE,
    FACTS,
    [c for reading in READINGS for c in reading.closures],
    [reading.entity for reading in READINGS if reading.entity is not None],
)
GROUNDER = Grounder(GRAPH)


def quotation(fact, **changes):
    said = Quotation(
        GRAPH.name(GRAPH.id(fact.subject)),
        CATALOGUE.relations[fact.relation].label,
        fact.object,
        fact.evidence.url,
        fact.evidence.start,
        fact.evidence.end,
    )
    return replace(said, **changes)


@given(st.sampled_from(FACTS), st.sampled_from(["", "whatever", "founded ground league"]))
def test_the_words_of_a_relation_never_decide_whether_a_claim_joins(fact, relation):
    found = GROUNDER.ground(quotation(fact, relation=relation))

    assert found is not None
    assert (found.subject, found.object) == (fact.subject, fact.object)


@given(st.sampled_from(FACTS), st.integers(0, 400), st.integers(1, 60))
def test_a_claim_joins_exactly_where_its_quote_overlaps_the_evidence(fact, start, length):
    found = GROUNDER.ground(quotation(fact, start=start, end=start + length))
    overlaps = start < fact.evidence.end and fact.evidence.start < start + length

    assert overlaps or found is None or found.evidence != fact.evidence
    assert not overlaps or found is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": "Nobody"},
        {"subject": "Ost United"},
        {"object": "1902"},
        {"object": "Hill End"},
        {"url": "https://elsewhere.example/x"},
    ],
)
def test_another_subject_object_or_page_does_not_join(changes):
    founded = next(f for f in FACTS if f.subject == url_of("Harlan Rovers") and f.relation == "founded")

    assert GROUNDER.ground(quotation(founded, **changes)) is None


def test_a_known_key_goes_before_the_name_that_a_reader_gave():
    founded = next(f for f in FACTS if f.subject == url_of("Harlan Rovers") and f.relation == "founded")

    assert GROUNDER.ground(quotation(founded, subject="the Rovers"), [url_of("Harlan Rovers")]) == founded
    assert GROUNDER.ground(quotation(founded), [url_of("Ost United")]) is None
