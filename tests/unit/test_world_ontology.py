"""The ontology: enough of everything, in words that both directions of language can tell apart."""

from __future__ import annotations

import re
from collections import defaultdict

import pytest

from datagen.knowledge.catalogue import catalogue_from_dict
from datagen.language.phrases import build_phrases
from datagen.web.synthetic.desk import read_style
from datagen.web.synthetic.ontology import read_ontology
from datagen.web.synthetic.pages_lists import fits_plural

ONTOLOGY = read_ontology()
RELATIONS = list(ONTOLOGY.catalogue.relations.values())


def test_there_are_more_types_and_relations_than_the_least_that_makes_varied_questions():
    assert len(ONTOLOGY.kinds) >= 20
    assert len(RELATIONS) >= 60


@pytest.mark.parametrize("relation", RELATIONS, ids=lambda r: r.id)
def test_a_relation_has_forms_for_every_use(relation):
    assert len(relation.prose) >= 3
    assert len(relation.clue) >= 2
    if relation.object_kind == "entity":
        assert len(relation.inverse) >= 2
        assert any(fits_plural(clue) for clue in relation.clue), "a list of many needs a clue that fits a plural"
    else:
        assert relation.ask


@pytest.mark.parametrize("relation", RELATIONS, ids=lambda r: r.id)
def test_forms_hold_their_slots_once_and_begin_as_clauses_do(relation):
    for form in relation.prose:
        assert sorted(re.findall(r"\{(\w)\}", form)) == ["o", "s"]
        assert re.search(r"\{\w\}.*[a-z'].*\{\w\}", form), "a reader needs words between the slots"
    for form in relation.clue:
        assert re.findall(r"\{(\w)\}", form) == ["o"]
    for form in relation.inverse:
        assert re.findall(r"\{(\w)\}", form) == ["s"]
    for form in relation.ask:
        assert re.findall(r"\{(\w)\}", form) == ["s"]
        assert form[0].isupper()
        assert form.endswith("?")
    for form in (*relation.clue, *relation.inverse):
        assert re.match(
            r"(whose|that|who|where|(at|in|on|of|to|from|near|with|under|through|beside|into|out of|for|during|by) (which|whom|whose|whose banks|whose slopes))\b|on whose|in whose|to whose",
            form,
        ), form


def test_no_form_belongs_to_two_relations_or_two_directions():
    seen: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for relation in RELATIONS:
        for form in relation.clue:
            seen[form.replace("{o}", "{}")].add((relation.id, "clue"))
        for form in relation.inverse:
            seen[form.replace("{s}", "{}")].add((relation.id, "inverse"))
        for form in (*relation.prose, *relation.ask):
            seen[form].add((relation.id, "said"))

    assert {form: owners for form, owners in seen.items() if len(owners) > 1} == {}


def test_the_phrase_table_resolves_every_phrase_to_one_relation():
    table = build_phrases(ONTOLOGY.catalogue)

    doubled = [key for key, found in table.by_key.items() if len({(p.relation, p.inverse) for p in found}) > 1]

    assert doubled == []


def test_no_label_means_two_relations_of_one_type_and_no_heading_reads_as_a_label():
    labels: dict[tuple[str, str], set[str]] = defaultdict(set)
    for relation in RELATIONS:
        for type_id in ONTOLOGY.subject_kinds(relation):
            for label in (relation.label, *relation.labels):
                labels[type_id, label.casefold()].add(relation.id)
    all_labels = {label for _, label in labels}
    headings = {h.casefold() for group in read_style().headings for h in group}
    plurals = {kind.words.plural.casefold() for kind in ONTOLOGY.kinds.values()}

    assert {k: v for k, v in labels.items() if len(v) > 1} == {}
    assert headings & all_labels == set()
    assert plurals & all_labels == set()


def test_colour_sentences_hold_no_words_of_a_prose_form():
    middles = {re.split(r"\{\w\}", form)[1] for relation in RELATIONS for form in relation.prose}
    long_middles = [m for m in middles if len(m.split()) > 1]

    for sentences in read_style().colour.values():
        for sentence in sentences:
            assert [m for m in long_middles if m in sentence] == [], sentence


def test_every_relation_has_a_heading_or_is_told_with_the_first():
    assert set(read_style().topic_of) <= set(ONTOLOGY.catalogue.relations)


def test_the_catalogue_survives_its_own_json_form():
    assert catalogue_from_dict(ONTOLOGY.catalogue.to_dict()).digest == ONTOLOGY.catalogue.digest
