"""The loader where things go wrong or change: moved streams, other data, odd states, decisions in the middle of an epoch."""

from __future__ import annotations

import json
import multiprocessing
from collections import Counter
from itertools import islice
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datagen.dataset import stream
from datagen.dataset.streaming.share import Share
from datagen.errors import ReleaseError, StreamStateError

SLOW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(url: Path, sizes: list[int], *, first: int = 0, swapped: bool = False) -> str:
    """A file of row groups of these sizes; row n has the id "r<n>"."""
    url.parent.mkdir(parents=True, exist_ok=True)
    numbers = list(range(first, first + sum(sizes)))
    if swapped:
        numbers[0], numbers[-1] = numbers[-1], numbers[0]
    table = pa.table({"id": [f"r{n}" for n in numbers], "n": numbers})
    with pq.ParquetWriter(url, table.schema) as writer:
        for size in sizes:
            writer.write_table(table.slice(0, size))
            table = table.slice(size)
    return str(url)


def ids(rows) -> list[str]:
    return [row["id"] for row in rows]


@pytest.fixture
def two(tmp_path):
    return [write(tmp_path / "train-0.parquet", [7, 8]), write(tmp_path / "train-1.parquet", [9, 6], first=15)]


# States --------------------------------------------------------------------------------------------------------------


def test_rows_that_were_exchanged_make_other_data_though_all_counts_are_equal(tmp_path):
    state = stream(write(tmp_path / "a" / "train.parquet", [7, 8])).state_dict()
    other = stream(write(tmp_path / "b" / "train.parquet", [7, 8], swapped=True))
    copied = stream(write(tmp_path / "c" / "train.parquet", [7, 8]))

    copied.load_state_dict(state)
    with pytest.raises(StreamStateError, match=r"data: content \(saved"):
        other.load_state_dict(state)


def test_what_differs_is_named_one_by_one(two):
    state = json.loads(json.dumps(stream(two, seed=1).state_dict()))

    with pytest.raises(StreamStateError, match=r"data: files \(saved 2, here 1\), data: rows \(saved 30, here 15\)"):
        stream(two[:1], seed=1).load_state_dict(state)
    with pytest.raises(StreamStateError, match=r"settings: seed \(saved 1, here 2\)"):
        stream(two, seed=2).load_state_dict(state)
    with pytest.raises(StreamStateError, match="settings: even"):
        stream(two, seed=1, even=True).load_state_dict(state)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: [s], "no state of a stream"),
        (lambda s: {k: v for k, v in s.items() if k != "curriculum"}, "curriculum missing"),
        (lambda s: {**s, "position": -5}, "no count"),
        (lambda s: {**s, "position": 2.0}, "no count"),
        (lambda s: {**s, "epoch": "1"}, "no count"),
        (lambda s: {**s, "position": 31}, "of an epoch of 30 rows"),
        (lambda s: {**s, "version": 1}, "version"),
    ],
)
def test_a_state_that_was_changed_is_refused_and_moves_nothing(two, change, said):
    rows = stream(two, seed=1)
    begun = list(islice(rows, 4))
    state = rows.state_dict()

    with pytest.raises(StreamStateError, match=said):
        rows.load_state_dict(change(state))
    assert rows.state_dict() == state
    assert ids(begun) + ids(rows) == ids(stream(two, seed=1))


def test_a_state_stays_small_whatever_the_data(tmp_path):
    rows = stream(write(tmp_path / "train.parquet", [3] * 400))

    assert len(json.dumps(rows.state_dict())) < 600


def test_behind_the_last_row_stands_the_next_epoch(two):
    rows = stream(two, seed=1)
    taken = ids(islice(rows, 30))
    state = rows.state_dict()
    later = stream(two, seed=1)
    later.load_state_dict(state)
    second = ids(later)

    assert (state["epoch"], state["position"], len(taken), len(second)) == (1, 0, 30, 30)
    assert ids(rows) == second


# Two readings of one stream ------------------------------------------------------------------------------------------


def test_an_iteration_that_another_overtook_stops_instead_of_counting_twice(two):
    rows = stream(two, seed=1)
    first = iter(rows)
    next(first)
    second = iter(rows)
    next(second)
    with pytest.raises(StreamStateError, match="moved while it was read"):
        next(first)

    saved = rows.state_dict()
    rows.load_state_dict(saved)
    with pytest.raises(StreamStateError, match="moved while it was read"):
        next(second)
    assert rows.state_dict() == saved
    assert len(ids(rows)) == 28


def test_a_loop_that_breaks_off_goes_on_with_the_next_row(two):
    rows = stream(two, seed=1)
    parts = [ids(islice(rows, 7)) for _ in range(3)] + [ids(rows)]

    assert [row for part in parts for row in part] == ids(stream(two, seed=1))


# Shares --------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 50), st.integers(0, 50), st.integers(1, 9), st.booleans())
def test_shares_part_what_is_left_among_the_ranks(anchor, more, ranks, even):
    shares = [list(Share.of(anchor=anchor, total=anchor + more, rank=r, ranks=ranks, even=even)) for r in range(ranks)]
    kept = more - more % ranks if even else more

    assert sorted(p for share in shares for p in share) == list(range(anchor, anchor + kept))
    assert max(map(len, shares)) - min(map(len, shares)) <= (0 if even else 1)


@SLOW
@given(st.sampled_from([2, 4]), st.integers(1, 60))
def test_even_ranks_that_loop_for_ever_always_stand_at_the_same_place(tmp_path_factory, world, steps):
    url = write(tmp_path_factory.mktemp("rows") / "train.parquet", [7, 6])
    ranks = [stream(url, seed=1, rank=r, world_size=world, even=True) for r in range(world)]

    def for_ever(rows):
        while True:
            yield from rows

    endless = [for_ever(rows) for rows in ranks]
    for _ in range(steps):
        for rows in endless:
            next(rows)
    assert all(rows.state_dict() == ranks[0].state_dict() for rows in ranks)


def test_even_ranks_leave_out_other_rows_in_every_epoch(tmp_path):
    url = write(tmp_path / "train.parquet", [7, 6])
    ranks = [stream(url, seed=1, rank=r, world_size=4, even=True) for r in range(4)]
    epochs = [{row for rows in ranks for row in ids(rows)} for _ in range(12)]

    assert {len(rows) for rows in epochs} == {12}
    assert set.union(*epochs) == {f"r{n}" for n in range(13)}
    assert len({frozenset(rows) for rows in epochs}) > 3


# Decisions while an epoch runs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", [0, 1, 4])
def test_batches_keep_the_epoch_they_were_made_for(two, when):
    rows = stream(two, seed=1, window=2)
    batches = rows.batches(4)
    seen = []
    for number in range(len(batches)):
        if number == when:
            rows.curriculum.prune(["r1", "r5", "r9"])
            len(rows)  # asking the stream makes the coming epoch's order
            state = batches.state_after(number)
        seen += ids(batches[number])
    later = stream(two, seed=1, window=2)
    later.load_state_dict(json.loads(json.dumps(state)))
    rest = ids(later)
    rows.next_epoch()

    assert sorted(seen) == sorted(f"r{n}" for n in range(30))
    if when:
        assert seen[: 4 * when] + rest == seen
        assert sorted(ids(later)) == sorted({*seen} - {"r1", "r5", "r9"})
    assert sorted(ids(rows)) == sorted({*seen} - {"r1", "r5", "r9"})


@SLOW
@given(st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 4]), st.integers(1, 5), st.booleans(), st.data())
def test_batches_of_ranks_leave_exactly_the_rest_for_any_number_of_ranks(
    tmp_path_factory, world, later, size, decided, data
):
    url = write(tmp_path_factory.mktemp("rows") / "train.parquet", [7, 8, 9, 6])
    ranks = [stream(url, seed=2, window=2, rank=r, world_size=world) for r in range(world)]
    if decided:
        for rank in ranks:
            rank.curriculum.prune(["r3"])
            rank.curriculum.reweight({"r4": 3, "r5": 1.5})
    made = [rank.batches(size) for rank in ranks]
    whole = Counter(row for batches in made for row in ids(batches.rows_of(range(len(batches)))))
    used = data.draw(st.integers(0, min(map(len, made)) - 1))
    state = json.loads(json.dumps(made[-1].state_after(used)))
    seen = Counter(row for batches in made for row in ids(batches.rows_of(range(used))))
    for r in range(later):
        rows = stream(url, seed=2, window=2, rank=r, world_size=later)
        rows.load_state_dict(state)
        rest = rows.batches(size + 1)
        seen += Counter(ids(rest.rows_of(range(len(rest)))))

    assert seen == whole


def test_rows_that_share_an_id_are_pruned_together(tmp_path):
    pq.write_table(pa.table({"id": ["a", "a", "b"]}), tmp_path / "train.parquet")
    rows = stream(tmp_path / "train.parquet")
    rows.curriculum.prune(["a", "never seen"])

    assert ids(rows) == ["b"]


def test_a_curriculum_says_what_it_cannot_do(two):
    rows = stream(two, id_column="name")
    with pytest.raises(TypeError, match="ids in a list"):
        rows.curriculum.prune("r1")
    rows.curriculum.prune(["r1"])
    with pytest.raises(ReleaseError, match="asked for 'name'; the columns are id, n"):
        ids(rows)


def test_an_epoch_without_rows_ends_at_once(two):
    rows = stream(two)
    rows.curriculum.prune([f"r{n}" for n in range(30)])

    assert (ids(rows), len(rows.batches(3)), rows.epoch) == ([], 0, 1)


# Sources and settings ------------------------------------------------------------------------------------------------


def test_columns_that_are_not_there_are_named(two):
    with pytest.raises(ReleaseError, match="asked for 'answer'"):
        stream(two, columns=["id", "answer"])
    with pytest.raises(ReleaseError, match="asked for nothing"):
        stream(two, columns=[])


@pytest.mark.parametrize("wrong", [{"window": 0}, {"seed": -1}, {"seed": 2**64}, {"rank": 2, "world_size": 2}])
def test_settings_that_make_no_order_are_refused(two, wrong):
    with pytest.raises(ValueError, match=r"window|seed|rank"):
        stream(two, **wrong)


def test_files_are_found_by_folder_glob_url_and_lists_of_these(two, tmp_path):
    memory = fsspec.filesystem("memory")
    for url in two:
        with memory.open(f"/loader/{Path(url).name}", "wb") as handle:
            handle.write(Path(url).read_bytes())
    every = ids(stream(two, shuffle=False))

    for source in (
        tmp_path,
        str(tmp_path / "*.parquet"),
        f"file://{tmp_path}/*.parquet",
        [tmp_path],
        [str(tmp_path / "*-0.parquet"), two[1]],
        "memory://loader",
        "memory://loader/*.parquet",
        [f"memory://loader/train-{n}.parquet" for n in (0, 1)],
    ):
        assert ids(stream(source, shuffle=False)) == every


def test_a_path_with_brackets_is_a_path(tmp_path):
    assert len(ids(stream(write(tmp_path / "[run]" / "train.parquet", [3])))) == 3


def test_files_of_two_tables_are_refused(two, tmp_path):
    pq.write_table(pa.table({"id": [1]}), tmp_path / "other.parquet")
    with pytest.raises(ReleaseError, match="other columns"):
        stream([*two, tmp_path / "other.parquet"])


def _first_batch(batches, answers) -> None:
    answers.put(ids(batches[0]))


def test_a_fork_opens_its_own_files(two):
    batches = stream(two, seed=1).batches(5)
    here = ids(batches[0])
    fork = multiprocessing.get_context("fork")
    answers = fork.Queue()
    child = fork.Process(target=_first_batch, args=(batches, answers))
    child.start()
    assert answers.get(timeout=60) == here
    child.join(60)


# The library `datasets` ----------------------------------------------------------------------------------------------


@SLOW
@given(st.integers(1, 30), st.sampled_from([(0, 1), (1, 2)]), st.booleans())
def test_a_datasets_stream_resumes_to_the_row(tmp_path_factory, taken, share, same):
    folder = tmp_path_factory.mktemp("rows")
    urls = [write(folder / "train-0.parquet", [7, 8]), write(folder / "train-1.parquet", [9, 6], first=15)]
    rank, world = share
    first = stream(urls, seed=1, rank=rank, world_size=world).to_datasets()
    whole = ids(first)
    done = ids(islice(first, taken))
    state = json.loads(json.dumps(first.state_dict()))
    later = first if same else stream(urls, seed=1, rank=rank, world_size=world).to_datasets()
    later.load_state_dict(state)

    assert whole == ids(stream(urls, seed=1, rank=rank, world_size=world))
    if taken < len(whole):
        assert done + ids(later) == whole
