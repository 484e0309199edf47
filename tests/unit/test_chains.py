"""Chains: one way from the name in the question to the answer, proven, worded, and shown."""

from __future__ import annotations

import random
from pathlib import Path

import orjson
import pytest

from datagen.config import KnowledgeConfig, WebConfig
from datagen.errors import RunDirectoryError
from datagen.knowledge.bruteforce import verify_certificate
from datagen.knowledge.formula import EntityRef
from datagen.knowledge.graph import FactGraph
from datagen.knowledge.plain_world import PlainWorld
from datagen.language.parse import Parser, same_meaning
from datagen.language.verbalise import Verbaliser
from datagen.pipeline.corpus import build_corpus_from, derive, graph_folder
from datagen.pipeline.practising import PracticePlan, make_practice, read_practice
from datagen.records.page import LOW_TRUST_KINDS
from datagen.records.trajectory_rows import row_to_trajectory
from datagen.rollouts.hindsight import Demonstrator, HindsightSettings
from datagen.runs.workers import serial
from datagen.storage import read_parquet
from datagen.synthesis.chains import ChainDraft, ChainGround, ChainSettings, is_unseen, make_chain, pattern_of
from datagen.web.snapshot import Snapshot
from datagen.web.snapshot_web import SnapshotWeb

KNOWLEDGE = KnowledgeConfig(catalogue="synthetic")
SOURCES = ("synthetic:seed=31,pages=700",)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    folder = tmp_path_factory.mktemp("web") / "snapshot"
    build_corpus_from(WebConfig(snapshot=str(folder), sources=SOURCES, extraction="fast", workers=1), KNOWLEDGE)
    opened = Snapshot.open(folder)
    derive(opened, KNOWLEDGE)
    return opened


@pytest.fixture(scope="module")
def graph(snapshot: Snapshot) -> FactGraph:
    return FactGraph.load(graph_folder(snapshot, KNOWLEDGE))


@pytest.fixture(scope="module")
def chains(graph: FactGraph) -> list[ChainDraft]:
    ground, writer = ChainGround(graph), Verbaliser(graph.catalogue)
    settings = ChainSettings({1: 0.3, 2: 0.4, 3: 0.3})
    made = [make_chain(number, 1, ground, writer, settings) for number in range(80)]
    return [one for one in made if isinstance(one, ChainDraft)]


def test_every_link_begins_where_the_one_before_it_ended(chains):
    for made in chains:
        for before, after in zip(made.chain.links, made.chain.links[1:], strict=False):
            assert before.value == after.subject

    assert {len(made.chain.links) for made in chains} == {1, 2, 3}


def test_the_answer_is_what_the_last_link_finds(chains):
    for made in chains:
        found = made.chain.links[-1].value
        if isinstance(found, EntityRef):
            assert made.draft.answer.key == found.key
        else:
            assert made.draft.certificate.answer_set == (made.chain.links[-1].subject.key,)

    assert any(not isinstance(made.chain.links[-1].value, EntityRef) for made in chains)


def test_certificates_hold_before_separate_code(snapshot, graph, chains):
    plain = PlainWorld.read(graph.catalogue, snapshot.facts(), snapshot.closures(), snapshot.entities())

    assert all(made.draft.certificate.unique for made in chains)
    for made in chains[:12]:
        assert verify_certificate(plain, made.draft.query, made.draft.certificate, thorough=True) == []


def test_words_read_back_as_the_formula_and_name_no_answer(graph, chains):
    parser = Parser(graph.catalogue)
    for made in chains:
        assert same_meaning(parser.parse(made.draft.question), made.draft.query)
        assert not [name for name in made.draft.hidden_names if name in made.draft.question]


def test_equal_arguments_give_equal_candidates(graph):
    ground, writer = ChainGround(graph), Verbaliser(graph.catalogue)
    settings = ChainSettings()

    first = [make_chain(number, 4, ground, writer, settings) for number in range(10)]

    assert first == [make_chain(number, 4, ground, writer, settings) for number in range(10)]
    assert first != [make_chain(number, 5, ground, writer, settings) for number in range(10)]


def test_no_sentence_pattern_is_both_seen_and_unseen(graph):
    ground, writer = ChainGround(graph), Verbaliser(graph.catalogue)
    patterns = {}
    for sort in ("seen", "unseen"):
        made = [make_chain(n, 3, ground, writer, ChainSettings(wordings=sort)) for n in range(60)]
        patterns[sort] = {pattern_of(m.draft.question, m.chain) for m in made if isinstance(m, ChainDraft)}

    assert patterns["seen"]
    assert patterns["unseen"]
    assert not patterns["seen"] & patterns["unseen"]
    assert all(map(is_unseen, patterns["unseen"]))


def test_relations_can_be_limited(graph):
    ground = ChainGround(graph, ["birthplace"])

    chain = ground.draw(1, 0.0, random.Random(0))

    assert set(ground.starts) == {"birthplace"}
    assert [link.relation for link in chain.links] == ["birthplace"]
    assert ground.draw(4, 0.0, random.Random(0)) is None


def test_a_demonstration_searches_only_for_names_that_were_read_before(snapshot, graph, chains):
    demonstrator = Demonstrator(SnapshotWeb(snapshot), graph)
    shown = [(made, script) for made in chains if (script := demonstrator.demonstrate(made.chain))]

    assert len(shown) > len(chains) / 2
    for made, script in shown:
        read = made.draft.question
        for event in script.events:
            if event.kind == "call" and event.tool == "search":
                assert orjson.loads(event.arguments)["query"] in read
            if event.kind == "call" and event.tool == "visit":
                assert orjson.loads(event.arguments)["url"] in read
            if event.kind == "result":
                read += event.text.encode().decode("utf-8")
        assert script.answer in read


# Practice ------------------------------------------------------------------------------------------------------------


def plan(folder: Path, snapshot: Snapshot, **changed) -> PracticePlan:
    return PracticePlan(str(folder), str(snapshot.folder), SOURCES, candidates=60, **changed)


def rows_of(folder: Path, table: str) -> list[dict]:
    return [
        row for file in sorted((folder / "data" / table).glob("*.parquet")) for row in read_parquet(file).to_pylist()
    ]


def test_a_demonstration_reads_any_page_that_states_the_value_or_its_article_alone(snapshot, graph, chains):
    def read(elsewhere: float) -> list[tuple[str, str]]:
        demonstrator = Demonstrator(SnapshotWeb(snapshot), graph, HindsightSettings(elsewhere=elsewhere))
        shown = [(made.chain, script) for made in chains if (script := demonstrator.demonstrate(made.chain))]
        return [
            (link.subject.key, orjson.loads(visit.arguments)["url"])
            for chain, script in shown
            for link, visit in zip(
                chain.links, [e for e in script.events if e.tool == "visit" and e.arguments], strict=True
            )
        ]

    assert all(url == article for article, url in read(0.0))
    mixed = read(1.0)
    others = {(article, url) for article, url in mixed if url != article}
    assert len(mixed) / 10 < sum(url != article for article, url in mixed) < len(mixed)
    for article, url in others:
        page = SnapshotWeb(snapshot).visit(url)
        assert page.title == graph.name(graph.id(article))
        assert page.source_kind not in LOW_TRUST_KINDS
    assert read(1.0) == mixed


def test_practice_holds_graded_demonstrations_of_its_questions(tmp_path, snapshot):
    report = make_practice(plan(tmp_path / "p", snapshot), serial)

    questions, attempts = rows_of(tmp_path / "p", "qa"), rows_of(tmp_path / "p", "trajectories")
    assert report.questions == len(questions) == len(attempts) > 30
    assert sum(report.left_out.values()) == 60 - report.questions
    assert {row["id"] for row in questions} == {row["question_id"] for row in attempts}
    trajectories = list(map(row_to_trajectory, attempts))
    assert all(t.correct for t in trajectories)
    # a row lists three places of a clue at most, and an article that is read can be a fourth
    assert sum(t.verified for t in trajectories) > 0.8 * len(trajectories)


def test_a_shard_that_was_not_finished_is_made_again_to_the_same_bytes(tmp_path, snapshot):
    folder = tmp_path / "p"
    make_practice(plan(folder, snapshot), serial)
    files = sorted((folder / "data").rglob("*.parquet"))
    before = [file.read_bytes() for file in files]
    for done in (folder / "done").iterdir():
        done.unlink()
    files[0].write_bytes(b"half")

    assert read_practice(plan(folder, snapshot)) is None
    make_practice(plan(folder, snapshot), serial)

    assert [file.read_bytes() for file in files] == before


def test_practice_of_another_plan_is_not_taken_for_this_one(tmp_path, snapshot):
    make_practice(plan(tmp_path / "p", snapshot), serial)

    assert read_practice(plan(tmp_path / "p", snapshot, seed=8)) is None
    with pytest.raises(RunDirectoryError, match="another plan"):
        make_practice(plan(tmp_path / "p", snapshot, seed=8), serial)
