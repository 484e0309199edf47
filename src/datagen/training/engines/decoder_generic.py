"""`Decoder` over any causal language model of transformers, with the cache that transformers itself uses.

Keys and values of a sequence lie in tensors of their own. Rows that decode together are stacked, padded on the left, into
one `DynamicCache`, which then grows by a token per step; they are taken apart when others join or some leave.
Correct for every model whose state is keys and values, and several times slower than `decoder.LeanDecoder`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from datagen.errors import ConfigError
from datagen.training.engines.decoder_memory import Row

Layers = list[tuple[Tensor, Tensor]]
"""Per layer keys and values (kv_heads, length, dim)."""


@dataclass(slots=True, eq=False)
class OwnRow(Row):
    """A sequence with tensors of its own."""

    layers: Layers = field(default_factory=list)


@dataclass(slots=True)
class Batch:
    """Rows that are stacked."""

    rows: tuple[OwnRow, ...]
    cache: Any
    mask: Tensor
    """(rows, length) int64: 0 on the padding to the left."""


class CacheDecoder:
    """`Decoder` for models that `decoder.fits` does not know."""

    def __init__(self, model: Any) -> None:
        if getattr(model, "_is_stateful", False):
            raise ConfigError(
                f"A {model.config.model_type} model keeps a state that is not keys and values, so a conversation cannot "
                "be taken up where it was left. Serve it with vLLM and set the engine to server."
            )
        self.model = model
        self.context: int = getattr(model.config, "max_position_embeddings", 2**20)
        self.vocabulary: int = model.config.vocab_size
        self.device = model.get_input_embeddings().weight.device
        self.held = 0
        self._batch: Batch | None = None

    def capacity(self, tokens: int) -> int:
        return tokens

    def allocate(self, tokens: int, together: int = 1) -> Row:  # noqa: ARG002 - rows have tensors of their own
        self.held += tokens
        return OwnRow(tokens)

    def free(self, row: Row) -> None:
        self._apart()
        self.held -= row.capacity
        _own(row).layers = []
        row.tokens = []

    def fork(self, source: Row, target: Row, length: int) -> None:
        self._apart()
        _own(target).layers = [(keys[:, :length], values[:, :length]) for keys, values in _own(source).layers]
        target.tokens = source.tokens[:length]

    def truncate(self, row: Row, length: int) -> None:
        self._apart()
        _own(row).layers = [(keys[:, :length], values[:, :length]) for keys, values in _own(row).layers]
        del row.tokens[length:]

    def clear(self) -> None:
        self._batch = None
        self.held = 0

    @torch.inference_mode()
    def extend(self, rows: Sequence[Row], chunks: Sequence[list[int]]) -> None:
        self._apart()
        for row, chunk in zip(rows, chunks, strict=True):
            batch = _stacked([_own(row)])
            self._forward(batch, torch.tensor([chunk], device=self.device))
            row.tokens.extend(chunk)
            _write_back(batch)

    @torch.inference_mode()
    def step(self, rows: Sequence[Row], tokens: Sequence[int]) -> Tensor:
        own = tuple(_own(row) for row in rows)
        if self._batch is None or self._batch.rows != own:
            self._apart()
            self._batch = _stacked(list(own))
        logits = self._forward(self._batch, torch.tensor(tokens, device=self.device)[:, None])
        for row, token in zip(rows, tokens, strict=True):
            row.tokens.append(token)
        return logits[:, -1].float()

    def _forward(self, batch: Batch, ids: Tensor) -> Tensor:
        lengths = torch.tensor([len(row.tokens) for row in batch.rows], device=self.device)
        batch.mask = torch.cat((batch.mask.to(self.device), batch.mask.new_ones(ids.shape).to(self.device)), 1)
        result = self.model(
            input_ids=ids,
            attention_mask=batch.mask,
            position_ids=lengths[:, None] + torch.arange(ids.shape[1], device=self.device),
            past_key_values=batch.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: Tensor = result.logits
        return logits

    @torch.inference_mode()
    def _apart(self) -> None:
        if self._batch is not None:
            _write_back(self._batch)
            self._batch = None


def _own(row: Row) -> OwnRow:
    assert isinstance(row, OwnRow)
    return row


def _stacked(rows: list[OwnRow]) -> Batch:
    """One cache for the rows. Without a config it keeps all places in every layer, sliding windows too; masks do the rest."""
    from transformers import DynamicCache

    cache = DynamicCache()
    lengths = [len(row.tokens) for row in rows]
    longest = max(lengths)
    mask = torch.tensor([[0] * (longest - n) + [1] * n for n in lengths], dtype=torch.int64).reshape(len(rows), longest)
    shapes = next((row.layers for row in rows if row.layers), [])
    for number, (like, like_values) in enumerate(shapes):
        columns = []
        for kind, empty in ((0, like), (1, like_values)):
            tensors = [row.layers[number][kind] if row.layers else empty[:, :0] for row in rows]
            columns.append(torch.stack([functional.pad(t, (0, 0, longest - t.shape[1], 0)) for t in tensors]))
        cache.update(columns[0], columns[1], number)
    return Batch(tuple(rows), cache, mask)


def _write_back(batch: Batch) -> None:
    """Give each row its keys and values out of the stack."""
    for place, row in enumerate(batch.rows):
        length = len(row.tokens)
        row.layers = [
            tuple(t[place, :, t.shape[2] - length :].clone() for t in (layer.keys, layer.values))
            for layer in batch.cache.layers
        ]
