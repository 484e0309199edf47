"""A forward pass for sampling: Qwen3, Qwen2 and Llama shapes, with the parameters of the Hugging Face module itself.

    rows = [decoder.allocate(40), decoder.allocate(40)]  room for keys and values
    decoder.extend(rows, [[5, 9, 2], [5, 7]])            reads tokens; gives nothing
    logits = decoder.step(rows, [11, 12])                reads one token per row; (2, vocabulary) for what follows

Small models on a CPU spend their time between the multiplications, so there is little between them: no masks of masks, no
cache objects, no padding. `extend` reads prompts and results end to end as one flat list of tokens, attends row by row, and
leaves out what only logits need: the head, and in the last layer everything but keys and values. The last token of a
prompt is therefore given to `step`, which reads one token of each row and multiplies queries with keys slab by slab
(`decoder_memory`), as long as the longest row of the slab.

Projections are called as modules, so LoRA adapters that `peft` put around them take part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from datagen.training.engines.decoder_memory import Memory, Row, Slab

SHAPES = ("qwen3", "qwen2", "llama")
CROWDED = 0.75
"""Share of attended rows that must be in use, or rows are moved together. A move costs about four steps of the row."""


class Decoder(Protocol):
    """Keys and values of many sequences, and the next logits of any of them."""

    context: int
    """Longest sequence, in tokens."""
    vocabulary: int

    @property
    def held(self) -> int:
        """Tokens of key and value memory that rows have taken."""
        ...

    def capacity(self, tokens: int) -> int:
        """What `held` grows by for a row of so many tokens."""
        ...

    def allocate(self, tokens: int, together: int = 1) -> Row:
        """Room for a sequence; `together` rows are about to be asked for and had better lie side by side."""
        ...

    def free(self, row: Row) -> None: ...

    def fork(self, source: Row, target: Row, length: int) -> None:
        """The target then holds the first `length` tokens of the source, and nothing else."""
        ...

    def truncate(self, row: Row, length: int) -> None:
        """Forget all but the first tokens."""
        ...

    def extend(self, rows: Sequence[Row], chunks: Sequence[list[int]]) -> None:
        """Read a chunk behind what each row holds."""
        ...

    def step(self, rows: Sequence[Row], tokens: Sequence[int]) -> Tensor:
        """Read one token behind what each row holds: (rows, vocabulary) logits in float32 of what comes next."""
        ...

    def clear(self) -> None:
        """Forget all rows: the weights have changed."""
        ...


def fits(model: Any) -> bool:
    """Whether `LeanDecoder` computes what this module computes."""
    config = model.config
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    layers = getattr(config, "layer_types", None) or ["full_attention"]
    return (
        config.model_type in SHAPES
        and rope not in {"dynamic", "longrope"}  # their angles depend on the length of the sequence
        and set(layers) == {"full_attention"}
    )


@dataclass(slots=True)
class Part:
    """The rows of one slab in a decoding step."""

    slab: Slab
    first: int
    last: int
    """Where they stand among all rows of the step."""
    slots: Tensor
    high: int
    """Slots that are attended: up to the highest in use."""
    dense: bool
    """Whether all of those are in use."""
    bias: Tensor
    """(high * kv_heads, 1, capacity): 0 where a row has a token, else -inf."""
    longest: int


@dataclass(slots=True)
class Plan:
    """What stays the same from step to step while the same rows decode."""

    rows: tuple[Row, ...]
    order: list[int]
    """Places of the rows as given, sorted by slab and slot."""
    back: Tensor | None
    parts: list[Part]
    positions: Tensor


class LeanDecoder:
    """`Decoder` over a module that `fits`."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.config = config = model.config
        self.body, self.head = model.model, model.lm_head
        self.heads: int = config.num_attention_heads
        self.kv_heads: int = config.num_key_value_heads
        self.dim: int = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.context: int = config.max_position_embeddings
        self.vocabulary: int = config.vocab_size
        weight = self.body.embed_tokens.weight
        self.device, self.dtype = weight.device, weight.dtype
        self.memory = Memory(config.num_hidden_layers, self.kv_heads, self.dim, self.dtype, self.device)
        self._plan: Plan | None = None
        self._angles = (torch.empty(0), torch.empty(0))

    @property
    def held(self) -> int:
        return self.memory.held

    def capacity(self, tokens: int) -> int:
        return self.memory.capacity(tokens)

    def allocate(self, tokens: int, together: int = 1) -> Row:
        return self.memory.allocate(tokens, together)

    def free(self, row: Row) -> None:
        self._plan = None
        self.memory.free(row)

    @torch.inference_mode()
    def fork(self, source: Row, target: Row, length: int) -> None:
        self.memory.fork(source, target, length)

    def truncate(self, row: Row, length: int) -> None:
        self._plan = None
        del row.tokens[length:]

    def clear(self) -> None:
        self._plan = None
        self.memory.clear()

    @torch.inference_mode()
    def extend(self, rows: Sequence[Row], chunks: Sequence[list[int]]) -> None:
        self._plan = None
        spans = [(len(row.tokens), len(row.tokens) + len(chunk)) for row, chunk in zip(rows, chunks, strict=True)]
        positions = torch.cat([torch.arange(*span) for span in spans]).to(self.device)
        ids = torch.tensor([token for chunk in chunks for token in chunk], device=self.device)
        cos, sin = self._rotation(positions, max(end for _, end in spans))
        x = self.body.embed_tokens(ids)
        masks = [_causal(start, end, x) for start, end in spans]
        last = len(self.body.layers) - 1
        for number, layer in enumerate(self.body.layers):
            hidden = _norm(layer.input_layernorm, x)
            queries, keys, values = self._project(layer.self_attn, hidden, cos, sin)
            attended, at = [], 0
            for row, (start, end), mask in zip(rows, spans, masks, strict=True):
                assert row.slab is not None
                stop = at + end - start
                held_keys, held_values = row.slab.keys[number][row.slot], row.slab.values[number][row.slot]
                held_keys[:, start:end] = keys[at:stop].transpose(0, 1)
                held_values[:, start:end] = values[at:stop].transpose(0, 1)
                if number != last:
                    attended.append(
                        functional.scaled_dot_product_attention(
                            queries[at:stop].transpose(0, 1)[None],
                            held_keys[None, :, :end],
                            held_values[None, :, :end],
                            attn_mask=mask,
                            is_causal=mask is None,
                            scale=layer.self_attn.scaling,
                            enable_gqa=self.heads != self.kv_heads,
                        )[0].transpose(0, 1)
                    )
                at = stop
            if number != last:
                x = self._finish(layer, x, torch.cat(attended))
        for row, chunk in zip(rows, chunks, strict=True):
            row.tokens.extend(chunk)

    @torch.inference_mode()
    def step(self, rows: Sequence[Row], tokens: Sequence[int]) -> Tensor:
        plan = self._plan
        if plan is None or len(plan.rows) != len(rows) or any(a is not b for a, b in zip(plan.rows, rows, strict=True)):
            plan = self._plan = self._planned(rows)
        ids = torch.tensor([tokens[place] for place in plan.order], device=self.device)
        longest = max(part.longest for part in plan.parts) + 1
        cos, sin = self._rotation(plan.positions, longest)
        writes = []
        for part in plan.parts:
            positions = plan.positions[part.first : part.last]
            part.bias.view(part.high, self.kv_heads, -1)[part.slots, :, positions] = 0
            part.longest += 1
            writes.append(positions)
        x = self.body.embed_tokens(ids)
        for number, layer in enumerate(self.body.layers):
            hidden = _norm(layer.input_layernorm, x)
            queries, keys, values = self._project(layer.self_attn, hidden, cos, sin)
            attended = []
            for part, positions in zip(plan.parts, writes, strict=True):
                span = slice(part.first, part.last)
                part.slab.keys[number][part.slots, :, positions] = keys[span]
                part.slab.values[number][part.slots, :, positions] = values[span]
                attended.append(self._attend(part, queries[span], number, layer.self_attn.scaling))
            x = self._finish(layer, x, attended[0] if len(attended) == 1 else torch.cat(attended))
        plan.positions += 1
        for row, token in zip(rows, tokens, strict=True):
            row.tokens.append(token)
        if plan.back is not None:
            x = x[plan.back]
        logits: Tensor = self.head(_norm(self.body.norm, x)).float()
        return logits

    def _attend(self, part: Part, queries: Tensor, number: int, scale: float) -> Tensor:
        """One query per row against all that its slab holds: (rows, heads, dim)."""
        if not part.dense:
            spread = queries.new_zeros(part.high, *queries.shape[1:])
            spread[part.slots] = queries
            queries = spread
        size, length = part.high * self.kv_heads, part.longest
        keys = part.slab.keys[number][: part.high].view(size, -1, self.dim)[:, :length]
        values = part.slab.values[number][: part.high].view(size, -1, self.dim)[:, :length]
        grouped = queries.reshape(size, self.heads // self.kv_heads, self.dim)
        scores = torch.baddbmm(part.bias[:, :, :length], grouped, keys.transpose(1, 2), alpha=scale)
        weights = torch.softmax(scores, -1, dtype=torch.float32).to(self.dtype)
        attended = torch.bmm(weights, values).view(part.high, self.heads, self.dim)
        return attended if part.dense else attended[part.slots]

    def _project(self, attention: Any, hidden: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (tokens, heads, dim), keys and values (tokens, kv_heads, dim) of flat hidden states."""
        queries = attention.q_proj(hidden).view(-1, self.heads, self.dim)
        keys = attention.k_proj(hidden).view(-1, self.kv_heads, self.dim)
        values = attention.v_proj(hidden).view(-1, self.kv_heads, self.dim)
        if hasattr(attention, "q_norm"):
            queries, keys = _norm(attention.q_norm, queries), _norm(attention.k_norm, keys)
        both = torch.cat((queries, keys), 1)
        both = torch.addcmul(both * cos, both.roll(self.dim // 2, -1), sin)
        return both[:, : self.heads], both[:, self.heads :], values

    def _finish(self, layer: Any, x: Tensor, attended: Tensor) -> Tensor:
        """The rest of a layer behind its attention."""
        x = x + layer.self_attn.o_proj(attended.reshape(len(x), -1))
        done: Tensor = x + layer.mlp(_norm(layer.post_attention_layernorm, x))
        return done

    def _rotation(self, positions: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Cosines and signed sines (tokens, 1, dim) of rotary positions, from a table that grows."""
        if len(self._angles[0]) < length:
            span = torch.arange(self.capacity(length), device=self.device)[None]
            cos, sin = self.body.rotary_emb(torch.empty(0, dtype=self.dtype, device=self.device), span)
            half = self.dim // 2
            sin = torch.cat((-sin[..., :half], sin[..., half:]), -1)  # rotate_half is a roll with the signs here
            self._angles = (cos[0][:, None], sin[0][:, None])
        return self._angles[0][positions], self._angles[1][positions]

    def _planned(self, rows: Sequence[Row]) -> Plan:
        by_slab: dict[int, list[int]] = {}
        for place, row in enumerate(rows):
            assert row.slab is not None
            by_slab.setdefault(id(row.slab), []).append(place)
        order: list[int] = []
        parts: list[Part] = []
        for places in by_slab.values():
            slab = rows[places[0]].slab
            assert slab is not None
            _move_together(slab, [rows[place] for place in places])
            places.sort(key=lambda place: rows[place].slot)
            parts.append(self._part(slab, [rows[place] for place in places], len(order)))
            order.extend(places)
        back = None
        if order != list(range(len(rows))):
            back = torch.argsort(torch.tensor(order)).to(self.device)
        positions = torch.tensor([len(rows[place].tokens) for place in order], device=self.device)
        return Plan(tuple(rows), order, back, parts, positions)

    def _part(self, slab: Slab, rows: list[Row], first: int) -> Part:
        high = rows[-1].slot + 1
        lengths = torch.ones(
            high, dtype=torch.int64
        )  # a row that is not in use attends to its first place, and is dropped
        slots = torch.tensor([row.slot for row in rows])
        lengths[slots] = torch.tensor([len(row.tokens) for row in rows])
        bias = torch.zeros(high, slab.capacity, dtype=self.dtype)
        bias.masked_fill_(torch.arange(slab.capacity) >= lengths[:, None], float("-inf"))
        return Part(
            slab=slab,
            first=first,
            last=first + len(rows),
            slots=slots.to(self.device),
            high=high,
            dense=high == len(rows),
            bias=bias.repeat_interleave(self.kv_heads, 0)[:, None].to(self.device),
            longest=int(lengths.max()),
        )


def _move_together(slab: Slab, rows: list[Row]) -> None:
    """Bring the rows in use to the first slots of their slab, if too many slots between them are not."""
    if len(rows) >= CROWDED * (max(row.slot for row in rows) + 1):
        return
    used = {row.slot for row in rows}
    gaps = [slot for slot in range(len(rows)) if slot not in used]
    for gap, slot in zip(gaps, sorted(slot for slot in used if slot >= len(rows)), strict=True):
        slab.exchange(gap, slot)


def _causal(start: int, end: int, like: Tensor) -> Tensor | None:
    """(end - start, end) to add to scores: what tokens behind `start` others may look at. None: plain causality says it."""
    if start == 0:
        return None
    return like.new_full((end - start, end), float("-inf")).triu(start + 1)


def _norm(module: Any, x: Tensor) -> Tensor:
    return functional.rms_norm(x, (x.shape[-1],), module.weight, module.variance_epsilon)
