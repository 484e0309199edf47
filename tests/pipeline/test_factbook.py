"""Real pages, start to end: country profiles of one host become certified questions that verification cannot fault."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from datagen.dataset.verify import verify_release
from datagen.storage import read_parquet

SHARED = Path(os.environ.get("DATAGEN_SHARED", Path(__file__).resolve().parents[2].parent / "shared"))
CORPUS = SHARED / "corpora" / "factbook.warc.gz"
pytestmark = [pytest.mark.pipeline, pytest.mark.skipif(not CORPUS.exists(), reason="the shared corpus is not here")]
TARGET = {"infoseek": 40, "duetqa": 10}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with the snapshot of the profiles, a small run of the preset and its release."""
    folder = tmp_path_factory.mktemp("factbook")
    overlays = [
        f'web.sources=["{CORPUS}"]',
        f'web.snapshot="{folder / "snapshot"}"',
        f"run.target={{infoseek={TARGET['infoseek']},duetqa={TARGET['duetqa']}}}",
        "run.wave_size=60",
        "run.shard_size=30",
    ]
    places = ["--run-dir", str(folder / "run"), "--release-dir", str(folder / "release")]
    flags = [part for overlay in overlays for part in ("--set", overlay)]
    done = subprocess.run(
        [sys.executable, "-m", "datagen.cli", "run", "factbook", *places, *flags],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def rows(made: Path) -> list[dict[str, Any]]:
    return read_parquet(made / "run" / "questions.parquet").to_pylist()


def test_both_recipes_reach_their_target_and_the_release_verifies(made: Path, rows: list[dict[str, Any]]) -> None:
    found = verify_release(made / "release", made / "snapshot")

    assert {recipe: sum(r["recipe"] == recipe for r in rows) for recipe in TARGET} == TARGET
    assert found.faults == ()
    assert found.questions == sum(TARGET.values())


def test_every_row_says_which_gate_was_relaxed_and_what_was_assumed(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        assert row["relaxed_gates"] == ["sources"]
        assert row["certificate"]["mode"] == "closed_world"
        assert "every country is known" in row["certificate"]["assumptions"]


def test_questions_name_no_profile_that_has_to_be_found(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        named = row["answer_type"] == "entity" and re.search(rf"\b{re.escape(row['answer'])}\b", row["question"])
        assert not named
        assert row["difficulty"]["min_documents"] >= 2


def test_words_are_those_of_a_person(rows: list[dict[str, Any]]) -> None:
    awkward = re.compile(
        r"is given as the|\bNA\b|None|\d/\d|_| - |between \d+ and (?!100%)\d{3,}%|\(est", re.IGNORECASE
    )
    assert [row["question"] for row in rows if awkward.search(row["question"])] == []


def test_self_play_starts_from_themes_that_the_profiles_speak_of_and_ends_after_the_cutoff(
    rows: list[dict[str, Any]],
) -> None:
    domains = {"state", "land", "population", "economy", "energy", "defence", "environment"}
    for row in (r for r in rows if r["recipe"] == "duetqa"):
        assert len(row["themes"]) in (5, 6, 7)
        assert {theme.split("/")[0] for theme in row["themes"]} <= domains
        assert set(row["themes_used"]) <= set(row["themes"])
        assert max(hop["published_at"] for hop in row["hops"]) >= "2026-01-01"
