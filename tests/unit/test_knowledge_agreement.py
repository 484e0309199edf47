"""The evaluator and the brute-force checker are two readings of one semantics: on random worlds they may not differ."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.knowledge_worlds import RandomWorld

from datagen.knowledge import bruteforce, plain_matching, plain_world
from datagen.knowledge.bruteforce import verify_certificate
from datagen.knowledge.certificate import certify
from datagen.knowledge.evaluator import clue_sizes, contains, evaluate, is_unique
from datagen.knowledge.formula import Node, Query, drop_clue, walk_clues
from datagen.knowledge.graph import FactGraph
from datagen.knowledge.literals import normalise_text
from datagen.knowledge.plain_matching import Checker
from datagen.knowledge.plain_world import plain_text

SEEDS = st.integers(0, 10**9)
MAX_CLUES = 7


def queries(world: RandomWorld, graph: FactGraph) -> list[Query]:
    """Wild trees, and descriptions of known entities, of which many are unique."""
    nodes = [world.node() for _ in range(3)] + [world.told(graph, world.rng.randrange(len(graph))) for _ in range(4)]
    return [Query(n) for n in nodes if 0 < len(list(walk_clues(n))) <= MAX_CLUES]


def test_the_checker_shares_no_code_with_what_it_checks():
    allowed = {"catalogue", "formula", "plain_world", "plain_matching"}
    for module in (bruteforce, plain_matching, plain_world):
        tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
        names = [n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module]
        assert {n.rpartition(".")[2] for n in names if n.startswith("datagen.knowledge.")} <= allowed


@given(SEEDS)
@settings(max_examples=150, deadline=None)
def test_every_number_of_a_certificate_is_borne_out_by_the_rows(seed: int):
    world = RandomWorld(seed)
    graph, plain = world.graph(), world.plain()
    for query in queries(world, graph):
        certificate = certify(graph, query)
        assert verify_certificate(plain, query, certificate, thorough=True) == [], query
        assert verify_certificate(plain, query, certificate) == [], query
        assert is_unique(graph, query) == certificate.unique


@given(SEEDS)
@settings(max_examples=100, deadline=None)
def test_the_candidate_sets_are_those_of_testing_everyone(seed: int):
    world = RandomWorld(seed)
    graph, plain = world.graph(), world.plain()
    checker = Checker(plain, thorough=True)
    for query in queries(world, graph):
        found = evaluate(graph, query.root)
        assert [graph.key(i) for i in found.sure] == checker.sure_matches(query.root)
        assert [graph.key(i) for i in found.possible] == sorted(
            k for k in plain.types if checker.judge(query.root, k)[1]
        )
        assert found.open == checker.judge(query.root, None)[1]
        assert found.sure <= found.possible


@given(SEEDS)
@settings(max_examples=100, deadline=None)
def test_leaving_a_clue_out_never_loses_a_candidate(seed: int):
    world = RandomWorld(seed)
    graph = world.graph()
    for query in queries(world, graph):
        full = evaluate(graph, query.root)
        for address, _ in walk_clues(query.root):
            wider = evaluate(graph, drop_clue(query.root, address))
            assert full.possible <= wider.possible
            assert full.sure <= wider.sure
            assert wider.open >= full.open


@given(SEEDS)
@settings(max_examples=50, deadline=None)
def test_more_statements_of_low_trust_never_make_a_question_unique(seed: int):
    world = RandomWorld(seed)
    graph = world.graph()
    asked = queries(world, graph)
    before = [is_unique(graph, q) for q in asked]
    world.facts += [
        replace(
            f,
            evidence=replace(f.evidence, source_kind="forum", page_id=f"low-{i}"),
            subject=world.rng.choice(world.keys),
        )
        for i, f in enumerate(world.facts)
    ]
    after = [is_unique(world.graph(), q) for q in asked]
    assert all(b >= a for b, a in zip(before, after, strict=True))


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_the_order_in_which_rows_arrive_changes_nothing(seed: int):
    world = RandomWorld(seed)
    graph = world.graph()
    asked = queries(world, graph)
    before = [certify(graph, q) for q in asked]
    for rows in (world.facts, world.closures):
        world.rng.shuffle(rows)
    assert [certify(world.graph(), q) for q in asked] == before


@given(seed=SEEDS)
@settings(max_examples=30, deadline=None)
def test_a_saved_graph_answers_like_the_one_in_memory(seed: int, tmp_path_factory: pytest.TempPathFactory):
    world = RandomWorld(seed)
    graph = world.graph()
    folder = tmp_path_factory.mktemp("graph")
    graph.save(folder)
    loaded = FactGraph.load(folder)
    for query in queries(world, graph):
        assert certify(loaded, query) == certify(graph, query)
    assert [loaded.outgoing(i) for i in range(len(loaded))] == [graph.outgoing(i) for i in range(len(graph))]


@given(SEEDS)
@settings(max_examples=50, deadline=None)
def test_clue_sizes_and_containment_follow_from_the_sure_sets(seed: int):
    world = RandomWorld(seed)
    graph = world.graph()
    for query in queries(world, graph):
        kind, clues = query.root.type, query.root.clues
        sets = [evaluate(graph, Node(kind, (c,))).sure for c in clues]
        assert clue_sizes(graph, kind, clues) == tuple(len(s) for s in sets)
        for a, first in zip(clues, sets, strict=True):
            for b, second in zip(clues, sets, strict=True):
                assert contains(graph, kind, a, b) == (second <= first)


@given(st.text(max_size=30))
def test_the_two_normal_forms_of_text_are_one(text: str):
    assert plain_text(text) == normalise_text(text)


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_a_certificate_with_one_number_changed_is_refuted(seed: int):
    world = RandomWorld(seed)
    graph, plain = world.graph(), world.plain()
    for query in queries(world, graph):
        proof = certify(graph, query)
        if not proof.unique:
            continue
        for wrong in (
            replace(proof, answer_set=("https://e.example/other",)),
            replace(proof, rivals=1),
            replace(proof, sizes=(*proof.sizes[:-1], proof.sizes[-1] + 1)),
            replace(proof, necessity=(proof.necessity[0] + 1, *proof.necessity[1:])),
            replace(proof, min_documents=proof.min_documents + 1),
            replace(proof, dependency_depth=proof.dependency_depth + 1),
            replace(proof, excluded_by={**proof.excluded_by, "type": 99}),
            replace(proof, mode="closed_world" if proof.mode == "open_world" else "open_world"),
            replace(proof, evidence=tuple(replace(e, start=e.start + 1) for e in proof.evidence)),
            replace(proof, evidence=tuple(replace(e, sha256="0" * 64) for e in proof.evidence)),
        ):
            if wrong != proof and (proof.evidence or wrong.min_documents == proof.min_documents):
                assert verify_certificate(plain, query, wrong) != [], wrong
