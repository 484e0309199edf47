"""Pages to a verified release with the real recipes: same bytes however it is cut, killed or resumed; faults are found."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest
from datasets import load_dataset

from datagen.dataset.audit import audit
from datagen.dataset.release import RELEASE_KIND, RELEASE_VERSION, answer_root
from datagen.dataset.verify import verify_release
from datagen.errors import ReleaseError
from datagen.records.ids import content_id
from datagen.records.schema import arrow_schema
from datagen.storage import describe_file, read_manifest, read_parquet, write_manifest, write_parquet
from datagen.web.synthetic.pages import SyntheticWeb
from datagen.web.synthetic.truth import build_truth

pytestmark = pytest.mark.pipeline
SEED, PAGES = 5, 1500
TABLES = ("questions.parquet", "rejects.parquet")


def command(folder: Path, *, run: str, shard_size: int, workers: int, verb: str = "run") -> list[str]:
    datagen = [sys.executable, "-m", "datagen.cli", verb]
    if verb == "resume":
        return [*datagen, str(folder / run)]
    overlays = [
        f'web.snapshot="{folder / "snapshot"}"',
        f'web.sources=["synthetic:seed={SEED},pages={PAGES}"]',
        "run.target={infoseek=24,duetqa=12}",
        "run.wave_size=120",
        f"run.shard_size={shard_size}",
    ]
    places = [
        "--run-dir",
        str(folder / run),
        "--release-dir",
        str(folder / f"{run}-release"),
        "--workers",
        str(workers),
    ]
    return [*datagen, "demo", *places, *(part for overlay in overlays for part in ("--set", overlay))]


def complete(arguments: list[str]) -> None:
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def table_bytes(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in TABLES}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with a snapshot, the run `whole` (one shard a wave, one worker) and its release."""
    folder = tmp_path_factory.mktemp("end-to-end")
    complete(command(folder, run="whole", shard_size=1000, workers=1))
    return folder


def test_a_release_holds_its_target_loads_in_splits_and_verifies(made, tmp_path):
    splits = load_dataset(str(made / "whole-release"), cache_dir=str(tmp_path))
    rows = [row for part in splits.values() for row in part]

    found = verify_release(made / "whole-release", made / "snapshot")

    assert sorted(r["recipe"] for r in rows) == ["duetqa"] * 12 + ["infoseek"] * 24
    assert found.faults == ()
    assert found.questions == 36
    assert found.evidence > 36
    roots = [{answer_root(row) for row in part} for part in splits.values()]
    assert sum(map(len, roots)) == len(set.union(*roots))


def test_no_accepted_question_has_a_second_answer_in_the_world(made):
    rows = read_parquet(made / "whole" / "questions.parquet").to_pylist()

    found = audit(rows, build_truth(SyntheticWeb(SEED, PAGES).addresses))

    assert found.faults == ()
    assert found.questions == 36


def test_seven_shards_and_two_workers_give_the_same_tables(made):
    complete(command(made, run="cut", shard_size=17, workers=2))

    assert table_bytes(made / "cut") == table_bytes(made / "whole")


def test_a_run_killed_at_ten_random_moments_resumes_to_the_same_tables(made):
    rng = random.Random(11)
    for attempt in range(10):
        verb = "resume" if (made / "killed" / "config.json").exists() else "run"
        process = subprocess.Popen(
            command(made, run="killed", shard_size=5, workers=2, verb=verb), stderr=subprocess.DEVNULL
        )
        wait_for_shards(made / "killed", process, more=1 + attempt % 2)
        time.sleep(rng.random() * 0.3)
        process.kill()
        process.wait()
    complete(command(made, run="killed", shard_size=5, workers=2, verb="resume"))

    assert table_bytes(made / "killed") == table_bytes(made / "whole")


def wait_for_shards(folder: Path, process: subprocess.Popen[bytes], *, more: int) -> None:
    """Until shards were added, so that the kill falls into the work and not into the start of Python."""
    before, deadline = len(list(folder.glob("shards/*"))), time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if len(list(folder.glob("shards/*"))) >= before + more:
            return
        time.sleep(0.01)


def without_a_clue(row: dict) -> dict:
    """The formula loses its last clue and the row's id is made to fit: only the certificate can tell."""
    tree = json.loads(row["tree"])
    tree["root"]["clues"].pop()
    fields = {"question": row["question"], "tree": tree, "answer": row["answer_canonical"]}
    return row | {"tree": json.dumps(tree), "id": content_id("qa1", fields)}


MUTATIONS = {
    "another answer": lambda row: row | {"answer": "Nobody at all"},
    "another entity": lambda row: row | {"answer_entity": "https://elsewhere.example/x"},
    "a rival denied": lambda row: row | {"certificate": row["certificate"] | {"sizes": [5, *row["certificate"]["sizes"][1:]]}},
    "a clue called needed": lambda row: row | {"certificate": row["certificate"] | {"necessity": [9999] * len(row["certificate"]["necessity"])}},
    "fewer pages": lambda row: row | {"certificate": row["certificate"] | {"min_documents": 1}},
    "a quote moved": lambda row: row | {"evidence": [row["evidence"][0] | {"start": row["evidence"][0]["start"] + 1}, *row["evidence"][1:]]},
    "a quote reworded": lambda row: row | {"evidence": [row["evidence"][0] | {"quote": "It was so."}, *row["evidence"][1:]]},
    "a hash changed": lambda row: row | {"evidence": [row["evidence"][0] | {"sha256": "0" * 64}, *row["evidence"][1:]]},
    "a page of another version": lambda row: row | {"evidence": [row["evidence"][0] | {"page_id": "pg1-0"}, *row["evidence"][1:]]},
    "words changed": lambda row: row | {"question": row["question"] + " Please."},
    "a clue dropped from the tree": without_a_clue,
}  # fmt: skip


@pytest.mark.parametrize("fault", MUTATIONS)
def test_a_planted_fault_makes_verification_name_its_row(made, tmp_path, fault):
    release, victim = plant(made, tmp_path, MUTATIONS[fault])

    found = verify_release(release, made / "snapshot")

    assert {f.row for f in found.faults} == {victim}
    with pytest.raises(ReleaseError, match=victim):
        found.raise_if_faulty()


def plant(made: Path, tmp_path: Path, mutate) -> tuple[Path, str]:
    """A copy of the release in which one entity question is changed and all hashes are made to fit."""
    release = tmp_path / "release"
    shutil.copytree(made / "whole-release", release)
    path = next((release / "data" / "qa").glob("train-*.parquet"))
    rows = read_parquet(path).to_pylist()
    index = next(i for i, r in enumerate(rows) if r["answer_type"] == "entity" and len(r["certificate"]["sizes"]) > 1)
    rows[index] = mutate(rows[index])
    schema = arrow_schema("questions")
    write_parquet(path, pa.Table.from_pylist(rows, schema=schema), schema=schema)
    manifest = read_manifest(release, kind=RELEASE_KIND, version=RELEASE_VERSION)
    files = tuple(describe_file(release / entry.name, name=entry.name) for entry in manifest.files)
    write_manifest(release, type(manifest)(manifest.kind, manifest.version, files, manifest.fields))
    return release, rows[index]["id"]


def test_a_changed_byte_is_found_by_the_manifest(made, tmp_path):
    release = tmp_path / "release"
    shutil.copytree(made / "whole-release", release)
    with (release / "README.md").open("a") as card:
        card.write("one more word\n")

    found = verify_release(release, made / "snapshot")

    assert [f.row for f in found.faults] == ["README.md"]


def test_a_row_in_the_wrong_split_is_found(made, tmp_path):
    release = tmp_path / "release"
    shutil.copytree(made / "whole-release", release)
    path = next((release / "data" / "qa").glob("train-*.parquet"))
    path.rename(path.with_name(path.name.replace("train", "test")))

    found = verify_release(release, made / "snapshot")

    assert any("belongs to train" in fault.sentence for fault in found.faults)


def test_verify_ends_with_one_and_a_sentence_for_the_wrong_snapshot(made, tmp_path):
    digest = json.loads((made / "whole-release" / "manifest.json").read_text())["fields"]["snapshot"]
    release = tmp_path / "release"
    shutil.copytree(made / "whole-release", release)
    (release / "manifest.json").write_text((release / "manifest.json").read_text().replace(digest, "snap1-other"))

    done = subprocess.run(
        [sys.executable, "-m", "datagen.cli", "verify", str(release), "--snapshot", str(made / "snapshot")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "snap1-other" in done.stderr
    assert "Traceback" not in done.stderr
