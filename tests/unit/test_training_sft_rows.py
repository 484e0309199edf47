"""Rows that imitate and rows that prefer: who wrote a token decides whether it is learned."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.errors import TrainingError
from datagen.training.objectives.aggregation import Totals
from datagen.training.rollout import Sampled
from datagen.training.sft_rows import preference_rows, sft_rows

QUICK = settings(max_examples=60, deadline=None)


def sequence(written: str, *, first: int = 10) -> Sampled:
    """ "..xx" is a sequence of four tokens, of which the model wrote two."""
    marks = np.array([mark == "x" for mark in written])
    return Sampled(np.arange(first, first + len(written)), marks, np.zeros(len(written), np.float32))


def test_tokens_that_were_written_share_the_mean_over_the_update_and_others_weigh_nothing():
    rows = sft_rows([sequence(".xx.x"), sequence("..x")])

    assert rows[0].ce_weight.tolist() == pytest.approx([0, 0.25, 0.25, 0, 0.25])
    assert rows[1].ce_weight.tolist() == pytest.approx([0, 0, 0.25])
    assert all(row.rl_weight is None for row in rows)


@QUICK
@given(st.lists(st.text("x.", min_size=1, max_size=9).map(".".__add__), max_size=6))
def test_the_weights_of_an_update_add_up_to_one_and_ranks_together_make_the_same_rows(masks):
    sequences = [sequence(mask) for mask in masks]
    alone = sft_rows(sequences)
    tokens = sum(mask.count("x") for mask in masks)
    whole = Totals(tokens, sum("x" in mask for mask in masks))
    shared = sft_rows(sequences[::2], whole=whole) + sft_rows(sequences[1::2], whole=whole)

    assert sum(float(row.ce_weight.sum()) for row in alone) == pytest.approx(1.0 if tokens else 0.0)
    assert len(alone) == sum("x" in mask for mask in masks)
    assert sorted(row.ce_weight.tolist() for row in shared) == sorted(row.ce_weight.tolist() for row in alone)


def test_a_mean_over_attempts_holds_for_attempts_in_several_sequences():
    rows = sft_rows([sequence(".xx"), sequence(".xx"), sequence(".x")], mode="sequence_mean", attempts=["a", "a", "b"])

    assert [float(row.ce_weight.max()) for row in rows] == pytest.approx([1 / 8, 1 / 8, 1 / 2])


def test_tokens_that_were_read_share_a_mean_of_their_own_with_its_weight():
    rows = sft_rows([sequence("..x."), sequence(".x")], context_weight=0.5)

    assert rows[0].ce_weight.tolist() == pytest.approx([0, 0.25, 0.5, 0.25])
    assert rows[1].ce_weight.tolist() == pytest.approx([0, 0.5])


@QUICK
@given(st.integers(0, 1_000), st.floats(0.1, 0.9))
def test_of_what_was_read_a_share_is_drawn_and_the_mean_is_over_that(seed, share):
    written = "." * 40 + "xx" + "." * 60
    row = sft_rows([sequence(written)], context_weight=0.5, context_share=share, rng=np.random.default_rng(seed))[0]
    again = sft_rows([sequence(written)], context_weight=0.5, context_share=share, rng=np.random.default_rng(seed))[0]
    read = np.delete(row.ce_weight, [0, 40, 41])

    assert row.ce_weight[[0, 40, 41]].tolist() == pytest.approx([0, 0.5, 0.5])
    assert read.sum() == pytest.approx(0.5 if read.any() else 0.0)
    assert len(np.unique(read[read > 0])) <= 1
    assert again.ce_weight.tolist() == row.ce_weight.tolist()


def test_drawing_a_share_keeps_the_weights_on_average():
    rng = np.random.default_rng(3)
    drawn = [
        sft_rows([sequence("." * 30 + "x")], context_weight=1.0, context_share=0.35, rng=rng)[0].ce_weight
        for _ in range(4_000)
    ]

    assert np.mean(drawn, axis=0)[1:30] == pytest.approx(np.full(29, 1 / 29), rel=0.1)


def test_a_share_without_a_generator_is_refused():
    with pytest.raises(ValueError, match="give the generator"):
        sft_rows([sequence("..x")], context_weight=1.0, context_share=0.5)


def test_the_two_of_a_pair_have_one_bundle_and_weigh_what_the_model_wrote():
    rows = preference_rows([(sequence(".x.x"), sequence("..xx")), (sequence(".x"), sequence(".xx"))])

    assert [(row.bundle, row.chosen) for row in rows] == [
        ("pair-0", True),
        ("pair-0", False),
        ("pair-1", True),
        ("pair-1", False),
    ]
    assert rows[0].ce_weight.tolist() == [0, 0.5, 0, 0.5]


def test_pairs_of_all_ranks_share_the_mean():
    pair = (sequence(".x"), sequence(".x"))

    assert [row.ce_weight.tolist() for row in preference_rows([pair], whole=4)] == [[0, 0.25]] * 2


def test_what_both_attempts_begin_with_can_be_left_out():
    one, other = sequence(".xx.xx"), sequence(".xx.xxx")
    other.input_ids[4:] += 100
    preferred, refused = preference_rows([(one, other)], drop_shared=True)

    assert preferred.ce_weight.tolist() == [0, 0, 0, 0, 1, 1]
    assert refused.ce_weight.tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_a_pair_without_anything_to_compare_is_refused():
    with pytest.raises(TrainingError, match="nothing of the other attempt, so"):
        preference_rows([(sequence(".x"), sequence("..."))])
    with pytest.raises(TrainingError, match="after the two part"):
        preference_rows([(sequence(".xx"), sequence(".xx"))], drop_shared=True)


def test_pairs_of_one_name_are_refused():
    with pytest.raises(ValueError, match="different names"):
        preference_rows([(sequence(".x"), sequence(".x"))] * 2, names=["a", "a"])
