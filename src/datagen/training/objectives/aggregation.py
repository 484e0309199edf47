"""From losses of tokens to the loss of a step: one coefficient for every token of a row.

    rows with 4, 3, 2 and 3 trained tokens: S = 4 sequences, N = 12 tokens

    mode               of a token in a row of n       row 1    row 3     published as
    sequence_mean      1 / (S n)                      1/16     1/8       GRPO; verl seq-mean-token-mean
    token_mean         1 / N                          1/12     1/12      DAPO, CISPO; verl token-mean
    constant_length    1 / (S L)                      1/(4L)   1/(4L)    Dr.GRPO, L = `max_length`
    sequence_sum       1 / S                          1/4      1/4       verl seq-mean-token-sum
    token_sum          1                              1        1         verl token-sum

LUSPO, which weighs the loss of a sequence by its length, is `sequence_sum` under the sequence ratio: every token of the
row carries the loss of the sequence, so the sum over the row is n times that loss.

Denominators are those of the whole step, over all bins, accumulated batches and ranks (`Totals` add), so that the
gradients of the parts simply add up. Sequences without a trained token count in TRL's S and not in verl's; here
`count_empty` decides, and by default they do not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from datagen.errors import ConfigError, TrainingError

Aggregation = Literal["sequence_mean", "token_mean", "constant_length", "sequence_sum", "token_sum"]


@dataclass(frozen=True, slots=True)
class Totals:
    """What a whole step trains on. Totals of ranks add."""

    tokens: int
    sequences: int

    def __add__(self, other: Totals) -> Totals:
        return Totals(self.tokens + other.tokens, self.sequences + other.sequences)


def step_totals(
    lengths: NDArray[np.int64], *, sequence: NDArray[np.int64] | None = None, count_empty: bool = False
) -> Totals:
    """Of rows with so many trained tokens each; `sequence` as in `coefficients`."""
    whole = _sequence_lengths(lengths, sequence)
    # An index that no row has is no sequence, rather than an empty one.
    there = len(whole) if sequence is None else len(np.unique(sequence))
    return Totals(int(lengths.sum()), there if count_empty else int((whole > 0).sum()))


def coefficients(
    lengths: NDArray[np.int64],
    mode: Aggregation,
    *,
    totals: Totals,
    max_length: int | None = None,
    sequence: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """(R,) coefficient of each trained token of each row (spec rl_algorithms §1.3); 0 for rows without trained tokens.

    `lengths` (R,) counts the trained tokens of rows. `sequence` (R,) numbers the attempt that a row is a part of, where
    attempts can have several rows: means are then taken over attempts. All rows of an attempt have to be in one call.
    """
    if mode not in get_args(Aggregation):
        raise ConfigError(f"aggregation is {mode!r}; choose one of {', '.join(get_args(Aggregation))}")
    if int(lengths.sum()) > totals.tokens:
        raise TrainingError(
            f"rows have {int(lengths.sum())} trained tokens, more than the {totals.tokens} of the whole step: "
            "add up the totals of all ranks and bins first"
        )
    full = lengths > 0
    if not full.any():
        return np.zeros(len(lengths))
    if mode == "token_sum":
        each = np.ones(len(lengths))
    elif mode == "token_mean":
        each = np.full(len(lengths), 1.0 / totals.tokens)
    else:
        each = np.full(len(lengths), 1.0 / totals.sequences)
        if mode == "sequence_mean":
            whole = _sequence_lengths(lengths, sequence)
            each = each / np.maximum(whole if sequence is None else whole[sequence], 1)
        elif mode == "constant_length":
            if max_length is None or max_length < 1:
                raise ConfigError(f"aggregation constant_length divides by max_length, which is {max_length}; set it")
            each = each / max_length
    return np.where(full, each, 0.0)


def _sequence_lengths(lengths: NDArray[np.int64], sequence: NDArray[np.int64] | None) -> NDArray[np.int64]:
    if sequence is None:
        return lengths
    return np.bincount(sequence, weights=lengths).astype(np.int64)
