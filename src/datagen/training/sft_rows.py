"""Rows that imitate, and rows that prefer: from sequences whose tokens say who wrote them.

    input_ids     7   81  12  40   9   9  31   2
    written       .   .   .   x    x   .  x    x       three sequences of one update: 4 + 5 + 3 = 12 written tokens
    ce_weight     0   0   0  1/12 1/12 0 1/12 1/12     imitation: the mean over all tokens that the step trains on
    ce_weight     0   0   0  1/8 1/8   0 1/8  1/8      preference: one of eight pairs; marks what counts to the likelihood

What tools returned is read and never learned, in preference as in imitation. Rows are made for one update at a time, for
their weights hold its denominators.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from datagen.errors import TrainingError
from datagen.training.objectives.aggregation import Aggregation, Totals, coefficients, step_totals
from datagen.training.rollout import Sampled
from datagen.training.rows import TrainRow


def sft_rows(
    sequences: Sequence[Sampled],
    *,
    mode: Aggregation = "token_mean",
    whole: Totals | None = None,
    attempts: Sequence[str] | None = None,
    context_weight: float = 0.0,
    whole_context: int | None = None,
    context_share: float = 1.0,
    rng: np.random.Generator | None = None,
) -> list[TrainRow]:
    """One row for every sequence in which something was written.

    `context_weight` adds the mean over the tokens that the model did not write, times this weight: language modelling of
    questions and pages. A model that begins with random weights learns to copy names from it, for pages repeat them far
    more often than attempts do; a pretrained one needs none. `whole_context` counts these tokens of all ranks.

    `context_share` below 1 draws from `rng` which of these tokens count, each with that probability. The mean is over those
    drawn, so the gradient is the same on average; the others cost no product with the vocabulary.

    `whole` counts what all ranks train on in this update; left out, these sequences are all of it. `attempts` names the
    attempt of each sequence, where attempts have several: `sequence_mean` is then a mean over attempts.
    """
    names = [str(number) for number in range(len(sequences))] if attempts is None else list(attempts)
    if len(names) != len(sequences):
        raise ValueError(f"{len(sequences)} sequences have {len(names)} names of attempts; give each one")
    lengths = np.array([written_tokens(part) for part in sequences], np.int64)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    attempt = np.array([numbers[name] for name in names], np.int64)
    here = step_totals(lengths, sequence=attempt) if len(sequences) else Totals(0, 0)
    weights = coefficients(lengths, mode, totals=whole or here, sequence=attempt) if len(sequences) else lengths
    looked_at = [_context(part, context_share if context_weight else 0.0, rng) for part in sequences]
    read = sum(int(one.sum()) for one in looked_at) if whole_context is None else whole_context
    context = context_weight / read if read else 0.0
    return [
        TrainRow(part.input_ids, ce_weight=_weights(part, float(weight), mask, context), rollout_id=name)
        for part, weight, mask, length, name in zip(sequences, weights, looked_at, lengths, names, strict=True)
        if length
    ]


def _context(part: Sampled, share: float, rng: np.random.Generator | None) -> NDArray[np.bool_]:
    """Which tokens count of those that somebody else wrote and something predicts."""
    mask = ~part.written
    mask[0] = False
    if share >= 1:
        return mask
    if share <= 0:
        return np.zeros_like(mask)
    if rng is None:
        raise ValueError(f"a share of {share} of the context is drawn; give the generator that draws")
    drawn: NDArray[np.bool_] = mask & (rng.random(len(mask)) < share)
    return drawn


def _weights(part: Sampled, weight: float, mask: NDArray[np.bool_], context: float) -> NDArray[np.float32]:
    weights = np.where(part.written, np.float32(weight), np.float32(context) * mask)
    weights[0] = 0
    return weights


def preference_rows(
    pairs: Sequence[tuple[Sampled, Sampled]],
    *,
    whole: int | None = None,
    names: Sequence[str] | None = None,
    drop_shared: bool = False,
) -> list[TrainRow]:
    """Two rows for every pair of (preferred, other), in one bundle; `names` of pairs are unique within an update.

    Written tokens weigh 1 / pairs; `whole` counts the pairs of all ranks, and left out, these are all.

    `drop_shared` leaves out what was written before the two part. Without a division by length that changes neither loss
    nor gradient, since it stands on both sides of the difference; with one, only what differs is measured.

    Raises `TrainingError` for a pair of which one side has nothing to compare.
    """
    bundles = [f"pair-{number}" for number in range(len(pairs))] if names is None else list(names)
    if len(set(bundles)) != len(pairs) or len(bundles) != len(pairs):
        raise ValueError(f"{len(pairs)} pairs need as many different names, not {len(set(bundles))}")
    rows = []
    for bundle, (preferred, other) in zip(bundles, pairs, strict=True):
        first = _parting(preferred, other) if drop_shared else 0
        for part, chosen in ((preferred, True), (other, False)):
            weight = mask_of(part) / np.float32(whole or len(pairs))
            weight[:first] = 0
            if not weight.any():
                side = "preferred" if chosen else "other"
                raise TrainingError(
                    f"{bundle}: the model wrote nothing of the {side} attempt"
                    + (" after the two part" if drop_shared else "")
                    + ", so there is nothing to make likelier or less likely. Leave such pairs out when they are built."
                )
            rows.append(TrainRow(part.input_ids, ce_weight=weight, bundle=bundle, chosen=chosen, rollout_id=bundle))
    return rows


def written_tokens(part: Sampled) -> int:
    """Tokens of a sequence that the model wrote."""
    return int(np.count_nonzero(part.written))


def mask_of(part: Sampled) -> NDArray[np.float32]:
    """1 where the model wrote, 0 elsewhere."""
    return part.written.astype(np.float32)


def _parting(one: Sampled, other: Sampled) -> int:
    """Place of the first token in which two sequences differ."""
    shortest = min(len(one.input_ids), len(other.input_ids))
    differs = np.flatnonzero(
        (one.input_ids[:shortest] != other.input_ids[:shortest]) | (one.written[:shortest] != other.written[:shortest])
    )
    return int(differs[0]) if len(differs) else shortest
