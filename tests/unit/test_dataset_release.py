"""A release is whole, loads as its card says, keeps entities in one split, and writes the same bytes twice."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
import yaml
from datasets import load_dataset

from datagen.dataset.card import ReleaseMeta, choose_example, size_category
from datagen.dataset.release import answer_root, split_of, write_release
from datagen.dataset.statistics import describe, funnel, median_sizes
from datagen.errors import ReleaseError
from datagen.records.schema import arrow_schema

META = ReleaseMeta(
    pretty_name="Test questions",
    source="Made of three lines.",
    licence="cc-by-4.0",
    licence_note="All of it is ours.",
    snapshot="sn1-abc",
    config_digest="cfg1-abc",
    seed=7,
    code="datagen 0.0",
    cast="symbolic",
    fictional=True,
    contamination="No benchmark was given.",
    known_faults=("It is small.",),
)


def a_row(index: int, **changes) -> dict:
    key = f"https://a.example/{index % 40}"
    row = dict.fromkeys(arrow_schema("questions").names) | {
        "id": f"qa1-{index:04d}",
        "question": f"Which club number {index} | plays in the league that was founded in 1901?",
        "answer": f"Club {index}",
        "answer_aliases": [],
        "answer_type": "entity",
        "answer_canonical": f"Club {index}",
        "answer_entity": key,
        "answer_entity_type": "club",
        "recipe": "infoseek",
        "mode": "done",
        "themes": [],
        "themes_used": [],
        "difficulty": {
            "vertices": 4,
            "depth": 2,
            "max_branching": 2,
            "leaves": 2,
            "clues": 3,
            "min_documents": 2,
            "dependency_depth": 2,
            "minimal_subset_size": 3,
            "solver_searches": 2.0,
            "solver_visits": 3.0,
        },
        "certificate": {
            "mode": "open_world",
            "answer_set": [key],
            "rivals": 0,
            "clues": ["league", "founded"],
            "sizes": [-1, 1],
            "necessity": [-1, 4],
            "minimal_subset": [0, 1],
            "minimal_subset_exact": True,
            "min_documents": 2,
            "dependency_depth": 2,
            "exposed_constants": ["1901"],
            "excluded_by": {"stated_value": 3, "complete_list": 1, "type": 0},
            "assumptions": [],
        },
        "evidence": [
            {
                "clue": 0,
                "page_id": "pg1-a",
                "url": key,
                "host": "a.example",
                "source_kind": "encyclopedia",
                "published_at": "2025-01-01",
                "start": 0,
                "end": 4,
                "quote": "</script><b>Club</b>",
                "sha256": "00",
            }
        ],
        "exclusion_evidence": [],
        "n_hosts": 1,
        "source_kinds": ["encyclopedia"],
        "encyclopedia_share": 1.0,
        "relaxed_gates": [],
        "hops": [],
        "obfuscations": [],
        "question_raw": "",
        "proposer": "",
        "verifiers": [],
        "attempts": [],
        "guesses": [],
        "closed_book": [],
        "verdicts": [],
        "tree": json.dumps({"root": {"type": "club", "clues": []}, "ask": None, "ask_as_of": None}),
        "spend": {"searches": 2, "visits": 3},
        "lineage": {"candidate": index, "seed": 7},
    }
    return row | changes


def a_reject(index: int, gate: str = "leak") -> dict:
    row = dict.fromkeys(arrow_schema("rejects").names)
    return row | {"candidate": index, "recipe": "infoseek", "gate": gate, "reason": "answer", "spend": {"searches": 1}}


def tables(n: int) -> tuple[pa.Table, pa.Table]:
    questions = pa.Table.from_pylist([a_row(i) for i in range(n)], schema=arrow_schema("questions"))
    rejects = pa.Table.from_pylist([a_reject(i) for i in range(3)], schema=arrow_schema("rejects"))
    return questions, rejects


def test_a_release_loads_with_the_splits_its_card_names(tmp_path):
    release = write_release(*tables(200), tmp_path / "r", META, gate_order=("leak",))

    loaded = load_dataset(str(tmp_path / "r"), cache_dir=str(tmp_path / "cache"))
    rejects = load_dataset(str(tmp_path / "r"), "rejects", split="train", cache_dir=str(tmp_path / "cache"))

    assert {name: len(part) for name, part in loaded.items()} == dict(release.splits)
    assert sum(release.splits.values()) == 200
    assert len(rejects) == 3


def test_no_entity_answers_in_two_splits(tmp_path):
    write_release(*tables(200), tmp_path / "r", META, gate_order=())

    loaded = load_dataset(str(tmp_path / "r"), cache_dir=str(tmp_path / "cache"))
    roots = [{answer_root(row) for row in part} for part in loaded.values()]

    assert len(set.union(*roots)) == sum(len(r) for r in roots) == 40


def test_two_releases_of_the_same_rows_are_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_release(*tables(30), tmp_path / name, META, gate_order=("leak",))

    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())

    assert files == sorted(p.relative_to(tmp_path / "b") for p in (tmp_path / "b").rglob("*") if p.is_file())
    assert [f for f in files if (tmp_path / "a" / f).read_bytes() != (tmp_path / "b" / f).read_bytes()] == []


def test_a_used_folder_is_refused_with_the_command_that_frees_it(tmp_path):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "mine.txt").write_text("keep me")

    with pytest.raises(ReleaseError, match="rm -r"):
        write_release(*tables(3), tmp_path / "r", META, gate_order=())

    assert [p.name for p in tmp_path.iterdir()] == ["r"]


def test_an_empty_run_still_gives_a_readable_release(tmp_path):
    questions, rejects = tables(0)

    release = write_release(questions, rejects, tmp_path / "r", META, gate_order=("leak",))

    assert release.splits == {}
    assert "No question was accepted" in (tmp_path / "r" / "README.md").read_text()


def test_the_card_has_valid_front_matter_and_a_table_that_a_pipe_does_not_break(tmp_path):
    write_release(*tables(30), tmp_path / "r", META, gate_order=("leak",))

    text = (tmp_path / "r" / "README.md").read_text()
    head = yaml.safe_load(text.split("---")[1])

    assert [c["config_name"] for c in head["configs"]] == ["qa", "rejects"]
    assert head["license"] == "cc-by-4.0"
    assert "leak" in text


def test_page_text_cannot_run_in_the_record_browser(tmp_path):
    write_release(*tables(3), tmp_path / "r", META, gate_order=())

    html = (tmp_path / "r" / "browser.html").read_text()

    assert html.count("</script>") == 2
    assert "<\\/script><b>Club" in html


def test_the_manifest_lists_every_other_file(tmp_path):
    write_release(*tables(10), tmp_path / "r", META, gate_order=())

    listed = {f["name"] for f in json.loads((tmp_path / "r" / "manifest.json").read_text())["files"]}
    there = {str(p.relative_to(tmp_path / "r")) for p in (tmp_path / "r").rglob("*") if p.is_file()}

    assert there - listed == {"manifest.json"}


def test_the_funnel_counts_what_enters_and_what_stops_in_the_order_of_the_gates():
    steps = funnel([a_row(1)], [a_reject(2, "prior"), a_reject(3, "leak"), a_reject(4, "grow")], ("leak", "prior"))

    assert [(s.gate, s.entered, s.stopped) for s in steps] == [
        ("grow", 4, 1),
        ("leak", 3, 1),
        ("prior", 2, 1),
        ("accepted", 1, 0),
    ]


def test_an_unbounded_majority_has_no_median_size():
    rows = [{"certificate": {"sizes": s}} for s in ([-1, 4], [-1, 8], [10, 2])]

    assert median_sizes(rows) == [None, 4.0]


def test_statistics_of_nothing_claim_nothing():
    assert describe([]) == {"rows": 0}
    assert choose_example([]) is None


def test_split_sizes_follow_the_shares_roughly():
    splits = [split_of(f"https://x.example/{i}") for i in range(4000)]

    assert 0.03 < splits.count("test") / 4000 < 0.07
    assert 0.03 < splits.count("validation") / 4000 < 0.07


def test_size_categories_are_the_ones_of_the_hub():
    assert [size_category(n) for n in (999, 1_000, 52_138)] == ["n<1K", "1K<n<10K", "10K<n<100K"]
