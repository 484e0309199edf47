"""The knowledge pass: equal tables for any number of workers, and never facts of other pages."""

from __future__ import annotations

import pytest

from datagen.errors import SnapshotError
from datagen.knowledge.reading import Reader
from datagen.records.rows import (
    closure_to_row,
    entity_to_row,
    fact_to_row,
    row_to_closure,
    row_to_entity,
    row_to_fact,
)
from datagen.web import knowledge_pass
from datagen.web.knowledge_pass import build_knowledge
from datagen.web.snapshot import BuildOptions, Snapshot, build_snapshot
from datagen.web.sources import open_source
from datagen.web.synthetic.ontology import load_ontology


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("knowledge") / "snap"
    build_snapshot([open_source("synthetic:seed=3,pages=300")], path, BuildOptions(workers=1))
    return path


def tables(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "knowledge").iterdir()) if path.is_file()}


def test_without_a_pass_facts_are_refused_with_the_command(folder):
    with pytest.raises(SnapshotError, match="datagen snapshot build"):
        next(Snapshot.open(folder).facts())


def test_any_number_of_workers_writes_the_same_tables(folder, monkeypatch):
    monkeypatch.setattr(knowledge_pass, "SHARD_FACTS", 500)
    first = build_knowledge(folder, load_ontology(), workers=1)
    alone = tables(folder)
    second = build_knowledge(folder, load_ontology(), workers=2)

    assert first == second
    assert alone == tables(folder)
    assert first.facts > 500
    assert "facts-00001.parquet" in alone


def test_rows_come_back_as_the_records_they_were(folder):
    build_knowledge(folder, load_ontology(), workers=1)
    snapshot = Snapshot.open(folder)
    facts, closures, entities = list(snapshot.facts()), list(snapshot.closures()), list(snapshot.entities())

    assert all(row_to_fact(fact_to_row(fact)) == fact for fact in facts)
    assert all(row_to_closure(closure_to_row(closure)) == closure for closure in closures)
    assert all(row_to_entity(entity_to_row(entity)) == entity for entity in entities)
    assert facts
    assert closures
    assert entities


def test_the_quote_of_every_fact_stands_on_its_page(folder):
    build_knowledge(folder, load_ontology(), workers=1)
    snapshot = Snapshot.open(folder)

    for fact in snapshot.facts():
        evidence = fact.evidence
        page = snapshot.page(evidence.url)
        assert page.id == evidence.page_id
        assert page.text[evidence.start : evidence.end] == evidence.quote


def test_facts_agree_with_reading_the_pages_one_by_one(folder):
    counts = build_knowledge(folder, load_ontology(), workers=1)
    snapshot, reader = Snapshot.open(folder), Reader(load_ontology())
    read = sum(len(reader.read(page).facts) for page in snapshot.pages())

    dropped = sum(count for reason, count in counts.dropped.items() if not reason.startswith("closure"))
    assert counts.facts + dropped == read


def test_facts_of_pages_that_have_changed_since_are_refused(folder, tmp_path):
    path = tmp_path / "snap"
    build_snapshot([open_source("synthetic:seed=4,pages=300")], path, BuildOptions(workers=1))
    build_knowledge(path, load_ontology(), workers=1)
    rows = tmp_path / "more.jsonl"
    rows.write_text('{"url": "https://a.example/", "text": "One more page."}\n')
    build_snapshot([open_source(str(rows))], path, BuildOptions(workers=1))

    with pytest.raises(SnapshotError, match="other pages than it now holds"):
        next(Snapshot.open(path).facts())
