"""Rows of many lengths, put into forward passes of about equal size.

    rows of 700, 90, 300, 250 and 120 tokens, bins of 1000

    packed    | 700 ................ | 300 ..... |     one after the other: no token is padding
              | 250 .... | 120 .. | 90 . |
    padded    | 700 ................ |                 a rectangle each; `.` beyond a row is padding
              | 300 ..... | 250 ....- | 120 ..--- |

A row is never split, and rows of one bundle (a preference pair) share a bin. A row or bundle above the budget has a bin of
its own. The same rows give the same bins, in the same order.

A bin becomes a `Batch`: the tokens, and for each of its P trained tokens the place in the flattened hidden states that
predicts it (the token before), its id, and the numbers that the row carries beside it. Trained tokens keep the order of
rows and of tokens, whatever the layout.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from datagen.errors import ConfigError, TrainingError
from datagen.training.rows import STREAMS, Ints, TrainRow
from datagen.training.tokens import TokenBatch

Layout = Literal["packed", "padded"]


@dataclass(frozen=True, slots=True, eq=False)
class Bin:
    """Rows of one forward pass."""

    rows: tuple[TrainRow, ...]
    places: tuple[int, ...]
    """Where the rows stand in what was given to `bins`; ascending."""
    layout: Layout

    @property
    def tokens(self) -> int:
        """Of the rows, padding left out."""
        return sum(len(row) for row in self.rows)

    @property
    def area(self) -> int:
        """Tokens that the model computes, padding included."""
        return self.tokens if self.layout == "packed" else len(self.rows) * max(len(row) for row in self.rows)


def bins(rows: Sequence[TrainRow], *, tokens: int, layout: Layout = "packed") -> list[Bin]:
    """Every row in one bin; no bin above `tokens` unless a single bundle is."""
    if tokens < 1:
        raise ConfigError(f"a bin of {tokens} tokens holds nothing; give tokens_per_bin at least 1")
    if layout not in get_args(Layout):
        raise ConfigError(f"layout is {layout!r}; choose one of {', '.join(get_args(Layout))}")
    units = bundles(rows)
    filled = _best_fit(rows, units, tokens) if layout == "packed" else _rectangles(rows, units, tokens)
    return [Bin(tuple(rows[place] for place in places), tuple(places), layout) for places in map(sorted, filled)]


def bundles(rows: Sequence[TrainRow]) -> list[list[int]]:
    """Places of rows that stay together, in the order of their first."""
    units: list[list[int]] = []
    named: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        if row.bundle and row.bundle in named:
            named[row.bundle].append(place)
            continue
        units.append([place])
        if row.bundle:
            named[row.bundle] = units[-1]
    return units


def _best_fit(rows: Sequence[TrainRow], units: list[list[int]], budget: int) -> list[list[int]]:
    """Longest first, each into the bin that it leaves least room in; O(n log n) comparisons."""
    sizes = [sum(len(rows[place]) for place in unit) for unit in units]
    filled: list[list[int]] = []
    room: list[tuple[int, int]] = []  # of bins that have some left: (tokens, bin), ascending
    for number in sorted(range(len(units)), key=lambda one: (-sizes[one], one)):
        fit = bisect_left(room, (sizes[number], -1))
        if fit < len(room):
            left, target = room.pop(fit)
            filled[target] += units[number]
        else:
            left, target = budget, len(filled)
            filled.append(list(units[number]))
        if left > sizes[number]:
            insort(room, (left - sizes[number], target))
    return filled


def _rectangles(rows: Sequence[TrainRow], units: list[list[int]], budget: int) -> list[list[int]]:
    """Rows of like lengths together: the first of a rectangle is its longest, so later ones never widen it."""
    widths = [max(len(rows[place]) for place in unit) for unit in units]
    filled: list[list[int]] = []
    width = 0
    for number in sorted(range(len(units)), key=lambda one: (-widths[one], one)):
        if filled and (len(filled[-1]) + len(units[number])) * width <= budget:
            filled[-1] += units[number]
        else:
            filled.append(list(units[number]))
            width = widths[number]
    return filled


@dataclass(frozen=True, slots=True, eq=False)
class TrainedTokens:
    """What rows carry beside their P trained tokens: a `TokenBatch` that lacks what the model says."""

    rows: Tensor
    """(P,) int64: which row of the bin a token stands in."""
    n_rows: int
    streams: Tensor
    """(7, P) float32, in the order of `datagen.training.rows.STREAMS`; 0 where a row has none."""
    has_old: Tensor | None
    """(P,) bool: where the row has old log-probabilities; None where all have."""
    has_sampler: Tensor | None
    """(P,) bool: where the row has log-probabilities of the engine; None where none has."""
    pair: Tensor | None
    """(R,) int64, as in `TokenBatch`; None where no row has a bundle."""
    chosen: Tensor | None

    def beside(self, logprobs: Tensor, entropy: Tensor | None) -> TokenBatch:
        """With the model's (P,) log-probabilities and entropy.

        A row without old log-probabilities is compared with the model as it is now: its ratio is 1, with a gradient.
        """
        rl, ce, kl, advantages, old, ref, sampler = self.streams.unbind(0)
        if self.has_old is not None:
            old = torch.where(self.has_old, old, logprobs.detach())
        return TokenBatch(
            logprobs=logprobs,
            rows=self.rows,
            n_rows=self.n_rows,
            rl_weight=rl,
            ce_weight=ce,
            kl_weight=kl,
            advantages=advantages,
            old_logprobs=old,
            ref_logprobs=ref,
            entropy=entropy,
            pair=self.pair,
            chosen=self.chosen,
            sampler_logprobs=None if self.has_sampler is None else torch.where(self.has_sampler, sampler, old),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """A bin as tensors, for P trained tokens."""

    input_ids: Tensor
    """int64: (1, T) packed, (R, W) padded on the right."""
    position_ids: Tensor
    """Of the same shape; they begin at 0 in every row."""
    lengths: tuple[int, ...]
    """Tokens of each row; packed, where one ends and the next begins."""
    sources: Tensor
    """(P,) int64: the place in flattened `input_ids` whose hidden state predicts the trained token."""
    targets: Tensor
    """(P,) int64: ids of the trained tokens."""
    trained: TrainedTokens


def to_batch(part: Bin, device: torch.device | str = "cpu") -> Batch:
    """The bin as tensors. Numbers that an objective needs and a row lacks are 0; see `check_streams`."""
    masks = [row.trained for row in part.rows]
    where = [np.flatnonzero(mask) for mask in masks]
    lengths = [len(row) for row in part.rows]
    ids, positions, starts = _tokens(part.rows, lengths, packed=part.layout == "packed")
    targets = np.concatenate([row.input_ids[at] for row, at in zip(part.rows, where, strict=True)])
    sources = np.concatenate([at + (start - 1) for at, start in zip(where, starts, strict=True)])
    return Batch(
        input_ids=torch.from_numpy(ids).to(device),
        position_ids=torch.from_numpy(positions).to(device),
        lengths=tuple(lengths),
        sources=torch.from_numpy(sources).to(device),
        targets=torch.from_numpy(targets).to(device),
        trained=_beside(part.rows, where, device),
    )


def _tokens(rows: Sequence[TrainRow], lengths: list[int], *, packed: bool) -> tuple[Ints, Ints, Ints]:
    """Ids and positions in the shape that the model gets, and the flat place at which each row begins."""
    if packed:
        ids = np.concatenate([row.input_ids for row in rows])[None]
        positions = np.concatenate([np.arange(length) for length in lengths])[None]
        return ids, positions, np.cumsum([0, *lengths[:-1]])
    width = max(lengths)
    # Under causal attention no token sees what stands behind it, so padding is never seen; its id only has to exist.
    ids = np.zeros((len(rows), width), dtype=np.int64)
    for line, row in zip(ids, rows, strict=True):
        line[: len(row)] = row.input_ids
    return ids, np.broadcast_to(np.arange(width), ids.shape).copy(), np.arange(len(rows)) * width


def _beside(rows: Sequence[TrainRow], where: list[Ints], device: torch.device | str) -> TrainedTokens:
    counts = [len(at) for at in where]
    ends = np.cumsum([0, *counts])
    streams = np.zeros((len(STREAMS), ends[-1]), dtype=np.float32)
    for row, at, start, end in zip(rows, where, ends, ends[1:], strict=False):
        for line, name in zip(streams, STREAMS, strict=True):
            stream = getattr(row, name)
            if stream is not None:
                line[start:end] = stream[at]
    pair, chosen = _pairs(rows, device)
    return TrainedTokens(
        rows=torch.from_numpy(np.repeat(np.arange(len(rows)), counts)).to(device),
        n_rows=len(rows),
        streams=torch.from_numpy(streams).to(device),
        has_old=_have([row.old_logprobs is not None for row in rows], counts, device, unless=True),
        has_sampler=_have([row.sampler_logprobs is not None for row in rows], counts, device, unless=False),
        pair=pair,
        chosen=chosen,
    )


def _have(having: list[bool], counts: list[int], device: torch.device | str, *, unless: bool) -> Tensor | None:
    """Per token whether its row has something; None where all rows answer `unless`."""
    if all(one is unless for one in having):
        return None
    return torch.from_numpy(np.repeat(np.array(having), counts)).to(device)


def _pairs(rows: Sequence[TrainRow], device: torch.device | str) -> tuple[Tensor | None, Tensor | None]:
    if not any(row.bundle for row in rows):
        return None, None
    numbers: dict[str, int] = {}
    pair = [numbers.setdefault(row.bundle, len(numbers)) if row.bundle else -1 for row in rows]
    return torch.tensor(pair, device=device), torch.tensor([row.chosen for row in rows], device=device)


def check_streams(rows: Sequence[TrainRow]) -> None:
    """Raise `TrainingError` for a row whose weights ask for numbers that it does not have."""
    for row in rows:
        for weight, needed in (("rl_weight", "advantage"), ("kl_weight", "ref_logprobs")):
            stream = getattr(row, weight)
            if stream is not None and getattr(row, needed) is None and stream.any():
                raise TrainingError(
                    f"rollout {row.rollout_id!r} has a {weight} but no {needed}; "
                    f"fill {needed} before the step, or leave {weight} None"
                )


def with_trained_tokens(rows: Sequence[TrainRow]) -> list[TrainRow]:
    """Rows that have a trained token, or share a bundle with one that has."""
    trained = [bool(row.trained.any()) for row in rows]
    bundles = {row.bundle for row, one in zip(rows, trained, strict=True) if one}
    return [row for row, one in zip(rows, trained, strict=True) if one or (row.bundle and row.bundle in bundles)]
