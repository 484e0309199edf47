"""What ranks are given and tell each other, in one process; two processes are in `tests/pipeline`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from datagen.errors import TrainingError
from datagen.training.distributed import Ranks, World, distributed, sharding, share_of_rows
from datagen.training.rows import TrainRow

torch.set_num_threads(1)


def row(length: int, number: int, bundle: str = "") -> TrainRow:
    return TrainRow(np.full(length, number), rollout_id=str(number), bundle=bundle)


@given(
    st.lists(st.tuples(st.integers(2, 40), st.sampled_from(["", "", "a", "b", "c"])), max_size=30), st.integers(1, 5)
)
def test_every_row_goes_to_one_rank_in_order_bundles_whole_and_tokens_even(described, world):
    rows = [row(length, number, bundle) for number, (length, bundle) in enumerate(described)]

    shares = [[rows[place] for place in share_of_rows(rows, rank, world)] for rank in range(world)]

    numbers = [[int(one.rollout_id) for one in share] for share in shares]
    assert sorted(number for share in numbers for number in share) == list(range(len(rows)))
    assert all(share == sorted(share) for share in numbers)
    for bundle in ("a", "b", "c"):
        assert sum(any(one.bundle == bundle for one in share) for share in shares) <= 1
    sizes: dict[str, int] = {}
    for number, one in enumerate(rows):
        sizes[one.bundle or str(number)] = sizes.get(one.bundle or str(number), 0) + len(one)
    longest = max(sizes.values(), default=0)
    loads = [sum(len(one) for one in share) for share in shares]
    assert max(loads) <= sum(loads) / world + longest
    assert max(loads) - min(loads) <= longest


def test_a_single_rank_is_given_all_rows():
    rows = [row(3, 0), row(9, 1), row(4, 2)]

    assert share_of_rows(rows, 0, 1) == [0, 1, 2]


def test_without_torchrun_there_is_a_world_of_one(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with distributed() as world:
        assert (world.rank, world.size, world.leads) == (0, 1, True)
        assert world.gather("x") == ["x"]
        assert sharding(world) == {}


def test_totals_add_what_ranks_have_in_their_order():
    class Three(World):
        def gather(self, value):
            return [{"a": 1.0, "b": 2.0}, {"b": 4.0}, value]

    assert Three().total({"a": 0.5, "c": 1.0}) == {"a": 1.5, "b": 6.0, "c": 1.0}


def test_of_peaks_the_largest_of_all_ranks_counts_also_where_a_rank_has_none():
    class Three(World):
        def gather(self, value):
            return [{"gap": 1.0}, {}, value]

    assert Ranks(Three()).peaks({"gap": 3.0, "other": -2.0}) == {"gap": 3.0, "other": -2.0}


def test_a_rank_whose_neighbour_failed_fails_with_the_words_of_the_neighbour():
    class Two(World):
        def gather(self, value):
            return [value, "the disk is full"]

    with pytest.raises(TrainingError, match="rank 1 failed: the disk is full"):
        Two(size=2).together(lambda: 1)


def test_a_failure_in_a_world_of_one_is_raised_as_it_is():
    with pytest.raises(KeyError):
        World().together(lambda: {}["x"])


def test_a_gradient_that_lies_whole_on_its_rank_is_no_part_of_a_sum():
    with pytest.raises(TypeError, match="wrap its module with shard_scorer"):
        Ranks(World()).norm([torch.ones(2)])
