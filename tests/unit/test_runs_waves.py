"""Waves, shards and their settlement, in one process."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen import storage
from datagen.errors import RunDirectoryError, StorageError, WorkerDiedError
from datagen.runs.directory import attempt, open_run, start_run
from datagen.runs.settlement import Settlement, Unwatched, carry_out
from datagen.runs.shards import Outcome, Wave, finished_blocks, missing_blocks, read_outcomes, saved_waves, write_shard
from datagen.runs.tables import assemble, read_run_manifest
from datagen.runs.workers import Block, process_pool, serial

FAKE = Path(__file__).parents[1] / "pipeline" / "fake_run.py"
spec = importlib.util.spec_from_file_location("fake_run", FAKE)
fake = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fake)


def start(directory: Path, **changes):
    return start_run(fake.fake_config(str(directory), **changes), "snap1-test")


@given(counts=st.dictionaries(st.sampled_from(["infoseek", "duetqa", "other"]), st.integers(1, 40), min_size=1))
def test_slots_of_a_wave_are_spread_evenly_and_all_filled(counts):
    recipes = Wave(0, 0, tuple(counts.items())).recipes()

    assert {recipe: recipes.count(recipe) for recipe in counts} == counts
    half = recipes[: len(recipes) // 2]
    assert all(abs(half.count(recipe) - count / 2) <= 1 + len(counts) / 2 for recipe, count in counts.items())


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_missing_blocks_and_finished_ones_cover_a_wave_exactly_once(tmp_path_factory, data):
    run = start(tmp_path_factory.mktemp("run") / "r", shard_size=data.draw(st.integers(1, 30)))
    wave = Wave(1, 10, (("infoseek", 50),))
    edges = sorted(data.draw(st.sets(st.integers(10, 60), max_size=6)))
    for first, stop in zip(edges[::2], edges[1::2], strict=False):
        made = (fake.fake_outcome(run, i, "infoseek") for i in range(first, stop))
        write_shard(run, Block(first, stop), made)

    covered = [
        i for block in [*missing_blocks(run, wave), *finished_blocks(run)] for i in range(block.first, block.stop)
    ]

    assert sorted(covered) == list(range(10, 60))


def test_a_shard_needs_one_outcome_with_one_row_for_each_candidate(tmp_path):
    run = start(tmp_path / "r")
    good = [fake.fake_outcome(run, i, "infoseek") for i in range(3)]

    with pytest.raises(ValueError, match="one outcome for each"):
        write_shard(run, Block(0, 4), good)
    with pytest.raises(ValueError, match="one outcome for each"):
        write_shard(run, Block(0, 1), [Outcome(0, "infoseek", None, None)])
    assert finished_blocks(run) == []


def test_overlapping_shards_give_each_candidate_once(tmp_path):
    run = start(tmp_path / "r")
    for first, stop in ((0, 6), (0, 4), (4, 9)):
        write_shard(run, Block(first, stop), (fake.fake_outcome(run, i, "infoseek") for i in range(first, stop)))

    tables = list(read_outcomes(run, ["recipe"]))

    assert [i for table in tables for i in table["candidate"].to_pylist()] == list(range(9))


def test_the_plan_of_waves_follows_from_what_earlier_waves_gave(tmp_path):
    run = start(tmp_path / "r")
    settlement = Settlement(fake.TARGET, fake.Repeats())
    first = settlement.next_wave(run, 0)
    assert first is not None
    assert sum(count for _, count in first.slots) in {100, 101}

    carry_out(run, settlement, pool=serial, work=fake.run_fake_shard, watch=Unwatched())

    again = Settlement(fake.TARGET, fake.Repeats())
    carry_out(run, again, pool=no_work_left, work=fake.run_fake_shard, watch=Unwatched())
    assert (settlement.accepted, settlement.overruled) == (again.accepted, again.overruled)
    assert settlement.accepted == fake.TARGET
    assert [wave.stop for wave in saved_waves(run)][-1] == settlement.settled


def no_work_left(work, directory, blocks):
    assert list(blocks) == []
    return iter(())


def test_a_recipe_that_yields_nothing_is_given_up_and_the_other_goes_on(tmp_path):
    run = start(tmp_path / "r", max_candidates_per_question=3)

    def work(directory, first, stop):
        def make(candidate):
            outcome = fake.fake_outcome(run, candidate, recipes[candidate - wave.first])
            reject = fake.empty_row("rejects") | {"candidate": candidate, "gate": "grow", "recipe": "duetqa"}
            return Outcome(candidate, "duetqa", None, reject) if outcome.recipe == "duetqa" else outcome

        wave = next(w for w in saved_waves(run) if w.first <= first < w.stop)
        recipes = wave.recipes()
        return write_shard(run, Block(first, stop), map(make, range(first, stop)))

    settlement = Settlement(fake.TARGET, fake.Repeats())
    carry_out(run, settlement, pool=serial, work=work, watch=Unwatched())
    assemble(run, settlement)

    assert settlement.candidates["duetqa"] == 3 * fake.TARGET["duetqa"]
    assert read_run_manifest(run.directory).fields["accepted"] == {"infoseek": 60, "duetqa": 0}


def test_a_run_can_live_in_an_object_store():
    run = start("memory://bucket/run")
    fake.carry_out_fake(run)

    assert storage.read_parquet("memory://bucket/run/questions.parquet").num_rows == 90


def resume_with(config):
    return open_run(config.run.directory, lambda _: config)


def test_a_used_run_directory_and_a_changed_config_are_refused_with_the_two_commands(tmp_path):
    run = start(tmp_path / "r")
    resume, another = f"`datagen resume {run.directory}`", "`datagen run CONFIG --run-dir NEW`"

    with pytest.raises(RunDirectoryError, match="already holds a run") as refused:
        start(tmp_path / "r")
    assert resume in str(refused.value)
    assert another in str(refused.value)
    with pytest.raises(RunDirectoryError, match=r"different config \(changed: run.seed, run.wave_size\)") as refused:
        resume_with(fake.fake_config(run.directory, seed=1, wave_size=5))
    assert resume in str(refused.value)
    assert another in str(refused.value)


def test_what_is_not_identity_may_change_on_resume_and_is_saved_for_workers(tmp_path):
    run = start(tmp_path / "r")

    resume_with(fake.fake_config(run.directory, workers=7, shard_size=3))

    assert (open_run(run.directory).config.run.workers, open_run(run.directory).config.run.shard_size) == (7, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"digest_version": 0}', "another version of this program"),
        ('{"digest_version": 1, "config": {"old": 1}}', "is not a config of this program"),
        ("{", "is not JSON"),
    ],
)
def test_a_run_directory_of_another_program_is_refused(tmp_path, content, message):
    (tmp_path / "config.json").write_text(content)

    with pytest.raises((RunDirectoryError, StorageError), match=message):
        open_run(str(tmp_path))


def test_a_run_directory_is_held_by_one_at_a_time_and_attempts_are_logged(tmp_path):
    run = start(tmp_path / "r")

    with (
        attempt(run, "1.0"),
        pytest.raises(RunDirectoryError, match="another process is working"),
        attempt(run, "1.0"),
    ):
        pass
    with attempt(run, "1.1"):
        pass

    assert len((tmp_path / "r" / "attempts.jsonl").read_text().splitlines()) == 2


def test_a_dead_worker_is_reported_with_the_command_that_goes_on(tmp_path, monkeypatch):
    (tmp_path / "dying_work.py").write_text("import os\ndef die(directory, first, stop): os.kill(os.getpid(), 9)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    die = importlib.import_module("dying_work").die

    with process_pool(1) as pool, pytest.raises(WorkerDiedError, match="datagen resume out/run"):
        list(pool(die, "out/run", [Block(0, 1)]))
