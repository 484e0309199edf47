"""Models that make questions: certified where their claims join the graph, ended where their quotes are false, mixed casts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from tests.pipeline.llm_runs import carried_out, configured, overlays, practice, table

from datagen.config import load_config
from datagen.practice.knobs import Fault, Knobs

pytestmark = pytest.mark.pipeline
WRITER_ONLY = """
kind = "llm"
[endpoints.practice]
base_url = "http://127.0.0.1:1/v1"
identity = "practice"
[models.m3]
endpoint = "practice"
model = "practice-m3"
[roles]
writer = "m3"
"""


def symbolic_run(folder: Path, snapshot: Path):
    plain = [setting for setting in overlays(folder, snapshot, "") if not setting.startswith("cast.")]
    return carried_out(load_config("demo", plain))


def by_candidate(run):
    return {row["lineage"]["candidate"]: row for row in table(run, "questions")}


def test_models_make_certified_questions_in_words_that_read_back(tmp_path, small_web):
    with practice() as server:
        rows = table(carried_out(configured(tmp_path, small_web, server.url)), "questions")

    assert {row["recipe"] for row in rows} == {"infoseek", "duetqa"}
    for row in rows:
        assert row["certificate"] is not None
        assert row["wording"] in ("parse_back", "entailment", "grammar")
        assert not any(name in row["question"] for name in (row["answer"], "~"))
    assert Counter(row["wording"] for row in rows)["parse_back"] > len(rows) / 2


def test_invented_quotes_end_their_candidates_and_reach_no_row(tmp_path, small_web):
    with practice(Knobs.each(1.0, Fault.FALSE_QUOTES)) as server:
        run = carried_out(configured(tmp_path, small_web, server.url))

    rejects = table(run, "rejects")
    by_gate = Counter((row["recipe"], row["gate"], row["reason"]) for row in rejects)
    assert by_gate["infoseek", "reply", "no_quoted_claims"] > 0
    assert {key for key in by_gate if key[0] == "duetqa" and key[1] == "reply"}
    assert table(run, "questions") == []


def test_a_writer_that_is_a_model_changes_words_and_nothing_that_was_proven(tmp_path, small_web):
    cast = tmp_path / "writer.toml"
    cast.write_text(WRITER_ONLY)
    alone = by_candidate(symbolic_run(tmp_path / "alone", small_web))
    with practice() as server:
        mixed = by_candidate(carried_out(configured(tmp_path / "mixed", small_web, server.url, f"cast.file={cast}")))

    both = alone.keys() & mixed.keys()
    assert both
    assert {mixed[c]["wording"] for c in mixed} <= {"parse_back", "entailment", "grammar"}
    assert any(mixed[c]["question"] != alone[c]["question"] for c in both)
    for candidate in both:
        for field in ("certificate", "tree", "question_raw", "hops", "answer_entity", "obfuscations"):
            assert mixed[candidate][field] == alone[candidate][field]
