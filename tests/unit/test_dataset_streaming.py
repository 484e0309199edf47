"""The loader: every row once in an epoch, and exactly the rest after a stop, on any ranks, with any workers."""

from __future__ import annotations

import json
import pickle
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datagen.dataset import stream
from datagen.dataset.streaming import Curriculum
from datagen.dataset.streaming.order import EpochOrder, shuffled, splitmix64
from datagen.errors import ReleaseError, StreamStateError

TORCH = Path(__file__).parents[2] / ".venv-trl" / "bin" / "python"


def write(folder: Path, layout: list[list[int]]) -> list[str]:
    """Files of row groups of these sizes; row n has the id "r<n>"."""
    folder.mkdir(parents=True, exist_ok=True)
    number, urls = 0, []
    for index, groups in enumerate(layout):
        url = folder / f"train-{index:05d}.parquet"
        schema = pa.schema([("id", pa.string()), ("n", pa.int64())])
        with pq.ParquetWriter(url, schema) as writer:
            for size in groups:
                ids = range(number, number + size)
                writer.write_table(pa.table({"id": [f"r{n}" for n in ids], "n": list(ids)}, schema))
                number += size
        urls.append(str(url))
    return urls


def ids(rows) -> list[str]:
    return [row["id"] for row in rows]


layouts = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=5), min_size=1, max_size=3)
SLOW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def folder(tmp_path_factory):
    def fresh() -> Path:
        return tmp_path_factory.mktemp("rows")

    return fresh


@SLOW
@given(layouts, st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 3, None]), st.booleans(), st.integers(0, 3))
def test_ranks_together_have_every_row_once_in_every_epoch(folder, layout, world, window, shuffle, seed):
    urls = write(folder(), layout)
    total = sum(map(sum, layout))
    ranks = [stream(urls, seed=seed, shuffle=shuffle, window=window, rank=r, world_size=world) for r in range(world)]

    for _ in range(2):
        parts = [ids(rank) for rank in ranks]
        assert sorted(row for part in parts for row in part) == sorted(f"r{n}" for n in range(total))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


@SLOW
@given(layouts, st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 4]), st.data())
def test_a_stop_anywhere_leaves_exactly_the_rest_for_any_number_of_ranks(folder, layout, world, later, data):
    urls = write(folder(), layout)
    total = sum(map(sum, layout))
    steps = data.draw(st.integers(0, total // world))
    ranks = [stream(urls, seed=3, window=2, rank=r, world_size=world) for r in range(world)]
    whole = ids(stream(urls, seed=3, window=2))
    done = [[next(rows)["id"] for _ in range(steps)] for rows in map(iter, ranks)]
    state = json.loads(json.dumps(ranks[data.draw(st.integers(0, world - 1))].state_dict()))

    rest = []
    for rank in range(later):
        rows = stream(urls, seed=3, window=2, rank=rank, world_size=later)
        rows.load_state_dict(state)
        rest.append(ids(rows) if rows.position or not steps else [])
    assert sorted([r for part in done for r in part] + [r for part in rest for r in part]) == sorted(whole)
    if later == world:
        again = [ids(stream(urls, seed=3, window=2, rank=r, world_size=world)) for r in range(world)]
        assert [d + r for d, r in zip(done, rest, strict=True)] == again


def test_epochs_differ_and_a_seed_fixes_them(tmp_path):
    urls = write(tmp_path, [[20, 20, 20]])
    rows = stream(urls, seed=5)
    first, second = ids(rows), ids(rows)

    assert first != second
    assert ids(stream(urls, seed=5)) == first
    assert ids(stream(urls, seed=6)) != first
    assert ids(stream(urls, shuffle=False)) == [f"r{n}" for n in range(60)]


def test_a_state_at_the_end_of_an_epoch_begins_the_next(tmp_path):
    urls = write(tmp_path, [[7, 5]])
    rows = stream(urls, seed=1)
    list(rows)
    state, second = rows.state_dict(), ids(rows)

    later = stream(urls, seed=1)
    later.load_state_dict(state)
    assert (state["epoch"], state["position"]) == (1, 0)
    assert ids(later) == second


def test_rows_are_well_mixed_within_a_window_and_over_all_of_them(tmp_path):
    urls = write(tmp_path, [[50] * 40])
    mixed = np.array([int(i[1:]) for i in ids(stream(urls, window=None))])
    blocks = np.array([int(i[1:]) for i in ids(stream(urls, window=8))])

    assert abs(np.corrcoef(mixed, np.arange(2000))[0, 1]) < 0.08
    assert abs(np.corrcoef(blocks, np.arange(2000))[0, 1]) < 0.5
    neighbours = np.abs(np.diff(blocks // 50))
    assert (neighbours == 0).mean() < 0.2


def test_a_state_of_other_data_or_another_order_is_refused_by_name(tmp_path):
    urls = write(tmp_path / "a", [[7, 5]])
    other = write(tmp_path / "b", [[7, 6]])
    state = stream(urls, seed=1).state_dict()

    for wrong, name in (
        (stream(other, seed=1), "data"),
        (stream(urls, seed=2), "seed"),
        (stream(urls, seed=1, window=3), "window"),
    ):
        with pytest.raises(StreamStateError, match=name):
            wrong.load_state_dict(state)


def test_columns_limit_what_is_read(tmp_path):
    urls = write(tmp_path, [[3]])

    assert sorted(row["n"] for row in stream(urls, columns=["n"])) == [0, 1, 2]
    assert all(set(row) == {"n"} for row in stream(urls, columns=["n"]))


def test_nothing_to_read_is_said(tmp_path):
    with pytest.raises(ReleaseError, match="holds no qa"):
        stream(tmp_path)
    with pytest.raises(ReleaseError, match="no Parquet file"):
        stream(str(tmp_path / "*.parquet"))


def test_a_release_is_read_by_table_and_split(tmp_path):
    write(tmp_path / "data" / "trajectories", [[4]])

    assert len(list(stream(tmp_path, table="trajectories"))) == 4
    with pytest.raises(ReleaseError, match="split 'test'"):
        stream(tmp_path, table="trajectories", split="test")


# Curriculum ----------------------------------------------------------------------------------------------------------


def test_pruned_rows_stay_out_from_the_next_epoch_until_they_are_recycled(tmp_path):
    rows = stream(write(tmp_path, [[6, 6]]), seed=2)
    begun = iter(rows)
    next(begun)
    rows.curriculum.prune(["r1", "r2"])
    assert len(list(begun)) == 11
    assert sorted(ids(rows)) == sorted({f"r{n}" for n in range(12)} - {"r1", "r2"})
    rows.curriculum.recycle()  # between two epochs: counts for the next
    assert len(ids(rows)) == 12


def test_weights_repeat_rows_and_share_out_fractions_over_epochs(tmp_path):
    rows = stream(write(tmp_path, [[5, 5]]), seed=2)
    rows.curriculum.reweight({"r3": 2.5, "r4": 0.0})
    list(rows)
    counts = Counter(row for _ in range(60) for row in ids(rows))

    assert counts["r4"] == 0
    assert counts["r0"] == 60
    assert 130 <= counts["r3"] <= 170


@SLOW
@given(st.sampled_from([1, 2]), st.data())
def test_a_stop_under_a_curriculum_leaves_exactly_the_rest(folder, world, data):
    urls = write(folder(), [[5, 4], [6, 3]])
    ranks = [stream(urls, seed=4, window=2, rank=r, world_size=world) for r in range(world)]
    for rank in ranks:
        rank.curriculum.prune(["r2"])
        rank.curriculum.reweight({"r5": 3, "r6": 1.5})
        list(rank)
    expected = Counter(row for rank in ranks for row in ids(pickle.loads(pickle.dumps(rank))))
    steps = data.draw(st.integers(1, sum(expected.values()) // world - 1))
    begun = [iter(rank) for rank in ranks]
    done = [next(rows)["id"] for rows in begun for _ in range(steps)]
    for rank in ranks:
        rank.curriculum.prune(["r9"])  # decided in the middle of the epoch: has to wait for the next
    state = json.loads(json.dumps(ranks[0].state_dict()))

    rest = []
    for r in range(world):
        rows = stream(urls, seed=4, window=2, rank=r, world_size=world)
        rows.load_state_dict(state)
        rest += ids(rows)
        assert "r9" in rows.curriculum.pruned
    assert Counter(done + rest) == expected


def test_a_curriculum_is_handed_in_or_made():
    with pytest.raises(ValueError, match="between 0 and 255"):
        Curriculum().reweight({"a": -1})


# Workers -------------------------------------------------------------------------------------------------------------


@SLOW
@given(layouts, st.integers(1, 7), st.integers(1, 4), st.data())
def test_batches_come_in_one_order_whoever_makes_them(folder, layout, size, workers, data):
    urls = write(folder(), layout)
    plain = stream(urls, seed=9, window=2)
    for _ in range(data.draw(st.integers(0, 3))):
        next(iter(plain), None)
    start = plain.state_dict()
    batches = plain.batches(size)
    copies = [pickle.loads(pickle.dumps(batches)) for _ in range(workers)]
    made = [copies[number % workers][number] for number in range(len(batches))]
    again = stream(urls, seed=9, window=2)
    again.load_state_dict(start)

    assert [row["id"] for batch in made for row in batch] == ids(again)
    used = data.draw(st.integers(0, len(batches)))
    rest = stream(urls, seed=9, window=2)
    rest.load_state_dict(batches.state_after(used))
    left = [] if used == len(batches) else ids(rest)
    assert [row["id"] for batch in made[:used] for row in batch] + left == [r["id"] for b in made for r in b]


LOADED = """
import json, sys
from torch.utils.data import DataLoader
from datagen.dataset.streaming import stream
urls, workers, skip = json.loads(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
rows = stream(urls, seed=9, window=2)
batches = rows.batches(4)
seen = []
for step, batch in enumerate(DataLoader(batches, batch_size=None, num_workers=workers)):
    if step == skip:
        break
    seen += [row["id"] for row in batch]
state = batches.state_after(skip)
later = stream(urls, seed=9, window=2)
later.load_state_dict(json.loads(json.dumps(state)))
for batch in DataLoader(later.batches(5), batch_size=None, num_workers=workers):
    seen += [row["id"] for row in batch]
print(json.dumps(seen))
"""


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("skip", [1, 4])
def test_a_torch_loader_with_workers_resumes_to_the_row(tmp_path, workers, skip):
    if not TORCH.exists():
        pytest.skip("torch lives in .venv-trl, which `make test` builds")
    urls = write(tmp_path, [[7, 8], [9, 6]])
    source = str(Path(__file__).parents[2] / "src")
    arguments = [TORCH, "-c", LOADED, json.dumps(urls), str(workers), str(skip)]
    done = subprocess.run(
        arguments, capture_output=True, text=True, check=False, env={"PYTHONPATH": source, "PATH": "/usr/bin"}
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ids(stream(urls, seed=9, window=2))


def test_datasets_gives_the_same_rows(tmp_path):
    urls = write(tmp_path, [[7, 8]])

    assert ids(stream(urls, seed=9).to_datasets()) == ids(stream(urls, seed=9))


# Order ---------------------------------------------------------------------------------------------------------------


def test_the_hash_is_splitmix64():
    assert [int(w) for w in splitmix64(np.array([0, 0x9E3779B97F4A7C15], np.uint64))] == [
        0xE220A8397B1DCDAF,
        0x6E789E6AA1B965F4,
    ]


@given(st.integers(0, 2**63), st.integers(0, 300))
def test_a_shuffle_is_a_permutation(key, count):
    assert sorted(shuffled(key, count)) == list(range(count))


def test_a_position_in_ten_million_rows_is_found_without_counting():
    starts = np.arange(0, 10_000_001, 1_000, dtype=np.int64)
    order = EpochOrder.of(starts, seed=1, epoch=0, shuffle=True, window=8)
    window = order.window_at(9_999_999)

    assert order.total == 10_000_000
    assert order.start_of(window) <= 9_999_999 < order.ends[window]
    assert len(order.rows_of(window)) == order.ends[window] - order.start_of(window)
