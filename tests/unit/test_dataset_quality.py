"""The quality report: each figure is counted as it is defined, and what cannot be counted says why."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.knowledge_worlds import CATALOGUE, entities, fact

from datagen.dataset.quality import is_release, measure_release
from datagen.dataset.quality.figures import mid_sentence_capitals, question_figures, tree_shape
from datagen.dataset.quality.measuring import measured, of_attempts, of_questions, of_widths, vertices_groups
from datagen.dataset.quality.published import DEFINITIONS
from datagen.dataset.quality.report import of_run
from datagen.dataset.quality.retrieval import CUTS, ndcg, recall
from datagen.dataset.quality.signatures import AttemptSignature, hit_time, read_signatures
from datagen.dataset.quality.widths import clue_widths
from datagen.errors import ReleaseError, SnapshotError
from datagen.knowledge.formula import Edge, EntityRef, IsA, Match, Node, Query, Within, query_to_dict
from datagen.knowledge.graph import FactGraph
from datagen.knowledge.literals import date_interval, ordinal, year_interval
from datagen.records.schema import arrow_schema
from datagen.records.trajectory import Event, Trajectory, Transcript
from datagen.records.trajectory_rows import trajectory_to_row
from datagen.storage import Manifest, write_json, write_manifest, write_parquet

# --- trees in InfoSeek's form -----------------------------------------------------------------------------------------


def node(name: str | None, *children: dict[str, Any]) -> dict[str, Any]:
    claims = [{"target_id": "B", "claim": "A was built by B"} for _ in children]
    return {"id": "A", "entity": name, "claims": claims, "children": list(children)}


def test_a_tree_of_the_shape_of_infoseeks_first_readme_tree_has_its_published_counts() -> None:
    tree = node("Grey Heron", node("Ada Vell", node(None), node("Oru")), node("None"), node(None))
    shape = tree_shape(tree)
    assert (shape.vertices, shape.entities, shape.attributes, shape.distinct_entities) == (6, 3, 3, 4)
    assert (shape.depth, shape.branching, shape.leaves, shape.inner, shape.claims) == (2, 3, 4, 1, 5)


def test_a_tree_of_the_shape_of_the_second_has_its_published_counts() -> None:
    shape = tree_shape(node("Rovers", node("Harlan", node("Veltrin")), node("Oru League")))
    assert (shape.vertices, shape.attributes, shape.depth, shape.branching) == (4, 0, 2, 2)
    assert (shape.leaves, shape.claims) == (2, 3)


# --- questions --------------------------------------------------------------------------------------------------------

QUERY = Query(
    Node(
        "club",
        (
            Edge("coach", Node("person", (Match("born_in", EntityRef("c/Oru", "Oru")), IsA("poet")))),
            Within("founded", "date", ordinal("1900-01-01"), ordinal("1909-12-31")),
        ),
    )
)


def page(clue: int, name: str) -> dict[str, Any]:
    row = dict.fromkeys(("host", "source_kind", "published_at", "quote", "sha256"), "")
    return row | {"clue": clue, "page_id": name, "url": f"https://a.example/{name}", "start": 0, "end": 1}


def question(number: int = 0, **changes: Any) -> dict[str, Any]:
    row = dict.fromkeys(arrow_schema("questions").names) | {
        "id": f"qa1-{number}",
        "question": "Which club, founded from 1900 to 1909, is coached by a poet born in Oru? I mean New Oru.",
        "answer": "Harlan Rovers",
        "answer_aliases": ["Rovers"],
        "answer_type": "entity",
        "answer_canonical": "Harlan Rovers",
        "recipe": "infoseek",
        "difficulty": {"vertices": 5, "depth": 2, "max_branching": 2, "leaves": 3},
        "certificate": {
            "clues": ["coach -> person", "born_in = Oru", "is a poet", "founded in 1900-01-01..1909-12-31"],
            "answer_set": ["x"],
            "exposed_constants": ["Oru", "1900-01-01..1909-12-31"],
            "min_documents": 2,
            "dependency_depth": 2,
        },
        "evidence": [page(0, "a"), page(0, "b"), page(1, "c"), page(1, "a"), page(3, "a")],
        "hops": [],
        "attempts": [{"solver": "topdown", "searches": 2, "visits": 5}],
        "tree": json.dumps(query_to_dict(QUERY)),
    }
    return row | changes


def values(*rows: dict[str, Any]) -> dict[str, float | None]:
    figures = [question_figures(row) for row in rows]
    return {m.key: m.value for m in of_questions(figures, vertices_groups(figures))}


def test_figures_of_questions_are_counted_as_they_are_defined() -> None:
    found = values(question(), question(1, question="Which club is it?", answer="1901", answer_canonical="1901"))
    assert found["question_words"] == 11.5
    assert found["answer_digits"] == 50.0
    assert found["question_years"] == 50.0
    assert found["capitals"] == 1.5, "Oru, New and Oru; not Which, not the pronoun"
    assert found["attribute_share"] == 40.0, "a range and a class of five vertices"
    assert found["claims_per_thing"] == 2.0
    assert found["dispersion"] == 50.0, "first pages a, c and a of four clues"
    assert found["least_dispersion"] == 50.0
    assert found["co_coverage"] == 75.0, "page a states three of four clues"
    assert found["evidence_pages"] == 3.0
    assert found["one_page"] == 0.0
    assert found["exposed_constants"] == 2.0


@pytest.mark.parametrize(
    ("words", "share"), [("Is it the ROVERS?", 100.0), ("Is it Harlán Rovers?", 100.0), ("Who roversed?", 0.0)]
)
def test_a_leak_is_an_accepted_form_in_whole_words(words: str, share: float) -> None:
    assert values(question(question=words))["answer_leak"] == share


def test_a_question_without_a_certificate_leaves_figures_of_proofs_out() -> None:
    bare = question(certificate=None, evidence=[], tree=None, difficulty={"vertices": None})
    found = values(bare)
    assert found["vertices"] is None
    assert found["dispersion"] is None
    assert found["question_words"] == 19.0
    figures = [question_figures(bare)]
    (missing,) = (m for m in of_questions(figures, {}) if m.key == "dispersion")
    assert missing.reason


def test_oracle_tries_are_counted_where_the_gate_was_asked() -> None:
    assert values(question())["oracle"] is None
    assert values(question(oracle={"attempts": 4, "right": 3}))["oracle"] == 75.0


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 9), st.integers(1, 9)), max_size=20))
def test_the_whole_lies_between_its_groups(parts: list[tuple[str, int, int]]) -> None:
    found = measured("dispersion", parts, {"a": "3", "b": "3", "c": "4", "d": "4"})
    assert (found.value is None) == (not parts)
    if found.value is not None:
        assert min(found.by_vertices.values()) - 0.001 <= found.value <= max(found.by_vertices.values()) + 0.001


def test_capitals_count_after_quotes_and_not_after_full_stops() -> None:
    assert mid_sentence_capitals('He said "New Oru" is far. That is so.') == 2
    assert mid_sentence_capitals("") == 0


# --- retrieval and widths ---------------------------------------------------------------------------------------------


def test_the_recall_vector_of_browsecomp_plus_holds() -> None:
    assert recall([1, 2, 9], {1, 2, 3, 4}) == 0.5


@given(st.permutations(range(8)), st.sets(st.integers(0, 12), min_size=1))
def test_ndcg_is_best_where_the_relevant_come_first(ranked: list[int], relevant: set[int]) -> None:
    best = sorted(ranked, key=lambda item: item not in relevant)
    assert 0 <= ndcg(ranked, relevant, 10) <= ndcg(best, relevant, 10) <= 1 + 1e-9
    assert ndcg(sorted(relevant), relevant, 10) == pytest.approx(1)


def test_widths_count_what_surely_meets_a_clue() -> None:
    founded = [fact(f"club{i}", "founded", date_interval(*year_interval(1900 + i))) for i in range(5)]
    coached = [fact(f"club{i}", "coach", f"man{i}", valid_from="2024-01-01", as_of="2026-01-01") for i in range(3)]
    born = [fact(f"man{i}", "born_in", "oru") for i in range(2)]
    kinds = {f"club{i}": "club" for i in range(5)} | {f"man{i}": "person" for i in range(3)} | {"oru": "city"}
    graph = FactGraph.build(CATALOGUE, [*founded, *coached, *born], [], entities(**kinds))
    coach = Edge("coach", Node("person", (Match("born_in", EntityRef("oru", "Oru")),)), as_of="2025-01-01")
    root = Node("club", (coach, Within("founded", "date", ordinal("1900-01-01"), ordinal("1903-12-31"))))
    (found,) = clue_widths(graph, [question(tree=json.dumps(query_to_dict(Query(root))))])
    assert found.stated == (4, 2)
    assert found.branches == (2, 4)
    assert {m.key: m.value for m in of_widths([found], {})} == {"low_width": 50.0, "low_width_branches": 50.0}


# --- attempts ---------------------------------------------------------------------------------------------------------


def test_the_vectors_of_the_trajectory_signatures_hold() -> None:
    assert hit_time(seen=4, said=2) == 2
    assert hit_time(seen=3, said=5) == 3
    assert hit_time(None, None) is None


def sign(**changes: Any) -> AttemptSignature:
    return replace(AttemptSignature("qa1-0", "topdown", True, False, 6, 3, 4), **changes)


def test_signatures_are_means_over_right_attempts_and_accuracy_over_all() -> None:
    attempts = [
        sign(),
        sign(calls=10, hit_turn=5, shortcut=True),
        sign(correct=False, calls=2),
        sign(policy="hasty", correct=False),
    ]
    found = {(m.key, m.solver): m for m in of_attempts(attempts, {"qa1-0": "5"})}
    assert found["accuracy", "topdown"].value == pytest.approx(66.667)
    assert found["calls", "topdown"].value == 6.0
    assert found["solving_cost", "topdown"].value == 8.0
    assert found["hit_time", "topdown"].value == 4.0
    assert found["prior_shortcut", "topdown"].value == 50.0
    assert found["solving_cost", "hasty"].value is None
    assert found["solving_cost", "hasty"].reason


# --- a release --------------------------------------------------------------------------------------------------------

STATISTICS: dict[str, Any] = {
    "spending": {
        "accepted": 2,
        "candidates": 8,
        "total": {"calls": 0, "judge_calls": 0},
        "per_accepted": {"cost_usd": None, "judge_cost_usd": None},
    },
    "closed_book": {"before": 0.25, "after": None, "reached": 4, "audit_samples": 0, "by_guesser": {"prior": {}}},
}


def trajectory(number: int, *, correct: bool | None, seen: int | None, said: int | None) -> dict[str, Any]:
    events = tuple(Event(turn, "call", call_id=f"c{turn}{i}", tool="visit") for turn in range(3) for i in range(2))
    attempt = Trajectory(
        id=f"tr1-{number}",
        question_id="qa1-0",
        question="Which?",
        expected="Harlan Rovers",
        recipe="infoseek",
        policy="topdown",
        attempt=number,
        transcript=Transcript(events, "Harlan Rovers", "answered"),
        correct=correct,
        answer_check="key",
        seen_turn=seen,
        said_turn=said,
    )
    return dict(trajectory_to_row(attempt))


@pytest.fixture
def release(tmp_path: Path) -> Path:
    folder = tmp_path / "release"
    schema = arrow_schema("questions")
    rows = pa.Table.from_pylist([question(0), question(1)], schema)
    files = [write_parquet(folder / "data/qa/train-00000-of-00001.parquet", rows, schema=schema)]
    files = [replace(entry, name=f"data/qa/{entry.name}") for entry in files]
    write_json(folder / "reports/statistics.json", STATISTICS)
    write_manifest(folder, Manifest("release", 1, tuple(files), {"snapshot": "snap1-a"}))
    return folder


def add_attempts(release: Path) -> None:
    schema = arrow_schema("trajectories")
    rows = [
        trajectory(0, correct=True, seen=1, said=2),
        trajectory(1, correct=True, seen=None, said=0),
        trajectory(2, correct=None, seen=0, said=0),
    ]
    table = pa.Table.from_pylist(rows, schema)
    write_parquet(release / "data/trajectories/train-00000-of-00001.parquet", table, schema=schema)


def test_every_metric_has_a_value_or_a_reason_and_nothing_is_nought_for_want_of_data(release: Path) -> None:
    report = measure_release(release)
    assert {m.key for m in report.metrics} == {d.key for d in DEFINITIONS}
    for m in report.metrics:
        assert (m.value is None) == bool(m.reason), m
    assert {m.value for m in report.metrics if m.key in {"cost", "accuracy", "hit_time", "recall_5"}} == {None}


def test_attempts_of_a_release_give_its_signatures(release: Path) -> None:
    add_attempts(release)
    found = list(read_signatures(release))
    assert [(a.hit_turn, a.hit_calls, a.shortcut, a.calls) for a in found] == [(2, 4, False, 6), (1, 2, True, 6)]
    metrics = {m.key: m for m in measure_release(release).metrics}
    assert metrics["accuracy"].n == 2, "an attempt without a grade is no failure"
    assert metrics["prior_shortcut"].value == 50.0
    assert metrics["hit_time"].value == 1.5


def test_without_attempts_the_solvers_of_the_gates_are_named_as_such(release: Path) -> None:
    report = measure_release(release)
    (cost,) = (m for m in report.metrics if m.key == "solving_cost")
    assert (cost.value, cost.n, cost.solver) == (7.0, 2, "topdown, at the gate")
    assert any("failures are not among them" in note for note in report.notes())


def test_what_the_run_counted_is_read_from_its_statistics() -> None:
    found = {m.key: m for m in of_run(STATISTICS)}
    assert found["kept"].value == 25.0
    assert found["closed_book_failure_before"].value == 75.0
    assert found["closed_book_failure_after"].value is None
    paid = STATISTICS | {
        "spending": STATISTICS["spending"] | {"per_accepted": {"cost_usd": 0.01, "judge_cost_usd": None}}
    }
    assert {m.key: m.value for m in of_run(paid)}["cost"] == 0.01


def test_the_report_prints_every_metric_beside_what_was_published(release: Path) -> None:
    add_attempts(release)
    report = measure_release(release)
    text = report.to_markdown()
    for definition in DEFINITIONS:
        assert definition.title in text
        for published in definition.published:
            assert published.value in text
            assert published.source in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in table[: len(report.metrics) + 2]} == {5}
    for number in range(1, len(report.notes()) + 1):
        assert f"[{number}]" in text
        assert f"\n{number}. " in text
    assert json.loads(json.dumps(report.to_dict()))["metrics"][0]["key"] == "kept"


def test_published_values_have_a_source_and_keys_are_unique() -> None:
    assert len({d.key for d in DEFINITIONS}) == len(DEFINITIONS)
    assert {f"recall_{cut}" for cut in CUTS} <= {d.key for d in DEFINITIONS}
    assert all(p.source and p.value for d in DEFINITIONS for p in d.published)


def test_only_a_release_is_measured(release: Path, tmp_path: Path) -> None:
    assert is_release(release)
    assert not is_release(tmp_path)
    with pytest.raises(ReleaseError, match="datagen run"):
        measure_release(tmp_path)
    with pytest.raises(SnapshotError):
        measure_release(release, tmp_path)
