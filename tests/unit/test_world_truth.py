"""The world: every link can be walked both ways, time makes sense, and names are names."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.web.synthetic.draws import FanMap, Ring
from datagen.web.synthetic.layout import Ref
from datagen.web.synthetic.names import slug
from datagen.web.synthetic.pages import SyntheticWeb
from datagen.web.synthetic.truth import build_truth, entity_types, truth_facts
from datagen.web.synthetic.values import WORLD_TODAY
from datagen.web.synthetic.world import World

WORLD = World(seed=3, entities=700)
RELATIONS = list(WORLD.ontology.catalogue.relations.values())
LINKS = [r for r in RELATIONS if r.object_kind == "entity" and not r.changes]
CHANGING = [r for r in RELATIONS if r.changes]


@given(n=st.integers(1, 5000), key=st.integers(0, 2**64 - 1), i=st.integers(0, 10**6))
@settings(max_examples=60)
def test_a_ring_is_a_permutation_with_an_inverse(n, key, i):
    ring = Ring(n, key)
    assert 0 <= ring.forward(i % n) < n
    assert ring.inverse(ring.forward(i % n)) == i % n


@given(n=st.integers(1, 400), m=st.integers(1, 60), skew=st.integers(0, 5))
@settings(max_examples=60)
def test_the_intervals_of_a_fan_map_are_exactly_its_preimages(n, m, skew):
    fan = FanMap(n, m, skew)
    images = [fan.forward(k) for k in range(n)]
    assert images == sorted(images)
    assert all(0 <= image < m for image in images)
    for target in range(m):
        low, high = fan.interval(target)
        assert list(range(low, high)) == [k for k, image in enumerate(images) if image == target]


@pytest.mark.parametrize("relation", LINKS, ids=lambda r: r.id)
def test_subjects_are_the_exact_inverse_of_objects(relation):
    forward = {
        (Ref(type_id, i), target)
        for type_id in WORLD.ontology.subject_kinds(relation)
        for i in range(WORLD.layout.sizes[type_id])
        for target in WORLD.objects(Ref(type_id, i), relation.id)
    }
    targets = {Ref(t, i) for t in {target.type for _, target in forward} for i in range(WORLD.layout.sizes[t])}
    backward = {
        (subject, target)
        for target in targets
        for type_id in WORLD.ontology.subject_kinds(relation)
        for subject in WORLD.subjects(target, relation.id, type_id)
    }

    assert backward == forward


@pytest.mark.parametrize("relation", LINKS, ids=lambda r: r.id)
def test_single_valued_relations_have_one_object_of_a_declared_type(relation):
    for type_id in WORLD.ontology.subject_kinds(relation):
        for i in range(WORLD.layout.sizes[type_id]):
            found = WORLD.objects(Ref(type_id, i), relation.id)
            assert len(found) <= 1 or not relation.single
            for target in found:
                assert any(WORLD.ontology.catalogue.is_a(target.type, t) for t in relation.object_types)
                assert target != Ref(type_id, i)


@pytest.mark.parametrize("relation", CHANGING, ids=lambda r: r.id)
def test_tenures_follow_each_other_and_are_found_from_both_ends(relation):
    for type_id in WORLD.ontology.subject_kinds(relation):
        for i in range(WORLD.layout.sizes[type_id]):
            terms = WORLD.terms(Ref(type_id, i), relation.id)
            for later, earlier in pairwise(terms):
                assert earlier.end is not None
                assert earlier.start <= earlier.end < later.start
            for term in terms:
                assert term.start <= WORLD_TODAY.toordinal()
                assert term in WORLD.held_by(term.target, relation.id, type_id)


def test_something_that_changes_has_changed_since_2024():
    recent = {
        relation.id
        for relation in CHANGING
        for type_id in WORLD.ontology.subject_kinds(relation)
        for i in range(WORLD.layout.sizes[type_id])
        for term in WORLD.terms(Ref(type_id, i), relation.id)
        if term.start >= 738_886  # 1 January 2024
    }

    assert recent == {r.id for r in CHANGING}


def test_lives_could_have_been_lived():
    for type_id in ("writer", "architect", "scientist", "composer", "painter"):
        for i in range(WORLD.layout.sizes[type_id]):
            born, died = (WORLD.value(Ref(type_id, i), r) for r in ("birth_date", "death_date"))
            assert died is None or died.low > born.low
    for i in range(WORLD.layout.sizes["novel"]):
        novel = Ref("novel", i)
        for author in WORLD.objects(novel, "author"):
            age = (WORLD.value(novel, "published").low - WORLD.value(author, "birth_date").low) / 365.25
            assert 20 < age < 70
    for i in range(WORLD.layout.sizes["scientist"]):
        scientist = Ref("scientist", i)
        for advisor in WORLD.objects(scientist, "doctoral_advisor"):
            assert WORLD.value(advisor, "birth_date").low < WORLD.value(scientist, "birth_date").low


def test_nothing_is_dated_after_today():
    for ref in WORLD.entities():
        for relation in RELATIONS:
            if relation.object_kind == "date":
                literal = WORLD.value(ref, relation.id)
                assert literal is None or literal.low <= WORLD_TODAY.toordinal()


def test_chains_are_deep_and_fan_in_is_rich():
    def climb(ref: Ref, relation: str) -> int:
        return max((1 + climb(o, relation) for o in WORLD.objects(ref, relation)), default=0)

    deepest = max(climb(Ref("scientist", i), "doctoral_advisor") for i in range(WORLD.layout.sizes["scientist"]))
    fan = [len(WORLD.subjects(Ref("town", i), "birthplace", "politician")) for i in range(WORLD.layout.sizes["town"])]

    assert deepest >= 3
    assert max(fan) >= 3
    assert len(set(fan)) >= 3


def test_names_are_capitalised_words_with_few_connectors():
    for ref in WORLD.entities():
        for word in WORLD.name(ref).split():
            assert word[0].isupper() or word in {"of", "the", "de", "von", "al", "la", "and"}, WORLD.name(ref)
        assert re.fullmatch(r"[^\W\d_]+(?: [^\W\d_]+)*", WORLD.name(ref))


def test_some_entities_share_their_name_on_purpose_and_no_others_do():
    names = Counter((ref.type, WORLD.name(ref)) for ref in WORLD.entities())
    shared = {key for key, count in names.items() if count > 1}
    planned = {(t, WORLD.name(WORLD.pair(t, n)[0])) for t in WORLD.layout.sizes for n in range(WORLD.pairs(t))}

    assert planned
    assert shared == planned
    assert any(t == "town" for t, _ in shared)


def test_no_name_is_one_of_the_real_world():
    world = World(seed=1, entities=8000)
    words = {word for ref in world.entities() for word in slug(world.name(ref)).title().split("-")}

    assert words & world.ontology.words.avoid == set()


def test_names_stay_distinct_in_a_large_world():
    world = World(seed=7, entities=20_000)
    names = Counter((ref.type, world.name(ref)) for ref in world.entities())
    planned = sum(world.pairs(type_id) for type_id in world.layout.sizes)

    assert 0 <= sum(count > 1 for count in names.values()) - planned <= 5


def test_some_names_carry_diacritics():
    assert any(not WORLD.name(ref).isascii() for ref in WORLD.entities())


def test_an_attribute_does_not_depend_on_what_was_asked_before():
    fresh = World(seed=3, entities=700)
    club = Ref("football_club", 5)

    assert fresh.terms(club, "coach") == WORLD.terms(club, "coach")
    assert fresh.value(club, "founded") == WORLD.value(club, "founded")
    assert fresh.name(club) == WORLD.name(club)


def test_another_seed_is_another_world():
    other = World(seed=4, entities=700)

    assert other.name(Ref("town", 0)) != WORLD.name(Ref("town", 0))


def test_a_world_of_a_million_pages_answers_at_once():
    web = SyntheticWeb(seed=1, pages=1_000_000)
    url, payload = web.render_page(777_777)

    assert web.render(url)[0] == payload


def test_truth_lists_every_entity_with_a_key_of_its_own_and_answers_formulas():
    web = SyntheticWeb(seed=5, pages=400)
    types = list(entity_types(web.addresses))
    facts = list(truth_facts(web.addresses))
    truth = build_truth(web.addresses)

    assert len({key for key, _ in types}) == len(types)
    assert {fact.subject for fact in facts} <= {key for key, _ in types}
    assert {fact.object_key for fact in facts if fact.object_key} <= {key for key, _ in types}
    assert any(key.startswith("entity:") for key, _ in types)
    assert len(truth.members("town")) == web.world.layout.sizes["town"]
